"""Real hosts in network namespaces, a project folder to run ``fab`` in, and a short experiment.

The tier needs root and some Debian packages; without them its tests are skipped, each saying why.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fabric
import pytest
import yaml

from harness.configuration.experiment import load_cluster
from harness.testbed.namespaces import why_not
from harness.testbed.testbed import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.configuration.cluster import ClusterConfig
    from harness.testbed.testbed import Testbed

ROOT = Path(__file__).parents[2]
EVENTS = 20


@pytest.fixture(scope="session")
def shared_testbed() -> Iterator[Testbed]:
    """Bring one testbed up for all tests of this process."""
    reason = why_not()
    if reason is not None:
        pytest.skip(f"test cluster of real hosts: {reason}")
    with start() as running:
        yield running


@pytest.fixture
def testbed(shared_testbed: Testbed) -> Iterator[Testbed]:
    """Lend the testbed to one test; whatever it broke is repaired afterwards, also if it failed."""
    yield shared_testbed
    shared_testbed.repair()


@pytest.fixture
def ares() -> ClusterConfig:
    """Return the cluster file as it is shipped."""
    return load_cluster(ROOT / "configs/clusters/ares.yaml")


@pytest.fixture
def settings(testbed: Testbed) -> fabric.Config:
    """Return what ``fab -S`` makes of the testbed's ssh_config."""
    return fabric.Config(runtime_ssh_path=str(testbed.ssh_config))


class Project:
    """A folder of its own with the fabfile and short configurations, and ``fab -S`` to be called in it."""

    def __init__(self, path: Path, ssh_config: Path) -> None:
        self.path = path
        self.ssh_config = ssh_config
        self._started: list[subprocess.Popen[str]] = []
        path.mkdir(parents=True)
        shutil.copy(ROOT / "fabfile.py", path)
        shutil.copytree(ROOT / "configs", path / "configs")
        (path / "node_agent").symlink_to(ROOT / "node_agent")
        timing = {"ntp_query_interval": 0.2, "chronotick_query_interval": 0.2, "commit_wait_delays": [0.3]}
        self.edit("configs/worker_config.yaml", timing=timing)
        self.edit("configs/coordinator_config.yaml", experiment={"num_events": EVENTS, "duration_minutes": None})

    def edit(self, name: str, **sections: Any) -> None:
        """Change some keys of a configuration file; a section that is a mapping keeps its other keys."""
        path = self.path / name
        content = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            content[section] = {**content.get(section, {}), **values} if isinstance(values, dict) else values
        path.write_text(yaml.safe_dump(content))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``fab`` in the folder."""
        process = subprocess.Popen(
            [Path(sys.executable).parent / "fab", "-S", str(self.ssh_config), *arguments],
            cwd=self.path,
            env={**os.environ, "PYTHONWARNINGS": "default", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def fab(self, *arguments: str, timeout_s: float = 100, **environment: str) -> tuple[int, str]:
        """Run ``fab`` to its end; return its exit code and everything it printed."""
        process = self.start(*arguments, **environment)
        printed, _ = process.communicate(timeout=timeout_s)
        return process.returncode, printed

    def end(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


@pytest.fixture
def project(tmp_path: Path, testbed: Testbed) -> Iterator[Project]:
    """Make a project folder with a space in its name, whose ``fab`` finds the testbed's ``ares``."""
    made = Project(tmp_path / "a project", testbed.ssh_config)
    yield made
    made.end()
