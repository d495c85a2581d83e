"""Windows: point agreement, provable agreement, contradictions, and what caused them."""

from __future__ import annotations

from run_folder import MS, US, Clock, Folder, write

from analysis import window_assignment


def windows(folder, path, sizes=(50, 100)):
    return window_assignment.analyze(write(folder, path), sizes)["sources"]


def test_receipts_in_the_middle_of_a_window_agree_provably(tmp_path):
    """Events every 50 ms, received 20 ms into a window of 50 ms, by two good clocks."""
    run = Folder({"a": Clock(), "b": Clock()}, spacing_ns=50 * MS, delays_ns={"a": 20 * MS, "b": 21 * MS})
    ntp = windows(run, tmp_path / "r")["ntp"]["50"]
    assert ntp["agreement"]["value"] == 1.0
    assert ntp["provable_agreement"]["numerator"] == 10
    assert ntp["contradictions"]["numerator"] == 0
    assert ntp["truth"] == {
        "events": 10, "true_windows_differ": 0, "disagreements_caused_by_clocks": 0, "wrong_certain": 0,
    }  # fmt: skip


def test_receipts_astride_a_border_really_lie_in_different_windows(tmp_path):
    """Worker a receives 1 ms before the border, b 1 ms after: the clocks are right to disagree, and certain of it."""
    run = Folder({"a": Clock(), "b": Clock()}, spacing_ns=50 * MS, delays_ns={"a": 49 * MS, "b": 51 * MS})
    ntp = windows(run, tmp_path / "r", (50,))["ntp"]["50"]
    assert ntp["agreement"]["numerator"] == 0
    assert ntp["contradictions"]["numerator"] == 10
    assert ntp["truth"]["true_windows_differ"] == 10
    assert ntp["truth"]["disagreements_caused_by_clocks"] == 0


def test_a_wrong_clock_is_named_as_the_cause_and_its_certainty_as_wrong(tmp_path):
    """Both receive 10 ms into the window, b's NTP is 20 ms behind with a bound of 50 us: certain, and wrong."""
    bad = Clock(wall_error_ns=-20 * MS, ntp_error_ns=-20 * MS)
    run = Folder({"a": Clock(), "b": bad}, spacing_ns=50 * MS, delays_ns={"a": 10 * MS, "b": 10 * MS})
    sources = windows(run, tmp_path / "r", (50,))
    for source, wrong_certain in (("system", 0), ("ntp", 10)):
        assert sources[source]["50"]["truth"]["disagreements_caused_by_clocks"] == 10
        assert sources[source]["50"]["truth"]["wrong_certain"] == wrong_certain
    assert sources["chronotick"]["50"]["agreement"]["value"] == 1.0


def test_a_bound_across_the_border_is_agreement_without_proof(tmp_path):
    near = Clock(ntp_half_ns=200 * US)
    run = Folder({"a": near, "b": near}, spacing_ns=50 * MS, delays_ns={"a": 100 * US, "b": 110 * US})
    ntp = windows(run, tmp_path / "r", (50,))["ntp"]["50"]
    assert ntp["agreement"]["value"] == 1.0
    assert ntp["provable_agreement"]["numerator"] == 0
    assert ntp["contradictions"]["numerator"] == 0


def test_an_event_of_one_worker_alone_is_not_shared_and_lost_ones_do_not_count(tmp_path):
    run = Folder({"a": Clock(), "b": Clock(), "c": Clock()}, lost={"a": (1, 2), "b": (1,)})
    ntp = windows(run, tmp_path / "r", (50,))["ntp"]["50"]
    assert ntp["agreement"]["denominator"] == 9


def test_a_worker_with_a_stamp_and_no_reading_makes_the_event_not_evaluable(tmp_path):
    run = Folder({"a": Clock(), "b": Clock(ct_gone="stale")})
    sources = windows(run, tmp_path / "r", (50,))
    assert sources["chronotick"]["50"]["not_evaluable_events"] == 10
    assert sources["chronotick"]["50"]["agreement"]["value"] is None
    assert sources["ntp"]["50"]["not_evaluable_events"] == 0
