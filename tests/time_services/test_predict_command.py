"""``invoke predict`` on small series: the layout of its JSON, its three kinds of columns, what it says of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from time_services.evaluation.series import SeriesError, read_series
from time_services.evaluation.simulated import SYMMETRIC, Setting, judge
from time_services.evaluation.tables import load_series

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ["n", "unavailable", "restarts", "mae_ms", "rms_ms", "p95_ms", "cover_1s", "cover_3s", "sigma_ms"]
ROWS = "".join(f"{1000 + 10 * n},{0.5 + 0.01 * (n % 3)},20.5,pool\n{1005 + 10 * n},,,\n" for n in range(40))


def invoke_predict(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "invoke"), "predict", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)


def test_the_json_has_every_figure_of_every_model_and_baseline(tmp_path: Path):
    """{series: {model: figures}}: all samples but the first three are foretold, by four models and four baselines."""
    (tmp_path / "tiny.csv").write_text("timestamp,ntp_offset_ms,ntp_delay_ms,ntp_server\n" + ROWS)
    done = invoke_predict("--series", str(tmp_path / "tiny.csv"), "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out.json").read_text())
    assert list(scores) == ["tiny"]
    models = ["kalman_bank", "dual", "holdover", "median"]
    assert list(scores["tiny"]) == [*models, "last sample", "median of 16", "line over 8", "line over 32"]
    assert all(list(figures) == FIGURES for figures in scores["tiny"].values())
    assert {figures["n"] for figures in scores["tiny"].values()} == {37}
    assert scores["tiny"]["kalman_bank"]["mae_ms"] < 0.02
    assert "| tiny | kalman_bank | 37 |" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--series", "/no/such.csv"),
        ("--series", "simulated", "--model", "best"),
        ("--series", "simulated", "--json", "/no/such/folder/out.json"),
        ("--series", "simulated", "--json", "/"),
        ("--series", "simulated", "--cadence", "1e5"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(arguments: tuple[str, ...]):
    """Exit code 2 and one line that says what is expected."""
    done = invoke_predict(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert any(words in done.stderr for words in ("--series", "such.csv", "--model", "--json", "more than 3 samples"))
    assert "|" not in done.stdout


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("system_time,ntp_offset_ms,ntp_delay_ms", "100,2,30"),
        ("timestamp,ntp_ground_truth_offset_ms,ntp_uncertainty_ms", "100,2,15"),
        ("system_time,ntp_offset_ms,ntp_time,ntp_uncertainty_ms", "100,2,100.017,1"),
    ],
)
def test_the_delay_is_read_from_each_kind_of_file(tmp_path: Path, columns: str, cells: str):
    """A recorded delay, twice the uncertainty, or what the answer's arrival says: 30 ms each; a cadence thins out."""
    path = tmp_path / "series.csv"
    path.write_text(f"{columns}\n{cells}\n{cells.replace('100', '101')}\n")
    (sample,) = read_series(path, cadence_s=5).samples
    assert (sample.offset_ms, round(sample.delay_ms, 3)) == (2, 30)
    assert len(read_series(path).samples) == 2


def test_a_spreadsheet_s_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path):
    path = tmp_path / "series.csv"
    path.write_text("timestamp,ntp_offset_ms,ntp_delay_ms\n1,2,3\n", encoding="utf-8-sig")
    assert len(read_series(path).samples) == 1


def test_a_file_without_samples_is_refused(tmp_path: Path):
    """No column, no sample or no number: one line names the file."""
    for text in (
        "a,b\n1,2\n",
        "timestamp,ntp_offset_ms,ntp_delay_ms\n1,,\n",
        "timestamp,ntp_offset_ms,ntp_delay_ms\n1,x,1\n",
    ):
        path = tmp_path / "series.csv"
        path.write_text(text)
        with pytest.raises(SeriesError, match=r"series\.csv"):
            read_series(path)


def test_a_simulated_node_is_foretold_as_by_a_tuned_filter():
    """The bank is within 1.5 of a filter tuned with the truth known, and its 3 sigma hold."""
    cell = judge(Setting(SYMMETRIC[0], 1e-17, 60.0), "kalman_bank", seeds=1, count=80)
    assert cell.unavailable == 0
    assert cell.rms_ms < 1.5 * cell.tuned_rms_ms
    assert cell.cover_3s > 0.95


@pytest.mark.parametrize("cells", ["1e300,1,2", "100,1e300,2", "100,1,-1e300", "nan,1,2", "100,inf,2", "100,1,1e13"])
def test_a_number_that_is_no_time_is_one_line(tmp_path: Path, cells: str):
    """Not finite, or too large to be an instant, an offset or a delay: which line, and what was expected."""
    path = tmp_path / "series.csv"
    path.write_text(f"system_time,ntp_offset_ms,ntp_delay_ms\n100,1,2\n{cells}\n")
    with pytest.raises(SeriesError, match="line 3: expected numbers up to 1e"):
        read_series(path)


def test_a_cadence_thins_simulated_series_out_too():
    """Samples every 10 s at a cadence of 600 s: one in sixty is left; those every 600 s all are."""
    whole, thinned = load_series(["simulated"], 0.0), load_series(["simulated"], 600.0)
    assert [series.name for series in whole] == [series.name for series in thinned]
    kept = {series.name: len(few.samples) / len(series.samples) for series, few in zip(whole, thinned, strict=True)}
    assert kept["LAN 1e-17/s every 10 s"] == pytest.approx(1 / 60, rel=0.3)
    assert kept["LAN 1e-17/s every 600 s"] == 1.0
