"""Events that meet windows at few phases are named as that few, and events that meet them at all are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from run_folder import MS, START_NS, Clock, Folder, write

from analysis import command, registry
from analysis.checks import windows as window_findings
from analysis.questions import windows
from analysis.run import load
from analysis.simulation.simulate import simulate

WIDTHS = windows.WINDOW_SIZES_MS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load.load(write(Folder({"a": Clock(), "b": Clock()}), tmp_path_factory.mktemp("w") / "r"))


def sent_at(run, instants_ns):
    """Return a run whose events were sent at these instants."""
    return replace(run, coordinator=pd.DataFrame({"send_time_ns": pd.array(np.sort(instants_ns), dtype="Int64")}))


def aliased(run, instants_ns):
    """Return, by width, on about how many phases the run's rates are said to rest."""
    found = list(window_findings.find(sent_at(run, instants_ns), WIDTHS))
    assert {one.severity for one in found} <= {"warning"}
    return {one.numbers["width_ms"]: round(one.numbers["phases"]) for one in found}


def every(rate_hz, events, jitter_ns=20_000):
    dice = np.random.default_rng(events)
    return START_NS + np.arange(events) * round(1e9 / rate_hz) + dice.exponential(jitter_ns, events).astype(np.int64)


@pytest.mark.parametrize("events", [100, 500, 3000])
def test_events_every_50_ms_are_one_phase_of_50_ms_however_many_they_are(run, events):
    found = aliased(run, every(20, events))
    assert {width: found[width] for width in (50, 100, 500)} == {50: 1, 100: 2, 500: 10}


@pytest.mark.parametrize("start", [0, 500_000, 999_990])
def test_a_phase_on_a_border_of_the_parts_is_one_phase(run, start):
    assert aliased(run, START_NS - START_NS % (50 * MS) + start + every(20, 600) - START_NS)[50] == 1


@pytest.mark.parametrize("events", [500, 1500, 100_000])
@pytest.mark.parametrize("rate_hz", [97, 43.7, 1009])
def test_rates_that_do_not_divide_into_a_window_are_not_found(run, rate_hz, events):
    if events / rate_hz > 2:
        assert aliased(run, every(rate_hz, events)) == {}


@pytest.mark.parametrize("events", [20, 50, 500])
def test_events_at_random_instants_are_not_found(run, events):
    for seed in range(50):
        assert aliased(run, START_NS + np.random.default_rng(seed).integers(0, 100 * 10**9, events)) == {}


def test_bursts_at_one_phase_are_found_though_some_events_are_elsewhere(run):
    spread = START_NS + np.random.default_rng(1).integers(0, 60 * 10**9, 100)
    assert aliased(run, np.concatenate([every(20, 900), spread]))[50] == 1


def test_the_widths_judged_are_the_ones_looked_at_and_the_message_names_the_phases(run):
    (found,) = window_findings.find(sent_at(run, every(20, 600)), (50, 71))
    assert found.numbers["width_ms"] == 50
    assert "the 600 events fall on about 1 phase of 50 ms windows" in found.message
    assert "not on 600 trials" in found.message


@pytest.mark.parametrize(("rate_hz", "widths"), [(97.0, []), (20.0, [50, 100, 500, 1000])])
def test_an_honest_run_is_warned_of_its_rate_only_where_that_is_a_windows(tmp_path, rate_hz, widths):
    found = registry.compute(command.table_of(simulate("honest", 3, 600, rate_hz=rate_hz, results=tmp_path))).findings
    assert [one.numbers["width_ms"] for one in found if one.code == "aliased-windows"] == widths
