"""Loss makes no interval narrower: a sample counts where it first appears, and an absent worker counts for nothing."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from analysis import command
from analysis.by_event import readings
from analysis.questions import causality
from analysis.questions.decisions import ALL
from analysis.run import load
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate
from node_agent.contract import records

EVENTS = 1200


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    plain = scenario.read("honest")
    timing = scenario.Timing(
        ntp_query_interval=2.0, chronotick_query_interval=0.5, commit_wait_delays=(1.0,), commit_wait_share=0.0
    )
    told = plain.model_copy(update={"timing": timing})
    return simulate(told, 3, EVENTS, rate_hz=20.0, seed=77, results=tmp_path_factory.mktemp("runs"))


def rewritten(whole, folder, keep):
    """Copy a run without the rows of its workers that ``keep`` refuses, by worker and event."""
    folder.mkdir()
    for file in whole.rglob("*"):
        target = folder / file.relative_to(whole)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not file.name.startswith("worker_"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)
    for file in whole.glob("worker_*.csv"):
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows = [row for row in reader if keep(row["node_id"], int(row["event_id"]))]
            columns = reader.fieldnames
        if rows:
            with (folder / file.name).open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, columns)
                writer.writeheader()
                writer.writerows(rows)
    return folder


def samples_behind(folder, source):
    """Return how many different samples stand behind all rows of a run."""
    table = readings.table(load.load(folder))
    return sum(
        len(np.unique(served[served >= 0])) for node in table.nodes for served in [table.readings(node, source).sample]
    )


def rates(folder):
    """Yield every rate of causality with its source."""
    for answer in causality.compute(command.table_of(folder)):
        if answer.source == records.SYSTEM:
            continue
        for name in causality.METRICS[answer.clock]:
            yield (answer.source, answer.subject, answer.clock, name), answer.rates[name]


@pytest.mark.parametrize("lost", [0.0, 0.02, 0.1, 0.3, 0.7])
def test_no_rate_is_worth_more_than_the_samples_behind_it_however_much_was_lost(whole, tmp_path, lost):
    lots = np.random.default_rng(5).random((2, EVENTS))
    names = ["comp11", "comp12"]
    folder = rewritten(whole, tmp_path / "r", lambda node, event: lots[names.index(node), (event - 1) % EVENTS] >= lost)
    behind = {source: samples_behind(whole, source) for source in ("ntp", "chronotick")}
    before = dict(rates(whole))
    for key, rate in rates(folder):
        if rate.effective is not None:
            assert rate.effective <= behind[key[0]]
        if rate.low is not None and rate.numerator == 0:
            assert rate.high >= 1 - 0.05 ** (1 / behind[key[0]])
        if rate.low is not None and before[key].low is None:
            assert before[key].numerator in {0, before[key].denominator}, "only what never varied may have had none"


def test_an_absent_worker_adds_no_trial(whole, tmp_path):
    folder = rewritten(whole, tmp_path / "r", lambda node, _: node == "comp11")
    alone = {key: rate for key, rate in rates(folder) if key[1] == "comp11"}
    together = {key: rate for key, rate in rates(folder) if key[1] == ALL}
    assert alone
    for (source, _, clock, name), rate in alone.items():
        pooled = together[source, ALL, clock, name]
        assert (pooled.numerator, pooled.denominator) == (rate.numerator, rate.denominator)
        assert pooled.effective == pytest.approx(rate.effective) if rate.effective else pooled.effective is None


def test_rows_without_a_sample_between_two_of_one_sample_begin_nothing(whole, tmp_path):
    """Every second event is lost at every worker: A, nothing, A, nothing is one sample."""
    folder = rewritten(whole, tmp_path / "r", lambda _, event: event % 2 == 0)
    before, after = dict(rates(whole)), dict(rates(folder))
    for key, rate in after.items():
        if rate.effective is not None and before[key].effective is not None:
            assert rate.effective <= samples_behind(whole, key[0])
