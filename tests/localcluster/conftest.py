"""Embedded clusters on loopback addresses of these tests' own, and ways to watch processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import pytest

from harness.configuration.experiment import load_cluster
from harness.localcluster import LocalCluster, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.configuration.cluster import ClusterConfig

CLUSTER = """\
embedded: true
host_key_policy: reject
nodes:
  - {id: comp18, host: 127.0.77.18, role: coordinator, virtual_clock: {error_ms: 3.0, drift_ppm: 4.0}}
  - {id: comp11, host: 127.0.77.11, role: worker, virtual_clock: {error_ms: 12.5, drift_ppm: 18.0}}
  - {id: comp12, host: 127.0.77.12, role: worker}
remote_base: ~/chronotick-harness
remote_python: python3
ntp_server: 127.0.77.1:0
chronotick_server: http://127.0.77.1:0
"""


@pytest.fixture(scope="session")
def cluster_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cluster file as a user writes it."""
    path = tmp_path_factory.mktemp("clusters") / "embedded.yaml"
    path.write_text(CLUSTER)
    return path


@pytest.fixture
def config(cluster_file: Path) -> ClusterConfig:
    """Return a configuration of an embedded cluster, not started."""
    return load_cluster(cluster_file)


@pytest.fixture(scope="module")
def local(cluster_file: Path) -> Iterator[LocalCluster]:
    """Return a running embedded cluster."""
    with start(load_cluster(cluster_file)) as running:
        yield running


@pytest.fixture
def connect(local: LocalCluster) -> Iterator[Callable[..., paramiko.SSHClient]]:
    """Return a function that connects to a node by paramiko, with its host key verified."""
    clients: list[paramiko.SSHClient] = []

    def connected(node_id: str = "comp11", **changes: object) -> paramiko.SSHClient:
        node = local.cluster.node(node_id)
        client = paramiko.SSHClient()
        clients.append(client)
        client.load_host_keys(local.cluster.known_hosts_file)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        options = {"username": node.user, "port": node.port, "key_filename": node.identity_file, **changes}
        client.connect(node.host, allow_agent=False, look_for_keys=False, timeout=20, **options)
        return client

    yield connected
    for client in clients:
        client.close()


def until(holds: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
    """Wait until a condition holds; fail, saying what was awaited, if it does not in time."""
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Return whether a process runs: it exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(name="until")
def _until():
    return until


@pytest.fixture(name="lives")
def _lives():
    return lives
