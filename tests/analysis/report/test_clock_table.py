"""What the reference could tell: of windows by borders that a corrected clock has, not by those of any clock."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import registry
from analysis.by_event import open_run, verdicts
from analysis.questions import judges
from analysis.questions.windows import QUESTION as WINDOWS
from analysis.report import clock_table
from analysis.simulation.simulate import simulate


@pytest.fixture(scope="module", params=["wall-step", "honest"])
def results(request, tmp_path_factory):
    folder = simulate(request.param, 3, 600, seed=2, results=tmp_path_factory.mktemp(request.param))
    return registry.compute(open_run.table_of(folder), (100,), jobs=1)


def test_of_windows_the_reference_proves_what_it_tells_by_the_borders_of_a_corrected_clock(results):
    *_, row = (row for row in clock_table.of(results) if row.question.startswith("one window"))
    assert row.clock == judges.REFERENCE
    told = {}
    for answer in results.done[WINDOWS].of(subject="100"):
        outcomes = answer.counts.outcomes
        same = outcomes.due & (outcomes.by_truth[judges.REFERENCE] == verdicts.BEFORE)
        told.setdefault(answer.source, answer.counts.number(same))
    corrected = [number for source, number in told.items() if source != "system"]
    assert row.proved.least == max(corrected) < told["system"] == row.decisions  # whose borders are beside all events
    assert row.rounds_saved == row.proved  # a window that is provably another one on another worker needs a round
    parts = (row.proved, row.ambiguous, row.wrong, row.no_reading)
    assert sum(part.least for part in parts) == row.decisions


def test_what_is_the_same_by_every_clock_is_the_references_own(results):
    by_question = {row.question: row for row in clock_table.of(results) if row.clock == judges.REFERENCE}
    assert set(by_question) == {"received after sent", "who received first", "one window of 100 ms"}
    assert by_question["received after sent"].proved.least > 0
    assert np.isfinite(by_question["who received first"].half_width_us).all()
