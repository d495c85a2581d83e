"""A run that is cut into parts, and judged part by part, gives what it gives when judged whole, to the last digit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis import registry
from analysis.by_event import open_run
from analysis.by_event.joining import joined
from analysis.by_event.verdicts import Lag
from analysis.report import run_counts
from analysis.report.page import events
from analysis.run import load
from analysis.simulation import scenario as scenarios

sys.path.append(str(Path(__file__).parents[1] / "golden"))

import golden_record as record


@pytest.fixture(scope="module", params=[*scenarios.names(), "demo", "published"])
def run(request, tmp_path_factory):
    if request.param == "published" and record.published_data() is None:
        pytest.skip("the published measurements are not here: set CHRONOTICK_SHARED_DATA")
    return record.make(request.param, tmp_path_factory.mktemp(request.param))


def said(readings, jobs):
    """Return everything that is said of a run."""
    results = registry.compute(readings, (50, 1000), jobs=jobs)
    return json.dumps(
        {
            "statistics": results.as_statistics(),
            "findings": [finding.as_dict() for finding in results.findings],
            "counts": run_counts.of(readings).as_dict(),
            "texts": {name: str(text) for name, text in results.texts().items()},
            "events": events.of(results),
            "traces": [
                [clock.trace.at_s.tolist(), clock.trace.y_us.tolist()] for clock in results.done["clock_quality"].clocks
            ],
        },
        default=str,
    )


def test_however_many_events_at_a_time_and_processes(run):
    whole = open_run.table_of(run)
    assert whole.number_of_parts == 1
    expected = said(whole, 1)
    assert said(whole, 2) == expected
    for parts, jobs in ((2, 1), (7, 3)):
        cut = open_run.table_of(run, -(-len(whole.event_ids) // parts))
        assert cut.number_of_parts == (parts if load.read_manifest(run).imported is None else 1)
        assert said(cut, jobs) == expected


def test_what_parts_disagree_about_is_not_joined():
    one, none = np.ones(2, dtype=np.int64), np.zeros(2, dtype=bool)
    assert joined([Lag(one, one, none)] * 3).low.tolist() == [1] * 6
    whole = joined([Lag(one, one, none)] * 2)
    assert whole.low is whole.high
    with pytest.raises(ValueError, match=r"expected all of them to say 'a', got \{.*'b'"):
        joined([(one, "a"), (one, "b")])
