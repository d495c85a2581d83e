"""The numbers of the published run, as its README states them, come out of its files exactly."""

import re

import pytest

from analysis import pipeline
from analysis.analyses import dashboard
from analysis.checks import validity
from analysis.figures import drawing
from analysis.imported import older_format
from analysis.imported.comparison import compare
from analysis.registry import ANALYSES
from analysis.run import load


@pytest.fixture(scope="module")
def run(published_data, tmp_path_factory):
    return load.load(
        older_format.import_published(published_data, "ares-published", tmp_path_factory.mktemp("results"))
    )


@pytest.fixture(scope="module")
def workers(run):
    return {worker.node_id: worker for worker in compare(run).workers}


@pytest.fixture(scope="module")
def findings(run):
    return validity.find(run)


def of(findings, code):
    return {finding.node: finding for finding in findings if finding.code == code}


@pytest.mark.parametrize(
    ("node", "received", "mixed", "ntp", "difference", "share"),
    [("comp11", 2995, 122, 727, "16.77", "0.00"), ("comp12", 2996, 155, 729, "17.05", "0.23")],
)
def test_the_published_comparison_is_reproduced(workers, node, received, mixed, ntp, difference, share):
    """Every figure of the README's table and of like with like, per worker."""
    worker = workers[node]
    assert (worker.sent, worker.received, worker.unmatched) == (3000, received, 0)
    assert (worker.system.hits, worker.system.of) == (0, received)
    assert (worker.chronotick_against_uncorrected.hits, worker.chronotick_against_uncorrected.of) == (mixed, received)
    assert (worker.ntp.hits, worker.ntp.of) == (ntp, received)
    assert f"{worker.mean_abs_difference_ms:.2f}" == difference
    assert f"{100 * worker.within_share:.2f}" == share


def test_the_payload_stamp_precedes_the_logged_one(workers):
    """By 9 to 224 us, over both workers' events."""
    assert round(min(worker.payload_lead_min_ns for worker in workers.values()) / 1000) == 9
    assert round(max(worker.payload_lead_max_ns for worker in workers.values()) / 1000) == 224


def test_the_published_violations_are_labelled_as_mixing_clocks(run, workers):
    """The 122 and 155 never stand without their label, and ChronoTick like with like is not evaluable."""
    for worker in workers.values():
        assert "corrected" in worker.chronotick_against_uncorrected.label
        assert "uncorrected" in worker.chronotick_against_uncorrected.label
        assert worker.chronotick.hits is None
    row = next(line for line in older_format.comparison_parts(run)[0].markdown.splitlines() if "122" in line)
    assert "155" in row
    assert "mixes a corrected clock (worker) with an uncorrected one (coordinator)" in row


def test_all_of_one_workers_violations_sit_at_the_clamp_and_none_of_the_others(workers):
    """comp11: 122 of 122 within 2 us of -1 ms; comp12: none, between -7.31 and -1.13 ms."""
    assert workers["comp11"].violating_at_clamp == 122
    assert workers["comp12"].violating_at_clamp == 0
    assert f"{workers['comp12'].violating_offset_min_ms:.2f}" == "-7.31"
    assert f"{workers['comp12'].violating_offset_max_ms:.2f}" == "-1.13"


def test_the_constant_ntp_uncertainty_is_found(findings):
    """5.0 in every row of both workers; the coordinator's file has none."""
    found = of(findings, "constant-uncertainty")
    assert {node: finding.numbers["value_ms"] for node, finding in found.items()} == {"comp11": 5.0, "comp12": 5.0}
    assert {node: finding.numbers["rows"] for node, finding in found.items()} == {"comp11": 2995, "comp12": 2996}


def test_the_two_offset_levels_are_found_on_every_node(findings):
    """About -4.8 and -23.3 ms, with the times between which each holds."""
    found = of(findings, "offset-levels")
    assert set(found) == {"coordinator", "comp11", "comp12"}
    for finding in found.values():
        low, high = finding.numbers["levels_ms"]
        assert (low, high) == (pytest.approx(-23.3, abs=0.3), pytest.approx(-4.8, abs=0.3))
        stretches = finding.numbers["stretches"]
        assert len(stretches) >= 2
        assert all(one["to_ns"] < two["from_ns"] for one, two in zip(stretches, stretches[1:], strict=False))


def test_the_clamp_is_found_at_one_millisecond(findings):
    """Exact spikes at +1.000 and -1.000 ms on both workers."""
    found = of(findings, "clamped-offset")
    assert {node: finding.numbers["limit_ms"] for node, finding in found.items()} == {"comp11": 1.0, "comp12": 1.0}
    assert (found["comp11"].numbers["rows_at_plus"], found["comp11"].numbers["rows_at_minus"]) == (290, 22)


def test_the_missing_events_are_named(findings):
    """Five at comp11, four at comp12, each one gap."""
    found = of(findings, "missing-events")
    assert found["comp11"].numbers["events"] == [215, 216, 217, 218, 219]
    assert found["comp12"].numbers["events"] == [11, 12, 13, 14]


def test_the_missing_coordinator_source_and_the_one_sign_are_found(findings):
    """ChronoTick cannot be compared across nodes; NTP offsets are negative everywhere."""
    assert of(findings, "mixed-domains")["coordinator"].source == "chronotick"
    assert of(findings, "one-sign-offset")[""].numbers["sign"] == "negative"


def test_nothing_else_is_found(findings):
    """The detectors raise what a careful reader finds, and stand-in uncertainties and repeated answers besides."""
    assert {finding.code for finding in findings} == {
        "mixed-domains", "constant-uncertainty", "clamped-offset", "missing-events", "offset-levels", "one-sign-offset",
        "placeholder-uncertainty", "repeated-offset",
    }  # fmt: skip


def test_import_and_the_whole_analysis_tell_it_all(published_data, tmp_path):
    """The report has the labelled numbers, and every figure is drawn."""
    outcome = pipeline.run_all(older_format.import_published(published_data, "again", tmp_path))
    assert outcome.errors == []
    text = outcome.report.read_text(encoding="utf-8")
    page = (outcome.report.parent / "index.html").read_text(encoding="utf-8")
    assert "<td>122 of 2,995</td>" in page or '<td class="number">122 of 2,995</td>' in page
    for number in (
        "2,995 of 3,000",
        "122 of 2,995",
        "155 of 2,996",
        "727 of 2,995",
        "729 of 2,996",
        "16.77 ms",
        "17.05 ms",
    ):
        assert number in text
    for words in (
        "0.00 % (0 of 2,995)",
        "0.23 % (7 of 2,996)",
        "mixes a corrected clock",
        "constant-uncertainty",
        "clamped",
    ):
        assert words in text
    drawn = {path.stem for path in outcome.paths if path.suffix == ".png" and path.stat().st_size}
    figures = {analysis.figure for analysis in ANALYSES if analysis.draw is not None} | {dashboard.FIGURE}
    (captions,) = (path.read_text(encoding="utf-8") for path in outcome.paths if path.name == drawing.CAPTIONS_FILE)
    assert set(re.findall(r"^## (\w+)\n\n[^\n]*: no figure\. ", captions, re.MULTILINE)) == figures - drawn
    assert figures - drawn == {"reference_width", "commit_wait"}  # nobody probed, and nothing was read again
