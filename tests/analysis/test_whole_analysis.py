"""A run folder in, everything out: complete, reproducible, and honest about what is not there."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import page_text
import pytest
from run_folder import MS, Clock, Folder, manifest, write

from analysis import __main__ as command
from analysis import causality_analysis, generate_all_figures, pipeline, registry, window_assignment
from analysis.errors import AnalysisError
from analysis.registry import ANALYSES
from analysis.report import markdown
from analysis.simulation.simulate import simulate
from node_agent.clocks.sources import BY_NAME
from node_agent.contract import records

ROOT = Path(__file__).resolve().parents[2]
DRAWN = sum(one.draw is not None for one in ANALYSES)
FIGURES = ("causality_violations", "commit_wait", "coordination_cost", "ordering_consensus", "window_assignment")


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    run = Folder(
        {"a": Clock(wall_error_ns=5 * MS), "b": Clock(wall_error_ns=-5 * MS, ct_gone="stale")},
        lost={"b": (4,)},
        remeasured={2.0: {"ntp": 0.02}},
    )
    path = write(run, tmp_path_factory.mktemp("with a space") / "r")
    return path, pipeline.run_all(path)


@pytest.fixture
def undrawn(monkeypatch):
    """Draw no figures: what a test says of words and numbers needs none."""
    monkeypatch.setattr(pipeline, "_drawings", lambda _found: {})


def digests(path):
    written = [file for part in ("statistics", "figures", "data", "report") for file in (path / part).iterdir()]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in written}


def test_everything_the_design_names_is_written(analysed):
    path, outcome = analysed
    names = set(digests(path))
    for figure in (*FIGURES, "summary_dashboard"):
        assert {f"figures/{figure}.png", f"figures/{figure}.pdf"} <= names
    assert {records.MERGED_FILE, records.REPORT_FILE, records.PAGE_FILE, "statistics/clock_truth_stats.json"} <= names
    assert outcome.errors == []
    assert {str(file.relative_to(path)) for file in outcome.paths} == names


def test_repeating_the_analysis_gives_the_same_bytes_and_leaves_the_data_alone(analysed):
    path, _ = analysed
    before, data = digests(path), (path / records.COORDINATOR_FILE).read_bytes()
    pipeline.run_all(path)
    assert digests(path) == before
    assert (path / records.COORDINATOR_FILE).read_bytes() == data


def test_every_rate_in_the_statistics_has_numerator_denominator_and_interval(analysed):
    path, _ = analysed

    def rates(data):
        if isinstance(data, dict):
            if "numerator" in data:
                yield data
            for value in data.values():
                yield from rates(value)

    found = [one for file in (path / "statistics").glob("*_stats.json") for one in rates(json.loads(file.read_text()))]
    assert len(found) > 100
    for one in found:
        assert (one["value"] is None) == (one["denominator"] == 0)
        if one["interval"] is None:
            assert one["method"].startswith(("no interval: ", "no trials"))
        else:
            low, high = one["interval"]
            assert 0 <= low <= one["value"] <= high <= 1
            assert "effective number of trials" in one["method"]
            assert one["effective_trials"] >= 5


def test_the_report_counts_what_is_missing_and_shows_every_figure(analysed):
    path, _ = analysed
    text = page_text.of(path)
    assert "| chronotick | b | 100.00 % (9/9) | stale: 9 |" in text
    assert re.search(r"\| b \| worker \|.*\| 9 received \| 1 \|", text)
    assert "b received 90.0 % of the events, needed are 98 %" in text
    captions = (path / "figures" / "captions.md").read_text()
    undrawn = captions.count(": no figure. ")
    page = (path / records.PAGE_FILE).read_text()
    assert page.count('<img src="data:image/svg+xml;base64,') == page.count('alt="Figure: ') == DRAWN - undrawn


def test_the_verdict_comes_first_and_what_disqualifies_it_before_that(tmp_path, undrawn):
    """Two events share an id in the worker's file: whatever is an error stands above the hypotheses, in words."""
    path = write(Folder({"a": Clock(), "b": Clock(wall_error_ns=-5 * MS, ntp_error_ns=-5 * MS)}), tmp_path / "r")
    outcome = pipeline.run_all(path)
    text = page_text.of(path)
    parts = ("## Verdict", "| question |", "| hypothesis |", "## Reference", "## The run", "### Nodes")
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "The reference is **not evaluable**" in text
    if outcome.error_findings:
        assert places[0] < text.index("Read this first") < places[1]


def test_the_documents_name_only_macros_that_an_analysis_writes(analysed, tmp_path, undrawn):
    """Demo and cluster re-measure at other delays, so a folder that re-measured after 30 s is asked as well."""
    named = set()
    for document in ("NARRATIVE.md", "METHODOLOGY.md"):
        text = (ROOT / "docs" / document).read_text(encoding="utf-8")
        named |= set(re.findall(r"\\(res[A-Z][A-Za-z]+)\b(?!…)", text))
    path = write(
        Folder({"a": Clock(), "b": Clock()}, remeasured={30.0: {"ntp": 0.02, "chronotick": 0.01}}), tmp_path / "by-hand"
    )
    simulated = simulate("honest", 3, 60, results=tmp_path)
    written = set()
    for folder in (path, simulated):
        pipeline.run_all(folder)
        written |= set(re.findall(r"newcommand\{\\(res[A-Za-z]+)\}", (folder / "report" / "results.tex").read_text()))
    waits = {name for name in named if name.startswith("resCommitWaitCommitWaits")}  # no wait is simulated
    assert len(named) > 40
    assert sorted(named - waits - written) == []


def test_the_headlines_tell_what_was_missed_from_what_nobody_can_decide(tmp_path, undrawn):
    """Without an injected truth the reference judges, and what its own width hides is no miss."""
    folder = simulate("honest", 2, 200, rate_hz=20.0, results=tmp_path)
    file = folder / records.MANIFEST_FILE
    data = json.loads(file.read_text())
    for node in data["nodes"].values():
        node["virtual_clock"] = None
    file.write_text(json.dumps(data))
    table = pipeline.run_all(folder).table
    tick = dict(zip(table.columns, next(row for row in table.rows if row[0] == "chronotick"), strict=True))
    contained, missed, undecided = (float(one) for one in re.findall(r"[\d.]+", tick[table.columns[-1]])[:3])
    assert table.columns[-1] == "contained / missed / undecided"
    assert missed == 0
    assert undecided == pytest.approx(100 - contained, abs=0.11)
    assert undecided > 0
    assert tick["half-width"].endswith("(difference)")


def test_the_headlines_of_many_workers_are_medians_and_the_worst(tmp_path, undrawn):
    """A row for every worker up to five; of more, as many rows as of any number, and where all of them stand."""
    few, many = (pipeline.run_all(simulate("honest", nodes, 60, results=tmp_path)).table for nodes in (6, 8))
    assert [row[1] for row in few.rows if row[0] == "ntp"] == [f"comp{number}" for number in range(11, 16)]
    assert few.note == ""
    medians, *worst = [row for row in many.rows if row[0] == "ntp"]
    shares = [float(row[2].split()[0]) for row in worst]
    assert medians[1] == "median of 7"
    assert len(worst) == 5
    assert shares == sorted(shares, reverse=True)
    assert float(medians[2].split()[0]) <= shares[2]
    assert many.note.endswith("every worker is in statistics/rates.csv")


def test_a_degraded_run_says_so_on_top_with_its_reasons(tmp_path, undrawn):
    folder = Folder({"a": Clock()})
    path = write(folder, tmp_path / "r")
    broken = manifest(folder, outcome=records.RUN_DEGRADED, problems=["a: ntp was unavailable for 7 readings"])
    (path / records.MANIFEST_FILE).write_text(broken.to_json())
    pipeline.run_all(path)
    head = (path / records.REPORT_FILE).read_text().splitlines()[:8]
    assert any("DEGRADED" in line for line in head)
    assert any("ntp was unavailable for 7 readings" in line for line in head)


@pytest.mark.parametrize(
    "folder",
    [
        Folder({"only": Clock()}),
        Folder({"a": Clock(), "b": Clock()}, no_file=("b",)),
        Folder({f"w{i}": Clock(wall_error_ns=i * MS) for i in range(4)}, truth=False, lost={"w1": tuple(range(1, 11))}),
        Folder({"a": Clock(ntp_gone="never_sampled", ct_gone="not_configured")}, coordinator=Clock(ct_gone="stale")),
        Folder({"a": Clock()}, events=1),
    ],
    ids=["one-worker", "missing-worker", "four-workers-one-deaf", "no-readings", "one-event"],
)
def test_odd_runs_are_analysed_to_the_end_without_invented_numbers(tmp_path, folder):
    path = write(folder, tmp_path / "r")
    outcome = pipeline.run_all(path, (100,))
    deaf = [worker for worker, lost in folder.lost.items() if len(lost) == folder.events]
    assert outcome.errors == [f"{records.worker_file(worker)}: no rows" for worker in deaf]
    text = page_text.of(path)
    assert "nan" not in text.lower()
    assert len(outcome.report.read_text().splitlines()) <= markdown.MOST_LINES
    assert "not evaluable" in text


def test_the_window_widths_asked_for_are_the_ones_judged(analysed, undrawn):
    path, _ = analysed
    copy = path.parent / "copy"
    shutil.copytree(path, copy)
    pipeline.run_all(copy, (70, 250))
    windows = json.loads((copy / "statistics" / "window_stats.json").read_text())["sources"]
    assert list(windows["ntp"]) == ["70", "250"]
    coordination = json.loads((copy / "statistics" / "coordination_stats.json").read_text())
    assert coordination["total_tasks"] == ["causality", "who_first", "window_70ms"]


def test_all_figures_can_be_drawn_elsewhere(analysed, tmp_path):
    path, _ = analysed
    drawn = generate_all_figures.generate_figure(path, tmp_path / "out")
    *figures, captions = drawn
    undrawn = captions.read_text().count(": no figure. ")
    assert len(figures) == 2 * (DRAWN + 1 - undrawn)  # and the dashboard
    assert all(file.stat().st_size > 5_000 for file in figures)


def test_a_figure_that_cannot_be_drawn_costs_neither_the_others_nor_the_report(analysed, monkeypatch):
    path, _ = analysed

    def fails(_result):
        raise RuntimeError("no ink")

    broken = tuple(replace(one, draw=fails) if one.name == "commit_wait" else one for one in ANALYSES)
    monkeypatch.setattr(registry, "ANALYSES", broken)
    outcome = pipeline.run_all(path)
    assert outcome.errors == ["figure commit_wait: RuntimeError: no ink"]
    assert outcome.report.is_file()
    assert command.tell(outcome) == 7


@pytest.mark.parametrize("way", [["-m", "analysis.causality_analysis"], ["analysis/causality_analysis.py"]])
def test_an_analysis_runs_as_a_module_and_as_a_file(analysed, way):
    path, _ = analysed
    done = subprocess.run(
        [sys.executable, *way, "--experiment", str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["sources"]["system"]["workers"]["b"]["points"]["violated"]["numerator"] == 9
    assert done.stderr.splitlines()[0].endswith("causality_violations.png")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--experiment", "nope"], 2, "no experiment 'nope'"),
        (["--experiment", "../no-such-run"], 2, "no experiment '../no-such-run'"),
        (["--experiment", "a b"], 2, "experiment name"),
        (["--window-sizes", "0"], 2, "whole milliseconds"),
        ([], 2, "no latest run"),
    ],
)
def test_bad_requests_are_one_line_and_exit_code_2(tmp_path, capsys, arguments, code, says):
    try:
        found = command.main([*arguments, "--results-dir", str(tmp_path)])
    except SystemExit as ended:
        found = ended.code
    error = capsys.readouterr().err
    assert found == code
    assert says in error
    assert error.count("\n") == 1


def test_a_run_that_cannot_be_judged_is_exit_code_7(tmp_path, capsys):
    path = write(Folder({"a": Clock()}), tmp_path / "r")
    (path / records.COORDINATOR_FILE).unlink()
    assert command.main(["--experiment", str(path)]) == 7
    assert "coordinator.csv" in capsys.readouterr().err


def test_the_examples_in_the_documentation_run(analysed, tmp_path, monkeypatch, capsys):
    path, _ = analysed
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "NAME").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "ANALYSIS.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/ANALYSIS.md", "exec"), {})  # noqa: S102 - it is our own page
    said = capsys.readouterr().out
    assert "0 of 9 neighbours" in said
    assert re.search(r"ntp\s+a\s+10\s+50\.0", said)


@pytest.mark.parametrize(
    ("count", "says"), [(0, []), (1, ["1 error finding: see the report"]), (2, ["2 error findings: see the report"])]
)
def test_findings_that_are_errors_are_named_on_the_terminal_and_leave_the_exit_code(analysed, capsys, count, says):
    _, outcome = analysed
    assert command.tell(replace(outcome, error_findings=count)) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "error finding" in line] == says


def test_every_colour_and_font_holds_for_a_paper():
    from analysis.figures import style

    assert len({style.colour(source) for source in ("system", *BY_NAME)}) == 1 + len(BY_NAME)
    assert min(size for key, size in style.RC.items() if key.endswith("size")) >= 7
    assert style.PAGE_IN <= 7
    assert style.COLUMN_IN == 3.3


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return simulate("honest", 3, 300, seed=5, results=tmp_path_factory.mktemp("results"))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("name", "column", "wrong"),
    [
        ("commit_wait.csv", "source", ""),
        ("commit_wait.csv", "done_raw_ns", ""),
        ("samples.csv", "wall_ns", ""),
        ("samples.csv", "server", ""),
        ("probes.csv", "direction", ""),
        ("probes.csv", "raw_error_ns", str((1 << 63) - 1)),
        ("clock_pairs.csv", "wall_ns", str((1 << 63) - 1)),
    ],
)
def test_rows_that_do_not_say_whose_or_when_are_left_out(simulated, tmp_path, name, column, wrong):
    path = tmp_path / "run"
    shutil.copytree(simulated, path)
    file = path / records.RAW_DIR / "comp11" / name
    with file.open(newline="") as stream:
        rows = list(csv.reader(stream))
    place = rows[0].index(column)
    for row in rows[1::5]:
        row[place] = wrong
    with file.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    errors = pipeline.run_all(path).errors
    (damage,) = [line for line in errors if "is not what the node wrote" in line]
    assert f"{name} is not what the node wrote" in damage
    assert all(records.PROBES_FILE in line for line in errors if line != damage), errors  # what they say contradicts


def test_a_door_takes_windows_by_name_or_not_at_all(analysed):
    path, _ = analysed
    said = window_assignment.analyze(path, window_sizes_ms=(70,))
    assert set(said["sources"]["ntp"]) == {"70"}
    with pytest.raises(AnalysisError, match="this analysis has no windows"):
        causality_analysis.analyze(path, (70,))
