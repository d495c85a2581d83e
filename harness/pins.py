"""Pinning: the exact versions of the controller's libraries and, as a resolution of its own, of the agent's.

Both are written where they are read: ``constraint-dependencies`` in pyproject.toml and node_agent/requirements.txt.
Neither names a download host, so whoever installs decides where from.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import tomllib

from harness.errors import ConfigError, cause

if TYPE_CHECKING:
    from collections.abc import Sequence

AGENT_REQUIREMENTS: Final = "node_agent/requirements.txt"
AGENT_DEPENDENCIES: Final = ("httpx", "ntplib")
OLDEST_AGENT_PYTHON: Final = (3, 9)
OLDEST_AGENT_PYTHON_TEXT: Final = "{}.{}".format(*OLDEST_AGENT_PYTHON)

_CONSTRAINTS: Final = re.compile(r"^constraint-dependencies\s*=\s*\[.*?\]\s*?$", re.MULTILINE | re.DOTALL)
_PIN: Final = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+")
_HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def lock(root: Path, *, upgrade: bool = False) -> list[Path]:
    """Rewrite both pin lists under ``root`` and return the files written; ``upgrade`` takes the newest versions.

    Raises ConfigError if uv is missing or cannot resolve; pyproject.toml is then as it was before.
    """
    return [lock_project(root, upgrade=upgrade), lock_agent(root)]


def lock_project(root: Path, *, upgrade: bool = False) -> Path:
    """Rewrite ``[tool.uv] constraint-dependencies`` from the current resolution (of uv.lock, or a fresh one)."""
    path = root / "pyproject.toml"
    before = path.read_text(encoding="utf-8")
    if len(_CONSTRAINTS.findall(before)) != 1:
        raise ConfigError(f"{path}: expected one list 'constraint-dependencies' under [tool.uv], got none or several")
    try:
        # The old pins must not decide the new ones; uv.lock keeps what is resolved now unless an upgrade is asked for.
        path.write_text(_CONSTRAINTS.sub("constraint-dependencies = []", before), encoding="utf-8")
        _uv(root, ["lock", "--quiet", *(["--upgrade"] if upgrade else [])])
        export = ["export", "--frozen", "--quiet", "--all-groups", "--no-emit-project", "--no-hashes"]
        exported = _uv(root, [*export, "--no-annotate", "--no-header"])
    except BaseException:
        path.write_text(before, encoding="utf-8")
        raise
    pins = [line.strip() for line in exported.splitlines() if _PIN.match(line)]
    listed = "".join(f'    "{pin}",\n' for pin in (pin.replace('"', "'") for pin in pins))
    after = _CONSTRAINTS.sub(lambda _: f"constraint-dependencies = [\n{listed}]", before)
    tomllib.loads(after)
    path.write_text(after, encoding="utf-8")
    _uv(root, ["lock", "--quiet"])  # so that the next `uv run` finds a lock file that knows the constraints
    return path


def lock_agent(root: Path) -> Path:
    """Rewrite node_agent/requirements.txt: pinned and hashed for the oldest Python, valid on every Python."""
    path = root / AGENT_REQUIREMENTS
    options = [
        "--python-version",
        OLDEST_AGENT_PYTHON_TEXT,
        "--generate-hashes",
        "--only-binary",
        ":all:",
        "--no-annotate",
    ]
    hosts = ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--quiet"]
    wanted = "".join(f"{name}\n" for name in AGENT_DEPENDENCIES)
    with tempfile.TemporaryDirectory() as elsewhere:
        isolate(Path(elsewhere))
        resolved = _uv(Path(elsewhere), ["pip", "compile", *options, *hosts, "-"], wanted)
    path.write_text(render_requirements(resolved), encoding="utf-8")
    return path


def render_requirements(resolved: str) -> str:
    """Return a resolution as requirement lines that hold nothing but names, versions and hashes."""
    lines = [f"# Pure Python, resolved for Python {OLDEST_AGENT_PYTHON_TEXT}; written by `uv run invoke lock`."]
    for entry in re.split(r"(?<!\\)\n", resolved):
        pin, hashes = _PIN.match(entry), sorted(set(_HASH.findall(entry)))
        if pin and hashes:
            lines.append(" \\\n    ".join([pin.group(), *hashes]))
        elif entry.strip() and not entry.startswith("#"):
            raise ConfigError(f"{AGENT_REQUIREMENTS}: expected 'name==version' with hashes from uv, got {entry!r}")
    return "\n".join(lines) + "\n"


def isolate(folder: Path) -> None:
    """Keep uv, run in ``folder``, from applying the controller's constraints to the agent's libraries.

    uv takes them from the nearest pyproject.toml above; this one has none. The user's own uv settings still hold.
    """
    (folder / "pyproject.toml").write_text("[tool.uv]\n", encoding="utf-8")


def find_uv() -> str | None:
    """Return the uv that runs us (it says so in the environment) or the one on PATH."""
    return os.environ.get("UV") or shutil.which("uv")


def _uv(root: Path, arguments: Sequence[str], stdin: str = "") -> str:
    uv = find_uv()
    if uv is None:
        raise ConfigError("uv: expected it on PATH, got none; pip install uv")
    try:
        done = subprocess.run(
            [uv, *arguments], cwd=root, input=stdin, capture_output=True, encoding="utf-8", timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"uv {arguments[0]}: {cause(error)}") from error
    if done.returncode != 0:
        raise ConfigError(f"uv {arguments[0]} failed: {' '.join(done.stderr.split())[-500:]}")
    return done.stdout
