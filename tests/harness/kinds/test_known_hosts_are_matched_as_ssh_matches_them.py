"""known_hosts is read line by line and matched as ssh matches it; what to do depends on who knows the host."""

from __future__ import annotations

import base64
import dataclasses
import shutil
import subprocess
from pathlib import Path

import paramiko
import pytest

from harness.errors import UnreachableError
from harness.ssh.cluster import connect, with_ssh_config
from harness.ssh.config.options import SshOptions
from harness.ssh.trust import known_hosts
from harness.ssh.trust.host_keys import HostKeyError, HostKeys, Trust

needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")

KEY = paramiko.Ed25519Key(data=paramiko.Message().add_string("ssh-ed25519").add_string(b"\x09" * 32).asbytes())
ECDSA = paramiko.ECDSAKey.generate()


def written(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def options(**changes) -> SshOptions:
    return dataclasses.replace(SshOptions(name="node", host="node.example.org", user="u", port=22), **changes)


def verdict(tmp_path: Path, content: bytes | str, key: paramiko.PKey = KEY, **changes) -> str:
    """Return ``believed``, or why not."""
    path = tmp_path / "known hosts"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    policy = changes.pop("policy", "reject")
    files = changes.pop("files", (str(path),))
    try:
        HostKeys(options(user_known_hosts=files, **changes), Trust(policy)).believe(key, None)
    except HostKeyError as error:
        said = str(error)
    else:
        said = "believed"
    assert "\n" not in said
    return said


GOOD = f"node.example.org {written(KEY)}\n"
SK = base64.b64encode(
    paramiko.Message().add_string("sk-ssh-ed25519@openssh.com").add_string(b"k" * 32).add_string("ssh:").asbytes()
).decode()


@pytest.mark.parametrize(
    "odd",
    [
        b"node.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ",
        b"node.example.org ssh-ed25519",
        b"node.example.org",
        b"node.example.org ssh-ed25519 !!!!",
        b"node.example.org ssh-ed25519 AAAA",
        b"node.example.org ssh-dss AAAAB3NzaC1kc3MAAACBAP",
        b"node.example.org 1024 35 1234567890123",
        b"caf\xe9,node.example.org ssh-ed25519 \xe9\xe9",
        b"\xff\xfe\x00n\x00o",
        b"@cert-authority",
        b"@cert-authority * ssh-rsa AAAA",
        b"@revoked",
        b"@revoked node.example.org",
        b"@nonsense * ssh-ed25519 AAAA",
        b"|1|broken ssh-ed25519 AAAA",
        b"|1|!!!|!!! ssh-ed25519 AAAA",
        b"|2|x|y ssh-ed25519 AAAA",
        b"\0\0\0\0",
        b"#",
        b",,,! ssh-ed25519 AAAA",
        b"<<<<<<< HEAD",
    ],
)
def test_an_odd_line_hides_no_other(tmp_path: Path, odd: bytes) -> None:
    for content in (odd + b"\n" + GOOD.encode(), GOOD.encode() + odd, odd + b"\r\n" + GOOD.encode()):
        assert verdict(tmp_path, content) == "believed"
    assert verdict(tmp_path, odd).startswith("its host key is unknown")


def salted(name: str) -> str:
    return known_hosts.hashed(name, b"s" * 20)


@pytest.mark.parametrize(
    ("hosts", "changes", "believed"),
    [
        ("NODE.Example.ORG", {}, True),
        ("node.example.org", {"host": "NODE.example.org"}, True),
        ("*.example.org", {}, True),
        ("node.exampl?.org", {}, True),
        ("node.*,!node.example.org", {}, False),
        ("!other.*,node.*", {}, True),
        ("a,b,node.example.org,c", {}, True),
        ("*", {}, True),
        ("[node.example.org]:22", {}, False),
        ("[node.example.org]:2222", {"port": 2222}, True),
        ("node.example.org", {"port": 2222}, True),
        ("[*]:2222", {"port": 2222}, True),
        ("[node.example.org]:2223", {"port": 2222}, False),
        ("node", {}, False),
        ("node", {"host_key_alias": "node"}, True),
        ("node.example.org", {"host_key_alias": "node"}, False),
        ("node", {"host_key_alias": "node", "port": 2222}, True),
        ("[node]:2222", {"host_key_alias": "node", "port": 2222}, False),
        (salted("node.example.org"), {}, True),
        (salted("Node.Example.org"), {}, True),
        (salted("other"), {}, False),
        (salted("[node.example.org]:2222"), {"port": 2222}, True),
        (salted("node.example.org") + "x", {}, False),
        ("10.0.0.7", {"host": "10.0.0.7"}, True),
        ("10.0.*", {"host": "10.0.0.7"}, True),
        ("fe80::1%eth0", {"host": "fe80::1%eth0"}, True),
        ("node[.]example.org", {}, False),
        ("node.example.org.", {}, False),
    ],
)
def test_names_are_matched_as_ssh_matches_them(tmp_path: Path, hosts: str, changes: dict, believed: bool) -> None:
    answer = verdict(tmp_path, f"{hosts} {written(KEY)} a comment\n", **changes)
    assert (answer == "believed") == believed, answer
    if not believed:
        assert "unknown" in answer


@needs_keygen
def test_the_same_lines_are_found_as_by_ssh_keygen(tmp_path: Path) -> None:
    """For 40 names the lines that are about a host are those of ``ssh-keygen -F``."""
    first = [
        "node",
        "NODE",
        "*.example.org",
        "a,b",
        "!c,*.c",
        "[node]:2222",
        "n?de",
        salted("hash"),
        "10.1.*",
        "[*]:23",
    ]
    path = tmp_path / "known"
    path.write_text("# first\n\n" + "".join(f"{hosts} {written(KEY)}\n" for hosts in first))
    stems = ["node", "Node", "x.example.org", "a", "b", "c", "d.c", "nide", "hash", "10.1.2.3"]
    names = [name for stem in stems for name in (stem, f"[{stem}]:2222", f"[{stem}]:23", stem.upper())]
    assert len(names) == 40
    for name in names:
        done = subprocess.run(
            ["ssh-keygen", "-F", name.lower(), "-f", str(path)], capture_output=True, text=True, check=False
        )
        found = [int(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("# Host")]
        read = known_hosts.known_in_files([str(path)], name)
        assert [int(entry.place.rpartition(":")[2]) for entry in read.entries] == found, name


@pytest.mark.parametrize("policy", ["reject", "accept-new"])
@pytest.mark.parametrize("hosts", ["node.example.org", "*", "NODE.*", salted("node.example.org")])
@pytest.mark.parametrize("first", [True, False])
def test_a_revoked_key_is_never_believed(tmp_path: Path, policy: str, hosts: str, first: bool) -> None:
    line = f"@revoked {hosts} {written(KEY)}\n"
    answer = verdict(tmp_path, line + GOOD if first else GOOD + line, policy=policy)
    assert answer.startswith("its host key is revoked")
    assert "known hosts:" in answer
    assert verdict(tmp_path, line, policy=policy).startswith("its host key is revoked")


def test_a_revoked_key_is_not_believed_by_its_bare_name_either(tmp_path: Path) -> None:
    """On another port ssh asks for the bare name where it knows nothing of the whole one."""
    content = f"node.example.org {written(KEY)}\n@revoked node.example.org {written(KEY)}\n"
    assert verdict(tmp_path, content, port=2222).startswith("its host key is revoked")
    assert verdict(tmp_path, content, port=2222, policy="accept-new").startswith("its host key is revoked")


def test_another_key_and_another_host_are_not_revoked(tmp_path: Path) -> None:
    assert verdict(tmp_path, f"@revoked * {written(ECDSA)}\n{GOOD}") == "believed"
    assert verdict(tmp_path, f"@revoked other {written(KEY)}\n{GOOD}") == "believed"


def test_an_authority_is_no_host_key(tmp_path: Path) -> None:
    assert verdict(tmp_path, f"@cert-authority * {written(KEY)}\n").startswith("its host key is unknown")


def test_all_files_are_read_wherever_the_key_is(tmp_path: Path) -> None:
    second = tmp_path / "second file"
    second.write_text(GOOD)
    third = tmp_path / "third"
    third.write_text(f"@revoked * {written(KEY)}\n")
    missing, folder = str(tmp_path / "none"), str(tmp_path)
    known = str(tmp_path / "known hosts")
    assert verdict(tmp_path, "", files=(known, missing, folder, str(second))) == "believed"
    assert verdict(tmp_path, "", files=(missing,), global_known_hosts=(str(second),)) == "believed"
    answer = verdict(tmp_path, GOOD, files=(known, str(second)), global_known_hosts=(str(third),))
    assert answer.startswith("its host key is revoked")


def test_the_advice_depends_on_who_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = verdict(tmp_path, "")
    assert unknown == ("its host key is unknown; connect once with ssh to check it, or set host_key_policy: accept-new")
    changed = verdict(tmp_path, f"node.example.org {written(ECDSA)}\n")
    assert changed.startswith("its host key is not the known one")
    assert "known hosts:1" in changed
    assert "ssh-keygen -R 'node.example.org'" in changed
    cut = verdict(tmp_path, "node.example.org ssh-ed25519 AAAAC3Nz\n")
    assert "known hosts:1: its key is cut off or damaged" in cut
    token = verdict(tmp_path, f"node.example.org sk-ssh-ed25519@openssh.com {SK}\n")
    assert "ssh knows another one of it" in token
    assert "known hosts:1" in token
    assert "StrictHostKeyChecking no" in verdict(tmp_path, "", strict_checking="no")
    own = HostKeys(options(user_known_hosts=("/none",)), Trust("reject", "/none"))
    with pytest.raises(HostKeyError, match="known_hosts_file"):
        own.believe(KEY, None)
    monkeypatch.setattr(known_hosts, "_about", lambda *_: False)
    if shutil.which("ssh-keygen"):
        assert "ssh knows it (ssh-keygen -F node.example.org" in verdict(tmp_path, GOOD)


def test_accept_new_never_glues_lines_and_hides_names_where_asked(tmp_path: Path) -> None:
    assert verdict(tmp_path, f"other {written(ECDSA)}", policy="accept-new", hash_known_hosts=True) == "believed"
    lines = (tmp_path / "known hosts").read_text().splitlines()
    assert len(lines) == 2
    assert lines[0] == f"other {written(ECDSA)}"
    assert lines[1].startswith("|1|")
    assert verdict(tmp_path, (tmp_path / "known hosts").read_bytes()) == "believed"
    assert "not the known one" in verdict(tmp_path, (tmp_path / "known hosts").read_bytes(), ECDSA, policy="accept-new")


def test_accept_new_without_a_file_believes_one_key_only() -> None:
    keys = HostKeys(options(), Trust("accept-new"))
    keys.believe(KEY, None)
    keys.believe(KEY, None)
    with pytest.raises(HostKeyError, match="not the known one"):
        keys.believe(ECDSA, None)


def test_the_key_that_is_known_is_asked_for_first(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(f"node.example.org {written(ECDSA)}\n")
    offered = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "ssh-ed25519-cert-v01@openssh.com"]
    keys = HostKeys(options(user_known_hosts=(str(path),)), Trust("reject"))
    assert keys.preferred(offered) == ["ecdsa-sha2-nistp256", "ssh-ed25519", "rsa-sha2-512"]
    path.write_text(
        f"@cert-authority *.org {written(KEY)}\nnode.example.org ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQE=\n"
    )
    assert keys.preferred(offered)[0] == "ssh-ed25519-cert-v01@openssh.com"


@pytest.mark.parametrize(
    ("command", "believed"),
    [
        ("/bin/sh -c 'echo \"$0 {key}\"' %H", True),
        ("/bin/echo '*.example.org {key}'", True),
        ("/bin/echo '@revoked * {key}'", False),
        ("/bin/false", False),
        ("/no/such/program", False),
        ("/bin/echo %Z", False),
    ],
)
def test_a_known_hosts_command_is_asked(tmp_path: Path, command: str, believed: bool) -> None:
    text = command.format(key=written(KEY))
    assert (verdict(tmp_path, "", known_hosts_command=text) == "believed") == believed


@needs_keygen
def test_revoked_host_keys_are_never_believed(tmp_path: Path) -> None:
    public = tmp_path / "revoked.pub"
    public.write_text(written(KEY) + "\n")
    krl = tmp_path / "krl"
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(krl), str(public)], check=True, capture_output=True)
    for file in (krl, public):
        assert verdict(tmp_path, GOOD, revoked_host_keys=str(file)).startswith("its host key is revoked")
        assert verdict(tmp_path, f"* {written(ECDSA)}\n", ECDSA, revoked_host_keys=str(file)) == "believed"
    assert "cannot tell" in verdict(tmp_path, GOOD, revoked_host_keys=str(tmp_path / "none"))


@pytest.mark.parametrize(
    "odd", [b"\xe9 ssh-rsa \xe9\n", b"@cert-authority * ssh-rsa AAAA\n", b"@revoked\n", b"127.0.0.1"]
)
def test_a_connection_stands_beside_an_odd_line(hosts, tmp_path: Path, odd: bytes) -> None:
    known = tmp_path / "known hosts"
    known.write_bytes(odd + b"\n" + Path(hosts.known_hosts_file).read_bytes())
    config = tmp_path / "config"
    config.write_text(f'Host *\n    UserKnownHostsFile "{tmp_path}/none" "{known}"\n')
    reading = hosts.model_copy(update={"known_hosts_file": None})
    with connect(reading, with_ssh_config(None, str(config))) as cluster:
        assert cluster.plain["comp11"].ask("echo here") == "here\n"
    known.write_bytes(odd)
    with (
        connect(reading, with_ssh_config(None, str(config))) as cluster,
        pytest.raises(UnreachableError, match="its host key is unknown") as caught,
    ):
        cluster.plain["comp11"].ask("true")
    assert "\n" not in str(caught.value)
