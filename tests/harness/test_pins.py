"""Pins: exact, hashed, and free of hosts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tomllib

from harness import pins
from harness.errors import ConfigError

ROOT = Path(__file__).parents[2]
HASH = "--hash=sha256:" + "0" * 64
UV = """#!/bin/sh
echo "$@" >> calls
[ "$1" = export ] && printf 'numpy==2.0 ; python_full_version < "3.12"\\nrich==15.0.0\\n'
exit ${FAIL:-0}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the project's pyproject.toml, beside a uv that resolves to two pins."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    return tmp_path


def test_the_projects_pins_replace_the_old_ones_and_nothing_else(project: Path) -> None:
    before = tomllib.loads((project / "pyproject.toml").read_text())
    pins.lock_project(project)
    after = tomllib.loads((project / "pyproject.toml").read_text())
    assert after["tool"]["uv"].pop("constraint-dependencies") == [
        "numpy==2.0 ; python_full_version < '3.12'",
        "rich==15.0.0",
    ]
    before["tool"]["uv"].pop("constraint-dependencies")
    assert after == before


def test_a_failed_resolution_leaves_the_project_as_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    before = (project / "pyproject.toml").read_text()
    with pytest.raises(ConfigError, match="uv lock failed"):
        pins.lock_project(project)
    assert (project / "pyproject.toml").read_text() == before


def test_an_agents_pin_loses_its_marker_and_keeps_its_hashes() -> None:
    resolved = f"anyio==4.12.1 ; python_version >= '3.9' \\\n    {HASH}\nidna==3 \\\n    {HASH}\n"
    lines = pins.render_requirements(resolved).splitlines()
    assert lines[1:] == ["anyio==4.12.1 \\", f"    {HASH}", "idna==3 \\", f"    {HASH}"]


@pytest.mark.parametrize(
    "line", ["anyio==4.12.1\n", "--index-url https://example.invalid\n", "git+https://example.invalid\n"]
)
def test_an_agents_pin_without_a_hash_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="with hashes"):
        pins.render_requirements(line)
