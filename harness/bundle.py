"""The agent as one file: node_agent and its pinned pure-Python libraries in a deterministic zipapp.

Same inputs, same bytes: entries are sorted and dated 1980, so the sha256 names the content and nodes can cache by it.
The libraries are fetched once per content of node_agent/requirements.txt and kept in the user's cache; later builds are
offline.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import PreflightError
from harness.pins import AGENT_REQUIREMENTS, OLDEST_AGENT_PYTHON, OLDEST_AGENT_PYTHON_TEXT, find_uv, isolate

BUNDLE_NAME: Final = "agent.pyz"
MAX_BUNDLE_BYTES: Final = 1_000_000

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip file can hold
_SHEBANG: Final = b"#!/usr/bin/env python3\n"
# Written for any Python: an old one must say that it is old, and not trip over the agent's syntax.
_MAIN: Final = f"""\
import sys

if sys.version_info < {OLDEST_AGENT_PYTHON}:
    sys.stderr.write(
        "agent: expected Python {OLDEST_AGENT_PYTHON_TEXT} or newer, got %d.%d (%s);"
        " set remote_python in the cluster file\\n"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
    sys.exit(2)

from node_agent.__main__ import main

sys.exit(main())
""".encode()
_NOT_SHIPPED: Final = {"__pycache__", "bin"}


@dataclass(frozen=True)
class Bundle:
    """A built agent: where it lies, and the sha256 (hex) of its bytes."""

    path: Path
    sha256: str

    @property
    def size_bytes(self) -> int:
        """Return the size of the file in bytes."""
        return self.path.stat().st_size


def build(root: Path, cache: Path | None = None) -> Bundle:
    """Build the agent of the source tree ``root``, or find it built already.

    Raises PreflightError if the libraries cannot be fetched or the result is larger than ``MAX_BUNDLE_BYTES``.
    """
    cache = cache or user_cache()
    libraries = fetch_libraries(root / AGENT_REQUIREMENTS, cache)
    content = archive({**_files(libraries), **_files(root / "node_agent", "node_agent/")})
    if len(content) > MAX_BUNDLE_BYTES:
        raise PreflightError(f"agent bundle: expected at most {MAX_BUNDLE_BYTES} bytes, got {len(content)}")
    sha256 = hashlib.sha256(content).hexdigest()
    path = cache / "bundles" / sha256 / BUNDLE_NAME
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            scratch.write_bytes(content)
            scratch.replace(path)  # so that nobody ever sees a part of it
        finally:
            scratch.unlink(missing_ok=True)
    return Bundle(path, sha256)


def archive(files: dict[str, bytes]) -> bytes:
    """Return a zipapp of ``files`` (name -> content) that starts the agent; a pure function of its argument."""
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
        for name, content in sorted({**files, "__main__.py": _MAIN}.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            bundle.writestr(entry, content)
    return buffer.getvalue()


def fetch_libraries(requirements: Path, cache: Path) -> Path:
    """Return a folder with the agent's libraries unpacked, fetching them unless the cache has that very list.

    The installer checks every file's hash against the list. Raises PreflightError with the installer's reason.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    folder = cache / "libraries" / digest
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as scratch:
        target = Path(scratch) / "libraries"
        isolate(Path(scratch))
        argv = _installer(requirements.resolve(), target.resolve())
        done = subprocess.run(argv, cwd=scratch, capture_output=True, timeout=300, check=False)
        if done.returncode != 0:
            reason = " ".join(done.stderr.decode("utf-8", "replace").split())[-400:]
            reason = reason or f"{argv[0]} ended with {done.returncode} and said nothing"
            raise PreflightError(f"agent bundle: cannot fetch {AGENT_REQUIREMENTS} (needed once, online): {reason}")
        try:
            target.rename(folder)
        except OSError:
            if not folder.is_dir():  # someone else fetched the same list meanwhile: theirs is as good
                raise
    return folder


def user_cache() -> Path:
    """Return the folder for what can be built or fetched again."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chronotick-harness"


def _installer(requirements: Path, target: Path) -> list[str]:
    options = ["--target", str(target), "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    options += ["--python-version", OLDEST_AGENT_PYTHON_TEXT, "-r", str(requirements)]
    if uv := find_uv():
        return [uv, "pip", "install", "--quiet", "--python", sys.executable, *options]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--implementation", "py", *options]
    raise PreflightError("agent bundle: expected uv on PATH, or pip in this environment, got neither")


def _files(folder: Path, prefix: str = "") -> dict[str, bytes]:
    """Return the files worth shipping below ``folder``, by their name in the bundle."""
    files = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        shipped = path.suffix in {".py", ".pem"} and not _NOT_SHIPPED & set(parts)
        if shipped and path.is_file():
            files[prefix + "/".join(parts)] = path.read_bytes()
    return files
