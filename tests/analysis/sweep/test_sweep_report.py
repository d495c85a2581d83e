"""A sweep's folder: every run's rows with its place in the sweep, and numbers whose unit is the run."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING

import page_text
import pytest

from analysis.comparison import inference
from analysis.errors import NoSuchRun
from analysis.report import hypotheses, rates_table
from analysis.stats import rates
from analysis.sweep import means, report
from analysis.sweep.spread import pooled_deviation, spread
from node_agent.contract.records import COLLECTED, PAGE_FILE, RUN_FAILED, RUN_OK, Manifest, NodeManifest

if TYPE_CHECKING:
    from pathlib import Path

PATH = "worker.timing.ntp_query_interval"


def keep(
    place: Path, name: str, interval_s: int, proved: int, outcome: str = RUN_OK, rounds: float | None = None
) -> None:
    folder = place / name
    (folder / "configs").mkdir(parents=True)
    (folder / "configs/sweep.yaml").write_text(f"vary: {{{PATH}: [2, 10]}}")
    manifest = Manifest(
        run_id="0" * 32,
        experiment=name,
        cluster="local",
        phase=COLLECTED,
        outcome=outcome,
        created_utc="2026-01-01T00:00:00Z",
        code_version={},
        argv=[],
        config={"worker": {"timing": {"ntp_query_interval": interval_s}}},
        nodes={"comp18": NodeManifest("comp18", "coordinator", "127.0.0.1")},
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "statistics").mkdir()
    (folder / "statistics/rates.csv").write_text(",".join(rates_table.COLUMNS) + "\n" + f"causality,{name}" + "," * 14)
    summary = {"sources": {"ntp": {"proved": rates.rate(proved, 100).as_dict()}}}
    (folder / "statistics/overall_summary.json").write_text(json.dumps(summary))
    causality = {"sources": {"ntp": {"all": {"points": {"violated": rates.rate(proved, 100).as_dict()}}}}}
    coordination = {"reductions": {"value": rounds}}
    (folder / "statistics/causality_stats.json").write_text(json.dumps(causality))
    (folder / "statistics/coordination_stats.json").write_text(json.dumps(coordination))
    judged = [
        judgement("ntp-causality-violations", "causality/sources/ntp/all/points/violated", proved / 100),
        judgement("chronotick-coordination", "coordination/reductions/value", rounds),
    ]
    (folder / "statistics/hypotheses.json").write_text(json.dumps({"hypotheses": judged}))


def judgement(name: str, metric: str, value: float | None) -> dict[str, object]:
    status = hypotheses.NOT_EVALUABLE if value is None else hypotheses.SUPPORTED
    unit = "% fewer rounds" if name == "chronotick-coordination" else "% of the (event, worker) pairs"
    return {
        "name": name,
        "metric": metric,
        "value": value,
        "status": status,
        "unit": unit,
        "reason": "",
        "measured": "",
    }


def test_every_counted_run_is_in_the_table_with_its_place_and_its_cells_values(tmp_path: Path) -> None:
    keep(tmp_path, "night.c001.r01", 2, 50)
    keep(tmp_path, "night.c001.r02", 2, 50, RUN_FAILED)
    keep(tmp_path, "night.c001.r02.a2", 2, 60)
    keep(tmp_path, "night.c002.r01", 10, 80)
    keep(tmp_path, "nights.c001.r01", 2, 0)  # another sweep's
    (tmp_path / "night.c002.r01/report").mkdir()
    (tmp_path / "night.c002.r01" / PAGE_FILE).write_text("a page")
    written = report.write(tmp_path, "night")
    rows = list(csv.DictReader((tmp_path / "night.sweep/cells.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["cell"], row["repeat"], row["attempt"], row[PATH], row["subject"]) for row in rows] == [
        ("c001", "1", "1", "2", "night.c001.r01"),
        ("c001", "2", "2", "2", "night.c001.r02.a2"),
        ("c002", "1", "1", "10", "night.c002.r01"),
    ]
    text = written.read_text(encoding="utf-8")
    assert "| c001 | ntp | proved | % | 2 | 55.00 | 0.00 to 100.00 (clipped) | 7.07 | 33 |" in text
    assert "| c002 | ntp | proved | % | 1 | 80.00 | – | – | – |" in text  # noqa: RUF001
    assert "| night.c001.r02 | collected, failed |" in text
    assert (tmp_path / "night.sweep/figures/cells.png").stat().st_size > 0
    page = (tmp_path / "night.sweep" / report.PAGE_FILE).read_text(encoding="utf-8")
    assert "| c001 | ntp | proved | % | 2 | 55.00 | 0.00 to 100.00 (clipped) | 7.07 | 33 |" in page_text.words(page)
    assert re.findall(r'href="(\.\./[^"]*)"', page) == ["../night.c002.r01/report/index.html"]
    assert page.count('<img src="data:image/') == 1
    assert "Of all cells, the mean share that was proved: NTP 55.00 to 80.00 %." in page
    assert r"\begin{tabular}" in (tmp_path / "night.sweep/results.tex").read_text(encoding="utf-8")


def test_a_sweep_without_runs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoSuchRun, match=r"sweep night: expected runs like .*night\.c001\.r01, got none; run the sweep"):
        report.write(tmp_path, "night")


def test_the_interval_is_students_and_there_is_none_where_runs_do_not_differ() -> None:
    three = spread([1.0, 2.0, 3.0])  # t(0.975, 2) = 4.302653
    assert (three.low, three.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-6)
    assert (spread([5.0, 5.0]).low, spread([5.0]).deviation) == (None, None)


def test_a_sweep_whose_runs_judged_nothing_says_so_instead_of_a_figure(tmp_path: Path) -> None:
    keep(tmp_path, "night.c001.r01", 2, 50)
    file = tmp_path / "night.c001.r01/statistics/overall_summary.json"
    file.write_text(json.dumps({"sources": {"ntp": {"proved": rates.rate(0, 0).as_dict()}}}))
    text = report.write(tmp_path, "night").read_text(encoding="utf-8")
    assert "Verdicts per cell: no figure. Shares: no run has a share that could be judged." in text
    assert not (tmp_path / "night.sweep/figures").exists()


def test_the_repeats_needed_are_those_of_a_comparison() -> None:
    """One rule for both; where runs never differed there is no number."""
    assert report.repeats_needed(5.0) == inference.needed(5.0, 5.0) == 17
    assert report.repeats_needed(0.0) is None
    assert pooled_deviation([[1.0, 3.0], [10.0, 12.0], [7.0]]) == pytest.approx(2**0.5)
    assert pooled_deviation([[1.0]]) is None


def test_what_the_hypotheses_judge_is_told_per_cell_and_a_percentage_that_is_no_share_is_not_clipped(
    tmp_path: Path,
) -> None:
    keep(tmp_path, "night.c001.r01", 2, 50, rounds=-2.0)
    keep(tmp_path, "night.c001.r02", 2, 60, rounds=0.5)
    keep(tmp_path, "night.c002.r01", 10, 80, rounds=0.25)
    keep(tmp_path, "night.c002.r02", 10, 80)
    text = report.write(tmp_path, "night").read_text(encoding="utf-8")
    told = text.partition("## What the hypotheses judge, per cell")[2]
    assert "| c001 | ntp | ntp-causality-violations | % | 2 | 55.00 | 0.00 to 100.00 (clipped) | 7.07 | 33 |" in told
    wide = "| c001 | chronotick | chronotick-coordination | % fewer rounds | 2 | -75.00 | -1,663.28 to 1,513.28 |"
    assert wide in told
    assert "| c002 | chronotick | chronotick-coordination | % fewer rounds | 1 of 2 | 25.00 |" in told
    rows = list(csv.DictReader((tmp_path / "night.sweep/means.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["cell"], row["metric"], row["clipped"]) for row in rows] == [
        ("c001", "proved", "true"),
        ("c002", "proved", ""),
        ("c001", "ntp-causality-violations", "true"),
        ("c002", "ntp-causality-violations", ""),
        ("c001", "chronotick-coordination", "false"),
        ("c002", "chronotick-coordination", ""),
    ]


def test_a_hypothesis_of_which_no_run_has_a_number_is_named(tmp_path: Path) -> None:
    keep(tmp_path, "night.c001.r01", 2, 50)
    keep(tmp_path, "night.c001.r02", 2, 60)
    text = report.write(tmp_path, "night").read_text(encoding="utf-8")
    assert "No run has one for chronotick-coordination." in text


def test_a_table_that_is_too_long_for_a_report_says_where_it_is() -> None:
    many = [means.of_share(f"c{number:03d}", "ntp", "proved", 1, [50.0]) for number in range(means.MOST_ROWS + 1)]
    assert means.grid(many).markdown == "201 rows, more than 200: they are in means.csv alone."
    assert len(means.grid(many[1:]).rows) == 200
    assert means.as_csv(many).count("\n") == 202


def test_an_interval_is_clipped_only_where_it_leaves_what_can_be() -> None:
    assert (spread([0.0, 2.0], 0.0, 100.0).low, spread([0.0, 2.0], 0.0, 100.0).clipped) == (0.0, True)
    inside = spread([50.0, 50.2], 0.0, 100.0)
    assert (inside.low, inside.clipped) == (spread([50.0, 50.2]).low, False)
