"""Logs of chronyd, of ntpd and of the original ChronoTick become readings in this house's signs, or one clear line."""

from __future__ import annotations

import csv
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from analysis.checks.validate import validate
from analysis.errors import UsageError
from analysis.imported import series
from analysis.imported.older_format import UnusableSource
from analysis.run.load import read_manifest
from node_agent.contract import records

LOGS = Path(__file__).with_name("logs")
CONSTANT = "constant-uncertainty"
TRACKING_HEAD = """\
===========
   Date (UTC) Time     IP Address   St   Freq ppm   Skew ppm     Offset L Co  Offset sd Rem. corr. Root delay Root disp. Max. error
===========
"""  # noqa: E501
TRACKING = (
    "2017-08-22 13:22:36 203.0.113.15     2     -3.541      0.075 -8.621e-06 N"
    "  2  2.940e-03 -2.084e-04  1.534e-02  3.472e-04  8.304e-03\n"
)  # the example of chrony.conf(5)
MEASUREMENT = (
    "2016-11-09 05:40:50 203.0.113.15    N  2 111 111 1111  10 10 1.0"
    "  -4.966e-03  2.296e-01  1.577e-05  1.615e-01  7.446e-03 CB00717B 4B D K\n"
)
# Of ntp.conf(5), moved into this century.
PEER = "58773 10847.650 SPECTRACOM(4) 9714 -0.001605376 0.000000000 0.001424877 0.000958674\n"
LOOP = "60935 75440.031 0.000006019 13.778190 0.000351733 0.013380 6\n"
STABILITY = (
    "system_time,chronotick_offset_ms,chronotick_uncertainty_ms,chronotick_source,ntp_offset_ms,ntp_delay_ms,"
    "ntp_server\n"
)


def readings(folder):
    with (folder / series.readings_file("node")).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def imported(tmp_path, *files, source=None):
    """Import files given as (name, text) and return the readings, as text."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for name, text in files:
        (folder / name).write_text(text, encoding="utf-8")
    where = folder / source if source else folder
    return readings(series.import_series(where, "x", tmp_path / "results"))


def offsets(rows, source):
    return [float(row[f"{source}_offset_ms"]) for row in rows if row[f"{source}_status"] == records.OK]


# --- real daemons, whose servers were 12.5 ms ahead -------------------------------------------------------------------


def test_chronyd_and_ntpd_say_that_a_server_ahead_is_to_be_added(tmp_path):
    """Reference minus local is positive where the server is ahead, whatever sign a log has for it."""
    chrony = readings(series.import_series(LOGS / "chrony", "c", tmp_path))
    ntpd = readings(series.import_series(LOGS / "ntpd", "n", tmp_path))
    assert offsets(chrony, "chrony") == pytest.approx([12.49] * len(offsets(chrony, "chrony")), abs=0.06)
    assert len(offsets(chrony, "chrony")) > 20
    assert offsets(chrony, "10.99.0.4")[0] == pytest.approx(40.0, abs=0.2)  # before chronyd corrected its own time
    assert offsets(chrony, "10.99.0.4")[-1] == pytest.approx(27.5, abs=0.1)  # and after
    assert offsets(ntpd, "ntpd") == pytest.approx([12.5] * 30, abs=0.05)
    assert offsets(ntpd, "10.99.0.4") == pytest.approx([40.0] * len(offsets(ntpd, "10.99.0.4")), abs=0.2)


def test_before_chronyd_knows_the_time_it_has_no_number(tmp_path):
    rows = readings(series.import_series(LOGS / "chrony" / "tracking.log", "x", tmp_path))
    first = rows[0]
    assert (first["chrony_status"], first["chrony_offset_ms"], first["chrony_upper_bound_ns"]) == (
        "unsynchronised",
        "",
        "",
    )


def test_measurements_are_of_chronyds_own_time_and_say_so(tmp_path):
    folder = series.import_series(LOGS / "chrony", "c", tmp_path)
    sources = read_manifest(folder).imported["sources"]
    assert sources["10.99.0.1"]["clock"] != sources["chrony"]["clock"] == "the system clock"


def test_an_imported_folder_is_in_order_until_a_byte_changes(tmp_path):
    folder = series.import_series(LOGS / "ntpd", "n", tmp_path)
    assert [finding for finding in validate(folder) if finding.breaks_contract] == []
    original = folder / "raw/imported/peerstats"
    original.write_bytes(original.read_bytes().replace(b"0.01249", b"0.01250", 1))
    assert [finding.code for finding in validate(folder) if finding.breaks_contract] == ["changed"]


# --- the documented formats, number by number ------------------------------------------------------------------------


def test_tracking_is_the_remaining_correction_minus_the_offset(tmp_path):
    """-2.084e-04 - -8.621e-06 s; bounded, as the node's own chrony source is, by |offset| + delay / 2 + dispersion."""
    (row,) = imported(tmp_path, ("tracking.log", TRACKING_HEAD + TRACKING))
    at_ns = 1_503_408_156_000_000_000
    assert row["wall_ns"] == str(at_ns)
    assert row["chrony_offset_ms"] == "-0.199779"
    assert row["chrony_timestamp_ns"] == str(at_ns - 199_779)
    half_ns = 199_779 + 7_670_000 + 347_200
    assert int(row["chrony_upper_bound_ns"]) == at_ns - 199_779 + half_ns
    assert int(row["chrony_lower_bound_ns"]) == at_ns - 199_779 - half_ns
    assert (row["chrony_kind"], row["chrony_reference"]) == ("guaranteed", "utc")


def test_tracking_of_an_older_chrony_has_no_interval(tmp_path):
    (row,) = imported(tmp_path, ("tracking.log", TRACKING.replace("  1.534e-02  3.472e-04  8.304e-03", "")))
    assert (row["chrony_offset_ms"], row["chrony_upper_bound_ns"]) == ("-0.199779", "")


def test_a_measurement_is_bounded_to_utc(tmp_path):
    (row,) = imported(tmp_path, ("measurements.log", MEASUREMENT))
    assert row["203.0.113.15_offset_ms"] == "-4.966"
    half = Decimal("114.8") + Decimal("0.01577") + Decimal("80.75") + Decimal("7.446")
    assert Decimal(row["203.0.113.15_uncertainty_ms"]) == half
    assert row["203.0.113.15_kind"] == ""  # nobody here vouches for it


def test_a_measurement_that_failed_a_test_is_none(tmp_path):
    (row,) = imported(tmp_path, ("measurements.log", MEASUREMENT.replace(" 111 111 ", " 111 110 ")))
    assert (row["203.0.113.15_status"], row["203.0.113.15_offset_ms"]) == ("failed_tests", "")


def test_ntpds_instants_are_exact_and_its_numbers_in_ms(tmp_path):
    peer, loop = imported(tmp_path, ("loopstats", LOOP), ("peerstats", PEER))
    assert peer["wall_ns"] == str(((58_773 - 40_587) * 86_400 * 1000 + 10_847_650) * 10**6)
    assert peer["SPECTRACOM(4)_offset_ms"] == "-1.605376"
    assert peer["SPECTRACOM(4)_uncertainty_ms"] == "1.424877"
    assert peer["SPECTRACOM(4)_reference"] == "server:SPECTRACOM(4)"
    assert peer["ntpd_status"] == "not_asked"
    assert (loop["ntpd_offset_ms"], loop["ntpd_uncertainty_ms"], loop["ntpd_upper_bound_ns"]) == (
        "0.006019",
        "0.351733",
        "",
    )


def test_the_originals_rows_keep_their_numbers_and_errors_have_none(tmp_path):
    row, failed = imported(
        tmp_path,
        (
            "a.csv",
            STABILITY + "1760560233.226823,-0.75,1.0,cpu,1.5,21.25,pool.ntp.org\n1760560243.5,0.0,0.0,error,,,\n",
        ),
    )
    at_ns = 1_760_560_233_226_823_000
    assert (row["wall_ns"], row["ntp_offset_ms"], row["ct_offset_ms"]) == (str(at_ns), "1.5", "-0.75")
    assert int(row["ntp_upper_bound_ns"]) == at_ns + 1_500_000 + 10_625_000
    assert (row["ct_uncertainty_ms"], row["ct_upper_bound_ns"]) == ("1", "")
    assert (failed["ct_status"], failed["ct_offset_ms"], failed["ntp_status"]) == ("error", "", "not_asked")


def test_the_validation_files_interval_is_the_paths_and_not_the_roots(tmp_path):
    """ntp_time - system_time is T2 - T1, the upper end: 14 ms; so θ ± 12 ms, whatever ntp_uncertainty_ms says."""
    head = "system_time,chronotick_offset_ms,ntp_time,ntp_offset_ms,ntp_uncertainty_ms,ntp_server\n"
    (row,) = imported(tmp_path, ("a.csv", head + "1761149297.000,1.0,1761149297.014,2.0,0.5,10.0.0.1:8123\n"))
    assert row["ntp_uncertainty_ms"] == "12"
    assert row["ntp_reference"] == "server:10.0.0.1:8123"


@pytest.mark.parametrize(
    ("name", "readings_of_ntp", "rows"),
    [
        ("stability_homelab_drift9h_20251015.csv", 335, 3349),
        ("overnight8h_summary_20251014.csv", 159, 2880),
        ("validation_ares12_20251022.csv", 72, 874),
    ],
)
def test_the_three_series_are_imported_whole(tmp_path, name, readings_of_ntp, rows):
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    file = Path(os.environ.get("CHRONOTICK_SHARED_DATA") or beside) / "ntp-series" / name
    if not file.is_file():
        pytest.skip(f"the series are not here (looked at {file}); set CHRONOTICK_SHARED_DATA to their parent folder")
    table = readings(series.import_series(file, "x", tmp_path))
    assert len(table) == rows
    assert sum(bool(row["ntp_upper_bound_ns"]) for row in table) == readings_of_ntp


# --- several files ---------------------------------------------------------------------------------------------------


def test_daily_files_are_one_series_in_order_of_time(tmp_path):
    later = PEER.replace("58773", "58774")
    rows = imported(tmp_path, ("peerstats.19920527", later), ("peerstats.19920526", PEER), ("README", "by hand\n"))
    assert [int(row["wall_ns"]) for row in rows] == sorted(int(row["wall_ns"]) for row in rows)
    assert [row["reading_id"] for row in rows] == ["0", "1"]


def test_a_log_that_has_two_names_counts_once(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "peerstats").write_text(PEER)
    os.link(folder / "peerstats", folder / "peerstats.19920526")
    assert len(readings(series.import_series(folder, "x", tmp_path / "results"))) == 1


def test_two_programs_that_speak_of_one_server_are_not_mixed(tmp_path):
    peer = PEER.replace("SPECTRACOM(4)", "203.0.113.15")
    with pytest.raises(UnusableSource, match=r"expected one log that speaks of 203\.0\.113\.15, got both .*one by one"):
        imported(tmp_path, ("measurements.log", MEASUREMENT), ("peerstats", peer))


def test_a_line_that_was_not_written_to_its_end_is_left_out_and_told_of(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "peerstats").write_text(PEER + PEER[:40])
    made = series.import_series(folder, "x", tmp_path / "results")
    assert len(readings(made)) == 1
    missing = json.loads((made / records.MANIFEST_FILE).read_text())["imported"]["missing"]
    assert "the last line of peerstats, which was not written to its end" in missing


@pytest.mark.parametrize("text", [MEASUREMENT, TRACKING, PEER, LOOP], ids=["measurements", "tracking", "peer", "loop"])
def test_wherever_the_last_line_was_cut_no_number_of_it_is_taken(tmp_path, text):
    """A number that lost its last digits is another number: the line is left out even where it could be read."""
    folder = tmp_path / "logs"
    folder.mkdir()
    last = text.splitlines(keepends=True)[-1].replace("1", "2")
    for cut in range(1, len(last)):
        (folder / "log").write_text(text + last[:cut])
        made = series.import_series(folder, f"x{cut}", tmp_path / "results")
        assert len(readings(made)) == 1
        missing = json.loads((made / records.MANIFEST_FILE).read_text())["imported"]["missing"]
        assert "the last line of log, which was not written to its end" in missing


def test_a_line_that_comes_again_counts_once_and_is_told_of(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "peerstats").write_text(PEER * 3)
    made = series.import_series(folder, "x", tmp_path / "results")
    assert len(readings(made)) == 1
    missing = json.loads((made / records.MANIFEST_FILE).read_text())["imported"]["missing"]
    assert "2 lines of peerstats that came again, every digit alike" in missing


def test_a_log_that_is_there_twice_counts_once(tmp_path):
    """A copy, whole or in part, beside the log it is of; what is in the copy alone counts."""
    more = PEER.replace("10847.650", "10848.650")
    folder = tmp_path / "logs"
    folder.mkdir()
    for name, text in (("peerstats", PEER), ("peerstats.1", PEER), ("peerstats.2", PEER + more)):
        (folder / name).write_text(text)
    made = series.import_series(folder, "x", tmp_path / "results")
    assert len(readings(made)) == 2
    missing = json.loads((made / records.MANIFEST_FILE).read_text())["imported"]["missing"]
    for name in ("peerstats.1", "peerstats.2"):
        assert f"1 line of {name} that came again, every digit alike" in missing


@pytest.mark.parametrize("text", [TRACKING, PEER])
def test_a_line_that_lost_a_number_is_not_read_as_another(tmp_path, text):
    """The numbers behind the lost one would stand for others: delay for offset, dispersion for delay."""
    folder = tmp_path / "logs"
    folder.mkdir()
    cells = text.splitlines()[-1].split()
    (folder / "log").write_text(text + "  ".join([*cells[:-3], *cells[-2:]]) + "\n")
    with pytest.raises(UnusableSource, match="log line 2: expected "):
        series.import_series(folder, "x", tmp_path / "results")


# --- what is no log ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a log, got an empty file; logs there are to import: ChronoTick's stability file"),
        ("hello\n", "expected a log, got a first line of 'hello'"),
        (PEER + PEER[:40] + "\n" + PEER, r"line 2: expected a line of ntpd's peerstats, got '58773 10847\.650"),
        (PEER.replace("10847.650", "86401.0"), r"line 1: seconds past midnight: expected at most 86400, got 86401\.0"),
        (PEER.replace("58773", "48773"), "line 1: day and seconds: expected an instant between 2000 and 2100"),
        (TRACKING.replace("08-22", "13-22"), "line 1: date and time: expected YYYY-MM-DD HH:MM:SS"),
        (TRACKING + LOOP, "line 2: expected a line of chrony's tracking.log"),
        (STABILITY, "expected at least one whole line of ChronoTick's stability file, got none"),
        (
            STABILITY + "1760560233.2,nan,1.0,cpu,inf,2.0,a\n",
            "line 2: ntp_offset_ms: expected a finite number, got 'inf'",
        ),
        (STABILITY + "1760560233.2,1.0\n", "line 2: expected 7 cells, got fewer"),
        (STABILITY + "1760560233.2,1.0,1,cpu,,,,,\n", "line 2: expected 7 cells, got more"),
        (STABILITY.replace("\n", ",ntp_server\n") + "1,1,1,1,1,1,1,1\n", "'ntp_server' more than once"),
    ],
)
def test_what_is_no_log_is_one_clear_line(tmp_path, text, message):
    file = tmp_path / "log"
    file.write_text(text)
    with pytest.raises(UnusableSource, match=message) as refused:
        series.import_series(file, "x", tmp_path / "results")
    assert (refused.value.exit_code, "\n" in str(refused.value)) == (2, False)
    assert not (tmp_path / "results").exists()


def test_other_logs_of_chrony_are_none_of_these(tmp_path):
    file = tmp_path / "statistics.log"
    file.write_text(
        "2016-08-10 05:40:50 203.0.113.15     6.261e-03 -3.247e-03  2.220e-03  1.874e-06  1.080e-06 7.8e-02"
        "  16   0   8  0.00\n"
    )
    with pytest.raises(UnusableSource, match="expected a log, got a first line of"):
        series.import_series(file, "x", tmp_path)


@pytest.mark.parametrize("node", ["imported", "", "a b", "-x"])
def test_a_machine_has_the_name_of_a_node(tmp_path, node):
    with pytest.raises(UsageError, match="node: expected letters"):
        series.import_series(LOGS / "ntpd", "x", tmp_path / "results", node)


def test_a_jitter_at_the_precision_of_the_program_is_no_stand_in(tmp_path):
    """A daemon that has nothing to complain of writes its least jitter; a constant of a ms is another thing."""
    (found,) = (one for one in validate(series.import_series(LOGS / "ntpd", "n", tmp_path)) if one.code == CONSTANT)
    assert (found.severity, found.numbers["value_ms"]) == ("warning", 6e-05)
    assert "the least that the program writes, not a measurement" in found.line
    log = tmp_path / "loopstats"
    log.write_text((LOGS / "ntpd" / "loopstats").read_text().replace(" 0.000000060 ", " 0.005000000 "))
    (found,) = (one for one in validate(series.import_series(log, "m", tmp_path)) if one.code == CONSTANT)
    assert (found.severity, found.numbers["value_ms"]) == ("error", 5.0)
