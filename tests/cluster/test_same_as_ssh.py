"""The same connections succeed and fail as with ssh, whatever ssh_config and known_hosts say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from ssh_agents import ssh_agent

from harness.errors import HarnessError
from harness.ssh.cluster import connect, with_ssh_config
from harness.ssh.config.options import in_force
from harness.ssh.config.question import Question, under_home
from harness.ssh.trust import known_hosts
from harness.testbed.topology import USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.configuration.cluster import ClusterConfig
    from harness.testbed.testbed import Testbed

NODE = "ares-comp-11"
ADDRESS = "172.20.101.11"
PORT = 2222
KEY_TYPES = ("ed25519", "ecdsa", "rsa")
REDHAT = "Match final all\n    GSSAPIAuthentication yes\n    ForwardX11Trusted yes\n    SendEnv LANG LC_*\n"


def keygen(*arguments: str) -> str:
    return subprocess.run(["ssh-keygen", "-q", *arguments], capture_output=True, text=True, check=True).stdout


class Lab:
    """A second sshd on comp-11 with a certificate for each of its keys, and what known_hosts may say of it."""

    def __init__(self, folder: Path, testbed: Testbed) -> None:
        self.folder, self.testbed = folder, testbed
        for name in ("authority", "other"):
            keygen("-t", "ed25519", "-N", "", "-f", str(folder / name))
        self.keys = {}
        self.ssh = testbed.hosts[NODE].folder / "ssh"
        for kind in KEY_TYPES:
            path = self.ssh / f"lab_{kind}"
            keygen("-t", kind, "-N", "", "-f", str(path))
            self.keys[kind] = " ".join(path.with_suffix(".pub").read_text().split()[:2])
        self.authority = " ".join((folder / "authority.pub").read_text().split()[:2])
        self.other = " ".join((folder / "other.pub").read_text().split()[:2])
        gateway = [
            line for line in testbed.known_hosts.read_text().splitlines() if line.startswith(("ares ", "172.31."))
        ]
        self.gateway = "\n".join(gateway) + "\n"

    def sign(self, principal: str = ADDRESS, *, validity: str = "always:forever", host: bool = True) -> None:
        for kind in KEY_TYPES:
            (self.ssh / f"lab_{kind}-cert.pub").unlink(missing_ok=True)
            words = ["-s", str(self.folder / "authority"), "-I", "lab", *(["-h"] if host else []), "-V", validity]
            keygen(*words, "-n", principal, str(self.ssh / f"lab_{kind}.pub"))

    def config(self, lines: str, known: str | bytes) -> Path:
        """Write an ssh_config in which ``lab`` is that sshd, after ``lines``."""
        files = {"known hosts": known if isinstance(known, bytes) else known.encode(), "gateway": self.gateway.encode()}
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        path = self.folder / "config"
        whole = lines.format(folder=self.folder, gateway=self.gateway, key=self.testbed.identity_file)
        path.write_text(
            f"{whole}\nHost ares\n    UserKnownHostsFile {self.folder}/gateway\n"
            f"Host lab\n    HostName {ADDRESS}\n    Port {PORT}\n    ProxyJump ares\n    User {USER}\n"
            f'    UserKnownHostsFile "{self.folder}/known hosts"\n    IdentitiesOnly yes\n'
            f"    IdentityFile {self.testbed.identity_file}\n{self.testbed.ssh_config.read_text()}"
        )
        return path


@pytest.fixture(scope="module")
def lab(shared_testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("lab"), shared_testbed)
    made.sign()
    host = shared_testbed.hosts[NODE]
    words = [word for kind in KEY_TYPES for word in ("-h", f"/etc/ssh/lab_{kind}")]
    words += [word for kind in KEY_TYPES for word in ("-o", f"HostCertificate=/etc/ssh/lab_{kind}-cert.pub")]
    # A connection's own sshd reads its files anew, so certificates can change under it.
    process = host.start(["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config", "-p", str(PORT), *words])
    try:
        while "listening on" not in (line := process.stderr.readline()):
            assert line, "sshd ended"
        made.restart = lambda: os.kill(_listener(host), signal.SIGHUP)
        yield made
    finally:
        for pid, command in host.processes().items():
            if str(PORT) in command or f"-p {PORT}" in command[0]:
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=250)


def _listener(host) -> int:
    return next(pid for pid, words in host.processes().items() if str(PORT) in words or f"-p {PORT}" in words[0])


def with_ssh(config: Path, *options: str) -> bool:
    """Return whether ssh lets us in."""
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", *options]
    done = subprocess.run(
        [*words, "lab", "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False
    )
    return done.returncode == 0


def with_us(ares: ClusterConfig, config: Path) -> str:
    """Return an empty text if we get in, else why not."""
    nodes = [node.model_copy(update={"host": "lab"}) for node in ares.nodes]
    with connect(ares.model_copy(update={"gateway": None, "nodes": nodes}), with_ssh_config(None, str(config))) as made:
        try:
            made.plain["comp11"].ask("true")
        except HarnessError as error:
            return str(error)
    return ""


NAME = f"[{ADDRESS}]:{PORT}"
HASHED = known_hosts.hashed(NAME, b"salt" * 5)
KNOWN = {
    "plain": (f"{NAME} {{ed25519}}\n", True),
    "rsa only": (f"{NAME} {{rsa}}\n", True),
    "ecdsa only": (f"{NAME} {{ecdsa}}\n", True),
    "bare name on another port": (f"{ADDRESS} {{ed25519}}\n", True),
    "another port": (f"[{ADDRESS}]:2223 {{ed25519}}\n", False),
    "wildcard": ("[172.20.*]:2222 {ed25519}\n", True),
    "everybody": ("* {rsa}\n", True),
    "negated": ("*,!172.20.*,![172.20.* {ed25519}\n", False),
    "list": (f"a,b,{NAME},c {{ed25519}}\n", True),
    "hashed": (f"{HASHED} {{ed25519}}\n", True),
    "other key": (f"{NAME} {{other}}\n", False),
    "other key first": (f"{NAME} {{other}}\n{NAME} {{ed25519}}\n", True),
    "nothing": ("", False),
    "cut off": (f"{NAME} ssh-ed25519 AAAAC3Nz\n{NAME} {{ed25519}}\n", True),
    "cut off alone": (f"{NAME} ssh-ed25519 AAAAC3Nz\n", False),
    "Latin-1": (f"caf\xe9 ssh-rsa \xe9\xff\n{NAME} {{ed25519}}\n", True),
    "windows": (f"{NAME} {{ed25519}}\r\n", True),
    "revoked": (f"{NAME} {{ed25519}}\n@revoked {NAME} {{ed25519}}\n", False),
    "revoked for everybody": (f"@revoked * {{ed25519}}\n{NAME} {{ed25519}}\n", False),
    "revoked for others": (f"@revoked other {{ed25519}}\n{NAME} {{ed25519}}\n", True),
    "revoked by its bare name": (f"@revoked {ADDRESS} {{ed25519}}\n{NAME} {{ed25519}}\n", True),
    "another key revoked": (f"@revoked * {{other}}\n{NAME} {{ed25519}}\n", True),
    "authority": ("@cert-authority * {authority}\n", True),
    "authority of this name": (f"@cert-authority {NAME} {{authority}}\n", True),
    "authority of another name": ("@cert-authority *.example.org {authority}\n", False),
    "authority by the bare name": (f"@cert-authority {ADDRESS} {{authority}}\n", True),
    "other authority": ("@cert-authority * {other}\n", False),
    "other authority beside the key": (f"@cert-authority * {{other}}\n{NAME} {{ed25519}}\n", True),
    "authority revoked": ("@cert-authority * {authority}\n@revoked * {authority}\n", False),
    "certified key revoked": ("@cert-authority * {authority}\n@revoked * {ed25519}\n@revoked * {ecdsa}\n", False),
    "authority as a plain key": (f"{NAME} {{authority}}\n", False),
    "odd marker": (f"@sometimes * {{ed25519}}\n{NAME} {{ed25519}}\n", True),
    "comment and blanks": (f"# {NAME} {{other}}\n\n   \n\t{NAME}\t{{ed25519}} # mine\n", True),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_hosts_let_the_same_in(ares, lab: Lab, testbed, name: str) -> None:
    content, expected = KNOWN[name]
    known = content.format(**lab.keys, authority=lab.authority, other=lab.other).encode("latin-1")
    config = lab.config("", known)
    why = with_us(ares, config)
    assert "\n" not in why
    assert (with_ssh(config), why == "") == (expected, expected), why


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_a_certificate_of_every_type_is_verified(ares, lab: Lab, testbed, kind: str) -> None:
    algorithm = {
        "ed25519": "ssh-ed25519-cert-v01@openssh.com",
        "ecdsa": "ecdsa-sha2-nistp256-cert-v01@openssh.com",
        "rsa": "rsa-sha2-512-cert-v01@openssh.com",
    }[kind]
    lines = f"Host lab\n    HostKeyAlgorithms {algorithm}"
    config = lab.config(lines, f"@cert-authority * {lab.authority}\n")
    assert (with_ssh(config), with_us(ares, config)) == (True, "")
    config = lab.config(lines, f"@cert-authority * {lab.other}\n")
    assert (with_ssh(config), with_us(ares, config) == "") == (False, False)


@pytest.mark.parametrize(
    ("principal", "changes", "alias", "said"),
    [
        ("somebody-else", {}, "", "is for somebody-else, not for 172.20.101.11"),
        ("elsewhere,172.20.101.11", {}, "", ""),
        ("172.20.*", {}, "", "is for 172.20.*"),
        ("the-lab", {}, "The-Lab", ""),
        ("The-Lab", {}, "The-Lab", "is for The-Lab, not for the-lab"),
        (ADDRESS, {"validity": "20200101:20210101"}, "", "has expired"),
        (ADDRESS, {"validity": "20900101:20910101"}, "", "is not valid yet"),
        (ADDRESS, {"host": False}, "", "is no certificate of a host"),
    ],
)
def test_what_a_certificate_is_for_counts(ares, lab: Lab, testbed, principal, changes, alias, said) -> None:
    """The key of such a certificate is believed only where it is known by itself, as with ssh."""
    try:
        lab.sign(principal, **changes)
        lines = f"Host lab\n    HostKeyAlias {alias}" if alias else ""
        lab.restart()
        config = lab.config(lines, f"@cert-authority * {lab.authority}\n")
        why = with_us(ares, config)
        assert "\n" not in why
        assert (with_ssh(config), why == "") == (not said, not said), why
        assert said in why
        config = lab.config(lines, f"@cert-authority * {lab.authority}\n{alias or NAME} {lab.keys['ed25519']}\n")
        assert (with_ssh(config), with_us(ares, config)) == (True, "")
    finally:
        lab.sign()
        lab.restart()


GOOD_KEY = f"{NAME} {{ed25519}}\n"
CONFIGS = {
    "nothing more": ("", True),
    "Red Hat": (REDHAT, True),
    "jump as a URI": ("Host lab\n    ProxyJump ssh://experimenter@ares:22 # comment", True),
    "jump by the wrong user": ("Host lab\n    ProxyJump ssh://nobody@ares", False),
    "jump to nowhere": ("Host lab\n    ProxyJump ares:2299", False),
    "jump over two": ("Host lab\n    ProxyJump ares,ares-comp-12", True),
    "a command instead": ("Host lab\n    ProxyCommand ssh -F {folder}/config -W %h:%p ares", True),
    "quotes and comments": ("Host lab # the lab\n    User 'experimenter' # me\n    Port=\"2222\"", True),
    "wrong user": ("Match originalhost lab\n    User nobody", False),
    "wrong port": ("Match final originalhost lab\n    Port 2299\nHost lab\n    Port 2299", False),
    "no agent, no key": ("Host lab\n    IdentityFile none\n    IdentityAgent none", False),
    "a key that is not there": ("Host lab\n    IdentityFile {folder}/none", True),
    "the key by a variable": ("Host lab\n    IdentityFile ${{CHRONOTICK_TEST_KEY}}", True),
    "a key others can read": ("Host lab\n    IdentityFile {folder}/open\n    IdentityAgent none", True),
    "no public keys": ("Host lab\n    PubkeyAuthentication no", False),
    "other methods": ("Host lab\n    PreferredAuthentications password,keyboard-interactive", False),
    "known by a command": (
        "Host lab\n    UserKnownHostsFile none\n    KnownHostsCommand /bin/cat {folder}/extra",
        True,
    ),
    "known to the system": ("Host lab\n    UserKnownHostsFile none\n    GlobalKnownHostsFile {folder}/extra", True),
    "known in a second file": ('Host lab\n    UserKnownHostsFile "{folder}/no such" {folder}/extra', True),
    "known in no file": ("Host lab\n    UserKnownHostsFile none\n    GlobalKnownHostsFile none", False),
    "alias": ("Host lab\n    HostKeyAlias ALIAS\n    UserKnownHostsFile {folder}/extra", True),
    "alias nobody knows": ("Host lab\n    HostKeyAlias other", False),
    "revoked in a list": ("Host lab\n    RevokedHostKeys {folder}/revoked", False),
    "revoked in no file": ("Host lab\n    RevokedHostKeys {folder}/none", False),
    "only rsa": ("Host lab\n    HostKeyAlgorithms rsa-sha2-256", False),
    "a cipher": ("Host lab\n    Ciphers aes256-gcm@openssh.com\n    KexAlgorithms ecdh-sha2-nistp256", True),
    "a cipher the host has not": ("Host lab\n    Ciphers 3des-cbc", False),
    "keys of another type": ("Host lab\n    PubkeyAcceptedAlgorithms rsa-sha2-512", False),
    "exec met": ('Match originalhost lab exec "test %p = 22 -o %h = lab"\n    User experimenter', True),
    "include": ("Include {folder}/included", True),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_ssh_configs_let_the_same_in(ares, lab: Lab, testbed, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lines, expected = CONFIGS[name]
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("CHRONOTICK_TEST_KEY", str(testbed.identity_file))
    (lab.folder / "extra").write_text(f"{NAME} {lab.keys['ed25519']}\nalias {lab.keys['ed25519']}\n")
    (lab.folder / "revoked").write_text(f"{lab.keys['ed25519']} gone\n")
    (lab.folder / "included").write_text("Host lab\n    Compression yes\n")
    (lab.folder / "included").chmod(0o600)
    shutil.copy(testbed.identity_file, lab.folder / "open")
    (lab.folder / "open").chmod(0o644)
    config = lab.config(lines, GOOD_KEY.format(**lab.keys))
    if name == "no agent, no key":
        config.write_text(config.read_text().replace(f"    IdentityFile {testbed.identity_file}\n", ""))
    why = with_us(ares, config)
    assert "\n" not in why
    assert (with_ssh(config), why == "") == (expected, expected), why


def test_a_login_certificate_is_used(ares, lab: Lab, testbed) -> None:
    """A host that lets nobody in but by a certificate takes it from CertificateFile, and from beside the key."""
    key = lab.folder / "login"
    keygen("-t", "ed25519", "-N", "", "-f", str(key))
    keygen("-s", str(lab.folder / "authority"), "-I", "me", "-n", USER, str(key.with_suffix(".pub")))
    authorized = testbed.hosts[NODE].home / ".ssh/authorized_keys"
    before = authorized.read_bytes()
    try:
        authorized.write_text(f'cert-authority,principals="{USER}" {lab.authority}\n')
        known = GOOD_KEY.format(**lab.keys)
        config = lab.config(f"Host lab\n    IdentityFile {key}", known)
        assert (with_ssh(config), with_us(ares, config)) == (True, "")
        (lab.folder / "login-cert.pub").rename(lab.folder / "my certificate")
        assert (with_ssh(config), with_us(ares, config) == "") == (False, False)
        lines = f'Host lab\n    IdentityFile {key}\n    CertificateFile "{lab.folder}/my certificate" # mine'
        config = lab.config(lines, known)
        assert (with_ssh(config), with_us(ares, config)) == (True, "")
    finally:
        authorized.write_bytes(before)


@pytest.mark.parametrize(
    "way", ["IdentityAgent {}", "IdentityAgent $CHRONOTICK_TEST_AGENT", "IdentityAgent SSH_AUTH_SOCK"]
)
def test_the_agent_that_ssh_config_names_is_asked(ares, lab: Lab, testbed, monkeypatch, way: str) -> None:
    path = lab.folder / "agent"
    with ssh_agent(path):
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", testbed.identity_file], check=True, capture_output=True, env=environment)
        monkeypatch.setenv("CHRONOTICK_TEST_AGENT", str(path))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path) if "SOCK" in way else "/none")
        config = lab.config("Host lab\n    IdentitiesOnly no\n    " + way.format(path), GOOD_KEY.format(**lab.keys))
        config.write_text(config.read_text().replace(f"    IdentityFile {testbed.identity_file}\n", "", 1))
        assert (with_ssh(config), with_us(ares, config)) == (True, "")
        config.write_text(f"Host lab\n    IdentityAgent none\n{config.read_text()}")
        assert (with_ssh(config), with_us(ares, config) == "") == (False, False)


def test_rsync_goes_the_same_way(ares, lab: Lab, testbed) -> None:
    """Over two hops, with a name that only ssh_config knows, and a known_hosts with a space in its name."""
    config = lab.config(
        "Host lab\n    ProxyJump ares,ares-comp-12\n    RemoteForward 9 localhost:9", GOOD_KEY.format(**lab.keys)
    )
    nodes = [node.model_copy(update={"host": "lab"}) for node in ares.nodes]
    direct = ares.model_copy(update={"gateway": None, "nodes": nodes})
    (lab.folder / "home").mkdir()
    with connect(direct, with_ssh_config(None, str(config))) as cluster:
        host = cluster.plain["comp11"]
        host.write("~/same-way", b"here", 0o600)
        assert host.fetch("~/.", lab.folder / "home") == "rsync"
        host.ask("rm same-way")
    assert (lab.folder / "home/same-way").read_bytes() == b"here"


def test_what_is_used_for_40_hosts_is_what_ssh_says(lab: Lab, testbed) -> None:
    names = [f"ares-comp-{number}" for number in range(1, 31)]
    names += ["ares", "lab", "LAB", "other", "10.0.0.1", "a.b.c", "gate", "x", "ares-comp-11.example.org", "localhost"]
    assert len(names) == 40
    lines = (
        "Host ares-comp-2* !ares-comp-22 # some\n    User 'somebody else'\n    ProxyJump ssh://u@gate:2200,ares\n"
        "Match host *.example.org originalhost !x\n    IdentityAgent none\n    HostKeyAlias %n\n"
        'Match exec "test %n = other"\n    UserKnownHostsFile "{folder}/known hosts" {folder}/%n\n'
        f"{REDHAT}    Port 2022\n"
    )
    config = lab.config(lines.replace("HostKeyAlias %n", "HostKeyAlias Plain"), "")
    for name in names:
        done = subprocess.run(
            ["ssh", "-T", "-G", "-F", str(config), name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        said = [line.split(" ", 1) for line in done.stdout.splitlines()]
        first = dict(reversed(said))
        options, notes = in_force(Question(name, str(config)))
        assert notes == ()
        assert (options.host, options.user, str(options.port)) == (first["hostname"], first["user"], first["port"])
        keys = [under_home(value) for keyword, value in said if keyword == "identityfile"]
        assert list(options.identity_files) == keys
        jumps = ",".join(
            (f"{hop.user}@" if hop.user else "") + hop.host + (f":{hop.port}" if hop.port else "")
            for hop in options.jumps
        )
        assert jumps == first.get("proxyjump", "").replace("ssh://", "")
        assert (options.agent is None) == (first.get("identityagent") == "none" or "SSH_AUTH_SOCK" not in os.environ)
        assert " ".join(options.user_known_hosts) == first["userknownhostsfile"]
        assert " ".join(options.global_known_hosts) == first["globalknownhostsfile"]
        assert (options.host_key_alias or "") == first.get("hostkeyalias", "")
