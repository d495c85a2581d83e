"""A judge that knows nothing of some events says nothing of them: not that it can tell 0 of 200."""

from __future__ import annotations

import numpy as np

from analysis.by_event import verdicts
from analysis.by_event.readings import table
from analysis.questions import answers, decisions, judges, windows
from analysis.simulation.simulate import simulate
from analysis.stats.counts import first_served


class Named:
    name, reason = judges.REFERENCE, ""


def judged(truth):
    every = np.ones(4, dtype=np.bool_)
    made = decisions.Decisions(
        question="q",
        source="ntp",
        clock="point",
        subject="w",
        labels=np.array([verdicts.BEFORE, verdicts.AFTER, verdicts.AMBIGUOUS, verdicts.NOT_EVALUABLE], dtype=np.int8),
        received=every,
        due=every,
        samples=(first_served(np.arange(4)),),
        by_ground_truth={judges.REFERENCE: np.array(truth, dtype=np.int8)},
    )
    return answers.judged(decisions.count([made]), judges.REFERENCE)


def test_nothing_known_is_a_reason_and_no_rate():
    found = judged([verdicts.NOT_EVALUABLE] * 4)
    assert found.reason == answers.KNOWS_NOTHING
    assert list(found.rates) == []
    assert found.as_dict()["status"] == "not_evaluable"


def test_what_is_only_known_of_events_that_the_source_has_no_reading_of_is_nothing_too():
    assert judged([verdicts.NOT_EVALUABLE] * 3 + [verdicts.BEFORE]).reason == answers.KNOWS_NOTHING


def test_known_and_open_is_a_share_of_0():
    found = judged([verdicts.AMBIGUOUS] * 4)
    decided = found.rates["decided_by_judge"]
    assert (found.reason, decided.numerator, decided.denominator) == ("", 0, 3)


def test_a_clock_that_decides_nothing_is_not_right_of_all(tmp_path):
    """NTP's intervals leave every receipt open: nothing was decided, so nothing can be told of how much was wrong."""
    from analysis.questions import ordering
    from analysis.run import load

    run = table(load.load(simulate("honest", 3, 60, seed=2, results=tmp_path)))
    for answer in ordering.compute(run).who_first:
        wrong, decided = answer.rates["wrong_decided"], answer.rates["decided"]
        assert wrong.denominator <= decided.numerator
        if not decided.numerator:
            assert wrong.value is None


def test_windows_of_a_judge_without_lags_are_not_evaluable(tmp_path):
    from analysis.run import load

    class Silent(Named):
        def receipts(self, _first, _second):
            nothing = np.zeros(60, dtype=np.int64)
            return judges.Lag(nothing, nothing, nothing.astype(np.bool_))

    run = table(load.load(simulate("honest", 3, 60, seed=2, results=tmp_path)))
    found = windows.compute(run, (100,), [Silent()])
    points = found.of(clock="point")
    assert {judgement.reason for answer in points for judgement in answer.judgements} == {answers.KNOWS_NOTHING}
    assert {answer.rounds.judge for answer in points} <= {judges.TRUTH, judges.REFERENCE}
