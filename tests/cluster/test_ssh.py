"""SSH as clusters have it: the user's ssh_config, gateways, keys, deadlines, noisy logins, and many nodes at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import fabric
import pytest
from ssh_agents import ssh_agent

from harness.errors import LostError, UnreachableError
from harness.remote import COMMAND_TIMEOUT_S, Result
from harness.ssh import remote as ssh_remote
from harness.ssh import rsync
from harness.ssh.cluster import connect
from harness.testbed.topology import HOME, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.cluster import Cluster
    from harness.configuration.cluster import ClusterConfig
    from harness.testbed.testbed import Testbed

TMP = "/tmp"  # noqa: S108 - the hosts' own


@pytest.fixture
def ssh(tmp_path: Path, testbed: Testbed) -> Callable[..., fabric.Config]:
    """Return a function that puts lines before the testbed's ssh_config and makes fabric's settings of it."""

    def written(lines: str, *, rest: bool = True) -> fabric.Config:
        path = tmp_path / "ssh config"
        path.write_text(lines + "\n" + (testbed.ssh_config.read_text() if rest else ""))
        return fabric.Config(runtime_ssh_path=str(path))

    return written


def direct(ares: ClusterConfig) -> ClusterConfig:
    """Return the cluster without a gateway of its own: ssh_config has to know the way."""
    return ares.model_copy(update={"gateway": None})


def came_from(cluster: Cluster, node: str) -> str:
    """Return the address that the node's sshd was reached from."""
    return cluster.plain[node].ask("echo $SSH_CONNECTION").split()[0]


def test_proxy_jump_over_one_and_two_hops(ares, ssh):
    """Hops are taken in the order they are written: the last one is who knocks at the node."""
    settings = ssh("Host ares-comp-12\n    ProxyJump ares,ares-comp-11\n")
    with connect(direct(ares), settings) as cluster:
        assert came_from(cluster, "comp11") == "172.20.1.1"
        assert came_from(cluster, "comp12") == "172.20.101.11"


def test_rsync_takes_the_same_way(ares, ssh, tmp_path):
    """What fabric reads from ``fab -S``, rsync's ssh reads too: two hops, keys and known hosts."""
    settings = ssh("Host ares-comp-12\n    ProxyJump ares,ares-comp-11\n")
    with connect(direct(ares), settings) as cluster:
        cluster.plain["comp12"].write("~/note", b"here", 0o600)
        (tmp_path / "home").mkdir()
        assert cluster.plain["comp12"].fetch("~/.", tmp_path / "home") == "rsync"
    assert (tmp_path / "home/note").read_bytes() == b"here"


@contextmanager
def second_sshd(testbed: Testbed) -> Iterator[None]:
    """Run another sshd on comp-11, on port 2222."""
    process = testbed.hosts["ares-comp-11"].start(["/usr/sbin/sshd", "-D", "-e", "-p", "2222"])
    try:
        assert "listening on 0.0.0.0 port 2222" in process.stderr.readline()
        yield
    finally:
        for pid, words in testbed.hosts["ares-comp-11"].processes().items():
            if "2222" in words or "-p 2222" in words[0]:
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=250)


def test_host_name_port_user_alias_and_include_are_honoured(ares, ssh, testbed, tmp_path):
    """A host of an included file is reached at its HostName and Port, as its User, known by its HostKeyAlias."""
    (tmp_path / "more.conf").write_text(
        f"Host elsewhere\n    HostName 172.20.101.11\n    Port 2222\n    User {USER}\n    HostKeyAlias ares-comp-11\n"
        f"    ProxyJump ares\n    IdentityFile {testbed.identity_file}\n    UserKnownHostsFile {testbed.known_hosts}\n"
    )
    settings = ssh(f'Include "{tmp_path}/*.conf"\nHost other\n    User nobody\n')
    nodes = [n.model_copy(update={"host": "elsewhere"}) if n.id == "comp11" else n for n in ares.nodes]
    with second_sshd(testbed), connect(direct(ares).model_copy(update={"nodes": nodes}), settings) as cluster:
        assert cluster.plain["comp11"].place == f"{USER}@172.20.101.11:2222"
        assert cluster.plain["comp11"].ask("hostname; echo $SSH_CONNECTION").split()[::4] == ["ares-comp-11", "2222"]


def test_the_agent_signs_for_a_key_with_a_passphrase(ares, ssh, testbed, tmp_path, monkeypatch):
    """With IdentitiesOnly the agent is asked for that very key; without an agent the login is refused, in one line."""
    key = tmp_path / "locked"
    shutil.copy(testbed.identity_file, key)
    public = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    key.with_name("locked.pub").write_text(public)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "a phrase", "-f", key], check=True, capture_output=True)
    text = testbed.ssh_config.read_text().replace(str(testbed.identity_file), str(key))
    with ssh_agent(tmp_path / "agent"):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with connect(ares, ssh(text, rest=False)) as cluster, pytest.raises(UnreachableError, match="login refused"):
            cluster.plain["comp11"].ask("true")
        subprocess.run(["ssh-add", "-q", testbed.identity_file], check=True, capture_output=True)
        with connect(ares, ssh(text, rest=False)) as cluster:
            assert cluster.plain["comp11"].ask("hostname") == "ares-comp-11\n"


def test_unknown_keys_are_refused_and_accept_new_believes_them_once(ares, ssh, testbed, tmp_path):
    """By default no unknown key is believed; under accept-new the first one is, and never another one after it."""
    known = tmp_path / "known"
    text = testbed.ssh_config.read_text().replace(str(testbed.known_hosts), str(known))
    with connect(ares, ssh(text, rest=False)) as cluster, pytest.raises(UnreachableError, match="host key is unknown"):
        cluster.plain["comp11"].ask("true")
    assert not known.exists()
    trusting = ares.model_copy(update={"host_key_policy": "accept-new"})
    with connect(trusting, ssh(text, rest=False)) as cluster:
        cluster.each(lambda host: host.ask("true")).demand()
    lines = known.read_text().splitlines()
    assert len(lines) == 4
    other = next(line for line in lines if "comp-12" in line).rpartition(" ")[2]
    known.write_text(
        "".join(f"{line.rpartition(' ')[0]} {other}\n" if "comp-11" in line else f"{line}\n" for line in lines)
    )
    with connect(trusting, ssh(text, rest=False)) as cluster:
        answers = cluster.each(lambda host: host.ask("true"))
    assert set(answers.failed) == {"comp11"}
    assert "its host key is not the known one" in str(answers.failed["comp11"])


def test_a_proxy_command_that_fails_is_heard(ares, ssh):
    """The words of a ProxyCommand are in the message, and its process is gone."""
    settings = ssh("Host ares\n    ProxyCommand sh -c 'echo the tunnel is closed >&2; exit 1'\n")
    with connect(ares, settings) as cluster, pytest.raises(UnreachableError, match="said: the tunnel is closed"):
        cluster.plain["comp11"].ask("true")


def test_one_node_off_the_network_hides_no_other(ares, ssh, testbed):
    """A node whose line is cut fails by its own deadline; the others answer, and so does it when the line is back."""
    with connect(ares, ssh("Host *\n    ConnectTimeout 6\n")) as cluster:
        testbed.hosts["ares-comp-12"].line.cut()
        answers = cluster.each(lambda host: host.ask("hostname"))
        assert set(answers.ok) == {"comp18", "comp11"}
        assert "comp12: expected SSH at experimenter@ares-comp-12:22 through 172.31.255.1" in str(
            answers.failed["comp12"]
        )
        testbed.hosts["ares-comp-12"].line.restore()
        assert cluster.plain["comp12"].ask("hostname") == "ares-comp-12\n"


def test_a_cut_link_ends_a_command_by_its_deadline_and_heals(ares, settings, testbed):
    """A command over a dead link is a lost connection, in time; after the link is back the next one works."""
    with connect(ares, settings) as cluster:
        host = cluster.plain["comp11"]
        host.ask("true")
        testbed.controller_line.cut()
        begin = time.monotonic()
        with pytest.raises(LostError):
            host.run("echo lost", timeout_s=1)
        assert time.monotonic() - begin < COMMAND_TIMEOUT_S
        testbed.controller_line.restore()
        assert host.ask("echo back") == "back\n"


def test_a_transfer_that_stalls_is_given_up(ares, settings, testbed, tmp_path, monkeypatch):
    """A file that stops coming ends the copy, however large it is; what takes long but moves is let go on."""
    monkeypatch.setattr(ssh_remote, "TRANSFER_STALL_S", 2.0)
    monkeypatch.setattr(rsync, "missing_here", lambda: "no rsync here")
    target = tmp_path / "big"
    with connect(ares, settings) as cluster:
        host = cluster.plain["comp11"]
        host.ask("mkdir large; truncate -s 2000000000 large/big")

        def cut_once_it_moves() -> None:
            deadline = time.monotonic() + 250
            while time.monotonic() < deadline and (not target.exists() or target.stat().st_size == 0):
                time.sleep(0.01)
            testbed.controller_line.cut()

        cutter = threading.Thread(target=cut_once_it_moves)
        cutter.start()
        with pytest.raises(UnreachableError, match="comp11: fetching ~/large/big"):
            host.fetch("~/large", tmp_path)
        cutter.join()
        assert target.stat().st_size < 2_000_000_000
    testbed.controller_line.restore()
    shutil.rmtree(testbed.hosts["ares-comp-11"].home / "large")


def test_a_gateway_that_ended_our_session_is_asked_again(ares, settings, testbed):
    """When the gateway's sshd drops us, the next action logs in anew, for every node."""
    with connect(ares, settings) as cluster:
        cluster.each(lambda host: host.ask("true")).demand()
        for pid, words in testbed.gateway.processes().items():
            if words[0].startswith(f"sshd: {USER}"):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 250
        while cluster.each(lambda host: host.ask("true")).failed:
            assert time.monotonic() < deadline
        assert cluster.plain["comp12"].ask("hostname") == "ares-comp-12\n"


@pytest.fixture
def noisy(testbed: Testbed) -> Iterator[str]:
    """Make comp-11's login shell talk."""
    profile = testbed.hosts["ares-comp-11"].home / ".bashrc"
    profile.write_text("echo Welcome to the cluster\necho Quota exceeded >&2\n")
    yield "comp11"
    profile.unlink()


def test_a_talking_login_shell_is_not_taken_for_an_answer(ares, settings, noisy, tmp_path):
    """Commands and files pass unharmed where a profile prints to every session, which spoils SFTP."""
    content = bytes(range(256)) * 70_000  # two pieces and a bit
    with connect(ares, settings) as cluster:
        host = cluster.plain[noisy]
        assert host.run("echo out; echo err >&2; exit 3") == Result(3, b"out\n", "err\n")
        host.ask("mkdir -p folder/inside")
        host.write("~/folder/data", content, 0o640)
        assert host.ask("stat -c %a folder/data") == "640\n"
        assert host.read("~/folder/data") == content
        assert host.read("~/folder/none") is None
        assert host.list("~/folder") == {"data": len(content)}
        assert host.list("~/none") is None
        host.fetch("~/folder", tmp_path)
        assert (tmp_path / "data").read_bytes() == content
        host.ask("rm -r folder")


def test_64_nodes_at_once_through_one_gateway(ares, ssh, testbed):
    """64 nodes log in through one gateway session; OpenSSH's own MaxStartups refuses none of them."""
    names = ["ares-comp-11", "ares-comp-12", "ares-comp-18"]
    lines = "".join(f"Host n{i:02}\n    HostName {names[i % 3]}\n" for i in range(64))
    common = testbed.ssh_config.read_text().partition("Host ares-comp-*")[2].partition("\n")[2]
    settings = ssh(f"{lines}Host n*\n{common}")
    nodes = [
        ares.nodes[0].model_copy(
            update={"id": f"n{i:02}", "host": f"n{i:02}", "role": "worker" if i else "coordinator"}
        )
        for i in range(64)
    ]
    log = testbed.gateway.folder / "sshd.log"
    logins = log.read_text().count("Accepted publickey")
    with connect(ares.model_copy(update={"nodes": nodes}), settings) as cluster:
        answers = cluster.each(lambda host: host.ask("hostname").strip())
        assert answers.failed == {}
        assert [answers.ok[f"n{i:02}"] for i in range(64)] == [names[i % 3] for i in range(64)]
        cluster.each(lambda host: host.write(f"~/{host.id}", b"key", 0o600)).demand()
        assert log.read_text().count("Accepted publickey") == logins + 1
        cluster.each(lambda host: host.ask(f"rm {host.id}")).demand()
    for name in names:
        assert "MaxStartups" not in (testbed.hosts[name].folder / "sshd.log").read_text()


def test_a_node_with_an_old_python_is_told_which_to_set(project, testbed):
    """Where python3 is too old, check says so before anything starts, and names a Python of that node that would do."""
    host = testbed.hosts["ares-comp-12"]
    host.run(["mount", "-t", "tmpfs", "none", "/usr/local/bin"])
    try:
        script = "printf '#!/bin/sh\\necho -n 3.8.10\\n' > /usr/local/bin/python3 && chmod 755 /usr/local/bin/python3"
        host.run(["sh", "-c", script])
        code, printed = project.fab("ares", "check", COLUMNS="200")
    finally:
        host.run(["umount", "/usr/local/bin"])
    assert code == 3
    told = next(line for line in printed.splitlines() if line.startswith("comp12: remote_python"))
    assert "got 3.8.10; set remote_python in the cluster file to one that is there: /usr/bin/python3." in told


def test_a_shared_home_a_noexec_tmp_and_a_talking_shell_carry_a_run(project, testbed):
    """One home on all nodes, a /tmp where nothing can be executed, an echo in .bashrc: check and run are whole."""
    hosts = testbed.nodes
    hosts[0].run(["sh", "-c", f"cp -a {HOME} /srv/home && echo 'echo Welcome' > /srv/home/.bashrc"])
    for host in hosts:
        host.run(["mount", "--bind", "/srv/home", HOME])
        host.run(["mount", "-o", "remount,noexec", TMP])
    try:
        code, printed = project.fab("ares", "deploy", "--experiment", "shared", "run")
        assert code == 0, printed
        assert printed.count("verified=True") == 3
        code, printed = project.fab("ares", "clean", "--experiment", "shared", "--yes")
        assert code == 0, printed
        assert "shared" not in hosts[1].run(["ls", f"{HOME}/chronotick-harness/runs"]).stdout.split()
    finally:
        for host in hosts:
            host.run(["umount", HOME])
            host.run(["mount", "-o", "remount,exec", TMP])
        hosts[0].run(["rm", "-rf", "/srv/home"])
