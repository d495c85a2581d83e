"""The agent as one file: the same bytes every time, small, and at home on every Python from 3.9 on."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from harness import bundle
from harness.bundle import MAX_BUNDLE_BYTES, Bundle

ROOT = Path(__file__).parents[2]
ASK = """
import sys; sys.path.insert(0, sys.argv[1])
import httpx, ntplib, node_agent
assert all(sys.argv[1] in module.__file__ for module in (httpx, ntplib, node_agent)), httpx.__file__
print(httpx.Client(timeout=20).get(sys.argv[2]).text)
"""


def pythons() -> list[Path]:
    """Every interpreter from 3.9 on that pyenv or this environment has."""
    installed = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    fit = [path for path in installed if int(path.parts[-3].split(".")[1]) >= 9]
    return [*fit, Path(sys.executable)]


def call(argv: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def built() -> Bundle:
    """Build the bundle of this tree; its libraries come from the cache, or once from the package index."""
    return bundle.build(ROOT)


def test_the_same_sources_make_the_same_bytes(built: Bundle, tmp_path: Path) -> None:
    files = {"b.py": b"B", "a/c.py": b"C"}
    assert bundle.archive(files) == bundle.archive(dict(reversed(files.items())))
    assert bundle.build(ROOT).sha256 == built.sha256


def test_it_is_small_and_named_by_its_content(built: Bundle) -> None:
    assert built.size_bytes < MAX_BUNDLE_BYTES
    assert built.path.parent.name == built.sha256


def test_it_is_pure_python(built: Bundle) -> None:
    with zipfile.ZipFile(built.path) as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".py", ".pem"}


@pytest.mark.parametrize("python", pythons(), ids=lambda path: "-".join(path.parts[-3:-2]))
def test_it_runs_on_every_python(built: Bundle, python: Path) -> None:
    class Hello(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

    with http.server.HTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        said = call([python, "-I", "-c", ASK, built.path, url])
        thread.join()
    assert said.stdout == "hello\n", said.stderr
    there = call([python, "-I", built.path, "status", "--run-dir", "/nowhere"])
    assert there.returncode == 0, there.stderr


def test_requirements_hold_nothing_but_pins_and_hashes() -> None:
    text = (ROOT / "node_agent/requirements.txt").read_text()
    entries = re.split(r"(?<!\\)\n", text.strip())[1:]
    names = {entry.split("==")[0] for entry in entries}
    assert {"httpx", "ntplib", "typing-extensions", "exceptiongroup"} <= names
    line = re.compile(r"[a-z0-9-]+==[0-9][0-9.a-z]*( \\\n    --hash=sha256:[0-9a-f]{64})+")
    assert all(line.fullmatch(entry) for entry in entries)


def test_no_libraries_and_no_way_to_get_them_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "no route to host, in $(cat pyproject.toml)" >&2; exit 2\n')
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    # The installer runs where no project's constraints hold: uv would apply the controller's.
    wanted = r"cannot fetch node_agent/requirements\.txt.*no route to host, in \[tool\.uv\]"
    with pytest.raises(bundle.PreflightError, match=wanted):
        bundle.build(ROOT, tmp_path / "cache")
    assert not list((tmp_path / "cache/libraries").iterdir())
