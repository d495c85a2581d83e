"""`invoke compare` on small folders of statistics: which runs are meant, what is said of them, and the exit code."""

from __future__ import annotations

import json
import re

import page_text
import pytest

from analysis.comparison import command, runs
from analysis.comparison.comparison import DIFFERS, NOT_EVALUABLE, NOT_SHOWN, ONE_RUN, SAME, compare, metrics_of
from analysis.errors import AnalysisError, NoSuchRun, UsageError
from analysis.run import load
from node_agent.contract import records
from node_agent.contract.records import Manifest, NodeManifest

NTP = "ntp-causality-violations"  # of configs/hypotheses.yaml, in percent
RECEIVED = "summary/received"
WIDTH = "summary/sources/ntp/clocks/comp11/half_width_us"


def rate(numerator: int | None, denominator: int = 100) -> dict[str, object]:
    value = None if numerator is None else numerator / denominator
    interval = None if value is None else [max(value - 0.1, 0.0), min(value + 0.1, 1.0)]
    return {
        "numerator": numerator or 0, "denominator": 0 if value is None else denominator, "value": value,
        "interval": interval, "method": "no trials" if value is None else "bootstrap", "effective_trials": 9.0,
    }  # fmt: skip


@pytest.fixture
def make(tmp_path):
    """Return a function that makes an analysed run: NTP's share of violations, its half-width, what else differs."""

    def made(name: str, violated: float | None = 0.2, width_us: float | None = 70.0, outcome: str = "ok", **changes):
        folder = tmp_path / name
        (folder / records.STATISTICS_DIR).mkdir(parents=True)
        node = NodeManifest("comp18", "coordinator", "h", status={"kernel": changes.get("kernel", "6.1")})
        manifest = Manifest(
            run_id=name, experiment=name, cluster="c", phase="collected", outcome=outcome, created_utc="",
            code_version={"git": changes.get("git", "abc"), "dirty": False}, argv=[], nodes={"comp18": node},
            config={"worker": {"timing": {"ntp_query_interval": changes.get("ntp_s", 10)}}},
        )  # fmt: skip
        (folder / records.MANIFEST_FILE).write_text(manifest.to_json())
        status = "not supported" if violated is not None else "not evaluable"
        claim = {"name": NTP, "status": status, "value": violated, "reason": "too little", "measured": "?"}
        claim |= changes.get("claim", {})
        summary = {
            "received": rate(100),
            "sources": {"ntp": {"clocks": {"comp11": {"half_width_us": width_us, "missed": rate(None)}}}},
        }
        for file, data in (("hypotheses.json", {"hypotheses": [claim]}), ("overall_summary.json", summary)):
            (folder / records.STATISTICS_DIR / file).write_text(json.dumps(data))
        return folder

    return made


def test_a_run_that_is_not_analysed_is_a_matter_of_usage(make, tmp_path, capsys):
    make("a")
    (make("b") / records.STATISTICS_DIR / "hypotheses.json").unlink()
    assert command.main("a", "b", [], [], tmp_path) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/b: expected a run that is analysed, got one without hypotheses.json; "
        f"analyse it first: uv run invoke analyze --experiment {tmp_path}/b\n"
    )


def test_two_cells_of_a_sweep_are_compared_in_pairs_and_one_without_runs_is_told_the_others(make, tmp_path, capsys):
    for number in range(1, 7):
        make(f"night.c001.r{number:02d}", 0.1 + number / 100)
        make(f"night.c002.r{number:02d}", 0.3 + number / 90, ntp_s=64)
    assert command.main("night.c001", "night.c002", [NTP], [], tmp_path) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "A: 6 runs, B: 6 runs"
    assert told[1:3] == ["conditions that differ:", "  worker.timing.ntp_query_interval: 10 in A, 64 in B"]
    assert any(line.startswith("95 %: Student, in pairs.") for line in told)
    assert command.main("night.c000", "night.c001", [], [], tmp_path) == 2
    assert capsys.readouterr().err == (
        "error: night.c000: expected a cell of a sweep, got one without runs; there are night.c002, night.c001\n"
    )


def test_a_metric_that_is_none_is_told_which_there_are_the_nearest_first(make, tmp_path, capsys):
    make("a")
    make("b")
    assert command.main("a", "b", [], ["summary/sources/ntp/clocks/comp11/width_us:5"], tmp_path) == 2
    assert f"'; there are {WIDTH}, " in capsys.readouterr().err
    assert command.main("a", "b", ["sumary/received"], [], tmp_path) == 2
    assert f"--metric: expected one of {RECEIVED}, " in capsys.readouterr().err


def names_of(text, folder):
    found, notes = runs.read(text, folder)
    return [run.name for run in found], notes


def test_names_patterns_sweeps_and_cells_mean_runs(make, tmp_path):
    for name in ("one", "night.c001.r01", "night.c001.r02", "night.c002.r01", "nightly"):
        make(name)
    assert names_of("one,nightly", tmp_path) == (["one", "nightly"], [])
    assert names_of("night", tmp_path)[0] == ["night.c001.r01", "night.c001.r02", "night.c002.r01"]
    assert names_of("night.c001", tmp_path)[0] == ["night.c001.r01", "night.c001.r02"]
    assert names_of("*.r01", tmp_path)[0] == ["night.c001.r01", "night.c002.r01"]
    assert names_of(str(tmp_path / "one"), tmp_path)[0] == ["one"]


def test_the_last_attempt_counts_and_a_failed_run_does_not(make, tmp_path):
    """Each run that is left out is named; nothing is dropped in silence."""
    for name in ("n.c001.r01", "n.c001.r01.a3", "n.c001.r01.a2", "n.c001.r02"):
        make(name)
    make("n.c001.r03", outcome="failed")
    found, notes = names_of("n", tmp_path)
    assert found == ["n.c001.r01.a3", "n.c001.r02"]
    assert len(notes) == 3
    assert any("n.c001.r03 is left out: its outcome is failed" in note for note in notes)


def test_an_attempt_that_failed_takes_no_place(make, tmp_path):
    """What is done stays, whichever attempt it was."""
    make("n.c001.r01")
    make("n.c001.r01.a2", outcome="failed")
    assert names_of("n", tmp_path)[0] == ["n.c001.r01"]


@pytest.mark.parametrize("spoilt", [{}, {"hypotheses": [{}]}, {"hypotheses": [3]}, []])
def test_statistics_of_another_shape_are_one_line(make, tmp_path, spoilt):
    (make("one") / records.STATISTICS_DIR / "hypotheses.json").write_text(json.dumps(spoilt))
    with pytest.raises(AnalysisError, match=r"expected statistics of this version, got .*; analyse it again"):
        runs.read("one", tmp_path)


@pytest.mark.parametrize(
    ("text", "error"),
    [("one,one", UsageError), ("one,", UsageError), ("", UsageError), ("none", NoSuchRun), ("x*", NoSuchRun),
     ("raw", UsageError), ("bad", NoSuchRun)],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(make, tmp_path, text, error):
    make("one")
    make("bad", outcome="failed")
    (make("raw") / records.STATISTICS_DIR / "hypotheses.json").unlink()
    with pytest.raises(error) as raised:
        runs.read(text, tmp_path)
    assert "\n" not in str(raised.value)
    if text == "raw":
        assert f"invoke analyze --experiment {tmp_path}/raw" in str(raised.value)


def compared(make, tmp_path, a, b, **more):
    for side, values in (("a", a), ("b", b)):
        for number, value in enumerate(values):
            make(f"{side}{number:02}", value, **(more if side == "b" else {}))
    sides = runs.read("a*", tmp_path)[0], runs.read("b*", tmp_path)[0]
    return {metric.metric: metric for metric in compare(*sides, metrics_of(*sides))}


def test_runs_that_are_far_apart_differ_and_equal_ones_show_no_difference(make, tmp_path):
    """Holm counts the metrics that vary alone: what is the same in all runs can tell of nothing."""
    told = compared(make, tmp_path, [0.1, 0.12, 0.11, 0.13], [0.5, 0.52, 0.55, 0.51])
    assert (told[NTP].verdict, told[NTP].unit, told[NTP].unit_of_difference) == (DIFFERS, "%", "pp")
    assert told[NTP].p_holm == told[NTP].difference.p == pytest.approx(2 / 70)
    assert told[NTP].value == pytest.approx(0.405)
    assert (told[WIDTH].verdict, told[WIDTH].reason, told[WIDTH].unit) == (NOT_SHOWN, SAME, "µs")


def test_a_difference_whose_interval_has_0_is_not_shown(make, tmp_path):
    """One of six runs is far off: the permutation finds what Welch's interval does not, and a row has one verdict."""
    told = compared(make, tmp_path, [0.9, 0.7, 1.2, 0.4, 0.9, 0.3], [0.2, 3.3, 0.9, 3.2, 10.3, 5.3])[NTP]
    assert told.p_holm <= 0.05
    assert told.difference.low < 0 < told.difference.high
    assert told.verdict == NOT_SHOWN


def test_what_one_run_does_not_tell_is_not_evaluable(make, tmp_path):
    told = compared(make, tmp_path, [0.1, 0.12, None, 0.13], [0.5, 0.52, 0.55, 0.51])
    assert told[NTP].verdict == NOT_EVALUABLE
    assert told[NTP].reason == "no number in 1 of 8 runs, first in a02: too little"
    assert told["summary/sources/ntp/clocks/comp11/missed"].verdict == NOT_EVALUABLE


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_none(make, tmp_path, value):
    """NaN is not evaluable, and the numbers can be written as JSON all the same."""
    told = compared(make, tmp_path, [0.1, 0.12, value, 0.13], [0.5, 0.52, 0.55, 0.51])
    assert told[NTP].verdict == NOT_EVALUABLE
    assert told[NTP].reason == f"no number in 1 of 8 runs, first in a02: expected a finite number, got {value}"
    assert command.main("a*", "b*", [NTP], [f"{NTP}:5pp"], tmp_path, tmp_path / "out.json") == 7


def test_too_few_runs_for_so_many_metrics_are_told(make, tmp_path, capsys):
    """Hypotheses are one family, the summary another; where no p can pass Holm, the call says so."""
    for number in range(4):
        make(f"a{number}", 0.1 + 0.01 * number, width_us=70.0 + number)
        make(f"b{number}", 0.5 + 0.01 * number, width_us=90.0 + number)
    for name in ("a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"):
        file = tmp_path / name / records.STATISTICS_DIR / "overall_summary.json"
        summary = json.loads(file.read_text())
        summary["sources"]["system"] = summary["sources"]["ntp"]
        file.write_text(json.dumps(summary))
    sides = runs.read("a*", tmp_path)[0], runs.read("b*", tmp_path)[0]
    told = {metric.metric: metric for metric in compare(*sides, [NTP, WIDTH, WIDTH.replace("ntp", "system")])}
    assert (told[NTP].verdict, told[NTP].p_holm) == (DIFFERS, pytest.approx(2 / 70))
    assert (told[WIDTH].verdict, told[WIDTH].p_holm) == (NOT_SHOWN, pytest.approx(4 / 70))
    assert told[WIDTH].reason == "so many runs reach p (Holm) = 0.057 at best among 2 metrics"
    assert command.main("a*", "b*", [], [], tmp_path) == 0
    assert "note: so many runs reach p (Holm) = 0.057 at best among 2 metrics; name fewer" in capsys.readouterr().out


@pytest.mark.parametrize(("a", "b", "words"), [
    ([0.1], [0.9], ONE_RUN), ([0.1], [0.9, 0.8], "expected 2 runs or more"),
    ([0.1, 0.2, 0.1], [0.9, 0.8, 0.9], "reach p = 0.1 at best; 4 of each can"),
])  # fmt: skip
def test_too_few_runs_show_nothing(make, tmp_path, a, b, words):
    told = compared(make, tmp_path, a, b)[NTP]
    assert told.verdict == NOT_EVALUABLE
    assert words in told.reason


def test_runs_of_two_cells_are_pairs_by_block(make, tmp_path):
    """What varies from block to block drops out of the difference; without all partners it does not."""
    for block in range(1, 9):
        make(f"n.c001.r{block:02}", 0.1 * block)
        make(f"n.c002.r{block:02}", 0.1 * block + 0.01 + 0.0001 * block)
    sides = [runs.read(name, tmp_path)[0] for name in ("n.c001", "n.c002")]
    (paired,) = compare(*sides, [NTP])
    assert (paired.verdict, paired.difference.method) == (DIFFERS, "Student, in pairs")
    (unpaired,) = compare(sides[0][1:], sides[1], [NTP])
    assert (unpaired.verdict, unpaired.difference.method) == (NOT_SHOWN, "Welch")


def test_the_command_says_whether_it_compared_in_pairs_and_which_runs_stood_in_the_way(make, tmp_path, capsys):
    for block in range(1, 8):
        make(f"n.c001.r{block:02}", 0.1 * block)
        make(f"n.c002.r{block:02}", 0.1 * block + 0.01 + 0.0001 * block)
    assert command.main("n.c001", "n.c002", [NTP], [], tmp_path) == 0
    printed = capsys.readouterr().out
    assert "95 %: Student, in pairs." in printed
    assert "no partner" not in printed
    make("n.c002.r08", 0.3)
    assert command.main("n.c001", "n.c002", [NTP], [], tmp_path) == 0
    printed = capsys.readouterr().out
    assert "95 %: Welch." in printed
    assert "note: not in pairs, for these have no partner of their cell and block: n.c002.r08\n" in printed


def test_two_sweeps_are_pairs_by_cell_and_block(make, tmp_path):
    for cell in (1, 2):
        for block in (1, 2, 3):
            make(f"n.c{cell:03}.r{block:02}", 0.3 * cell + 0.01 * block)
            make(f"m.c{cell:03}.r{block:02}", 0.3 * cell + 0.01 * block + 0.005 + 0.0001 * block)
    (told,) = compare(*(runs.read(name, tmp_path)[0] for name in ("n", "m")), [NTP])
    assert told.difference.method == "Student, in pairs"
    assert told.verdict == DIFFERS


@pytest.mark.parametrize("option", ["json", "page"])
@pytest.mark.parametrize("content", ["my notes\n", "", '{"a": 1}', "<title>Mine</title>"])
def test_a_file_that_is_none_of_ours_is_not_replaced(make, tmp_path, capsys, option, content):
    make("a"), make("b", 0.6)
    file = tmp_path / "notes"
    file.write_text(content)
    files = (file, None) if option == "json" else (None, file)
    assert command.main("a", "b", [], [], tmp_path, *files) == 2
    assert capsys.readouterr().err == (
        f"error: --{option}: expected a new file, or one of an earlier comparison, got {file}\n"
    )
    assert file.read_text() == content


def test_an_earlier_comparison_is_replaced(make, tmp_path):
    make("a"), make("b", 0.6), make("c", 0.7)
    files = (tmp_path / "out.json", tmp_path / "out.html")
    for other in ("b", "c"):
        assert command.main("a", other, [], [], tmp_path, *files) == 0
        assert json.loads(files[0].read_text())["b"] == [other]
        assert "a and " + other in page_text.words(files[1].read_text(encoding="utf-8"))


def test_code_is_compared_with_code_of_the_same_files(make, tmp_path, capsys):
    """A simulated run names the sources of the simulation alone, and has neither a commit nor an agent."""
    told = {
        "a": {"git": "abc", "source_sha256": "1" * 64, "agent_sha256": "2" * 64},
        "b": {"git": None, "source_sha256": "3" * 64, "agent_sha256": None},
    }
    for name, version in told.items():
        file = make(name) / records.MANIFEST_FILE
        cluster = "ares" if name == "a" else load.SIMULATED
        file.write_text(json.dumps(json.loads(file.read_text()) | {"code_version": version, "cluster": cluster}))
    assert command.main("a", "b", [], [], tmp_path) == 0
    said = capsys.readouterr().out
    assert "code (sha256 of the sources): 111111111111 in A, nothing in B\n" in said
    assert "code (sha256 of the simulation's sources): nothing in A, 333333333333 in B\n" in said
    assert "commit: abc in A, nothing in B\n" in said
    assert "None" not in said


def test_the_command_says_first_what_else_differs(make, tmp_path, capsys):
    for number in range(4):
        make(f"a{number}", 0.1 + 0.01 * number)
        make(f"b{number}", 0.5 + 0.01 * number, git="def", kernel="6.8", ntp_s=64)
    file = tmp_path / "out.json"
    page = tmp_path / "out.html"
    assert command.main("a*", "b*", [], [], tmp_path, file, page) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"page: {page}"
    said = page_text.words(page.read_text(encoding="utf-8"))
    assert re.search(rf"^\| {NTP} \|.* \| \+40 pp \|.* \| {DIFFERS} \|", said, re.MULTILINE)
    assert "comp18.kernel: 6.1 in A, 6.8 in B" in said
    assert lines[:2] == ["A: 4 runs, B: 4 runs", "conditions that differ:"]
    assert lines[2:5] == [
        "  code: abc in A, def in B",
        "  comp18.kernel: 6.1 in A, 6.8 in B",
        "  worker.timing.ntp_query_interval: 10 in A, 64 in B",
    ]
    row = next(line for line in lines if line.startswith(NTP))
    assert "+40 pp" in row
    assert DIFFERS in row
    told = json.loads(file.read_text())
    assert told["a"] == ["a0", "a1", "a2", "a3"]
    assert {metric["metric"]: metric["verdict"] for metric in told["metrics"]}[NTP] == DIFFERS


@pytest.mark.parametrize(
    ("limits", "code", "words"),
    [
        ([f"{NTP}:50pp"], 0, ""),
        ([f"{NTP}:5pp"], 7, "expected a difference of at most 5 pp, got 40 pp"),
        ([f"{WIDTH}:1us"], 0, ""),
        (["summary/sources/ntp/clocks/comp11/missed:1pp"], 7, "expected a number to hold against 1 pp, got none"),
        ([f"{NTP}:5ms"], 2, "expected a limit in pp"),
        ([f"{NTP}:5"], 2, "expected a limit in pp, in which ntp-causality-violations differs, got one without"),
        ([f"{NTP}"], 2, "expected METRIC:LIMIT"),
        (["nonsense:5pp"], 2, "expected a metric that is compared"),
    ],
)
def test_a_limit_is_held_against_what_is_shown(make, tmp_path, capsys, limits, code, words):
    for number in range(4):
        make(f"a{number}", 0.1 + 0.01 * number)
        make(f"b{number}", 0.5 + 0.01 * number)
    assert command.main("a*", "b*", [], limits, tmp_path) == code
    told = capsys.readouterr()
    assert words in told.err
    assert told.err.count("\n") == (code != 0)
    assert (f"limit {limits[0].rpartition(':')[0]}: at most " in told.out) is (code == 0)


def test_a_limit_is_not_adjusted_for_metrics_without_one(make, tmp_path, capsys):
    """Among all that vary so few runs may show nothing; what a limit asks, they may. Where not, it does not hold."""
    for number in range(4):
        make(f"a{number}", 0.1 + 0.01 * number, 70.0 + number)
        make(f"b{number}", 0.5 + 0.01 * number, 90.0 + number)
        for name, share in ((f"a{number}", 100 - number), (f"b{number}", 50 - number)):
            file = tmp_path / name / records.STATISTICS_DIR / "overall_summary.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {"received": rate(share)}))
    assert command.main("a*", "b*", [], [f"{WIDTH}:5us"], tmp_path) == 7
    told = capsys.readouterr()
    row = next(line for line in told.out.splitlines() if line.startswith(WIDTH))
    assert NOT_SHOWN in row
    assert f"error: {WIDTH}: expected a difference of at most 5 µs, got 20 µs\n" == told.err
    assert command.main("a*", "b*", [], [f"{WIDTH}:50us", f"{RECEIVED}:90pp"], tmp_path) == 7
    assert capsys.readouterr().err.splitlines() == [
        f"error: {metric}: expected enough runs to show a difference, got so many runs reach p (Holm) = 0.057 at best "
        "among 2 metrics; give fewer limits, or make more runs"
        for metric in (WIDTH, RECEIVED)
    ]


def test_so_few_runs_that_nothing_can_be_shown_have_means_all_the_same(make, tmp_path, capsys):
    for number in range(2):
        make(f"a{number}", 0.1 + 0.01 * number)
        make(f"b{number}", 0.5 + 0.01 * number)
    assert command.main("a*", "b*", [NTP], [], tmp_path) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(NTP))
    assert row.split()[:5] == [NTP, "%", "10.5", "50.5", "+40"]
    assert NOT_EVALUABLE in row


@pytest.mark.parametrize(
    ("claim", "limit", "code", "words"),
    [
        ({"name": "mine", "unit": "%"}, "mine:5pp", 7, "at most 5 pp, got 40 pp"),
        ({"name": "mine", "unit": "% of all"}, "mine:50pp", 0, ""),
        ({"name": "mine", "unit": "percentage points"}, "mine:0.1pp", 7, "at most 0.1 pp, got 0.4 pp"),
        ({"name": "mine", "unit": "ms of delay"}, "mine:0.1ms", 7, "at most 0.1 ms, got 0.4 ms"),
        ({"name": "mine", "unit": "ms of delay"}, "mine:5pp", 2, "expected a limit in ms, in which mine differs"),
        ({"name": "mine"}, "mine:5pp", 2, "expected a limit without a unit, as mine differs, got 'pp'"),
        ({"name": "mine"}, "mine:0.1", 7, "at most 0.1, got 0.4"),
    ],
)
def test_a_limit_is_in_the_unit_that_the_runs_were_judged_in(make, tmp_path, capsys, claim, limit, code, words):
    """It is of the run, whatever today's hypotheses say; and no limit is held against a number of another unit."""
    for number in range(4):
        make(f"a{number}", 0.1 + 0.01 * number, claim=claim)
        make(f"b{number}", 0.5 + 0.01 * number, claim=claim)
    assert command.main("a*", "b*", ["mine"], [limit], tmp_path) == code
    assert words in capsys.readouterr().err


def test_one_name_for_two_numbers_is_not_evaluable(make, tmp_path):
    for number in range(4):
        make(f"a{number}", 0.1 + 0.01 * number, claim={"metric": "x/violated"})
        make(f"b{number}", 0.5 + 0.01 * number, claim={"metric": "x/proved"})
    sides = runs.read("a*", tmp_path)[0], runs.read("b*", tmp_path)[0]
    (told,) = compare(*sides, [NTP])
    assert told.verdict == NOT_EVALUABLE
    assert "different hypotheses of this name, of x/proved and of x/violated" in told.reason


@pytest.mark.parametrize(("a", "b", "metrics"), [("a0", "a0", []), ("a0", "a1", ["no/such"])])
def test_what_makes_no_sense_ends_with_2(make, tmp_path, capsys, a, b, metrics):
    make("a0")
    make("a1")
    assert command.main(a, b, metrics, [], tmp_path) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_one_run_each_shows_both_intervals(make, tmp_path, capsys):
    make("a0", 0.1, claim={"interval": [0.05, 0.2]})
    make("b0", 0.4)
    assert command.main("a0", "b0", [RECEIVED, NTP], [], tmp_path) == 0
    printed = capsys.readouterr().out
    assert "5 to 20" in printed
    assert ONE_RUN in printed
    assert "90 to 100" in printed
