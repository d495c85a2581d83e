"""Re-measured uncertainties and real commit-waits."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from run_folder import MS, RAW_BEHIND_NS, START_NS, US, Clock, Folder, write, write_csv

from analysis import commit_wait
from analysis.questions.waits import held_events
from analysis.run import load
from node_agent.contract import records


def test_a_smaller_uncertainty_later_makes_ambiguous_events_certain(tmp_path):
    """100 us of delay: +-60 us at first is ambiguous, +-40 us after 2 s is not; ntp claims its half-width."""
    clock = Clock(ntp_half_ns=60 * US)
    run = Folder({"w": clock}, coordinator=clock, remeasured={2.0: {"ntp": 0.040}, 4.0: {"ntp": 0.055}})
    causality = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]["ntp"]["causality"]
    assert causality["2s"]["ambiguous_at_first"]["numerator"] == 10
    assert causality["2s"]["certain_after"]["numerator"] == 10
    assert causality["4s"]["certain_after"] == causality["4s"]["certain_after"] | {"numerator": 0, "denominator": 10}


def test_chronoticks_sigma_counts_times_the_configured_multiplier(tmp_path):
    """3 * 16 us is less than half of 100 us, 3 * 17 us is more."""
    clock = Clock(ct_half_ns=60 * US)
    remeasured = {2.0: {"chronotick": 0.016}, 4.0: {"chronotick": 0.017}}
    run = Folder({"w": clock}, coordinator=clock, remeasured=remeasured)
    causality = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]["chronotick"]["causality"]
    assert causality["2s"]["certain_after"]["numerator"] == 10
    assert causality["4s"]["certain_after"]["numerator"] == 0


@pytest.mark.parametrize(("asymmetry_ms", "certain"), [(0.030, 0), (0.016, 10), (0.019, 0)])
def test_a_claimed_asymmetry_is_in_the_half_width_once_whatever_the_multiplier(tmp_path, asymmetry_ms, certain):
    """60 us at first, 30 of them asymmetry; later 3 * 11 us and the asymmetry: certain below half of 100 us."""
    clock = Clock(ct_half_ns=60 * US, ct_asymmetry_ns=30 * US)
    run = Folder(
        {"w": clock}, coordinator=clock, remeasured={2.0: {"chronotick": 0.011}}, remeasured_asymmetry_ms=asymmetry_ms
    )
    result = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]["chronotick"]
    assert result["causality"]["2s"]["certain_after"]["numerator"] == certain
    assert result["uncertainty"]["2s"]["half_width_ms"]["median"] == pytest.approx(0.033 + asymmetry_ms)


@pytest.mark.parametrize("source", ["ntp", "chronotick"])
def test_a_claim_that_has_not_changed_makes_nothing_certain(tmp_path, source):
    """Whatever else widens a reading, ageing above all, is not dropped along the way: like stands with like."""
    clock = Clock(ntp_half_ns=60 * US, ct_half_ns=60 * US)
    path = write(Folder({"w": clock}, coordinator=clock), tmp_path / "first")
    column = {"ntp": "ntp", "chronotick": "ct"}[source]
    claimed = float(pd.read_csv(path / "worker_w.csv")[f"{column}_uncertainty_ms"][0])
    run = Folder({"w": clock}, coordinator=clock, remeasured={2.0: {source: claimed}})
    causality = commit_wait.analyze(write(run, tmp_path / "again"))["sources"][source]["causality"]["2s"]
    assert causality["ambiguous_at_first"]["numerator"] == 10
    assert causality["certain_after"]["numerator"] == 0


def test_certain_of_what_cannot_be_is_a_violation_and_no_success(tmp_path):
    """The worker's NTP is 300 us behind, +-250 us at first; it then claims 1 us: certain, and received before sent."""
    overconfident = Clock(ntp_error_ns=-300 * US, ntp_half_ns=250 * US)
    run = Folder({"w": overconfident}, coordinator=Clock(ntp_half_ns=20 * US), remeasured={2.0: {"ntp": 0.001}})
    sources = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]["ntp"]
    causality = sources["causality"]["2s"]
    assert causality["certain_after"]["numerator"] == 10
    assert causality["proved_after"]["numerator"] == 0
    assert causality["violated_after"]["numerator"] == 10
    contains = causality["receive_interval_contains_truth"]
    assert (contains["numerator"], contains["denominator"]) == (0, 10)


def test_without_a_truth_a_violation_still_shows_but_nothing_is_said_to_contain_it(tmp_path):
    clock = Clock(ntp_half_ns=60 * US)
    run = Folder({"w": clock}, coordinator=clock, remeasured={2.0: {"ntp": 0.040}}, truth=False)
    found = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]["ntp"]
    assert found["causality"]["2s"]["proved_after"]["numerator"] == 10
    assert found["causality"]["2s"]["receive_interval_contains_truth"] is None
    assert found["window_50ms"]["2s"]["violated_after"] is None


@pytest.mark.parametrize(("error_us", "right"), [(0, 1), (-200, 0)])
def test_certain_of_a_window_is_right_only_if_the_true_window_is_the_same(tmp_path, error_us, right):
    """Received 100 us into the window of START_NS; 200 us behind it seems the window before."""
    clock = Clock(ntp_error_ns=error_us * US, ntp_half_ns=250 * US)
    run = Folder({"w": clock}, events=1, remeasured={2.0: {"ntp": 0.001}})
    window = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]["ntp"]["window_1000ms"]["2s"]
    assert window["certain_after"]["numerator"] == 1
    assert (window["proved_after"]["numerator"], window["violated_after"]["numerator"]) == (right, 1 - right)


def test_events_clear_at_first_are_not_in_the_denominator(tmp_path):
    run = Folder({"w": Clock(ntp_half_ns=10 * US)}, coordinator=Clock(ntp_half_ns=10 * US), remeasured={2: {"ntp": 1}})
    causality = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]["ntp"]["causality"]["2s"]
    assert causality["ambiguous_at_first"]["numerator"] == 0
    assert causality["certain_after"]["value"] is None


def test_claimed_uncertainties_are_summarised_at_the_event_and_at_each_delay(tmp_path):
    run = Folder({"w": Clock()}, remeasured={2.0: {"ntp": 0.075}})
    claimed = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]["ntp"]["uncertainty"]
    assert claimed["0s"]["uncertainty_ms"]["median"] == pytest.approx(0.05)
    assert claimed["2s"]["uncertainty_ms"]["median"] == pytest.approx(0.075)
    assert claimed["2s"]["lateness_ms"]["max"] == 1.0


def test_claims_are_compared_as_half_widths_and_say_what_they_are(tmp_path):
    """The multiplier of the manifest is 3: 10 us of sigma are a half-width of 30 us."""
    run = Folder({"w": Clock()}, remeasured={2.0: {"ntp": 0.075, "chronotick": 0.010}})
    sources = commit_wait.analyze(write(run, tmp_path / "r"))["sources"]
    ntp, chronotick = (sources[name]["uncertainty"]["2s"] for name in ("ntp", "chronotick"))
    assert ntp["half_width_ms"]["median"] == pytest.approx(0.075)
    assert chronotick["half_width_ms"]["median"] == pytest.approx(0.030)
    assert (ntp["claim"], chronotick["claim"]) == ("bound", "3 sigma")


def test_a_source_whose_plan_states_a_multiplier_claims_so_many_sigmas(tmp_path):
    path = write(Folder({"w": Clock()}), tmp_path / "r")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["nodes"]["w"]["plan"] = {"clocks": {"others": {"chronotick_shm": {"uncertainty_multiplier": 2.5}}}}
    (path / "manifest.json").write_text(json.dumps(manifest))
    run = load.load(path)
    claims = {name: held_events.claim(run, name) for name in ("chronotick_shm", "clockbound", "ntp")}
    assert claims == {"chronotick_shm": "2.5 sigma", "clockbound": "bound", "ntp": "bound"}
    assert held_events.half_width_per_uncertainty(run, "chronotick_shm") == 2.5


def test_readings_stand_beside_the_claims_with_all_that_widens_them(tmp_path):
    """As the rows say them, ageing and the stamp's error included; at a delay nothing but the claim is taken."""
    run = Folder({"w": Clock(ct_half_ns=70 * US)}, remeasured={2.0: {"chronotick": 0.010}})
    path = write(run, tmp_path / "r")
    rows = pd.read_csv(path / "worker_w.csv")
    rows["ct_uncertainty_ms"] = 0.005
    rows.to_csv(path / "worker_w.csv", index=False)
    claimed = commit_wait.analyze(path)["sources"]["chronotick"]["uncertainty"]
    assert claimed["0s"]["half_width_ms"]["median"] == pytest.approx(0.015)
    assert claimed["0s"]["read_half_width_ms"]["median"] == pytest.approx(0.070)
    assert claimed["2s"]["read_half_width_ms"]["count"] == 0


def test_without_commit_wait_files_there_is_nothing_and_no_error(tmp_path):
    found = commit_wait.analyze(write(Folder({"w": Clock()}), tmp_path / "r"))
    assert found == {"sources": {}, "commit_waits": {}}


def held(path, waits, pairs):
    """Write the commit-waits of node w: (begun, assigned, released), and its clock pairs: (true, wall); ns from START.

    Its raw oscillator shows true time. ``waits`` may name two samples: of the first look, and of the last.
    """
    rows = []
    for event, (begun, assigned, released, *samples) in enumerate(waits, start=1):
        common = {"event_id": event, "source": "ntp", "kind": records.COMMIT, "assigned_ns": START_NS + assigned}
        looks = ((begun, "waiting"), (released, records.OK))
        for (at, status), sample in zip(looks, samples or ("", ""), strict=True):
            raw = START_NS + at - RAW_BEHIND_NS
            rows.append(
                common
                | {"due_raw_ns": raw, "done_raw_ns": raw, "delay_s": (at - begun) / 1e9, "status": status}
                | {"uncertainty_ms": 0.05, "sample_id": sample}
            )
    folder = path / records.RAW_DIR / "w"
    write_csv(folder / records.COMMIT_WAIT_FILE, records.COMMIT_WAIT_COLUMNS, rows)
    taken = [(START_NS + true - RAW_BEHIND_NS, START_NS + wall) for true, wall in pairs]
    found = [{"raw_before_ns": raw - 10, "wall_ns": wall, "raw_after_ns": raw + 10} for raw, wall in taken]
    write_csv(folder / records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS, found)
    return commit_wait.analyze(path)["commit_waits"]["ntp"]["released_too_early"]


def with_clock(path, **changes):
    """Give node w's virtual clock in the manifest what else it does, as in the plan of a node."""
    file = path / records.MANIFEST_FILE
    told = json.loads(file.read_text())
    told["nodes"]["w"]["virtual_clock"] |= changes
    file.write_text(json.dumps(told))
    return path


@pytest.mark.parametrize("by_ms", [20, -20])
@pytest.mark.parametrize(("held_us", "early"), [(90, 4), (110, 0)])
def test_a_step_of_the_wall_clock_releases_nothing_too_early(tmp_path, by_ms, held_us, early):
    """It steps at 30 ms, with clock pairs at 0 and 100 ms: two waits are nearest to the one across the step."""
    path = with_clock(write(Folder({"w": Clock()}), tmp_path / "r"), steps=[{"at_s": 0.03, "by_ms": by_ms}])
    waits = [(begun, begun + 100 * US, begun + held_us * US) for begun in (29 * MS, 35 * MS, 45 * MS, 60 * MS)]
    found = held(path, waits, [(0, 0), (100 * MS, (100 + by_ms) * MS)])
    assert (found["numerator"], found["denominator"]) == (early, 4)


@pytest.mark.parametrize(("samples", "why"), [(("s", "s"), "only repeats"), ((), "a count")])
def test_releases_of_one_sample_are_one_trial(tmp_path, samples, why):
    waits = [(at, at + 100 * US, at + 110 * US, *samples) for at in range(0, 50 * MS, 5 * MS)]
    found = held(write(Folder({"w": Clock()}), tmp_path / "r"), waits, [(0, 0)])
    assert (found["denominator"], found["interval"]) == (10, None)
    assert why in found["method"]


def test_from_the_nearest_clock_pair_on_the_nodes_own_oscillator_counts(tmp_path):
    """It runs 100 ppm fast, so that 50 ms of it are 5 us less of true time: 2 us too early is too early."""
    path = with_clock(write(Folder({"w": Clock()}), tmp_path / "r"), drift_ppm=100.0)
    found = held(path, [(49 * MS, 50 * MS - 3 * US, 50 * MS), (49 * MS, 50 * MS - 7 * US, 50 * MS)], [(0, 0)])
    assert (found["numerator"], found["denominator"]) == (1, 2)


@pytest.mark.parametrize(("held_us", "early"), [(90, 2), (110, 0)])
def test_a_release_before_its_time_is_found_by_the_injected_truth(tmp_path, held_us, early):
    """Event 1 and 2 get their true instant + 100 us; released after 90 us is too early, after 110 us is not."""
    path = write(Folder({"w": Clock(wall_error_ns=3 * MS)}), tmp_path / "r")
    rows = []
    for event in (1, 2):
        begun, assigned = (event - 1) * 20 * MS, START_NS + (event - 1) * 20 * MS + 100 * US
        common = {"event_id": event, "source": "ntp", "kind": records.COMMIT, "assigned_ns": assigned}
        for held, status in ((0, "waiting"), (held_us * US, records.OK)):
            raw = START_NS + begun + held - RAW_BEHIND_NS
            rows.append(
                common
                | {"due_raw_ns": raw, "done_raw_ns": raw, "delay_s": held / 1e9, "status": status}
                | {"uncertainty_ms": 0.05 if held == 0 else 9, "released_ns": assigned + 1 if held else ""}
            )
    rows.append({"event_id": 3, "source": "ntp", "kind": records.COMMIT, "due_raw_ns": 5, "done_raw_ns": 5,
                 "delay_s": 0, "status": "stale"})  # fmt: skip
    folder = path / records.RAW_DIR / "w"
    write_csv(folder / records.COMMIT_WAIT_FILE, records.COMMIT_WAIT_COLUMNS, rows)
    pairs = [
        {"raw_before_ns": at - RAW_BEHIND_NS - 10, "wall_ns": at + 3 * MS, "raw_after_ns": at - RAW_BEHIND_NS + 10}
        for at in (START_NS, START_NS + 30 * MS)
    ]
    write_csv(folder / records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS, pairs)
    found = commit_wait.analyze(path)["commit_waits"]["ntp"]
    assert found["outcomes"] == {"ok": 2, "stale": 1}
    assert found["released_too_early"]["numerator"] == early
    assert found["released_too_early"]["denominator"] == 2
    assert found["waited_over_twice_bound"]["median"] == pytest.approx(held_us / 100)
    assert np.isclose(found["waited_ms"]["max"], held_us / 1000)
