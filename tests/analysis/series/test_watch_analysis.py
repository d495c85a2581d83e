"""A watch is judged by its injected truth, by probes, and by its sources' agreement; its files are checked."""

from __future__ import annotations

import html
import json
import re
import shutil
from types import SimpleNamespace

import page_text
import pytest
import watch_folder

from analysis import causality_analysis, pipeline
from analysis.by_event.readings import table
from analysis.checks.clocks import independence, polling_phase
from analysis.checks.validate import validate
from analysis.errors import AnalysisError, UsageError
from analysis.figures import drawing
from analysis.run import series
from analysis.run.series import readings_file
from analysis.series import analyses, report, tables
from analysis.series.course import SYSTEM_CLOCK, Claims
from node_agent.contract import records


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Return a folder of a watch that was analysed, and what the analysis said."""
    path = watch_folder.make(tmp_path_factory.mktemp("results"))
    return path, pipeline.run_all(path)


def statistics(path, name):
    return json.loads((path / records.STATISTICS_DIR / name).read_text())


def judge(path):
    """Return what is computed of a folder, without drawing it."""
    return analyses.compute(table(series.load(path)))


def test_everything_is_written_and_the_report_ends(watched):
    path, outcome = watched
    assert outcome.errors == []
    figures = {file.name for file in (path / records.FIGURES_DIR).glob("*.png")}
    assert figures == {
        "series_timeline.png", "series_agreement.png", "series_reference.png", "clock_quality.png",
        "reference_width.png",
    }  # fmt: skip
    report = (path / records.REPORT_FILE).read_text()
    assert len(report.splitlines()) <= 150
    assert outcome.verdict in report
    for name in figures:
        assert f"../figures/{name}" in report


def test_the_page_says_what_the_report_says_with_every_figure_in_it(watched):
    path, outcome = watched
    page = (path / records.PAGE_FILE).read_text(encoding="utf-8")
    assert outcome.page == path / records.PAGE_FILE
    assert page.count('<img src="data:image/svg+xml;base64,') == len(list((path / records.FIGURES_DIR).glob("*.png")))
    words = page_text.of(path)
    assert outcome.verdict in words
    captions = (path / records.FIGURES_DIR / drawing.CAPTIONS_FILE).read_text(encoding="utf-8")
    for caption in re.findall(r"## \w+\n\n(.+)\n", captions):
        assert caption in html.unescape(page)
    for node in ("comp18", "comp11", "comp12"):
        assert f"| ntp | {node} |" in words


def test_coverage_is_that_of_the_injected_truth(watched):
    clocks = statistics(watched[0], "clock_quality_stats.json")
    for node in ("comp18", "comp11", "comp12"):
        assert clocks["ntp"][node]["judged_against"] == "injected truth"
        assert clocks["ntp"][node]["coverage"] == 1.0
        assert clocks["ntp"][node]["provable_misses"] is None  # nothing was sent, so nothing came too early


def test_sources_of_an_honest_run_agree(watched):
    pairs = statistics(watched[0], "agreement_stats.json")["pairs"]
    for node in ("comp18", "comp11", "comp12"):
        pair = pairs[node]["ntp/chronotick"]
        assert pair["seconds_between_s"]["max"] == 0.0
        assert pair["intervals_meet"]["numerator"] == pair["intervals_meet"]["denominator"] == pair["comparisons"] > 50


def test_the_course_has_the_readings_and_their_spacing(watched):
    course = statistics(watched[0], "series_stats.json")["ntp"]["comp11"]
    assert course["rows"] == 60
    assert course["spacing_s"]["median"] == pytest.approx(2.0, rel=0.05)
    assert course["gaps"]["count"] == 0


def test_a_second_analysis_writes_the_same_bytes(watched, tmp_path):
    path, outcome = watched
    copy = tmp_path / path.name
    shutil.copytree(path, copy)
    for file in outcome.paths:
        (copy / file.relative_to(path)).unlink()
    pipeline.run_all(copy)
    for file in outcome.paths:
        assert (copy / file.relative_to(path)).read_bytes() == file.read_bytes(), file.name


def test_a_watch_that_is_whole_breaks_no_contract(watched):
    assert [finding.line for finding in validate(watched[0]) if finding.breaks_contract] == []


def test_a_changed_byte_of_the_readings_is_found(watched, tmp_path):
    copy = tmp_path / watched[0].name
    shutil.copytree(watched[0], copy)
    file = copy / readings_file("comp11")
    file.write_bytes(file.read_bytes().replace(b"comp11", b"comp1l", 1))
    codes = {finding.code for finding in validate(copy) if finding.breaks_contract}
    assert codes >= {"not-as-written", "cells"}


def test_a_node_without_readings_is_told_of_and_the_rest_judged(watched, tmp_path):
    copy = tmp_path / watched[0].name
    shutil.copytree(watched[0], copy)
    (copy / readings_file("comp12")).unlink()
    results = judge(copy)
    assert any(readings_file("comp12") == finding.file and finding.breaks_contract for finding in results.findings)
    assert set(results.as_statistics()["series"]["ntp"]) == {"comp18", "comp11"}
    assert "| nodes without readings | comp12 |" in report.render(results, report.sentence(results))


def test_a_first_node_without_readings_leaves_the_others(watched, tmp_path):
    copy = tmp_path / watched[0].name
    shutil.copytree(watched[0], copy)
    (copy / readings_file("comp18")).unlink()
    assert set(judge(copy).as_statistics()["series"]["ntp"]) == {"comp11", "comp12"}


def test_a_watch_without_any_readings_is_one_line(watched, tmp_path):
    copy = tmp_path / watched[0].name
    shutil.copytree(watched[0], copy)
    for node in ("comp18", "comp11", "comp12"):
        (copy / readings_file(node)).unlink()
    with pytest.raises(AnalysisError, match="expected the readings of a watch of clocks, found none of raw/comp18"):
        judge(copy)


def test_what_is_about_events_refuses_a_watch_in_one_line(watched):
    with pytest.raises(AnalysisError, match="expected a run with events, got a watch of clocks"):
        causality_analysis.analyze(watched[0])
    with pytest.raises(UsageError, match="expected neither windows nor a merged table, of a watch of clocks"):
        pipeline.run_all(watched[0], (50,))
    with pytest.raises(UsageError, match="expected no --slurm, for there are no parts to share out, of a watch"):
        pipeline.run_all(watched[0], array=object())


def test_without_truth_the_probes_judge(watched, tmp_path):
    """Differences of two nodes' readings, against what probes say of them; the first node alone nobody can judge."""
    path = tmp_path / watched[0].name
    shutil.copytree(watched[0], path)
    manifest = json.loads((path / records.MANIFEST_FILE).read_text())
    for node in manifest["nodes"].values():
        node["virtual_clock"] = None
    (path / records.MANIFEST_FILE).write_text(json.dumps(manifest))
    clocks = judge(path).as_statistics()["clock_quality"]["ntp"]
    assert clocks["comp11"]["judged_against"] == "probe reference"
    assert clocks["comp11"]["coverage_rates"]["missed"]["numerator"] == 0
    assert clocks["comp18"]["judged_against"].startswith("none")


@pytest.mark.parametrize(("every_s", "alike"), [(10.0, True), (20.0, True), (9.3, False), (3.3, False)])
def test_readings_that_all_come_equally_long_after_a_sample_are_found(tmp_path, every_s, alike):
    """NTP is asked every 10 s here; a reading at that pace, or a multiple of it, sees one age of its samples."""
    found = {finding.source for finding in judge(watch_folder.make(tmp_path, every_s=every_s)).findings
             if finding.code == polling_phase.CODE}  # fmt: skip
    assert ("ntp" in found) == alike


def test_what_the_sources_share_is_said_before_any_number(watched):
    """That they agree proves little where one server answers both: the report and the page say so at their head."""
    path, _ = watched
    report_text, page = (path / records.REPORT_FILE).read_text(encoding="utf-8"), page_text.of(path)
    for words in ("asked no other NTP server than", "ChronoTick is given the answers of"):
        assert 0 < report_text.index(words) < report_text.index("## Offsets over time")
        assert words in page
    codes = {finding["code"] for finding in statistics(path, "validity_findings.json")["findings"]}
    assert {independence.ONE_SERVER, independence.FED} <= codes


def test_only_the_servers_own_name_is_put_into_general_words():
    """A log's source ``chrony`` is no part of the word ``chronyd``."""
    claims = Claims("before chronyd corrects chrony", "none", SYSTEM_CLOCK)
    course = SimpleNamespace(source="chrony", claims=claims)
    assert tables._claims([course]) == ["- chrony: offset before chronyd corrects the server; interval none."]
