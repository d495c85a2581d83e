"""An oscillator that breaks the assumption of all guaranteed bounds is named, one that keeps it is not."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
from run_folder import RAW_BEHIND_NS, START_NS, Clock, Folder, write

from analysis.checks.clocks import drift
from analysis.run import load
from node_agent.clocks.virtual import wall_from_true
from node_agent.contract.plan import VirtualClock

TENTH_NS = 100_000_000


def run_with(tmp_path, raw_ppm, clock):
    """Return a run whose worker's raw oscillator is off by ``raw_ppm`` in its clock pairs."""
    run = load.load(write(Folder({"w": Clock()}), tmp_path / "r"))
    run.manifest.nodes["w"].virtual_clock = None if clock is None else json.loads(json.dumps(asdict(clock)))
    true = [START_NS + place * TENTH_NS for place in range(50)]
    raw = [instant - RAW_BEHIND_NS + round((instant - START_NS) * raw_ppm / 1e6) for instant in true]
    wall = [instant if clock is None else wall_from_true(clock, instant) for instant in true]
    pairs = pd.DataFrame(
        {"raw_before_ns": raw, "wall_ns": wall, "raw_after_ns": [one + 200 for one in raw]}, dtype="Int64"
    )
    return replace(run, clock_pairs={"w": pairs})


@pytest.mark.parametrize(("raw_ppm", "found"), [(0, 0), (99, 0), (-99, 0), (102, 1), (-102, 1), (500, 1)])
def test_only_a_drift_beyond_the_bound_is_found(tmp_path, raw_ppm, found):
    clock = VirtualClock(epoch_ns=START_NS, error_ms=12.5, drift_ppm=18.0)
    findings = list(drift.find(run_with(tmp_path, raw_ppm, clock)))
    assert len(findings) == found
    assert all(one.numbers["worst_ppm"] == pytest.approx(abs(raw_ppm), abs=1) for one in findings)


def test_of_a_real_clock_nothing_is_claimed(tmp_path):
    assert not list(drift.find(run_with(tmp_path, 500, None)))
