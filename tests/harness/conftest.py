"""A project folder to run ``fab`` in, real SSH hosts on loopback, and a short experiment."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness import localcluster
from harness.configuration.experiment import load_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.configuration.cluster import ClusterConfig
    from harness.localcluster import LocalCluster

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalCluster]:
    """Hosts and time services as ``fab local`` starts them, for one file of tests."""
    with localcluster.start(load_cluster(ROOT / "configs/clusters/local.yaml")) as started:
        yield started


@pytest.fixture
def hosts(local: LocalCluster) -> ClusterConfig:
    """Return the same hosts as a cluster nobody embedded: as on ARES, they outlive the controller."""
    nodes = [node.model_copy(update={"virtual_clock": None}) for node in local.cluster.nodes]
    return local.cluster.model_copy(update={"name": "lab", "embedded": False, "nodes": nodes})


class Project:
    """A folder of its own with the fabfile and short configurations, and ``fab`` to be called in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started: list[subprocess.Popen[str]] = []
        path.mkdir(parents=True)
        shutil.copy(ROOT / "fabfile.py", path)
        shutil.copytree(ROOT / "configs", path / "configs")
        (path / "node_agent").symlink_to(ROOT / "node_agent")
        self.edit("configs/worker_config.yaml", network={"listen_port": free_udp_port()})
        timing = {"ntp_query_interval": 0.2, "chronotick_query_interval": 0.2, "commit_wait_delays": [0.3]}
        self.edit("configs/worker_config.yaml", timing=timing)
        self.edit("configs/coordinator_config.yaml", experiment={"num_events": 20, "duration_minutes": None})
        self.edit("configs/coordinator_config.yaml", probes={"port": free_udp_port(), "lead_s": 0.5, "trail_s": 0.5})

    def edit(self, name: str, **sections: dict[str, Any]) -> None:
        """Change some keys of a configuration file."""
        path = self.path / name
        content = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            content[section] = {**content.get(section, {}), **values}
        path.write_text(yaml.safe_dump(content))

    def add_cluster(self, name: str, config: ClusterConfig, **changes: Any) -> None:
        """Write a cluster file."""
        content = config.model_dump(exclude={"name"}) | changes
        for node in content["nodes"]:
            node.pop("virtual_clock", None)
        (self.path / f"configs/clusters/{name}.yaml").write_text(yaml.safe_dump(content))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``fab`` in the folder."""
        process = subprocess.Popen(
            [Path(sys.executable).parent / "fab", *arguments],
            cwd=self.path,
            env={**os.environ, "PYTHONWARNINGS": "default", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=250)

    def fab(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run ``fab`` to its end; return its exit code and everything it printed."""
        process = self.start(*arguments, **environment)
        printed, _ = process.communicate(timeout=250)
        return process.returncode, printed


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Make a project folder with a space in its name."""
    made = Project(tmp_path / "a project")
    made.edit("configs/worker_config.yaml", clocks={"min_available_share": 0.5})  # a pause of this machine costs some
    yield made
    made.end()


@pytest.fixture
def agents_of(local: LocalCluster) -> Callable[[], list[str]]:
    """Return which agents run on the hosts right now."""

    def running() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(local.root) in command and "--plan" in command and "check" not in command:
                found.append(command)
        return found

    return running


def free_udp_port() -> int:
    """Return a UDP port that is free on every loopback address right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))  # noqa: S104 - on all of them, to know it is free on all of them
        return int(sock.getsockname()[1])
