"""A real Slurm on real hosts, and a project folder in their shared home to run ``fab`` in.

The tier (``invoke test --tier slurm``) needs root and some Debian packages; without them its tests are skipped, each
saying why.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

import pytest
from project_folder import FAB, ROOT, WARNINGS, ProjectFolder

from harness import bundle
from harness.localcluster.processes import descendants, kill_all
from harness.pins import AGENT_REQUIREMENTS
from harness.testbed import topology
from harness.testbed.slurm.files import FLAVOURS, why_not
from harness.testbed.testbed import start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

    from harness.testbed.namespace_host import NamespaceHost
    from harness.testbed.testbed import Testbed


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder: it belongs to the tier ``slurm``."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.timeout(600))  # Slurm counts in minutes


class Testbeds(contextlib.AbstractContextManager["Testbeds"]):
    """One testbed for each flavour of Slurm that a test of this process asked for."""

    __test__ = False

    def __init__(self) -> None:
        self._running: dict[str, Testbed] = {}

    def of(self, flavour: str) -> Testbed:
        """Return the one of this flavour; bring it up if there is none. Skips the test where it cannot be."""
        if flavour not in self._running:
            reason = why_not(flavour)
            if reason is not None:
                pytest.skip(f"test cluster with a real Slurm: {reason}")
            self._running[flavour] = start(slurm=flavour)
        return self._running[flavour]

    def repair(self, flavour: str) -> None:
        """Undo every fault; what cannot be repaired is closed, so that the next test has a new one."""
        with contextlib.ExitStack() as undo:
            undo.callback(lambda: self._running.pop(flavour).close())
            self._running[flavour].repair()
            undo.pop_all()

    def __exit__(self, *_: object) -> None:
        for running in self._running.values():
            running.close()


@pytest.fixture(scope="session")
def slurm_testbeds() -> Iterator[Testbeds]:
    """Hold the testbeds of all tests of this process."""
    with Testbeds() as testbeds:
        yield testbeds


@pytest.fixture(params=FLAVOURS)
def slurm_testbed(request: pytest.FixtureRequest, slurm_testbeds: Testbeds) -> Iterator[Testbed]:
    """Lend a testbed with a Slurm to one test; whatever it broke is repaired afterwards, also if it failed.

    A test runs once for each flavour, or for one: ``@pytest.mark.parametrize("slurm_testbed", ["cgroup"],
    indirect=True)``.
    """
    yield slurm_testbeds.of(request.param)
    slurm_testbeds.repair(request.param)


@pytest.fixture
def output(slurm_testbed: Testbed) -> Iterator[Path]:
    """Return the file that ``jobs.submit`` lets jobs write."""
    path = slurm_testbed.gateway.home / "job.out"
    yield path
    path.unlink(missing_ok=True)


class SlurmProject(ProjectFolder):
    """A project folder in the hosts' shared home; ``fab`` is the user's, on the login node or another host.

    ``path`` is the folder as this process sees it, ``inside`` as the hosts do.
    """

    def __init__(self, testbed: Testbed, name: str = "a project") -> None:
        self.testbed = testbed
        self.inside = f"{topology.HOME}/{name}"
        super().__init__(testbed.gateway.home / name)
        self.edit("configs/coordinator_config.yaml", probes={"lead_s": 1.0, "trail_s": 1.0})
        give(self.path)
        _give_libraries(testbed.gateway.home)

    def on(self, host: NamespaceHost, *arguments: str, timeout_s: float = 250, **environment: str) -> tuple[int, str]:
        """Run ``fab`` on another host, to its end; return its exit code and everything it printed."""
        process = self.start_command([FAB, *arguments], host=host, **environment)
        printed, _ = process.communicate(timeout=timeout_s)
        return process.returncode, printed

    def in_allocation(
        self, *arguments: str, salloc: Sequence[str] = ("--nodes=3",), timeout_s: float = 250, **environment: str
    ) -> tuple[int, str]:
        """Run ``fab`` on the login node within ``salloc``, to its end; return as ``fab`` does."""
        process = self.start_command(["salloc", *salloc, "--", FAB, *arguments], **environment)
        printed, _ = process.communicate(timeout=timeout_s)
        return process.returncode, printed

    def in_allocation_of(self, *argv: str, timeout_s: float = 250) -> tuple[int, str]:
        """Run any program on the login node within ``salloc`` of three nodes, to its end; ``fab`` is on its PATH."""
        path = f"PATH={Path(FAB).parent}:/usr/bin:/bin:/usr/sbin"
        process = self.start_command(["env", path, "salloc", "--nodes=3", "--", *argv])
        printed, _ = process.communicate(timeout=timeout_s)
        return process.returncode, printed

    def start_command(
        self, argv: Sequence[str], host: NamespaceHost | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """Start any program in the folder as the user, its two outputs as one; ``end`` ends it at the latest."""
        variables = [f"{name}={value}" for name, value in (WARNINGS | environment).items()]
        words = ["env", f"--chdir={self.inside}", *variables, "sh", "-c", 'exec "$@" 2>&1', "sh", *argv]
        process = (host or self.testbed.gateway).start(words, as_user=True)
        self._started.append(process)
        return process

    def edit(self, name: str, **sections: object) -> None:
        """Change some keys of a configuration file; it stays the user's."""
        super().edit(name, **sections)
        give(self.path / name)

    def _start(self, arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        return self.start_command([FAB, *arguments], **environment)

    def _interrupt(self, process: subprocess.Popen[str]) -> None:
        kill_all(descendants(process.pid), SIGINT)  # the process itself is nsenter, which passes nothing on


@pytest.fixture
def slurm_project(slurm_testbed: Testbed) -> Iterator[SlurmProject]:
    """Make a project folder with a space in its name in the shared home, whose ``fab`` finds Slurm."""
    made = SlurmProject(slurm_testbed)
    yield made
    made.end()
    shutil.rmtree(made.path)


def give(path: Path) -> None:
    """Make a file, or a folder with all that is in it, the user's."""
    for found in (path, *path.rglob("*")):
        os.chown(found, topology.USER_ID, topology.USER_ID, follow_symlinks=False)


def _give_libraries(home: Path) -> None:
    """Put the agent's libraries in the user's cache: from the hosts there is no way to a package index."""
    fetched = bundle.fetch_libraries(ROOT / AGENT_REQUIREMENTS, bundle.user_cache())
    cache = home / ".cache"
    copy = cache / fetched.relative_to(bundle.user_cache().parent)
    if not copy.exists():
        shutil.copytree(fetched, copy)
        give(cache)
