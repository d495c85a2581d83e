"""Each detector finds what it is for where that was put in, and nothing in clean data."""

import dataclasses
import json

import pytest

from analysis.checks import validity
from analysis.imported import older_format
from analysis.run import load

START = 1_700_000_000_000_000_000


def codes(findings):
    return {finding.code for finding in findings}


def only(findings):
    """Return the one finding there is."""
    assert len(findings) == 1, [f"{finding.code} {finding.node}: {finding.message}" for finding in findings]
    return findings[0]


def test_clean_native_data_raises_no_finding(native, tmp_path):
    """A run as it should be: nothing to say."""
    assert validity.find(native.load(tmp_path)) == []


def test_clean_older_data_raises_no_finding(older, tmp_path):
    """The older format alone is no fault of the data."""
    run = load.load(older_format.import_published(older.write(tmp_path / "older"), "x", tmp_path / "results"))
    assert validity.find(run) == []


def test_a_drifting_clock_is_no_level_and_no_spike(native, tmp_path):
    """An offset that runs away steadily, as an undisciplined oscillator does, is one piece."""
    for place, row in enumerate(native.workers["w1"]):
        moved = round(place * 50_000)
        row["receive_time_ns"] += moved
        row["ntp_offset_ms"] = f"{float(row['ntp_offset_ms']) - moved / 1e6:.6f}"
        row["ct_offset_ms"] = f"{float(row['ct_offset_ms']) - moved / 1e6:.6f}"
    assert validity.find(native.load(tmp_path)) == []


def test_events_with_several_payload_stamps_show_a_second_coordinator(native, tmp_path):
    """One broadcast has one payload; another stamp in another copy is another sender's."""
    native.workers["w2"][7]["coordinator_send_time_ns"] += 1_000
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.severity, finding.numbers["events"]) == ("several-coordinators", "error", 1)


def test_two_coordinators_in_the_manifest_are_found(native, tmp_path):
    """Roles are checked in the manifest too."""
    run = native.load(tmp_path)
    run.manifest.nodes["c9"] = dataclasses.replace(run.manifest.nodes["c0"], node_id="c9")
    assert "several-coordinators" in codes(validity.find(run))


def test_rows_of_another_run_are_found(native, tmp_path):
    """A payload stamp an hour before the logged send, and an event that was never sent."""
    for node in ("w1", "w2"):
        native.workers[node][3]["coordinator_send_time_ns"] -= 3_600 * 10**9
    native.workers["w1"].append(
        native.workers["w1"][-1] | {"event_id": 9_999, "sequence_number": 9_998, "coordinator_send_time_ns": ""}
    )
    found = validity.find(native.load(tmp_path))
    assert codes(found) == {"foreign-events"}
    assert sum("3_600" in finding.message or "9999" in finding.message for finding in found) == 1
    assert {finding.node for finding in found} == {"w1", "w2"}


def test_missing_events_are_named_as_ranges(native, tmp_path):
    """Which events are gone, and how many of how many."""
    native.workers["w1"] = [row for row in native.workers["w1"] if row["event_id"] not in {5, 6, 7, 90}]
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.node) == ("missing-events", "w1")
    assert finding.numbers["events"] == [5, 6, 7, 90]
    assert "4 of 120" in finding.message
    assert "5-7, 90" in finding.message


def test_a_worker_without_data_is_an_error(native, tmp_path):
    """One node failing is data; that it failed is found."""
    path = native.write(tmp_path)
    (path / "worker_w2.csv").unlink()
    finding = only(validity.find(load.load(path)))
    assert (finding.code, finding.severity, finding.node) == ("missing-events", "error", "w2")


def test_duplicates_are_counted(native, tmp_path):
    """A row that repeats an event."""
    native.workers["w1"].insert(11, dict(native.workers["w1"][10]))
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.numbers["rows"]) == ("duplicate-events", 1)


def test_receipts_before_their_own_send_are_found(native, tmp_path):
    """Judged by the worker's own transmit stamp, not by the earliest of all."""
    for row in native.sends:
        if row["worker_id"] == "w1" and row["event_id"] == 4:
            row["send_time_ns"] += 10_000_000
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.node, finding.numbers["rows"]) == ("negative-delay", "w1", 1)


def test_a_source_the_coordinator_lacks_mixes_domains(native, tmp_path, make_unavailable):
    """Workers corrected, coordinator not: no causality of that source."""
    for row in native.coordinator:
        make_unavailable(row, "ct", "not_configured")
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.source, finding.node) == ("mixed-domains", "chronotick", "c0")
    assert "w1, w2" in finding.message


def test_a_source_that_was_never_ready_is_found_with_its_reasons(native, tmp_path, make_unavailable):
    """Configured, asked, and never an answer."""
    for place, row in enumerate(native.workers["w1"]):
        make_unavailable(row, "ntp", "never_sampled" if place < 50 else "stale")
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.node, finding.source) == ("never-ready", "w1", "ntp")
    assert finding.numbers["statuses"] == {"stale": 70, "never_sampled": 50}


def test_unavailable_readings_are_counted_by_reason(native, tmp_path, make_unavailable):
    """How many, of how many, and why."""
    for row in native.workers["w1"][100:]:
        make_unavailable(row, "ct", "stale")
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.severity) == ("unavailable-readings", "warning")
    assert "20 of 120 rows: stale 20" in finding.message


def test_a_constant_uncertainty_is_found(native, tmp_path):
    """The same number whatever the answers were."""
    for row in native.workers["w2"]:
        row["ntp_uncertainty_ms"] = "5.0"
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.node, finding.numbers["value_ms"]) == ("constant-uncertainty", "w2", 5.0)


def test_one_answer_that_serves_all_events_is_no_constant(native, tmp_path):
    """A short run may live on one sample, whose uncertainty is one number then; that it is one sample is told."""
    for row in native.workers["w2"]:
        row["ct_uncertainty_ms"], row["ct_sample_id"] = "0.0123", "ct1"
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.node) == ("overused-sample", "w2")


def test_a_stand_in_uncertainty_is_found(native, tmp_path):
    """A round number among measured ones, as a warm-up default leaves."""
    for row in native.workers["w1"][:15]:
        row["ct_uncertainty_ms"] = "5.0"
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.numbers["value_ms"], finding.numbers["rows"]) == ("placeholder-uncertainty", 5.0, 15)


def shift_offset(row, prefix, offset_ms):
    """Set a reading's offset, with its estimate and interval."""
    moved = row["receive_time_ns"] + round(offset_ms * 1e6) - row[f"{prefix}_timestamp_ns"]
    for name in ("timestamp_ns", "lower_bound_ns", "upper_bound_ns"):
        row[f"{prefix}_{name}"] += moved
    row[f"{prefix}_offset_ms"] = repr(offset_ms)


def test_a_clamp_is_found_on_both_sides(native, tmp_path):
    """Offsets held at +-0.75 ms, again and again, with drifted copies beside."""
    rows = native.workers["w1"]
    for place, row in enumerate(rows):
        value = float(row["ct_offset_ms"]) + 3.4  # around zero
        limit = 0.75 if place % 20 < 10 else -0.75
        shift_offset(row, "ct", limit if place % 4 == 0 else limit + 0.001 if place % 4 == 1 else round(value * 20, 6))
    found = [finding for finding in validity.find(native.load(tmp_path)) if finding.code == "clamped-offset"]
    finding = only(found)
    assert finding.numbers["limit_ms"] == 0.75
    assert finding.numbers["rows_at_plus"] + finding.numbers["rows_at_minus"] == 30
    assert finding.numbers["rows_near"] == 30


def test_an_old_answer_served_again_is_found(native, tmp_path):
    """The same value to the last digit in separate stretches."""
    for row in native.workers["w1"][::5]:
        shift_offset(row, "ct", -3.4012345)
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.numbers["values_ms"], finding.numbers["rows"]) == (
        "repeated-offset",
        [-3.4012345],
        [24],
    )


def test_two_levels_are_found_with_their_times(native, tmp_path):
    """From event 41 to 80 the NTP offset sits 18.5 ms lower."""
    for row in native.workers["w1"][40:80]:
        shift_offset(row, "ntp", float(row["ntp_offset_ms"]) - 18.5)
        row["ntp_sample_id"] = f"{row['ntp_sample_id']}-{row['event_id']}"
    for row in native.workers["w1"]:
        row["ntp_sample_id"] = f"{row['ntp_sample_id']}-{row['event_id']}"
    finding = only(validity.find(native.load(tmp_path)))
    assert finding.code == "offset-levels"
    low, high = finding.numbers["levels_ms"]
    assert high - low == pytest.approx(18.5, abs=0.1)
    assert finding.numbers["rows"] == [40, 80]
    stretches = [(one["from_ns"], one["to_ns"]) for one in finding.numbers["stretches"]]
    stamps = [row["receive_time_ns"] for row in native.workers["w1"]]
    assert stretches == [(stamps[0], stamps[39]), (stamps[40], stamps[79]), (stamps[80], stamps[119])]


def test_one_sign_everywhere_is_found_where_no_exchange_can_tell(native, tmp_path):
    """Clocks that are all ahead of the server, and no T1..T4 to say whether it was the path."""
    run = native.load(tmp_path)
    found = validity.find(dataclasses.replace(run, samples={}))
    assert {(finding.code, finding.source) for finding in found} == {
        ("one-sign-offset", "ntp"),
        ("one-sign-offset", "chronotick"),
    }
    assert {finding.numbers["sign"] for finding in found} == {"negative"}


def test_columns_of_different_readings_are_found(native, tmp_path):
    """An estimate that is not the stamp plus the offset beside it."""
    native.workers["w1"][9]["ntp_offset_ms"] = "-3.5"
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.numbers["rows"]) == ("disagreeing-columns", 1)


def test_an_estimate_outside_its_interval_is_found(native, tmp_path):
    """Lower, estimate, upper, in that order."""
    native.workers["w1"][9]["ntp_upper_bound_ns"] = native.workers["w1"][9]["ntp_timestamp_ns"] - 1
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.severity, finding.numbers["rows"]) == ("disordered-bounds", "error", 1)


def test_stamps_of_two_origins_are_noted(native, tmp_path):
    """Some kernel, some program: their delays are not the same thing."""
    native.workers["w1"][9]["receive_origin"] = "user"
    finding = only(validity.find(native.load(tmp_path)))
    assert (finding.code, finding.severity) == ("mixed-stamps", "note")
    assert finding.numbers["origins"] == {"kernel_rx": 119, "user": 1}


def test_findings_come_worst_first_and_are_json(native, tmp_path, make_unavailable):
    """Errors, warnings, notes; every finding can go into statistics/."""
    native.workers["w1"][9]["receive_origin"] = "user"
    native.workers["w1"].pop()
    for row in native.coordinator:
        make_unavailable(row, "ct", "not_configured")
    found = validity.find(native.load(tmp_path))
    assert [finding.severity for finding in found] == ["error", "warning", "note"]
    assert json.loads(json.dumps([finding.as_dict() for finding in found]))[0]["code"] == "mixed-domains"
