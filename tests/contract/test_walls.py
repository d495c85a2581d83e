"""Who may import whom holds for files that are not there yet: a new one cannot escape the contracts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("node_agent", "harness", "analysis", "time_services")


NEW_FILES = [  # folder, what a new file in it imports, and the contract that this breaks
    ("harness", "from node_agent.local import journal", "of the agent, harness and analysis see the"),
    ("harness/ssh", "import node_agent.exchange.ntp", "of the agent, harness and analysis see the contract"),
    ("analysis/run", "from node_agent.datagrams import wire", "of the agent, harness and analysis see the"),
    ("harness", "import numpy", "only analysis knows pandas, numpy and matplotlib"),
    (
        "node_agent/contract",
        "from node_agent.local import instants",
        "node_agent: a floor imports only lower ones",
    ),
    (
        "node_agent/clocks",
        "from node_agent.exchange import ntp",
        "node_agent: a floor imports only lower ones",
    ),
    (
        "analysis/run",
        "from analysis.questions import causality",
        "analysis: a floor imports only lower ones",
    ),
    ("harness", "import json", "harness: a floor imports only lower ones"),
    ("harness/ssh", "from harness.run import launch", "harness: a floor imports only lower ones"),
    ("harness/run", "from harness.ssh import rsync", "harness: a floor imports only lower ones"),
    ("harness/bench", "from harness.ssh import rsync", "only harness.ssh, and the session that makes the"),
    ("harness/bench", "import paramiko", "only harness.ssh imports paramiko"),
    ("harness/ssh", "import fabric", "only harness.invocation.fabric_settings imports fabric"),
    ("analysis", "import json", "analysis: a floor imports only lower ones"),
    ("harness", "from analysis.run import load", "harness and analysis do not know each other"),
]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what lint-imports says of each broken contract, of a tree with all the new files."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    for number, (folder, line, _) in enumerate(NEW_FILES):
        (tree / folder / f"new_{number}_file.py").write_text(f'"""New."""\n\n{line}\n')
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    parts = re.split(r"\n-{5,}\n", done.stdout.partition("Broken contracts")[2])
    names = [part.strip().rsplit("\n\n", 1)[-1] for part in parts]
    return {" ".join(name.split()): part for name, part in zip(names[:-1], parts[1:], strict=True)}


@pytest.mark.parametrize(("number", "contract"), [(number, case[2]) for number, case in enumerate(NEW_FILES)])
def test_a_new_file_cannot_escape(broken: dict[str, str], number: int, contract: str) -> None:
    (said,) = [part for name, part in broken.items() if name.startswith(contract)]
    assert f"new_{number}_file" in said


def test_not_every_command_tells_what_it_compiled() -> None:
    """With it, every `uv run` says how many files it compiled."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert "compile-bytecode" not in settings
