"""A project folder to run ``fab`` in, with a short experiment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
EVENTS = 20
PATIENCE_S = 60  # how long a sample is valid: a busy machine that asks nobody for some seconds costs no reading
FAB = str(Path(sys.executable).parent / "fab")
WARNINGS = {"PYTHONWARNINGS": "default"}


class ProjectFolder(ABC):
    """A folder of its own with the fabfile and short configurations, and ``fab`` to be called in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started: list[subprocess.Popen[str]] = []
        path.mkdir(parents=True)
        shutil.copy(ROOT / "fabfile.py", path)
        shutil.copytree(ROOT / "configs", path / "configs")
        (path / "node_agent").symlink_to(ROOT / "node_agent")
        timing = {"ntp_query_interval": 0.2, "chronotick_query_interval": 0.2, "commit_wait_delays": [0.3]}
        sources = {source: {"timeout_s": 1, "valid_for_s": PATIENCE_S} for source in ("ntp", "chronotick")}
        self.edit("configs/worker_config.yaml", timing=timing, clocks={**sources, "min_available_share": 0.5})
        self.edit("configs/coordinator_config.yaml", experiment={"num_events": EVENTS, "duration_minutes": None})

    def edit(self, name: str, **sections: Any) -> None:
        """Change some keys of a configuration file; a section that is a mapping keeps its other keys."""
        path = self.path / name
        content = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            content[section] = {**content.get(section, {}), **values} if isinstance(values, dict) else values
        path.write_text(yaml.safe_dump(content))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``fab`` in the folder, with these variables more than usual."""
        process = self._start(arguments, environment)
        self._started.append(process)
        return process

    def fab(self, *arguments: str, timeout_s: float = 250, **environment: str) -> tuple[int, str]:
        """Run ``fab`` to its end; return its exit code and everything it printed."""
        process = self.start(*arguments, **environment)
        printed, _ = process.communicate(timeout=timeout_s)
        return process.returncode, printed

    def end(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                self._interrupt(process)
            process.communicate(timeout=250)

    @abstractmethod
    def _start(self, arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        """Start ``fab``; its two outputs are one."""

    def _interrupt(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGINT)


class Project(ProjectFolder):
    """A project folder on this machine; its ``fab -S`` is told an ssh_config."""

    def __init__(self, path: Path, ssh_config: Path) -> None:
        super().__init__(path)
        self.ssh_config = ssh_config

    def _start(self, arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [FAB, "-S", str(self.ssh_config), *arguments],
            cwd=self.path,
            env={**os.environ, **WARNINGS, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
