"""A run that an earlier version recorded is judged after archive and restoration as it always was."""

from __future__ import annotations

import json

import golden_record as record

from analysis.archive import archive, contents
from analysis.archive.restore import restore


def test_a_recorded_run_of_an_earlier_version_is_restored_and_judged_as_ever(tmp_path):
    folder = record.make("demo", tmp_path / "results")
    made = archive.write(contents.of_run(folder), tmp_path / "demo.tar.zst")
    (again,) = restore(made.path, tmp_path / "again").folders
    assert record.digests(again) == json.loads(record.EXPECTED.read_text(encoding="utf-8"))["demo"]
