"""A run says which agent made it: from a tree, every source file of the package counts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import node_agent

PACKAGE = Path(node_agent.__file__).parent
SAY = "from node_agent.local.machine import agent_sha256; print(agent_sha256())"


def said(folder):
    done = subprocess.run([sys.executable, "-c", SAY], cwd=folder, env={"PYTHONPATH": str(folder)},
                          capture_output=True, text=True, check=True)  # fmt: skip
    return done.stdout.strip()


def test_a_change_of_any_file_is_another_agent(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "node_agent", ignore=shutil.ignore_patterns("__pycache__"))
    before = said(tmp_path)
    seen = {before}
    for place in ("worker.py", "clocks/ntp.py", "contract/plan.py", "local/instants.py"):
        file = tmp_path / "node_agent" / place
        file.write_text(file.read_text() + "# another\n")
        seen.add(said(tmp_path))
    assert len(seen) == 5
