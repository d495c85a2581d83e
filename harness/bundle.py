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
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ConfigError, PreflightError
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
_REQUIREMENTS: Final = "requirements.sha256"  # in the bundle: which list its libraries are of
_MAIN_NAME: Final = "__main__.py"
_PACKAGE: Final = "node_agent/"
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
    content = archive({**_files(libraries), **_own_files(root)})
    if len(content) > MAX_BUNDLE_BYTES:
        raise PreflightError(f"agent bundle: expected at most {MAX_BUNDLE_BYTES} bytes, got {len(content)}")
    sha256 = hashlib.sha256(content).hexdigest()
    path = cache / "bundles" / sha256 / BUNDLE_NAME
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, content)
    return Bundle(path, sha256)


def save(bundle: Bundle, path: Path) -> Bundle:
    """Write a bundle to a file of the user's, in place of what is there. Raises ConfigError where it cannot be."""
    try:
        if path.is_dir():
            raise ConfigError(f"--output: expected a file, got the folder {path}")
        _put(path, bundle.path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--output: expected to write {path}, got: {error.strerror or error}") from error
    return Bundle(path, bundle.sha256)


def given(path: Path, root: Path) -> Bundle:
    """Return the bundle in a file, if it is exactly that of the source tree ``root``. Nothing is built or fetched.

    Raises ConfigError that says what differs and what to do.
    """
    expected = _own_files(root)
    advice = f"write it anew, where the libraries can be fetched: fab bundle --output {path}"
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            files = {name: bundle.read(name) for name in bundle.namelist()}
    except FileNotFoundError:
        raise ConfigError(f"agent_bundle: expected a bundle in {path}, got no file there; {advice}") from None
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"agent_bundle: expected a bundle in {path}, got: {error}; {advice}") from error
    own = {name for name in files if name.startswith(_PACKAGE) or name in expected}
    differing = sorted(name for name in own | set(expected) if files.get(name) != expected.get(name))
    if differing:
        others = f" and {len(differing) - 1} more" if differing[1:] else ""
        names = [AGENT_REQUIREMENTS if name == _REQUIREMENTS else name for name in differing]
        told = f"expected {path} to hold the agent of this source tree, got another {names[0]}{others}"
        raise ConfigError(f"agent_bundle: {told}; {advice}")
    return Bundle(path, hashlib.sha256(content).hexdigest())


def archive(files: dict[str, bytes]) -> bytes:
    """Return a zipapp of ``files`` (name -> content) that starts the agent; a pure function of its argument."""
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
        for name, content in sorted({**files, _MAIN_NAME: _MAIN}.items()):
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
    raise PreflightError(
        "agent bundle: expected uv on PATH, or pip in this environment, got neither; "
        "or write it elsewhere (fab bundle) and name it in the cluster file (agent_bundle)"
    )


def _own_files(root: Path) -> dict[str, bytes]:
    """Return what a bundle holds beside its libraries: the package, its start, the digest of the libraries' list."""
    digest = hashlib.sha256((root / AGENT_REQUIREMENTS).read_bytes()).hexdigest()
    own = {_MAIN_NAME: _MAIN, _REQUIREMENTS: f"{digest}\n".encode()}
    return {**_files(root / _PACKAGE, _PACKAGE), **own}


def _put(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _files(folder: Path, prefix: str = "") -> dict[str, bytes]:
    """Return the files worth shipping below ``folder``, by their name in the bundle."""
    files = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        shipped = path.suffix in {".py", ".pem"} and not _NOT_SHIPPED & set(parts)
        if shipped and path.is_file():
            files[prefix + "/".join(parts)] = path.read_bytes()
    return files
