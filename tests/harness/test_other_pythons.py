"""Which other Pythons of a node are named where its own will not do: Pythons, and nothing that is called like one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from harness.agent import _LOOK_FOR_PYTHONS

if TYPE_CHECKING:
    from pathlib import Path


def test_what_belongs_to_a_python_is_none(tmp_path: Path) -> None:
    """python3-dev brings python3.11-config, which answers anything with its usage."""
    (tmp_path / "python3.11").symlink_to(sys.executable)
    for name in ("python3.11-config", "python3.11-dbg", "python3.11m", "python3.x"):
        (tmp_path / name).write_text("#!/bin/sh\necho Usage: it\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "python3.8").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3.8").chmod(0o755)
    look = _LOOK_FOR_PYTHONS.replace("/usr/bin/", f"{tmp_path}/").replace("/usr/local/bin/", "/nowhere/")
    look = look.replace("/opt/*/bin/", "/nowhere/")
    done = subprocess.run(["sh", "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"{tmp_path}/python3.11"]
