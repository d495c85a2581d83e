"""An account of its own for a test: its home, its ssh_config and the system's drop-ins, in a namespace of mounts."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


class Account:
    """A home folder that the account database names, and a folder that stands in for /etc/ssh/ssh_config.d."""

    def __init__(self, path: Path) -> None:
        self.home, self.drop_ins = path / "home", path / "ssh_config.d"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.drop_ins.mkdir()
        lines = Path("/etc/passwd").read_text().splitlines()
        own = [f"root:x:0:0:root:{self.home}:/bin/sh" if line.startswith("root:") else line for line in lines]
        self._passwd = path / "passwd"
        self._passwd.write_text("\n".join(own) + "\n")

    def write(self, content: str | bytes, name: str = "config") -> Path:
        """Write a file of the home's .ssh."""
        path = self.home / ".ssh" / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        return path

    def run(self, *argv: str, cwd: Path, timeout_s: float = 250, **environment: str) -> tuple[int, str]:
        """Run a command as this account; return its exit code and everything it printed."""
        mounts = [f"mount --bind {shlex.quote(str(self._passwd))} /etc/passwd"]
        mounts.append(f"mount --bind {shlex.quote(str(self.drop_ins))} /etc/ssh/ssh_config.d")
        script = " && ".join([*mounts, f"exec {shlex.join(argv)}"])
        done = subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-c", script],
            cwd=cwd,
            env={**os.environ, "HOME": str(self.home), "PYTHONWARNINGS": "default", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def fab(self, project, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run ``fab`` in a project's folder as this account."""
        return self.run(str(Path(sys.executable).parent / "fab"), *arguments, cwd=project.path, **environment)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    if os.geteuid() != 0 or shutil.which("unshare") is None or not Path("/etc/ssh/ssh_config.d").is_dir():
        pytest.skip("an account of its own: needs root, unshare and /etc/ssh/ssh_config.d")
    return Account(tmp_path / "account")
