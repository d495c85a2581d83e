"""A benchmark has a number where something was measured and a reason where nothing was."""

from __future__ import annotations

import json

import pytest

from harness.bench.figures import cells, distribution
from harness.bench.results import KEYS, Results


def test_every_key_is_there_and_what_was_not_measured_says_why():
    results = Results()
    results.put("bundle_bytes", 598_466, "B")
    results.put_distribution("ntp_abs_error_us.agent", distribution([1.0, 3.0, 2.0]))
    results.missing(KEYS, "RunError: no server")
    said = json.loads(results.as_json())
    assert set(KEYS) | {"notes", "machine"} == set(said)
    assert said["bundle_bytes"] == 598_466
    assert said["ntp_abs_error_us"] == {"agent": {"p50": 2.0, "p99": 3.0, "max": 3.0}, "ntplib": None, "naive": None}
    for key in set(KEYS) - {"bundle_bytes", "ntp_abs_error_us"}:
        assert (said[key], said["notes"][key]) == (None, "RunError: no server")


def test_quantiles_are_values_that_were_seen():
    found = distribution(float(i) for i in range(1, 1_001))
    assert (found.p50, found.p99, found.p999, found.max, found.count) == (500.0, 990.0, 999.0, 1_000.0, 1_000)
    assert distribution([]) is None


def test_columns_are_found_by_name(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('a,b,c\n1,2,"x,y"\n3,4,\n')
    assert list(cells(path, ("b", "a"))) == [["2", "1"], ["4", "3"]]
    with pytest.raises(ValueError, match="d"):
        list(cells(path, ("d",)))
