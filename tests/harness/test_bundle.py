"""The agent as one file: the same bytes every time, small, and at home on every Python from 3.9 on."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import bundle
from harness.bundle import MAX_BUNDLE_BYTES, Bundle
from harness.errors import ConfigError

if TYPE_CHECKING:
    from conftest import Project

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
    return subprocess.run(argv, capture_output=True, text=True, timeout=250, check=False)


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
        names = archive.namelist()
    assert {Path(name).suffix for name in names if name != "requirements.sha256"} == {".py", ".pem"}


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


def test_a_bundle_that_was_written_is_taken_without_uv_and_pip(built: Bundle, project: Project, tmp_path: Path) -> None:
    """A login node without internet needs the file and nothing else."""
    name = "the agent.pyz"
    code, printed = project.fab("bundle", "--output", name)
    assert code == 0, printed
    assert f"agent bundle {name} sha256={built.sha256} bytes={built.size_bytes}" in printed
    cluster = project.path / "configs/clusters/local.yaml"
    cluster.write_text(f"{cluster.read_text()}agent_bundle: {name}\n")
    empty = tmp_path / "nothing is cached"
    code, printed = project.fab("local", "check", UV="/nowhere/uv", XDG_CACHE_HOME=str(empty))
    assert code == 0, printed
    assert f"agent bundle sha256={built.sha256}" in printed
    assert not (empty / "chronotick-harness/libraries").exists()


def changed(built: Bundle, path: Path, changes: dict[str, bytes | None]) -> Path:
    """Write a bundle in which some files are others (None: are missing)."""
    with zipfile.ZipFile(built.path) as archive:
        files: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | changes).items():
            if content is not None:
                archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"node_agent/check.py": b"# another"}, "got another node_agent/check.py; "),
        ({"node_agent/check.py": None}, "got another node_agent/check.py; "),
        ({"node_agent/more.py": b""}, "got another node_agent/more.py; "),
        ({"node_agent/check.py": b"", "node_agent/node.py": b""}, "got another node_agent/check.py and 1 more; "),
        ({"requirements.sha256": None}, "got another node_agent/requirements.txt; "),
        ({"__main__.py": b""}, "got another __main__.py; "),
    ],
)
def test_another_trees_bundle_is_refused_in_one_line(
    built: Bundle, tmp_path: Path, changes: dict[str, bytes | None], told: str
) -> None:
    path = changed(built, tmp_path / "agent.pyz", changes)
    with pytest.raises(ConfigError) as refused:
        bundle.given(path, ROOT)
    line = str(refused.value)
    assert line.startswith(f"agent_bundle: expected {path} to hold the agent of this source tree, {told}")
    assert line.endswith(f"fab bundle --output {path}")
    assert "\n" not in line


def test_the_same_files_packed_by_another_zlib_are_the_same_agent(built: Bundle, tmp_path: Path) -> None:
    path = changed(built, tmp_path / "agent.pyz", {})
    assert bundle.given(path, ROOT).sha256 != built.sha256


@pytest.mark.parametrize("content", [None, b"", b"no archive", "damaged"])
def test_what_is_no_bundle_is_one_line(built: Bundle, tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "agent.pyz"
    if content == "damaged":
        whole = built.path.read_bytes()
        path.write_bytes(whole[:100_000] + bytes(1_000) + whole[101_000:])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^agent_bundle: expected a bundle in {path}, got.*fab bundle --output"):
        bundle.given(path, ROOT)


@pytest.mark.parametrize("arguments", [(), ("--output", "configs"), ("--output", "no/folder/agent.pyz")])
def test_a_file_that_cannot_be_written_is_one_line(project: Project, arguments: tuple[str, ...]) -> None:
    code, printed = project.fab("bundle", *arguments)
    assert code == 2
    assert printed.startswith("--output: expected ")
    assert len(printed.splitlines()) == 1
