"""Real hosts in network namespaces, and a project folder to run ``fab`` in.

The tier needs root and some Debian packages; without them its tests are skipped, each saying why.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import fabric
import pytest
from project_folder import Project

from harness.configuration.experiment import load_cluster
from harness.testbed.namespaces import why_not
from harness.testbed.testbed import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.configuration.cluster import ClusterConfig
    from harness.testbed.testbed import Testbed

ROOT = Path(__file__).parents[2]


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


@pytest.fixture
def project(tmp_path: Path, testbed: Testbed) -> Iterator[Project]:
    """Make a project folder with a space in its name, whose ``fab`` finds the testbed's ``ares``."""
    made = Project(tmp_path / "a project", testbed.ssh_config)
    yield made
    made.end()
