"""Causality verdicts, on runs whose clocks' errors make every verdict a matter of arithmetic."""

from __future__ import annotations

import pytest
from run_folder import MS, US, Clock, Folder, without, write

from analysis import causality_analysis
from node_agent.contract import records


def cells(path):
    return causality_analysis.analyze(path)["sources"]


def test_raw_clocks_violate_exactly_where_the_worker_runs_behind_by_more_than_the_delay(tmp_path):
    run = Folder({"ahead": Clock(wall_error_ns=2 * MS), "behind": Clock(wall_error_ns=-2 * MS)}, events=25)
    system = cells(write(run, tmp_path / "r"))["system"]["workers"]
    assert system["ahead"]["points"]["violated"]["numerator"] == 0
    assert system["behind"]["points"]["violated"] == {
        "numerator": 25, "denominator": 25, "value": 1.0,
        "interval": None,  # two clocks that stand to each other as they do, once
        "method": "no interval: nothing varied that could tell what the trials share, only repeats of the run can",
        "effective_trials": None,
    }  # fmt: skip
    assert system["ahead"]["points"]["receive_minus_send_us"]["median"] == 2100.0


@pytest.mark.parametrize(
    ("delay_us", "verdict"), [(100, "ambiguous"), (101, "proved"), (-100, "ambiguous"), (-101, "violated")]
)
def test_proved_and_violated_need_a_gap_between_the_intervals(tmp_path, delay_us, verdict):
    """Two intervals of +-50 us touch at a difference of 100 us: still ambiguous; one us more decides."""
    run = Folder({"w": Clock()}, delays_ns={"w": delay_us * US})
    intervals = cells(write(run, tmp_path / "r"))["ntp"]["all"]["intervals"]
    assert {name: intervals[name]["numerator"] for name in ("proved", "ambiguous", "violated")} == {
        "proved": 0, "ambiguous": 0, "violated": 0,
    } | {verdict: 10}  # fmt: skip


def test_the_workers_own_send_stamp_counts_where_there_is_one(tmp_path):
    """The packet to w left 60 us after the first one: of 100 us of delay 40 remain, and +-18 us prove them."""
    clock = Clock(ntp_half_ns=18 * US)
    run = Folder({"w": clock, "v": clock}, coordinator=clock, own_send_ns={"w": 60 * US})
    ntp = cells(write(run, tmp_path / "r"))["ntp"]["workers"]
    assert ntp["w"]["points"]["receive_minus_send_us"]["median"] == 40.0
    assert ntp["v"]["points"]["receive_minus_send_us"]["median"] == 100.0
    assert ntp["w"]["intervals"]["proved"]["numerator"] == 10


def test_carrying_a_reading_to_another_send_stamp_makes_it_wider(tmp_path):
    """A gap of 2 ns is proof, unless the reading was carried 60 us, on which an oscillator may err by 7 ns."""
    clock = Clock(ntp_half_ns=20 * US - 1)
    near = Folder({"w": clock}, coordinator=clock, delays_ns={"w": 40 * US})
    far = Folder({"w": clock}, coordinator=clock, delays_ns={"w": 100 * US}, own_send_ns={"w": 60 * US})
    assert cells(write(near, tmp_path / "near"))["ntp"]["all"]["intervals"]["proved"]["numerator"] == 10
    assert cells(write(far, tmp_path / "far"))["ntp"]["all"]["intervals"]["ambiguous"]["numerator"] == 10


def test_lost_packets_and_missing_readings_are_counted_by_reason_and_judged_by_nobody(tmp_path):
    run = Folder({"w": Clock(), "mute": without(Clock(), records.NTP, records.STALE)}, lost={"w": (3, 4), "mute": (1,)})
    ntp = cells(write(run, tmp_path / "r"))["ntp"]["workers"]
    assert ntp["w"]["points"]["violated"]["denominator"] == 8
    assert ntp["w"]["points"]["not_evaluable"] == {"lost": 2}
    assert ntp["mute"]["points"]["violated"]["denominator"] == 0
    assert ntp["mute"]["points"]["violated"]["value"] is None
    assert ntp["mute"]["intervals"]["not_evaluable"] == {"lost": 1, "mute: stale": 9}


def test_a_coordinator_without_readings_leaves_nothing_to_compare(tmp_path):
    """A corrected receive time is never compared with an uncorrected send time."""
    run = Folder({"w": Clock()}, coordinator=without(Clock(), records.CHRONOTICK, records.NOT_CONFIGURED))
    ct = cells(write(run, tmp_path / "r"))["chronotick"]["all"]
    assert ct["points"]["not_evaluable"] == {"boss: not_configured": 10}


def test_a_worker_without_a_file_is_in_the_table_with_all_its_events(tmp_path):
    run = Folder({"w": Clock(), "gone": Clock()}, no_file=("gone",))
    gone = cells(write(run, tmp_path / "r"))["ntp"]["workers"]["gone"]
    assert gone["events"] == 10
    assert gone["points"]["not_evaluable"] == {"gone: no_data": 10}


def test_readings_that_refer_to_different_references_are_not_compared(tmp_path):
    path = write(Folder({"w": Clock()}), tmp_path / "r")
    file = path / records.worker_file("w")
    file.write_text(file.read_text().replace("server:10.0.0.1:123", "utc"))
    assert cells(path)["ntp"]["all"]["points"]["not_evaluable"] == {"other_reference": 10}


def test_every_worker_of_many_has_its_cell(tmp_path):
    run = Folder({f"w{number}": Clock() for number in range(5)})
    assert list(cells(write(run, tmp_path / "r"))["chronotick"]["workers"]) == [f"w{number}" for number in range(5)]
