"""Rounds of coordination: ambiguity of bounded clocks, repairs of point clocks, readings that are not there."""

from __future__ import annotations

from run_folder import MS, US, Clock, Folder, write

from analysis import coordination_cost


def cost(folder, path):
    return coordination_cost.analyze(write(folder, path))


def test_a_point_clock_pays_for_its_wrong_decisions_and_a_bounded_one_for_its_doubts(tmp_path):
    """Worker b runs 2 ms behind: 10 of 20 are violated. NTP's +-50 us leave all 20 ambiguous at 100 us of delay."""
    run = Folder({"a": Clock(), "b": Clock(wall_error_ns=-2 * MS)})
    causality = cost(run, tmp_path / "r")["tasks"]["causality"]
    assert causality["system"]["point"]["rounds"] == 10
    assert causality["system"]["point"]["wrong_confident"] == 10
    assert causality["ntp"]["interval"]["rounds"] == 20
    assert causality["ntp"]["point"]["rounds"] == 0
    assert causality["chronotick"]["interval"]["rounds"] == 0


def test_a_missing_reading_needs_a_round_and_a_lost_packet_none(tmp_path):
    """Only chronotick of b is gone: of its 9 receipts none can be decided; a's are proved (+-30 us against 100 us)."""
    run = Folder({"a": Clock(), "b": Clock(ct_gone="stale")}, lost={"b": (1,)})
    interval = cost(run, tmp_path / "r")["tasks"]["causality"]["chronotick"]["interval"]
    assert (interval["decisions"], interval["rounds"], interval["without_reading"]) == (19, 9, 9)


def test_who_first_of_a_point_clock_is_not_evaluable_without_a_truth(tmp_path):
    tasks = cost(Folder({"a": Clock(), "b": Clock()}, truth=False), tmp_path / "r")["tasks"]
    assert tasks["who_first"]["ntp"]["point"]["rounds"] is None
    assert tasks["who_first"]["ntp"]["point"]["rounds_per_decision"] is None
    assert tasks["who_first"]["ntp"]["interval"]["rounds"] == 10


def test_reductions_compare_rounds_over_the_tasks_both_clocks_can_tell(tmp_path):
    """Intervals: NTP needs 20 + 10 + w rounds, ChronoTick 0 + 10 + w, with w windows of 100 ms undecided."""
    run = Folder({"a": Clock(), "b": Clock()}, delays_ns={"a": 10 * MS, "b": 10 * MS + 20 * US}, truth=False)
    found = cost(run, tmp_path / "r")
    one = found["reductions"]["chronotick"]["interval_vs_ntp_interval"]
    assert one["tasks"] == ["causality", "who_first", "window_100ms"]
    assert (one["rounds"], one["rounds_against"], one["value"]) == (10, 10, 0.0)
    against_points = found["reductions"]["chronotick"]["interval_vs_ntp_point"]
    assert against_points["tasks"] == ["causality", "window_100ms"]
    assert against_points["value"] is None  # plain NTP needed no round here, so there is nothing to be fewer than


def test_a_source_missing_at_one_end_has_no_cost_at_all(tmp_path):
    run = Folder({"a": Clock(), "b": Clock()}, coordinator=Clock(ct_gone="not_configured"))
    found = cost(run, tmp_path / "r")
    assert found["tasks"]["causality"]["chronotick"]["point"]["rounds_per_decision"] is None
    assert found["reductions"]["chronotick"]["interval_vs_ntp_point"]["value"] is None


def test_bounds_too_narrow_to_be_true_save_no_round(tmp_path):
    """ChronoTick at b is 2 ms behind and claims 1 us: all 10 receipts are "violated", all 10 first-of-two wrong."""
    liar = Clock(ct_error_ns=-2 * MS, ct_half_ns=1 * US)
    run = Folder({"a": Clock(ct_half_ns=1 * US), "b": liar}, delays_ns={"a": 100 * US, "b": 1100 * US})
    tasks = cost(run, tmp_path / "r")["tasks"]
    causality = tasks["causality"]["chronotick"]["interval"]
    assert (causality["rounds"], causality["wrong_confident"]) == (10, 10)
    first = tasks["who_first"]["chronotick"]["interval"]
    assert (first["rounds"], first["wrong_confident"]) == (10, 10)
