"""Who may import whom holds for files that are not there yet: a new one cannot escape the contracts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("node_agent", "harness", "analysis", "time_services")


@pytest.mark.parametrize(
    ("place", "line", "contract"),
    [
        ("harness/new.py", "from node_agent.local import reserve", "of the agent, harness and analysis see the"),
        ("harness/ssh/new.py", "import node_agent.exchange.ntp", "of the agent, harness and analysis see the contract"),
        ("analysis/run/new.py", "from node_agent.datagrams import wire", "of the agent, harness and analysis see the"),
        ("harness/new.py", "import numpy", "only analysis knows pandas, numpy and matplotlib"),
        (
            "node_agent/contract/new.py",
            "from node_agent.local import instants",
            "node_agent: a floor imports only lower ones",
        ),
        (
            "node_agent/clocks/new.py",
            "from node_agent.exchange import ntp",
            "node_agent: a floor imports only lower ones",
        ),
        (
            "analysis/run/new.py",
            "from analysis.questions import causality",
            "analysis: a floor imports only lower ones",
        ),
        ("harness/new.py", "import json", "harness: a floor imports only lower ones"),
        ("harness/ssh/new.py", "from harness.run import launch", "harness: a floor imports only lower ones"),
        ("harness/run/new.py", "from harness.ssh import rsync", "harness: a floor imports only lower ones"),
        ("harness/bench/new.py", "from harness.ssh import rsync", "only harness.ssh, and the session that makes the"),
        ("harness/bench/new.py", "import paramiko", "only harness.ssh imports paramiko"),
        ("harness/ssh/new.py", "import fabric", "only harness.invocation.fabric_settings imports fabric"),
        ("analysis/new.py", "import json", "analysis: a floor imports only lower ones"),
        ("harness/new.py", "from analysis.run import load", "harness and analysis do not know each other"),
    ],
)
def test_a_new_file_cannot_escape(tmp_path: Path, place: str, line: str, contract: str) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / place).write_text(f'"""New."""\n\n{line}\n')
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = " ".join(" ".join(done.stdout.split()).partition("Broken contracts")[2].split())
    assert contract in broken


def test_not_every_command_tells_what_it_compiled() -> None:
    """With it, every `uv run` says how many files it compiled."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert "compile-bytecode" not in settings
