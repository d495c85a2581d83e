"""Clock quality: containment, width, error, calibration and skill of clocks whose errors are known by arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from run_folder import MS, US, Clock, Folder, write

from analysis import clock_quality as door
from analysis.analyses import clock_quality as clock_quality_tables
from analysis.by_event import readings
from analysis.checks.files import tables
from analysis.checks.subject import of_folder
from analysis.clocks import coverage as coverages
from analysis.clocks import quality, standards
from analysis.errors import AnalysisError
from analysis.figures import clock_quality as clock_quality_figure
from analysis.run import load
from analysis.stats import rates
from node_agent.contract import records

KEYS = {"availability", "coverage", "coverage_ci", "width_us", "abs_error_us", "kappa", "skill"}


class Lag:
    """A reference that knows every lag to within ``half_ns``."""

    def __init__(self, middle, half_ns=0):
        self.low = np.asarray(middle, dtype=np.int64) - half_ns
        self.high = np.asarray(middle, dtype=np.int64) + half_ns
        self.known = np.ones(len(self.low), dtype=np.bool_)


def table_of(folder, path):
    return readings.table(load.load(write(folder, path)))


def judged(folder, path, flights=None):
    found = quality.compute(table_of(folder, path), flights and (lambda _part: flights))
    return {(one.source, one.node_id): one for one in found.clocks}


def test_readings_that_contain_the_truth_are_counted_with_their_width_and_error(tmp_path):
    clock = Clock(wall_error_ns=7 * MS, ntp_error_ns=-20 * US, ntp_half_ns=50 * US)
    found = judged(Folder({"w": clock}), tmp_path / "r")
    ntp = found["ntp", "w"]
    assert (ntp.coverage.contained.numerator, ntp.coverage.contained.denominator) == (10, 10)
    assert (ntp.width_us.median, ntp.abs_error_us.median, ntp.abs_error_us.maximum) == (100.0, 20.0, 20.0)
    assert ntp.standard == "injected truth"
    assert found["system", "w"].abs_error_us.median == 7000.0
    assert found["system", "w"].coverage.contained.denominator == 0


def test_a_touching_bound_contains_the_truth_and_one_ns_less_does_not(tmp_path):
    edge = Clock(ntp_error_ns=50 * US, ntp_half_ns=50 * US)
    found = judged(Folder({"w": edge, "v": replace(edge, ntp_half_ns=50 * US - 1)}), tmp_path / "r")
    assert found["ntp", "w"].coverage.contained.value == 1.0
    assert found["ntp", "v"].coverage.contained.value == 0.0
    assert found["ntp", "v"].coverage.missed.value == 1.0


def test_where_nobody_knows_the_truth_only_availability_width_and_contradictions_remain(tmp_path):
    found = judged(Folder({"w": Clock(ct_gone="stale")}, truth=False), tmp_path / "r")
    ntp = found["ntp", "w"]
    assert ntp.standard.startswith("none")
    assert (ntp.coverage.contained.value, ntp.kappa, ntp.skill, ntp.stability) == (None, None, None, None)
    assert (ntp.width_us.median, ntp.abs_error_us.count) == (100.0, 0)
    tick = found["chronotick", "w"]
    assert (tick.availability.numerator, tick.availability.denominator) == (0, 10)
    assert tick.unavailable == {"stale": 10}


def test_two_readings_of_one_event_that_cannot_both_be_right_prove_a_miss_without_any_truth(tmp_path):
    """The receiver's NTP interval ends 40 us before the sender's begins; ChronoTick's two overlap."""
    behind = Clock(ntp_error_ns=-240 * US, ntp_half_ns=50 * US)
    folder = Folder({"w": behind}, delays_ns={"w": 100 * US}, truth=False)
    found = judged(folder, tmp_path / "r")
    ntp, tick = found["ntp", "w"].provable_misses, found["chronotick", "w"].provable_misses
    assert (ntp.numerator, ntp.denominator) == (10, 10)
    assert (tick.numerator, tick.denominator) == (0, 10)
    assert found["ntp", "boss"].provable_misses is None


def test_errors_against_the_reference_are_relative_to_the_coordinator(tmp_path):
    """The worker reads 30 us late, the coordinator 10 us early: 40 us between them, whatever the truth."""
    folder = Folder({"w": Clock(ntp_error_ns=30 * US)}, coordinator=Clock(ntp_error_ns=-10 * US), truth=False)
    delays = {"w": 100 * US}
    lag = Lag([100 * US] * folder.events, 2 * US)
    found = judged(replace(folder, delays_ns=delays), tmp_path / "r", lambda _worker: lag)
    ntp = found["ntp", "w"]
    assert ntp.standard == "probe reference"
    assert (ntp.least_error_us.median, ntp.abs_error_us.median) == (38.0, 42.0)
    assert ntp.coverage.contained.value == 1.0  # half-widths of 50 us each leave 100 us
    assert found["ntp", "boss"].standard.startswith("none: errors of the other nodes are relative")


@pytest.mark.parametrize(
    ("error_us", "verdict"),
    [(0, "contained"), (98, "contained"), (99, "undecided"), (102, "undecided"), (103, "missed")],
)
def test_against_a_reference_of_2_us_an_interval_of_100_us_is_contained_missed_or_undecided(
    tmp_path, error_us, verdict
):
    folder = Folder({"w": Clock(ntp_error_ns=error_us * US)}, truth=False)
    found = judged(folder, tmp_path / "r", lambda _worker: Lag([100 * US] * folder.events, 2 * US))
    shares = found["ntp", "w"].coverage.as_dict()
    rates = {name: one for name, one in shares.items() if isinstance(one, dict)}
    assert {name: one["value"] for name, one in rates.items() if one["value"]} == {verdict: 1.0}


def test_a_pair_of_probabilistic_readings_claims_no_more_than_both_together():
    level = 0.9973
    every = np.ones(3, dtype=np.bool_)
    numbers = (np.zeros(3, dtype=np.int64), np.full(3, -1, dtype=np.int64), np.full(3, 1, dtype=np.int64))
    marks = (np.full(3, "ok", dtype=object), np.full(3, "utc", dtype=object), np.arange(3))
    one = readings.Readings("w", "chronotick", records.PROBABILISTIC, level, every, every, every, *numbers, *marks)
    pair = standards.against_lag(one, replace(one, node_id="boss"), Lag([0, 0, 0]))
    assert pair.level == pytest.approx(2 * level - 1)
    assert (pair.below.tolist(), pair.above.tolist()) == ([2, 2, 2], [2, 2, 2])


@pytest.mark.parametrize(
    ("source", "made_from", "why"),
    [
        ("ntp", {"ntp"}, "measured by its own samples is always right"),
        ("chronotick", {"ntp"}, "which chronotick is fed with"),
        ("ntp", {"system"}, "between a corrected and an uncorrected clock"),
        ("ntp", {"chrony"}, "a source under test"),
    ],
)
def test_a_standard_that_shares_samples_with_the_source_it_judges_is_refused(source, made_from, why):
    standard = standards.Standard("readings of a clock", frozenset(made_from))
    with pytest.raises(AnalysisError, match=why):
        standards.may_judge(source, standard)


def test_the_truth_and_the_probes_may_judge_every_source():
    for source in (records.SYSTEM, *records.COLUMN_PREFIX):
        standards.may_judge(source, standards.INJECTED)
        standards.may_judge(source, standards.PROBES)


def test_a_corrected_clock_is_never_judged_relative_to_an_uncorrected_one(tmp_path):
    table = table_of(Folder({"w": Clock()}), tmp_path / "r")
    lag = Lag([0] * len(table.event_ids))
    with pytest.raises(AnalysisError, match="corrected and an uncorrected clock"):
        standards.against_lag(table.readings("w", "ntp"), table.readings("boss", "system"), lag)


def test_an_honest_clock_judged_by_a_wide_reference_is_shown_undecided_and_not_overconfident(tmp_path):
    """Both clocks are right to the ns; the reference knows the lag to 120 us, and the two half-widths add to 60 us."""
    folder = Folder({"w": Clock()}, truth=False)
    lag = Lag([100 * US] * 10, 120 * US)
    found = quality.compute(table_of(folder, tmp_path / "r"), lambda _part: lambda _worker: lag)
    tick = next(one for one in found.clocks if (one.source, one.node_id) == ("chronotick", "w"))
    assert (tick.width_us.median, tick.judged_width_us.median) == (60.0, 120.0)
    said = tick.as_dict()
    assert (said["kappa"], said["kappa_bounds"], said["kappa_detail"]["claims"]) == (None, [0.0, 2.0], "undecided")
    assert (said["coverage"], said["coverage_bounds"]) == (None, [0.0, 1.0])
    assert said["judged"].startswith("difference")
    grid = clock_quality_tables.clocks(found)
    row = dict(zip(grid.columns, next(row for row in grid.rows if row[:2] == ("chronotick", "w")), strict=True))
    assert row["undecided"].startswith("100.00 % (10/10")
    assert row["half-width judged, median (µs)"] == "60.0 (difference)"
    calibrated = clock_quality_tables.calibration(found)
    row = dict(zip(calibrated.columns, next(row for row in calibrated.rows if row[0] == "chronotick"), strict=True))
    assert row["κ (95 % interval)"].startswith("0 to 2 (")
    assert row["claims are"] == "undecided"


def test_the_reliability_of_undecided_intervals_is_a_band_up_to_what_was_not_missed(tmp_path):
    folder = Folder({"w": Clock()}, truth=False)
    lag = Lag([100 * US] * 10, 120 * US)
    found = quality.compute(table_of(folder, tmp_path / "r"), lambda _part: lambda _worker: lag)
    figure = clock_quality_figure.draw(found).figure(7.0)
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left").endswith("Reliability"))
    low, high = (line.lines[0].get_ydata() for line in axes.containers)
    assert (list(low), list(high)) == ([0.0] * len(low), [100.0] * len(high))
    assert len(axes.collections) >= 1


def test_the_ages_of_a_fast_and_a_slow_source_are_apart_on_the_axis(tmp_path):
    """One source is asked every second, the other every 64 s: on a linear axis the first would be one blob."""
    found = quality.compute(table_of(Folder({"w": Clock()}), tmp_path / "r"))
    fast, slow = (one for one in found.clocks if one.node_id == "w" and one.source != "system")
    held = replace(slow.coverage, contained=rates.rate(8, 9), missed=rates.rate(1, 9))
    bins = [coverages.AgeBin(1000.0 * step, 1000.0 * (step + 1), held) for step in range(0, 60, 10)]
    quick = [coverages.AgeBin(150.0 * step, 150.0 * (step + 1), fast.coverage) for step in range(6)]
    clocks = (replace(fast, by_age=tuple(quick)), replace(slow, by_age=tuple(bins)))
    figure = clock_quality_figure.draw(quality.ClockQuality(clocks)).figure(7.0)
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left").endswith("Coverage by age of sample"))
    assert axes.get_xscale() == "log"
    places = axes.transAxes.inverted().transform(
        axes.transData.transform([(x, 100.0) for x in axes.containers[0].lines[0].get_xdata()])
    )[:, 0]
    assert np.ptp(places) > 0.25
    assert {"0.1", "1", "10"} <= {tick.get_text() for tick in axes.get_xticklabels()}


# --- output --------------------------------------------------------------------------------------------------------


def test_the_statistics_have_the_promised_keys_by_source_and_node_and_are_plain_json(tmp_path):
    path = write(Folder({"w": Clock(), "v": Clock(ntp_gone="stale")}), tmp_path / "r")
    found = door.analyze(path)
    assert set(found) == {"system", "ntp", "chronotick"}
    assert set(found["ntp"]) == {"boss", "w", "v"}
    for nodes in found.values():
        for one in nodes.values():
            assert set(one) >= KEYS
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["ntp"]["w"]["coverage"] == 1.0
    assert found["ntp"]["v"]["availability"] == 0.0


def test_the_last_sample_held_is_its_offset_and_bound_and_nothing_else(tmp_path):
    """The sample is 1 ms old and off by 40 us at its time; the wall clock has stood still since, so it is off more."""
    folder = Folder({"w": Clock(wall_error_ns=5 * MS)})
    path = write(folder, tmp_path / "r")
    from run_folder import write_csv

    row = {"sample_id": "ntp1", "source": "ntp", "outcome": "ok", "offset_ns": -5 * MS + 40 * US, "bound_ns": 60 * US}
    row |= {"root_delay_ns": 0, "root_dispersion_ns": 0}
    write_csv(path / "raw" / "w" / records.SAMPLES_FILE, records.SAMPLES_COLUMNS, [row])
    found = {(one.source, one.node_id): one for one in quality.compute(readings.table(load.load(path))).clocks}
    skill = found["ntp", "w"].skill
    assert (skill.score_us, skill.baseline_us) == ((100.0, 100.0), (120.0, 120.0))
    assert skill.value == pytest.approx([1 - 100 / 120] * 2)
    assert found["ntp", "boss"].skill.value is None  # its sample has no offset


def test_paired_differences_of_errors_are_told_against_every_other_source(tmp_path):
    found = judged(Folder({"w": Clock(ntp_error_ns=20 * US, ct_error_ns=-5 * US)}), tmp_path / "r")
    assert found["ntp", "w"].less_error_than["chronotick"].value == 15.0
    assert found["chronotick", "w"].less_error_than["ntp"].value == -15.0


def test_the_parts_of_an_interval_have_width_coverage_and_kappa_of_their_own(tmp_path):
    """30 us are three sigmas of 6 us and an asymmetry of 12; off by 18 us, each part alone is or is not enough.

    Of the 18 us the asymmetry leaves 6, a third of the three sigmas; they leave nothing for the asymmetry to explain.
    """
    clock = Clock(ct_error_ns=18 * US, ct_half_ns=30 * US, ct_asymmetry_ns=12 * US)
    tick = judged(Folder({"w": clock}), tmp_path / "r")["chronotick", "w"]
    random, systematic = tick.parts.random, tick.parts.systematic
    assert random.half_width_us.median == pytest.approx(18.0, rel=1e-4)
    assert systematic.half_width_us.median == pytest.approx(12.0, rel=1e-4)
    assert tick.parts.asymmetry_us.median == 12.0
    assert (random.alone.contained.value, systematic.alone.contained.value) == (0.0, 0.0)  # of 18 us, by some ps
    assert random.kappa.value == pytest.approx(1 / 3, rel=1e-3)
    assert systematic.kappa.value == pytest.approx(0.0, abs=1e-3)
    assert tick.kappa.value == pytest.approx(18 / 30)
    assert tick.laws == {records.AS_CLAIMED: 10}


def test_an_error_beyond_both_parts_is_charged_to_each_of_them(tmp_path):
    """36 us: sigma would have to be 4/3 of itself, or the asymmetry 3/2; the whole interval 6/5."""
    clock = Clock(ct_error_ns=-36 * US, ct_half_ns=30 * US, ct_asymmetry_ns=12 * US)
    tick = judged(Folder({"w": clock}), tmp_path / "r")["chronotick", "w"]
    assert tick.parts.random.kappa.value == pytest.approx(24 / 18, rel=1e-3)
    assert tick.parts.systematic.kappa.value == pytest.approx(18 / 12, rel=1e-3)
    assert tick.kappa.value == pytest.approx(36 / 30)


def test_the_report_says_which_law_held_and_shows_both_parts(tmp_path):
    """Law and parts are where a reader looks for the clock's width."""
    clock = Clock(ct_half_ns=30 * US, ct_asymmetry_ns=12 * US)
    found = quality.compute(table_of(Folder({"w": clock}), tmp_path / "r"))
    said = clock_quality_tables.holdover(found)
    assert said.endswith("chronotick as the clock claims at w.")
    assert "ntp by the drift limit at boss, w; chronotick by the drift limit at boss" in said
    (boss, own) = clock_quality_tables.parts(found).rows
    assert (boss[1], boss[6], own[1], own[2], own[6]) == ("boss", "none claimed", "w", "18.0", "12.0")


def test_guaranteed_and_point_clocks_have_no_parts(tmp_path):
    """Only what claims a sigma is made of sigmas."""
    found = judged(Folder({"w": Clock()}), tmp_path / "r")
    assert found["ntp", "w"].parts is None
    assert found["system", "w"].parts is None
    assert found["system", "w"].laws == {}


def test_a_table_of_an_earlier_version_was_held_over_by_the_drift_limit(tmp_path):
    """It has no column that says so, and is read and found whole."""
    path = write(Folder({"w": Clock()}), tmp_path / "r")
    for file in (path / "coordinator.csv", path / "worker_w.csv"):
        frame = pd.read_csv(file, dtype="string", keep_default_na=False)
        frame.drop(columns=[name for name in frame if records.is_later(name)]).to_csv(file, index=False)
    (tick,) = (
        clock
        for clock in quality.compute(readings.table(load.load(path))).clocks
        if (clock.source, clock.node_id) == ("chronotick", "w")
    )
    assert tick.laws == {records.DRIFT_LIMIT: 10}
    assert [finding for finding in tables.find(of_folder(path)) if finding.code == "columns"] == []
