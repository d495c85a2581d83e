"""An embedded cluster leaves nothing behind, however it ends: no process, no folder."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import ntplib
import pytest

from harness.errors import ConfigError, PreflightError
from harness.localcluster import start
from harness.localcluster.messages import HostOrder, Order
from harness.localcluster.processes import descendants
from harness.localcluster.services import service_orders
from node_agent.contract import json_objects

PARENT = """
import json, sys
from pathlib import Path
import paramiko
from harness.configuration.experiment import load_cluster
from harness.localcluster import start

with start(load_cluster(Path(sys.argv[1]))) as local:
    node = local.cluster.node("comp11")
    with paramiko.SSHClient() as client:
        client.load_host_keys(local.cluster.known_hosts_file)
        client.connect(node.host, node.port, node.user, key_filename=node.identity_file, allow_agent=False, timeout=20)
        detach = "import os, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\nif os.fork(): os._exit(0)\\n"
        detach += "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n" if sys.argv[2] == "stubborn" else ""
        detach += "print(os.getpid(), flush=True); os.closerange(0, 3); time.sleep(1000)"
        agent = int(client.exec_command(f"python3 -c '{detach}'")[1].readline())
    pids = [local.supervisor_pid, agent, local.relays_pid, *(service.pid for service in local.services.values())]
    print(json.dumps({"pids": pids, "agent": agent, "root": str(local.root)}), flush=True)
    if sys.argv[2] == "fail":
        raise RuntimeError("a failure of the chain")
    if sys.argv[2] != "end":
        sys.stdin.read()
"""


@contextmanager
def parent(cluster_file: Path, way: str):
    """Run a process that starts a cluster and detaches an agent on it; yield the process and what it says of both."""
    argv = [sys.executable, "-c", PARENT, str(cluster_file), way]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.kill()


@pytest.mark.parametrize("way", ["end", "fail", "kill", "interrupt", "terminate", "stubborn"])
def test_nothing_survives_the_parent(cluster_file, tmp_path, until, lives, way):
    """Normal end, failure, SIGKILL, Ctrl-C, SIGTERM: supervisor, services, relays, detached agents and folder go."""
    with_paths = tmp_path / cluster_file.name
    with_paths.write_text(cluster_file.read_text() + "paths: {lan: {delay_ms: 0.2}}\n")
    with parent(with_paths, way) as (process, said):
        number = {"interrupt": signal.SIGINT, "terminate": signal.SIGTERM, "kill": signal.SIGKILL}.get(
            way, signal.SIGKILL
        )
        if way not in {"end", "fail"}:
            assert all(lives(pid) for pid in said["pids"])
            assert Path(said["root"]).is_dir()
            process.send_signal(number)
        process.communicate(timeout=250)
        until(lambda: not any(lives(pid) for pid in said["pids"]), f"the processes {said['pids']} end")
        until(lambda: not Path(said["root"]).exists(), f"{said['root']} is removed")


def test_closing_leaves_no_child_and_no_folder(config):
    """When `close` returns everything is gone already; closing again does nothing."""
    local = start(config)
    try:
        assert local.supervisor_pid in {process.pid for process in descendants(os.getpid())}
        assert len(descendants(local.supervisor_pid)) == 2
    finally:
        local.close()
    assert local.supervisor_pid not in {process.pid for process in descendants(os.getpid())}
    assert not local.root.exists()
    local.close()


def test_a_killed_supervisor_takes_its_services_along(config, until, lives):
    """Even if the supervisor itself is killed the services end, and `close` removes the folder."""
    with start(config) as local:
        os.kill(local.supervisor_pid, signal.SIGKILL)
        until(lambda: not any(lives(service.pid) for service in local.services.values()), "the services end")
    assert not local.root.exists()


def test_one_service_can_be_killed_and_stays_dead(config, until, lives):
    """Both services answer by their protocols; killing ChronoTick leaves NTP alone, and nobody restarts it."""
    with start(config) as local:
        host, _, port = local.services["ntp"].address.rpartition(":")
        assert ntplib.NTPClient().request(host, port=int(port), timeout=10).stratum == 1
        assert httpx.get(f"{local.cluster.chronotick_server}/health", timeout=10).json()["status"] == "healthy"
        os.kill(local.services["chronotick"].pid, signal.SIGKILL)
        until(lambda: not lives(local.services["chronotick"].pid), "ChronoTick ends")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{local.cluster.chronotick_server}/health", timeout=10)
        assert ntplib.NTPClient().request(host, port=int(port), timeout=10).stratum == 1
        left = {local.services["ntp"].pid}
        until(lambda: {process.pid for process in descendants(local.supervisor_pid)} == left, "only NTP is left")


@pytest.mark.parametrize("what", ["ssh", "ntp", "chronotick"])
def test_a_taken_port_is_one_line(config, what, tmp_path, monkeypatch):
    """A port in use names itself in one line, as a failed preflight, and nothing stays behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = descendants_named("harness.localcluster")
    kind = socket.SOCK_DGRAM if what == "ntp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.79.18", 0))
        if what != "ntp":
            taken.listen()
        port = taken.getsockname()[1]
        address = f"127.0.79.18:{port}"
        # Hosts that no other test has: a cluster that finds its own ones taken would be moved, away from the port.
        own = [node.model_copy(update={"host": node.host.replace(".77.", ".79.")}) for node in config.nodes]
        changes = {
            "ssh": {"nodes": [own[0].model_copy(update={"port": port}), *own[1:]]},
            "ntp": {"ntp_server": [address]},
            "chronotick": {"chronotick_server": f"http://{address}"},
        }
        with pytest.raises(PreflightError, match=address) as raised:
            start(config.model_copy(update=changes[what]))
    assert "\n" not in str(raised.value)
    assert "in use" in str(raised.value)
    assert descendants_named("harness.localcluster") == before
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_takes_too_long_is_given_up(config):
    """A deadline that cannot be met is named, and nothing is left running."""
    before = descendants_named("harness.localcluster")
    with pytest.raises(PreflightError, match=r"0\.001 s"):
        start(config, deadline_s=0.001)
    assert descendants_named("harness.localcluster") == before


def test_only_embedded_clusters_can_be_started(config):
    """A cluster of real hosts is refused as a configuration error."""
    with pytest.raises(ConfigError, match="embedded: true"):
        start(config.model_copy(update={"embedded": False}))


def test_a_supervisor_without_orders_ends():
    """A supervisor whose parent dies before it said anything ends by itself."""
    with subprocess.Popen(
        [sys.executable, "-m", "harness.localcluster"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as supervisor:
        supervisor.stdin.close()
        assert select.select([supervisor.stdout], [], [], 30)[0]
        assert supervisor.wait(250) == 0


def test_a_parent_that_dies_during_the_start_leaves_nothing(tmp_path):
    """If the life line breaks right after the order, everything that was begun ends again."""
    services = service_orders(["127.0.77.1:0", "127.0.77.2:0"], [0.0, 5.0], "127.0.77.1:0")
    order = Order([HostOrder("comp11", "127.0.77.11", 0)], services, 30.0)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-m", "harness.localcluster"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as supervisor:
        supervisor.communicate(json_objects.write(order).encode() + b"\n", timeout=30)
        assert supervisor.returncode == 0
    assert list(tmp_path.iterdir()) == []


def descendants_named(name: str) -> list[int]:
    """Return our living descendants whose command line names ``name``."""
    return [process.pid for process in descendants(os.getpid()) if name in command_line(process.pid)]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it ended while we looked
        return ""
