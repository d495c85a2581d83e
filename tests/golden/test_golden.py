"""The numbers of known runs stay what they are: the net under every change that is meant to change nothing."""

from __future__ import annotations

import json

import golden_record as record
import pytest


@pytest.mark.parametrize("name", record.names())
def test_every_output_is_what_it_was(name, tmp_path):
    if name == "published" and record.published_data() is None:
        pytest.skip("the published data is not beside this checkout; set CHRONOTICK_SHARED_DATA to its parent folder")
    expected = json.loads(record.EXPECTED.read_text(encoding="utf-8"))[name]
    said = record.digests(record.make(name, tmp_path))
    changed = sorted(output for output in expected.keys() | said.keys() if expected.get(output) != said.get(output))
    assert changed == [], "uv run python tests/golden/golden_record.py writes them anew, if that is meant"
