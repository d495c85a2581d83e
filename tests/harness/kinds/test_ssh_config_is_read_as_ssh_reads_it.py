"""ssh_config is read by ssh, or as ssh reads it; whoever needs no SSH never reads it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.ssh.cluster import connect, with_ssh_config
from harness.ssh.config import openssh
from harness.ssh.config import options as ssh_options
from harness.ssh.config import reader as ssh_config
from harness.ssh.config.options import Hop, hop_of, in_force
from harness.ssh.config.question import Question

needs_ssh = pytest.mark.skipif(openssh.client() is None, reason="no OpenSSH client on this machine")

BUSY = r"""# the file of somebody who has used it for years
IgnoreUnknown UseKeychain
UseKeychain yes
Include {folder}/more/*.conf
Host comp-* !comp-9 # trailing comment
    HostName %h.cluster.example.org   # and here
    User 'alice'
    IdentityFile '{folder}/my keys/id' # quoted
    IdentityFile ~/.ssh/%n_%r_%h_%p
    IdentityFile "${{CHRONOTICK_TEST_KEYS}}/id %%"
Host comp-1 comp-2
    CertificateFile ~/.ssh/%r-cert.pub
    IdentitiesOnly=yes
    ProxyJump ssh://jumper@gate.example.org:2222
Host comp-3
    ProxyJump first,user@second:23,third
    KnownHostsCommand /usr/bin/printf "%%s" "%H"
Host comp-4
    ProxyCommand nc -X 5 "%h" %p # kept: the shell's
    ProxyJump never
Host comp-5
    ProxyJump none
    IdentityAgent ~/%n.sock
Host comp-6
    IdentityAgent none
    UserKnownHostsFile "{folder}/my keys/known hosts" ~/.ssh/%k_known /tmp/h_%n
    GlobalKnownHostsFile "{folder}/my keys/known hosts" /etc/other
Host comp-7
    IdentityAgent $CHRONOTICK_TEST_AGENT
    HostKeyAlias Big-Name
    CheckHostIP yes
Host comp-8
    Port = 2200
    ConnectTimeout 1m5s
    AddressFamily inet
    BindAddress 127.0.0.1
    PubkeyAuthentication no
Match host=*.cluster.example.org,!comp-2.* user=alice
    Port 2022
Match originalhost comp-1?
    User bob
Match exec "test %n = run-1"
    User ran
Match !exec "true"
    User never
Match localuser nobody-at-all
    User never
Match final host cap.example.org
    Port 99
Host q\"uoted "with space" cap
    User quoter
Match final all
    HashKnownHosts no
    RevokedHostKeys {folder}/revoked
"""
HOSTS = [
    *(f"comp-{number}" for number in range(1, 21)), "cap", "CAP", "Cap.Example.org", "cap.example.org", "run-1",
    "run-2", "10.0.0.7", "gate.example.org", "second", "third", "included", "included-2", "not-included", "nested",
    "comp", "comp-1.cluster.example.org", "localhost", "x_y", "UPPER", "comp-9.cluster.example.org",
]  # fmt: skip
MORE = "Host included*\n    User inner\n    Port 7\nHost not-included\nInclude deeper.conf\nMatch all\n    Port 222\n"


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "more").mkdir()
    (tmp_path / "my keys").mkdir()
    (tmp_path / "my keys/known hosts").touch()
    (tmp_path / "more/a.conf").write_text(MORE)
    (tmp_path / "more/a.conf").chmod(0o600)
    monkeypatch.setenv("CHRONOTICK_TEST_KEYS", str(tmp_path / "keys of a variable"))
    monkeypatch.setenv("CHRONOTICK_TEST_AGENT", str(tmp_path / "agent.sock"))
    path = tmp_path / "busy"
    path.write_text(BUSY.format(folder=tmp_path))
    return path


def without_xmss(files):
    return tuple(path for path in files if not path.endswith("id_xmss"))  # Debian's ssh knows them, others do not


@needs_ssh
def test_our_own_reading_is_that_of_ssh_for_40_hosts(busy: Path) -> None:
    assert len(HOSTS) == 40
    for host in HOSTS:
        question = Question(host, str(busy), (("ConnectTimeout", "7"),) if host == "cap" else ())
        asked, _ = in_force(question)
        said, notes = ssh_config.read(question)
        read = ssh_options.options_from(host, said)
        assert notes == ()
        for field in dataclasses.fields(asked):
            if field.name not in {"algorithms", "identity_files"}:
                assert getattr(read, field.name) == getattr(asked, field.name), (host, field.name)
        assert without_xmss(read.identity_files) == without_xmss(asked.identity_files), host


@needs_ssh
def test_what_is_in_force_is_what_ssh_says(busy: Path, tmp_path: Path) -> None:
    keys = (f"{tmp_path}/my keys/id", "/.ssh/comp-1_alice_comp-1.cluster.example.org_222", "keys of a variable/id %")
    options, _ = in_force(Question("comp-1", str(busy)))
    assert (options.host, options.user, options.port) == ("comp-1.cluster.example.org", "alice", 222)
    assert all(path.endswith(end) for path, end in zip(options.identity_files, keys, strict=True))
    assert options.jumps == (Hop("gate.example.org", "jumper", 2222),)
    assert options.identities_only
    assert options.certificate_files[0].endswith("/.ssh/alice-cert.pub")
    assert in_force(Question("comp-3", str(busy)))[0].jumps == (Hop("first"), Hop("second", "user", 23), Hop("third"))
    command = in_force(Question("comp-4", str(busy)))[0].proxy_command
    assert command == 'nc -X 5 "comp-4.cluster.example.org" 222 # kept: the shell\'s'
    assert in_force(Question("comp-6", str(busy)))[0].agent is None
    assert in_force(Question("comp-6", str(busy)))[0].user_known_hosts[0] == f"{tmp_path}/my keys/known hosts"
    assert in_force(Question("comp-7", str(busy)))[0].agent == str(tmp_path / "agent.sock")
    assert in_force(Question("comp-7", str(busy)))[0].known_as == "big-name"


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("h", Hop("h")),
        ("u@h:22", Hop("h", "u", 22)),
        ("ssh://u@h:22", Hop("h", "u", 22)),
        ("ssh://h/", Hop("h")),
        ("u@[::1]:23", Hop("::1", "u", 23)),
        ("a@b@h", Hop("h", "a@b")),
    ],
)
def test_every_form_of_a_jump_is_understood(text: str, hop: Hop) -> None:
    assert hop_of(text) == hop


BROKEN = {
    "Match host=x": b"Match host=x\n    User y\n",
    "Match final all": b"Match final all\n    ForwardAgent no\n",
    "Match of a later ssh": b"Match sometime later\n    User y\n",
    "Match alone": b"Match\n",
    "Match exec without its command": b"Match exec\n",
    "Host alone": b"Host\n",
    "Latin-1": b"Host caf\xe9\n    User \xe9mile # \xff\n",
    "open quotes": b'Host x\n    IdentityFile "abc\n',
    "no keyword": b"NoSuchKeyword yes\n",
    "no port": b"Host *\n    Port abc\n",
    "zeros": b"\0\0\0\n",
    "itself": b"Include config\n",
    "no variable": b"Host *\n    IdentityFile ${NO_SUCH_VARIABLE}/x\n",
    "UTF-16": "Host x\n".encode("utf-16"),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_task_that_needs_no_ssh_never_reads_it(project, account, content: bytes) -> None:
    for arguments in (("--list",), ("testbed-down", "--name", "nosuch"), ("local",), ("local", "status")):
        account.write(b"")
        expected = account.fab(project, *arguments)
        account.write(content)
        assert account.fab(project, *arguments) == expected
        assert "Traceback" not in expected[1]


@pytest.mark.parametrize("content", [BROKEN["Match host=x"], BROKEN["open quotes"]], ids=["valid", "broken"])
def test_the_embedded_cluster_comes_up_beside_it(project, account, content: bytes) -> None:
    account.write(content)
    (account.drop_ins / "50-redhat.conf").write_bytes(content)
    code, printed = account.fab(project, "local", "check")
    assert code == 0, printed
    assert "Traceback" not in printed


def test_a_folder_in_its_place_and_fab_elsewhere(project, account) -> None:
    (account.home / ".ssh/config").mkdir()
    assert account.fab(project, "testbed-down", "--name", "nosuch")[0] == 0
    code, printed = account.fab(project, "-S", str(account.home / "none"), "testbed-down", "--name", "nosuch")
    assert (code, "got no such file" in printed, "Traceback" in printed) == (2, True, False)


REDHAT = (
    "# /etc/ssh/ssh_config.d/50-redhat.conf\nMatch final all\n    GSSAPIAuthentication yes\n"
    "    ForwardX11Trusted yes\n    SendEnv LANG LC_*\n"
)


@needs_ssh
@pytest.mark.parametrize(
    "content",
    [
        REDHAT,
        "Match final all\n    Port 1\n",  # first values win: the cluster file's port was first
        "Match host=127.* exec true\n    ForwardAgent no # comment\n",
        "Host 127.*\n    IdentityAgent 'none' # comment\n    ControlMaster auto\n    ControlPath ~/%C\n",
    ],
)
def test_a_real_cluster_is_reached_with_such_a_drop_in(project, hosts, account, content: str) -> None:
    project.add_cluster("lab", hosts)
    (account.drop_ins / "50-redhat.conf").write_text(content)
    code, printed = account.fab(project, "lab", "check")
    assert code == 0, printed
    assert "Traceback" not in printed


@needs_ssh
@pytest.mark.parametrize("name", ["open quotes", "no keyword", "no port", "Match alone", "no variable", "itself"])
def test_what_ssh_refuses_is_one_line_that_names_it(project, hosts, account, name: str) -> None:
    project.add_cluster("lab", hosts)
    account.write(BROKEN[name])
    code, printed = account.fab(project, "lab", "check")
    assert code == 2, printed
    lines = [line for line in printed.splitlines() if not line.startswith("agent bundle")]
    assert len(lines) == 1, printed
    assert lines[0].startswith("ssh_config: ")
    if name not in {"no variable", "itself"}:  # where ssh names no file
        assert f"{account.home}/.ssh/config" in lines[0]
        assert "line" in lines[0]


def test_without_ssh_an_unknown_match_is_not_met_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssh, "client", lambda: None)
    path = tmp_path / "config"
    path.write_text("Host a\n    Port 3\nMatch localnetwork 10.0.0.0/8\n    User z\nMatch sometime=5 all\n    User y\n")
    options, notes = in_force(Question("a", str(path)))
    assert options.port == 3
    assert options.user not in {"y", "z"}
    assert [note for note in notes if f"{path} line 3" in note and "localnetwork" in note and "not met" in note]
    assert [note for note in notes if f"{path} line 5" in note]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('Host x\n  IdentityFile "abc\n', "line 2: invalid quotes"),
        ("Host x\n  Port abc\n", "line 2: Port"),
        ("Match\n", "line 1: Match"),
        ("Match exec\n", "line 1: Match exec"),
        ("Host x\n  ConnectTimeout soon\n", "line 2: ConnectTimeout"),
        ("Include {path}\n", "at most 16 deep"),
        ("Host x\n  HostName a b\n", "line 2: hostname"),
        ("Host x\n  IdentityFile %Z\n", "got %Z"),
        ("Host x\n  ProxyJump ://\n", "ProxyJump"),
    ],
)
def test_without_ssh_what_it_would_refuse_is_refused(tmp_path: Path, monkeypatch, content: str, said: str) -> None:
    monkeypatch.setattr(openssh, "client", lambda: None)
    path = tmp_path / "config"
    path.write_text(content.format(path=path))
    with pytest.raises(ConfigError, match=said) as caught:
        in_force(Question("x", str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", ["exec echo unknown option -- G >&2; exit 255", "echo hello"])
def test_an_ssh_that_knows_no_such_question_is_not_taken_for_an_answer(tmp_path: Path, monkeypatch, words: str) -> None:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{words.removeprefix('exec ')}\n")
    program.chmod(0o755)
    monkeypatch.setattr(openssh, "client", lambda: str(program))
    path = tmp_path / "config"
    path.write_text("Host a\n    Port 3\n")
    options, notes = in_force(Question("a", str(path)))
    assert options.port == 3
    assert "cannot ask ssh" in notes[0]


@needs_ssh
def test_what_is_in_force_and_cannot_be_given_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "Host a\n    PKCS11Provider /usr/lib/token.so\n    VerifyHostKeyDNS yes\n    ProxyUseFdpass yes\n"
        "    BindInterface lo\n    SecurityKeyProvider /usr/lib/sk.so\n    NoHostAuthenticationForLocalhost yes\n"
    )
    _, notes = in_force(Question("a", str(path)))
    for keyword in (
        "pkcs11provider", "verifyhostkeydns", "proxyusefdpass", "bindinterface", "securitykeyprovider", "nohostauth",
    ):  # fmt: skip
        assert [note for note in notes if keyword in note and "is not obeyed here; " in note], keyword
    assert in_force(Question("b", str(path)))[1] == ()


@needs_ssh
@pytest.mark.parametrize("reader", ["ssh", "ours"])
def test_a_match_that_does_not_end_has_a_deadline(tmp_path: Path, monkeypatch, reader: str) -> None:
    from harness.ssh.config import match

    if reader == "ours":
        monkeypatch.setattr(openssh, "client", lambda: None)
    monkeypatch.setattr(openssh, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(match, "EXEC_TIMEOUT_S", 0.5)
    path, began = tmp_path / "config", tmp_path / "began"
    path.write_text(f'Match exec "echo $$ > {began}; exec sleep 61.8"\n    User y\n')
    begin = time.monotonic()
    with pytest.raises(ConfigError, match="Match exec"):
        in_force(Question("a", str(path)))
    assert time.monotonic() - begin < 30
    assert not began.exists() or _has_ended(int(began.read_text() or 0))


def _has_ended(pid: int) -> bool:
    """Return whether a process that was killed has gone, or soon has: who is not its parent cannot wait for it."""
    deadline = time.monotonic() + 250
    while time.monotonic() < deadline:
        if not pid or not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes():
            return True
        time.sleep(0.01)
    return False


@needs_ssh
def test_rsync_asks_ssh_what_we_asked(hosts, tmp_path: Path, busy: Path) -> None:
    """The options of our connection are those that ``ssh -G`` names for rsync's command, hop by hop."""
    nodes = [node.model_copy(update={"host": "comp-8"}) if node.id == "comp11" else node for node in hosts.nodes]
    with connect(hosts.model_copy(update={"nodes": nodes}), with_ssh_config(None, str(busy))) as cluster:
        host = cluster.plain["comp11"]
        answer = subprocess.run(
            [*host.ssh_argv, "-G", "comp-8"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        options = host.route.options
    assert f"hostname {options.host}" in answer
    assert f"port {options.port}" in answer
    assert f"user {options.user}" in answer
    assert f"userknownhostsfile {hosts.known_hosts_file}" in answer
    assert f"connecttimeout {options.connect_timeout_s}" in answer
    assert "stricthostkeychecking true" in answer
    assert f"identityfile {options.identity_files[0]}" in answer


@needs_ssh
@pytest.mark.parametrize(
    "setting",
    [
        "RemoteCommand tmux attach",
        "SessionType none",
        "RequestTTY force",
        "StdinNull yes",
        "ForkAfterAuthentication yes",
        "PermitLocalCommand yes\n  LocalCommand echo here",
    ],
)
def test_what_is_set_for_sessions_does_not_reach_rsync(hosts, tmp_path: Path, setting: str) -> None:
    """Two of these end rsync with `unexplained error (code 255)`, others spoil its first bytes."""
    (tmp_path / "config").write_text(f"Host *\n  {setting}\n")
    node = next(node for node in hosts.nodes if node.id == "comp11")
    with connect(hosts, with_ssh_config(None, str(tmp_path / "config"))) as cluster:
        words = [*cluster.plain["comp11"].ssh_argv, node.host, "cat"]
        said = subprocess.run(words, input=b"as sent\r\n\xff", capture_output=True, timeout=250, check=False)
        in_force_there = subprocess.run([*words[:-1], "-G", "cat"], capture_output=True, text=True, check=True).stdout
    assert (said.returncode, said.stdout) == (0, b"as sent\r\n\xff"), said.stderr
    for usual in ("requesttty false", "sessiontype default", "stdinnull no", "forkafterauthentication no"):
        assert usual in in_force_there.splitlines()
    assert "remotecommand" not in in_force_there


@needs_ssh
@pytest.mark.parametrize("jumps", ["Host *\n  ProxyJump a\n", "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n"])
def test_a_jump_that_leads_in_a_circle_is_refused(hosts, tmp_path: Path, jumps: str) -> None:
    (tmp_path / "config").write_text(jumps)
    nodes = [node.model_copy(update={"host": "a", "port": None, "user": None}) for node in hosts.nodes[:1]]
    config = hosts.model_copy(update={"nodes": nodes})
    with pytest.raises(ConfigError, match=r"leads in a circle|jumphost loop"):
        connect(config, with_ssh_config(None, str(tmp_path / "config")))


def test_fabric_opens_no_ssh_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of fabric's configuration is made here parses no file of ssh's."""
    import paramiko

    monkeypatch.setattr(paramiko.SSHConfig, "parse", lambda *_: pytest.fail("fabric read an ssh_config"))
    (tmp_path / "config").write_text("Host a\n")
    settings = with_ssh_config(None, str(tmp_path / "config"))
    settings.clone().load_ssh_config()
    assert shutil.which("ssh") is None or in_force(Question("a", str(tmp_path / "config")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbfHost ares\n  User x\n", r"line 1: expected a keyword of ssh_config\(5\), got"),
        ("Host ares\n  User x\n".encode("utf-16"), r"line 1: expected a keyword of ssh_config\(5\), got"),
        (b"Host other\n  Bogus yes\n", r"line 2: expected a keyword of ssh_config\(5\), got 'bogus'"),
        (b"IgnoreUnknown Other\nBogus yes\n", r"line 2: expected a keyword of ssh_config\(5\), got 'bogus'"),
    ],
)
def test_without_ssh_a_keyword_that_it_would_not_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    """Passed over, a first `Host` that is misread would let what is below it hold for every host."""
    monkeypatch.setattr(openssh, "client", lambda: None)
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        in_force(Question("a", str(path)))


def test_without_ssh_what_may_be_unknown_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssh, "client", lambda: None)
    path = tmp_path / "config"
    path.write_text("IgnoreUnknown UseKey*,bogus\nUseKeychain yes\nBogus yes\nGSSAPIKeyExchange yes\nUser y\n")
    assert in_force(Question("a", str(path)))[0].user == "y"


def test_a_file_that_can_be_read_but_once_is_refused(hosts, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config")
    with pytest.raises(ConfigError, match="got one that is no regular file"):
        connect(hosts, with_ssh_config(None, str(tmp_path / "config")))
