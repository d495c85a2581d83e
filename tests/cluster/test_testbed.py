"""The testbed itself: real hosts, alone in their namespaces, and nothing left of them afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.localcluster.processes import descendants, read_process
from harness.testbed import keeper
from harness.testbed.namespaces import why_not
from harness.testbed.testbed import start

ROOT = Path(__file__).parents[2]
REQUEST = struct.pack("!B39xQ", 0x23, 7)


def traces(pids: list[int], folder: Path) -> list[str]:
    """Return what is left of a testbed: processes, mounts and its folder."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    alive = [f"process {pid}" for pid in pids if (found := read_process(pid)) is not None and found.state != "Z"]
    return [*alive, *mounts, *([str(folder)] if folder.exists() else [])]


def network() -> str:
    """Return this machine's own interfaces, addresses and routes."""
    asked = (["link"], ["addr"], ["route"])
    return "".join(subprocess.run(["ip", "-o", *w], capture_output=True, text=True, check=True).stdout for w in asked)


def until_gone(pids: list[int], folder: Path) -> None:
    deadline = time.monotonic() + 250
    while left := traces(pids, folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def test_every_host_is_itself(testbed):
    """Each host has its own name, address, home, /tmp and processes."""
    for host in testbed.hosts.values():
        assert host.run(["hostname"]).stdout.strip() == host.name
        host.run(["sh", "-c", f"echo {host.name} > /tmp/mine && echo {host.name} > ~/mine"], as_user=True)
        assert f" {host.address}/16 " in host.run(["ip", "-o", "addr", "show", "eth0"]).stdout
    for host in testbed.hosts.values():
        assert host.run(["sh", "-c", "cat /tmp/mine ~/mine; rm ~/mine"], as_user=True).stdout.split() == [host.name] * 2
        assert len(host.processes()) < 10
    assert not Path("/tmp/mine").exists()  # noqa: S108 - the machine's own


def test_nodes_are_reached_through_the_gateway_alone(testbed):
    """From the controller's side there is a way to ares, and none to a node."""
    from harness.testbed.namespaces import socket_in

    with socket_in(testbed.supervisor_pid, kind=socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        sock.connect(("172.31.255.1", 22))
    for host in testbed.nodes:
        with socket_in(testbed.supervisor_pid, kind=socket.SOCK_STREAM) as sock:
            sock.settimeout(2)
            assert sock.connect_ex((host.address, 22)) != 0


def test_a_relay_delays_each_direction_by_its_own_time(testbed):
    """With 60 ms forward and 20 ms back an exchange takes 80 ms or more, and the answer has the server's address."""
    host = testbed.hosts["ares-comp-12"]
    with host.relay("172.20.1.1", 8123, forward_s=0.06, back_s=0.02), host.socket() as sock:
        sock.settimeout(5)
        begin = time.monotonic()
        sock.sendto(REQUEST, ("172.20.1.1", 8123))
        _, source = sock.recvfrom(100)
        assert time.monotonic() - begin >= 0.08
        assert source == ("172.20.1.1", 8123)


def test_a_line_loses_what_it_is_told_to(testbed):
    """All UDP of one host is lost, and comes again after the repair."""
    host = testbed.hosts["ares-comp-11"]
    with host.socket() as sock:
        sock.settimeout(0.3)
        host.line.lose(100)
        sock.sendto(REQUEST, ("172.20.1.1", 8123))
        with pytest.raises(TimeoutError):
            sock.recv(100)
        testbed.repair()
        sock.settimeout(5)
        sock.sendto(REQUEST, ("172.20.1.1", 8123))
        assert len(sock.recv(100)) == 48


def test_two_at_once_touch_neither_each_other_nor_the_machine(testbed):
    """A second testbed has the same addresses, other files, and leaves network, mounts and processes as they were."""
    before = network()
    with start() as second:
        assert network() == before
        second.gateway.line.cut()
        with testbed.hosts["ares-comp-11"].socket() as sock:
            sock.settimeout(5)
            sock.sendto(REQUEST, ("172.20.1.1", 8123))
            assert len(sock.recv(100)) == 48
        pids = [process.pid for process in descendants(second.supervisor_pid)] + [second.supervisor_pid]
        folder = second.folder
        assert len(pids) > 8
    assert traces(pids, folder) == []
    assert network() == before


def test_it_dies_with_its_owner():
    """Killed without warning, the owner takes hosts, servers and folder along."""
    if (reason := why_not()) is not None:
        pytest.skip(f"test cluster of real hosts: {reason}")
    script = (
        "import os, signal\nfrom harness.testbed.testbed import start\n"
        "from harness.localcluster.processes import descendants\n"
        "t = start()\nprint(t.folder, *[p.pid for p in descendants(os.getpid())], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    owner = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=250, check=False
    )
    assert owner.returncode == -signal.SIGKILL, owner.stderr
    folder, *pids = owner.stdout.split()
    assert len(pids) > 10
    until_gone([int(pid) for pid in pids], Path(folder))


def test_up_and_down(tmp_path):
    """It stays after `up` until `down`; a second `up` of that name is refused; a killed keeper leaves nothing."""
    if (reason := why_not()) is not None:
        pytest.skip(f"test cluster of real hosts: {reason}")
    folder = tmp_path / "bed"
    state = keeper.up(folder)
    pids = [process.pid for process in descendants(state.owner_pid)] + [state.owner_pid]
    try:
        assert Path(state.ssh_config).is_file()
        with pytest.raises(ConfigError, match="got one that is up"):
            keeper.up(folder)
    finally:
        assert keeper.down(folder)
    assert traces(pids, folder) == []
    assert not keeper.down(folder)
    state = keeper.up(folder)
    pids = [process.pid for process in descendants(state.owner_pid)] + [state.owner_pid]
    os.kill(state.owner_pid, signal.SIGKILL)
    until_gone(pids, folder)


def test_virtual_clocks_begin_with_the_testbed(project, testbed):
    """`fab testbed` runs on these hosts with the clocks of its file, all with the epoch of the testbed's start."""
    code, printed = project.fab("testbed", "deploy", "--experiment", "virtual", "run")
    assert code == 0, printed
    assert "overhead=" in printed
    nodes = json.loads((project.path / "results/virtual/manifest.json").read_text())["nodes"]
    assert {node["virtual_clock"]["epoch_ns"] for node in nodes.values()} == {testbed.started_ns}
    assert nodes["comp11"]["virtual_clock"]["error_ms"] == 12.5


def test_by_hand_between_two_hosts(testbed, project):
    """A one-line sender on comp-18 reaches a hand-started worker on comp-11, which records who was sent and when."""
    from harness import bundle

    agent = bundle.build(ROOT)
    worker_host, sender = testbed.hosts["ares-comp-11"], testbed.hosts["ares-comp-18"]
    (worker_host.home / "agent.pyz").write_bytes(agent.path.read_bytes())
    options = "--node-id test --listen-port 9100 --output by_hand.csv --ntp-server 172.20.1.1:8123"
    worker = worker_host.start(["python3", "agent.pyz", "worker", *options.split()], as_user=True)
    try:
        deadline = time.monotonic() + 250
        while "Ctrl-C ends" not in worker.stderr.readline():
            assert time.monotonic() < deadline
        line = (
            "import socket,json,time; socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(json.dumps("
            "{'event_id':1,'coordinator_timestamp_ns':time.time_ns(),'sequence_number':0}).encode(),('172.20.101.11',9100))"
        )
        sender.run(["python3", "-c", line], as_user=True)
        rows = worker_host.home / "by_hand.csv"
        while not (rows.exists() and rows.read_text().count("\n") == 2):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for pid, words in worker_host.processes().items():
            if "agent.pyz" in words:
                os.kill(pid, signal.SIGINT)
        assert worker.wait(250) == 0
    finally:
        worker.kill()
        worker.communicate()
        for name in ("agent.pyz", "by_hand.csv"):
            (worker_host.home / name).unlink(missing_ok=True)
        worker_host.run(["rm", "-rf", "by_hand.raw"], as_user=True)
