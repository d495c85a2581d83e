"""What the judges say of a source's decisions: the reference and the injected truth, right, wrong and unknown."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folder import MS, US, Clock, Folder, write

from analysis import causality_analysis, ordering_consensus
from analysis import window_assignment as door
from analysis.by_event import readings, verdicts
from analysis.by_event.event_rows import RawStamps
from analysis.questions import judges
from analysis.questions import windows as window_assignment
from analysis.questions.true_windows import DIFFER, SAME, UNKNOWN
from analysis.reference import Reference
from analysis.run import load
from analysis.simulation.simulate import simulate


def table_of(folder, path):
    return readings.table(load.load(write(folder, path)))


class Bounded:
    """A judge that knows the true lags of a test's run only to so many ns either way."""

    name = judges.REFERENCE
    reason = ""

    def __init__(self, table, half_ns):
        self._true = judges.TrueTime(table)
        self._half = half_ns

    def receipts(self, first, second):
        return self._wide(self._true.receipts(first, second))

    def flights(self, worker):
        return self._wide(self._true.flights(worker))

    def _wide(self, lag):
        return judges.Lag(lag.low - self._half, lag.high + self._half, lag.known)


def test_a_run_without_probes_has_verdicts_by_the_truth_and_a_reason_for_the_rest(tmp_path):
    found = causality_analysis.analyze(write(Folder({"w": Clock()}), tmp_path / "r"))["sources"]["ntp"]["all"]
    assert found["points"]["against"]["injected_truth"]["right"]["numerator"] == 10
    silent = found["points"]["against"]["reference"]
    assert silent["status"] == "not_evaluable"
    assert "no probes" in silent["reason"]


def test_a_reference_that_contradicts_itself_judges_nothing_and_says_why(tmp_path):
    table = table_of(Folder({"a": Clock(), "b": Clock()}), tmp_path / "r")
    broken = Reference(
        evaluable=False, reason="the reference contradicts itself: loops", rho_ppm=200.0, nodes=(), pairs=()
    )
    known = judges.of(table, broken)
    found = window_assignment.compute(table, (100,), known)
    for answers in (
        causality_analysis.compute(table, known),
        ordering_consensus.compute(table, known).who_first,
        found,
    ):
        silent = {"status": "not_evaluable", "reason": "the reference contradicts itself: loops"}
        assert [answer.judgements[0].as_dict() for answer in answers] == [silent] * len(answers.answers)
    width = found.as_statistics()["sources"]["ntp"]["100"]
    assert width["disagreements"]["reference"]["status"] == "not_evaluable"


@pytest.mark.parametrize(("half_us", "right", "wrong", "unknown"), [(10, 0, 10, 0), (60, 0, 0, 10)])
def test_a_judge_calls_wrong_only_what_it_knows(tmp_path, half_us, right, wrong, unknown):
    """Worker a receives 50 us before b but runs 1 ms ahead; a judge that knows lags to 60 us cannot tell."""
    run = Folder({"a": Clock(wall_error_ns=MS), "b": Clock()}, delays_ns={"a": 100 * US, "b": 150 * US})
    table = table_of(run, tmp_path / "r")
    system = ordering_consensus.compute(table, [Bounded(table, half_us * US)]).who_first.at("system", "point", "all")
    rates = system.judgements[0].rates
    assert [rates[name].numerator for name in ("right", "wrong", "unknown")] == [right, wrong, unknown]


def test_what_a_clock_left_open_and_the_judge_can_tell_is_counted(tmp_path):
    """NTP's +-50 us leave 50 us open; the truth knows them."""
    run = Folder({"a": Clock(), "b": Clock()}, delays_ns={"a": 100 * US, "b": 150 * US})
    table = table_of(run, tmp_path / "r")
    interval = ordering_consensus.compute(table).who_first.at("ntp", "interval", "all")
    needless = interval.judged_by(judges.TRUTH).rates["left_open_but_decided_by_judge"]
    assert (needless.numerator, needless.denominator) == (10, 10)


# --- windows: with one clock for all -------------------------------------------------------------------------------


def split(folder, path, half_ns=0):
    table = table_of(folder, path)
    known = [Bounded(table, half_ns)]
    sources = window_assignment.compute(table, (50,), known).as_statistics()["sources"]
    return {source: widths["50"]["disagreements"][judges.REFERENCE] for source, widths in sources.items()}


def counted(differ, clocks, unknown):
    return {
        "status": "evaluated", "disagreements": differ + clocks + unknown, "true_windows_differ": differ,
        "caused_by_clocks": clocks, "unknown": unknown,
    }  # fmt: skip


def test_receipts_too_far_apart_for_one_window_differ_by_anybodys_clock(tmp_path):
    run = Folder({"a": Clock(), "b": Clock()}, spacing_ns=50 * MS, delays_ns={"a": 10 * MS, "b": 60 * MS})
    assert split(run, tmp_path / "r")["ntp"] == counted(10, 0, 0)


def test_two_clocks_that_place_the_same_receipts_in_two_windows_caused_it(tmp_path):
    """Both receive 10 ms into the window, b's clock is 20 ms behind: by a's clock the same, by b's the same."""
    bad = Clock(wall_error_ns=-20 * MS)
    run = Folder({"a": Clock(), "b": bad}, spacing_ns=50 * MS, delays_ns={"a": 10 * MS, "b": 11 * MS})
    assert split(run, tmp_path / "r")["system"] == counted(0, 10, 0)


def test_where_it_depends_on_whose_clock_is_read_nobody_knows(tmp_path):
    """Received at 20 and 30 ms, read as 20 and 55: by a's clock 20 and 30, the same; by b's 45 and 55, not the same."""
    run = Folder(
        {"a": Clock(), "b": Clock(wall_error_ns=25 * MS)}, spacing_ns=50 * MS, delays_ns={"a": 20 * MS, "b": 30 * MS}
    )
    assert split(run, tmp_path / "r")["system"] == counted(0, 0, 10)


def test_a_lag_known_too_badly_leaves_the_cause_unknown(tmp_path):
    bad = Clock(wall_error_ns=-20 * MS)
    run = Folder({"a": Clock(), "b": bad}, spacing_ns=50 * MS, delays_ns={"a": 10 * MS, "b": 11 * MS})
    assert split(run, tmp_path / "r", half_ns=15 * MS)["system"] == counted(0, 0, 10)


class Told:
    """A judge that says the lag of worker 0 to worker k is what it was told, within a slack."""

    name, reason = judges.REFERENCE, ""

    def __init__(self, lags, slack):
        self._lags, self._slack = lags, slack

    def receipts(self, first, second):
        lag = np.array([self._lags[second] - self._lags[first]])
        return judges.Lag(lag - self._slack, lag + self._slack, np.ones(1, dtype=bool))


class OneEvent:
    """As much of a table as windows are judged by: one event, every worker's reading."""

    def __init__(self, shown):
        self.heard, self.sources, self.event_ids = tuple(shown), ("s",), np.array([1])
        self.received = {worker: np.array([True]) for worker in shown}
        self._shown = shown

    def readings(self, worker, source):
        return type("One", (), {"est": np.array([self._shown[worker]])})


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(-80, 80)), min_size=2, max_size=4), st.integers(0, 20))
def test_same_and_different_windows_hold_for_every_lag_the_judge_allows(workers, slack):
    """Against a double loop: the receipt of each worker (ms) and the error of its clock, a judge within some slack."""
    true = {f"w{place}": at * MS for place, (at, _) in enumerate(workers)}
    shown = {f"w{place}": (at + error) * MS for place, (at, error) in enumerate(workers)}
    label = window_assignment.windows_of(OneEvent(shown), Told(true, slack * MS), (50,))["s", 50][0]
    width, verdicts_of = 50 * MS, []
    for anchor, read in shown.items():
        ranges = [
            {(read + true[other] - true[anchor] + off) // width for off in (-slack * MS, slack * MS)}
            for other in shown
            if other != anchor
        ]
        own = read // width
        if all(one == {own} for one in ranges):
            verdicts_of.append(SAME)
        elif any(min(one) > own or max(one) < own for one in ranges):
            verdicts_of.append(DIFFER)
        else:
            verdicts_of.append(UNKNOWN)
    expected = verdicts_of[0] if len(set(verdicts_of)) == 1 else UNKNOWN
    assert label == expected


# --- a worker's own oscillator -------------------------------------------------------------------------------------


def test_a_raw_stamp_orders_only_what_its_error_allows():
    stamps = RawStamps(np.array([1000, 1100, 1500]), np.array([60, 60, 60]), np.array([True, True, True]))
    order, known = judges.own_order(stamps, np.array([0, 0, 2]), np.array([1, 2, 0]))
    assert order.tolist() == [verdicts.AMBIGUOUS, verdicts.BEFORE, verdicts.AFTER]
    assert known.all()


def test_different_orders_are_told_from_different_clocks(tmp_path):
    """One worker's NTP cannot tell neighbours 20 ms apart: its doubt, not the network, makes the labels differ."""
    run = Folder({"a": Clock(), "b": Clock(ntp_half_ns=15 * MS)}, events=4)
    found = ordering_consensus.analyze(write(run, tmp_path / "r"))["sources"]["ntp"]["interval"]
    assert found["disagreements"] == {
        "pairs": 3, "true_orders_differ": 0, "caused_by_clocks": 3, "unknown": 0,
    }  # fmt: skip
    assert found["against"]["own_oscillator"]["wrong"]["numerator"] == 0
    assert found["against"]["own_oscillator"]["left_open_but_decided_by_judge"]["numerator"] == 3


# --- on a whole run ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return simulate("honest", 4, 300, results=tmp_path_factory.mktemp("judged"))


def test_the_reference_never_contradicts_the_injected_truth(simulated):
    """Wherever both can tell, they tell the same, and the reference tells some of what there is to tell."""
    table = readings.table(load.load(simulated))
    reference, true = judges.of(table)
    assert (reference.reason, true.reason) == ("", "")
    told = 0
    for one, other in permutations(table.heard, 2):
        by_probes, exact = reference.receipts(one, other), true.receipts(one, other)
        assert (by_probes.low <= exact.low + 2)[by_probes.known].all()
        assert (by_probes.high >= exact.high - 2)[by_probes.known].all()
        told += int(verdicts.decided(by_probes.order).sum())
    assert told > 0
    by_reference, by_truth = (window_assignment.windows_of(table, judge, (10, 100)) for judge in (reference, true))
    for key, labels in by_reference.items():
        both = verdicts.decided(labels) & verdicts.decided(by_truth[key])
        assert both.any()
        assert (labels[both] == by_truth[key][both]).all()


def test_guaranteed_bounds_decide_nothing_wrongly_by_either_judge(simulated):
    table = readings.table(load.load(simulated))
    known = judges.of(table)
    for answers in (ordering_consensus.compute(table, known).who_first, causality_analysis.compute(table, known)):
        judgements = answers.at("ntp", "interval", "all").judgements
        assert [judgement.rates["wrong"].numerator for judgement in judgements] == [0, 0]


# --- silence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["no-row", "no-file"])
def test_a_silent_worker_is_named_and_the_others_are_judged_without_it(tmp_path, how):
    clocks = {"a": Clock(), "b": Clock(), "mute": Clock()}
    silence = {"no_file": ("mute",)} if how == "no-file" else {"lost": {"mute": tuple(range(1, 11))}}
    path = write(Folder(clocks, **silence), tmp_path / "r")
    ordering, windows = ordering_consensus.analyze(path), door.analyze(path, (50,))
    assert ordering["silent_workers"] == windows["silent_workers"] == ["mute"]
    assert ordering["workers"] == windows["workers"] == ["a", "b"]
    assert ordering["sources"]["ntp"]["point"]["agreement"]["denominator"] == 45
    assert windows["sources"]["ntp"]["50"]["agreement"]["denominator"] == 10
