"""Files by a node's shell alone: what another program does to a folder meanwhile is no error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import shell_files
from harness.local import LocalRemote

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_file_that_goes_while_its_folder_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``wc`` that cannot read ``gone`` stands for one that came too late."""
    folder, programs = tmp_path / "folder", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    (folder / "there").write_text("12345")
    (folder / "gone").write_text("no size")
    wc = programs / "wc"
    wc.write_text('#!/bin/sh\ntext=$(cat)\n[ "$text" = "no size" ] && exit 1\nprintf "%s\\n" "${#text}"\n')
    wc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert shell_files.listing(LocalRemote("n1", tmp_path), "folder") == {"there": 5}
