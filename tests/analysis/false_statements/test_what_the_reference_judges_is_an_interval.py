"""Every number of the report that the reference judges holds what the injected truth gives for the same quantity.

Each simulated run is judged twice: by its probes, its injected truth taken away; and by lags that are exactly known, as
the truth knows them. Both judge the same differences of readings, so that whatever the first prints as a range (or as a
number) must hold the number that the second prints. Paths are asymmetric and jittery, all assumptions hold.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from analysis import reference
from analysis.analyses import causality as causality_shown
from analysis.analyses import clock_quality as clock_quality_shown
from analysis.analyses import ordering as ordering_shown
from analysis.analyses import windows as windows_shown
from analysis.by_event import readings
from analysis.clocks import quality
from analysis.questions import causality, judges, ordering, windows
from analysis.run import load
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate

SEEDS = range(1000, 1040)
NUMBER = r"[-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?"
CELL = re.compile(rf"(?P<least>{NUMBER})(?: to (?P<most>{NUMBER}))?(?: %)?(?: \((?P<rest>.*)\))?")
PLAIN = {"claims are", "undecided", "half-width judged, median (µs)", "unknown", "the judge can tell", "by", "level"}


def scenario_of(seed):
    """Return a cluster whose paths are unequal both ways and whose delays have long tails."""
    plain = scenario.read("honest")
    network = scenario.Network(minimum_us=(30.0, 900.0), tail_us=(20.0, 300.0))
    timing = scenario.Timing(
        ntp_query_interval=1.0, chronotick_query_interval=0.5, commit_wait_delays=(1.0,), commit_wait_share=0.0
    )
    claims = scenario.ChronoTick(
        sigma_us=(20.0, 60.0),
        misbehave="overconfident" if seed % 4 == 3 else None,
        amount=5.0 if seed % 4 == 3 else 0.0,
    )
    return plain.model_copy(update={"network": network, "timing": timing, "chronotick": claims})


def judged_twice(folder):
    run = load.load(folder)
    blind = replace(
        run,
        manifest=replace(
            run.manifest,
            nodes={name: replace(node, virtual_clock=None) for name, node in run.manifest.nodes.items()},
        ),
    )
    table, told = readings.table(blind), readings.table(run)
    probed = judges.Probed(table, reference.build(blind))
    assert not probed.reason
    truth = judges.TrueTime(told)
    for one in (probed, truth):
        known = replaced(one)
        yield results_of(table, known)


def replaced(judge):
    """Return the judge under one name, so that rows of both stand beside each other."""
    judge.name = judges.REFERENCE
    return judge


def results_of(table, judge):
    found = (judge,)
    return {
        "causality": causality.compute(table, found),
        "ordering": ordering.compute(table, found),
        "windows": windows.compute(table, known=found),
        "clock_quality": quality.compute(table, lambda _part: judge.flights),
    }


def grids(results):
    by_windows = windows_shown.texts(results)
    return {
        "clocks": clock_quality_shown.clocks(results["clock_quality"]),
        "calibration": clock_quality_shown.calibration(results["clock_quality"]),
        "stability": clock_quality_shown.deviations(results["clock_quality"]),
        "causality": causality_shown.texts(results)["causality_judged"],
        "ordering": ordering_shown.texts(results)["ordering_judged"],
        "disagreements": by_windows["disagreements"],
        "windows": by_windows["windows_judged"],
    }


def limits(text):
    """Return the least and the greatest that a cell says, None where it says no number."""
    match = CELL.fullmatch(text)
    if match is None:
        return None
    least, most = (float((match[name] or match["least"]).replace(",", "")) for name in ("least", "most"))
    return least, most


def rows_of(grid, keys):
    names = [name for name in grid.columns if name in keys]
    places = [grid.columns.index(name) for name in names]
    return {tuple(row[place] for place in places): row for row in getattr(grid, "rows", ())}


KEYS = {"source", "node", "clock", "question", "width (ms)", "about", "τ (s)", "delay (s)"}


def compare(name, by_reference, by_truth):
    """Return the cells whose range does not hold the number that the truth gives, and how many were compared."""
    wrong, compared = [], 0
    others = rows_of(by_truth, KEYS)
    for key, row in rows_of(by_reference, KEYS).items():
        if key not in others:
            continue  # what the truth finds all right has no row
        for column, mine, theirs in zip(by_reference.columns, row, others[key], strict=True):
            if column in KEYS | PLAIN or "left open" in column or "κ" in column:
                continue
            reach, value = limits(mine), limits(theirs)
            if reach is None or value is None:
                continue
            compared += 1
            if not (reach[0] - rounding(mine) <= value[0] and value[1] <= reach[1] + rounding(mine)):
                wrong.append((name, key, column, mine, theirs))
    return wrong, compared


def rounding(text):
    """Return half of the last digit that a cell shows, twice: both numbers are rounded."""
    digits = re.findall(r"\.(\d+)", text.split(" (")[0])
    if "e" in text:
        return 0.01 * 10.0 ** max(int(exponent) for exponent in re.findall(r"e([-+]\d+)", text))
    return 10.0 ** -max((len(part) for part in digits), default=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_printed_range_holds_what_the_truth_gives(tmp_path, seed):
    folder = simulate(scenario_of(seed), 3, 600, rate_hz=40.0, seed=seed, results=tmp_path)
    by_reference, by_truth = judged_twice(folder)
    compared = 0
    mine, theirs = grids(by_reference), grids(by_truth)
    for name in mine:
        wrong, count = compare(name, mine[name], theirs[name])
        compared += count
        assert wrong == []
    for one, other in zip(*(judged["clock_quality"].clocks for judged in (by_reference, by_truth)), strict=True):
        if one.kappa is not None and other.kappa is not None:
            assert one.kappa.least <= other.kappa.value <= one.kappa.value
            assert one.coverage.bounds[0] <= other.coverage.contained.value <= one.coverage.bounds[1]
            for source, mean in one.less_error_than.items():
                assert mean.value <= other.less_error_than[source].value <= mean.most
    assert compared > 100


def test_a_clock_that_was_judged_by_nobody_is_never_a_zero(tmp_path):
    """Half-widths of 60 us each, a reference of 500 us: nothing is decided, and no number says that all was missed."""
    folder = simulate(scenario_of(1001), 3, 300, rate_hz=40.0, seed=1001, results=tmp_path)
    by_reference, _ = judged_twice(folder)
    said = [one.as_dict() for one in by_reference["clock_quality"].clocks if one.coverage.undecided.numerator]
    assert said
    for one in said:
        assert one["coverage"] is None
        assert one["coverage_bounds"][0] < one["coverage_bounds"][1]
        assert one["skill"] is None or one["skill_bounds"][0] == one["skill_bounds"][1]
