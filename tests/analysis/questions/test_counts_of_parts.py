"""Counts of consecutive parts of a run add up to those of the whole, of every question, to the last digit."""

from __future__ import annotations

import json
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import reference
from analysis.by_event import readings
from analysis.questions import answers, causality, commit_wait, judges, ordering, pairs, who_first, windows
from analysis.questions.pairs import Pairs
from analysis.questions.waits.remeasurement import Remeasured
from analysis.run import load
from analysis.simulation import scenario as scenarios
from analysis.simulation.simulate import simulate
from analysis.stats.counts import Outcomes, counts, first_served

sys.path.append(str(Path(__file__).parents[2] / "golden"))

import golden_record as record

WIDTHS_MS = (50, 1000)


@pytest.fixture(scope="module", params=[*scenarios.names(), "demo"])
def run(request, tmp_path_factory):
    return readings.table(load.load(record.make(request.param, tmp_path_factory.mktemp(request.param))))


def edges(count, parts):
    places = [count * part // parts for part in range(parts + 1)]
    return list(zip(places[:-1], places[1:], strict=True))


def some_pairs(table, nearby, begin, end):
    """Return some of the pairs, and the table of no more events than theirs."""
    part = nearby.part(begin, end)
    if not len(part):
        return table, part
    low = int(min(part.first.min(), part.second.min()))
    high = int(max(part.first.max(), part.second.max())) + 1
    return table.part(low, high), Pairs(part.first - low, part.second - low, part.total)


def statistics(table, built, parts):
    """Return the statistics of all questions, counted in so many parts."""
    known = judges.of(table, built)
    nearby = pairs.nearby(table.sent.ns, table.sent.known)
    found = {"causality": [], "who_first": [], "windows": [], "commit_wait": [], "ordering": []}
    for begin, end in edges(len(table.event_ids), parts):
        part = table.part(begin, end)
        by = judges.of(part, built)
        found["causality"].append(dict(causality.count(part, by)))
        found["who_first"].append(dict(who_first.count(part, by)))
        found["windows"].append(dict(windows.count(part, by, WIDTHS_MS)))
        again = Remeasured(part)
        found["commit_wait"].append(dict(commit_wait.count(part, by, again, WIDTHS_MS)))
    for begin, end in edges(len(nearby), parts):
        found["ordering"].append(dict(ordering.count_pairs(*some_pairs(table, nearby, begin, end))))
    total = {question: reduce(answers.added, counted).items() for question, counted in found.items()}
    waits = commit_wait.CommitWait(commit_wait.answer(total["commit_wait"], known), (), (), None)
    return {
        "causality": causality.answer(table, total["causality"], known).as_statistics(),
        "ordering": ordering.answer(table, nearby, total["ordering"], total["who_first"], known).as_statistics(),
        "windows": windows.answer(table, total["windows"], known).as_statistics(),
        "commit_wait": waits.as_statistics(),
    }


def test_counts_of_3_and_17_parts_give_the_statistics_of_the_whole_run(run):
    built = reference.build(run.run)
    whole = json.dumps(statistics(run, built, 1))
    assert len(whole) > 10_000
    for parts in (3, 17):
        assert json.dumps(statistics(run, built, parts)) == whole


LABELS = st.integers(0, 4)
EVENT = st.tuples(LABELS, st.booleans(), st.booleans(), LABELS, st.integers(-1, 6), st.integers(-(10**18), 10**18))


def counted(events, samples):
    label, received, due, true, _, value = (list(column) for column in zip(*events, strict=True))
    outcomes = Outcomes(
        np.array(label), np.array(received, dtype=bool), np.array(due, dtype=bool), {"truth": np.array(true)}
    )
    values, known = np.array(value, dtype=np.int64), np.array(received, dtype=bool)
    served = np.array(samples, dtype=np.int64)
    return counts(
        [outcomes, outcomes],
        [first_served(served), first_served(served // 2)],
        [[(values, known), (-values, ~known)]],
        messages=2,
        values={"value": (values,)},
        reasons={"odd": sum(label)},
        tallies={"even": len(label)},
    )


def said(total):
    hits, of = total.outcomes.label == 1, total.outcomes.label > 0
    rate = total.rate(hits, of)
    plain = (total.codes.tolist(), total.total.tolist(), total.messages.tolist(), total.reasons, total.tallies)
    return (
        rate,
        total.rate(hits, of, latent=False),
        total.tau,
        plain,
        sorted(np.concatenate(total.values["value"]).tolist()),
    )


@given(st.lists(EVENT, min_size=1, max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_whatever_is_cut_where_the_sum_is_that_of_the_whole(events, cuts):
    """Segments are cut in their middle, samples come back later, and values are as large as clocks can be wrong."""
    samples = [event[4] for event in events]
    places = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    parts = [counted(events[a:b], samples[a:b]) for a, b in zip(places[:-1], places[1:], strict=True)]
    assert said(reduce(lambda first, second: first + second, parts)) == said(counted(events, samples))


def test_a_part_without_events_adds_nothing():
    nothing = np.zeros(0, dtype=np.int64)
    empty = counts(
        [Outcomes(nothing, nothing > 0, nothing > 0, {"truth": nothing})] * 2,
        [first_served(nothing)] * 2,
        [[(nothing, nothing > 0)] * 2],
        messages=2,
        values={"value": (nothing,)},
        reasons={},
        tallies={},
    )
    some = counted([(1, True, True, 2, 0, 5), (2, True, False, 0, 1, -7)], [0, 1])
    assert said(empty + some) == said(some + empty) == said(some)


def test_pairs_of_many_workers_are_counted_alike_without_intervals_of_their_own(monkeypatch, tmp_path):
    table = readings.table(load.load(simulate("lossy", 3, 60, seed=5, results=tmp_path)))
    known = judges.of(table)
    few = who_first.answer(table, who_first.count(table, known), known)
    monkeypatch.setattr(who_first, "MOST_PAIRS_ALONE", 0)
    parts = [table.part(begin, end) for begin, end in edges(len(table.event_ids), 3)]
    counted = [dict(who_first.count(part, judges.of(part, reference.build(table.run)))) for part in parts]
    many = who_first.answer(table, reduce(answers.added, counted).items(), known)
    assert [answer.subject for answer in many] == [answer.subject for answer in few]
    for alone, mere in zip(few, many, strict=True):
        for name, rate in alone.rates.items():
            assert (mere.rates[name].numerator, mere.rates[name].denominator) == (rate.numerator, rate.denominator)
        assert (mere.rates == alone.rates) == (mere.subject == who_first.ALL)
