"""What can be told of a page without opening it: it stays small, harmless and the same."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis import command, registry
from analysis.by_event import excerpt
from analysis.checks.finding import Finding
from analysis.report import clock_table, html, hypotheses, markdown, opening
from analysis.report.page import events, shell
from analysis.tables import Grid
from node_agent.contract import records


@pytest.fixture(scope="module")
def results(run):
    return registry.compute(command.table_of(run))


def test_it_is_one_small_file_that_names_no_other(run):
    file = run / records.PAGE_FILE
    page = file.read_text(encoding="utf-8")
    assert file.stat().st_size < 8e6
    ours = page.replace(shell._library(), "")
    for reference in ('src="http', 'href="http', "url(", "@import", "<iframe", " onclick="):
        assert reference not in ours


def test_data_end_no_script(results):
    said = shell._json({"name": "</script><!--<script>&"})
    assert not set(said) & set("<>&")
    assert json.loads(said) == {"name": "</script><!--<script>&"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("**no** and `a/b`", "<strong>no</strong> and <code>a/b</code>"),
        ("*ambiguous* is a label", "<em>ambiguous</em> is a label"),
        ("2 * 3 * 4, a*b*c, **", "2 * 3 * 4, a*b*c, **"),
        ("**<b>** & <i>", "<strong>&lt;b&gt;</strong> &amp; &lt;i&gt;"),
    ],
)
def test_marks_become_elements_and_everything_else_stays_text(text, said):
    assert str(html.text(text)) == said


def test_a_path_in_a_table_may_be_broken_behind_its_slashes():
    page = str(html.table(Grid.of(("a", "b"), [("x/y <z>", "**1/2** of `a/b`")]), "paths"))
    assert "x/<wbr>y &lt;z&gt;" in page
    assert "<strong>1/2</strong> of <code>a/b</code>" in page


def test_a_table_without_rows_says_why_and_one_with_rows_keeps_every_cell():
    assert str(html.folded(Grid.of(("a",), [], "None was <made>."), "x")) == "<p>None was &lt;made&gt;.</p>"
    assert str(html.folded(Grid.of(("a",), [], ""), "x")) == ""
    page = str(html.folded(Grid.of(("a", "b"), [("x|y", 1), (None, "2.0 %")]), "some"))
    assert page.count("<td") == 4
    assert "x|y" in page
    assert '<td class="number">2.0 %</td>' in page


def test_rare_verdicts_are_all_in_an_excerpt_and_the_rest_is_evenly_spread():
    rare, common, none = np.zeros((3, 90_000), dtype=bool)
    rare[[3, 50_000]] = common[::3] = True
    chosen = excerpt.evenly([excerpt.Places(kind) for kind in (common, rare, none)], 300)
    assert sorted(map(len, chosen)) == [2, 298]
    picked = excerpt.thinned(np.arange(100_001), 11)
    assert picked.tolist() == list(range(0, 100_001, 10_000))
    assert excerpt.Places(rare).thinned(5).tolist() == [3, 50_000]


def test_an_excerpt_of_a_run_has_every_kind_of_verdict_and_no_more_than_was_asked_for(results):
    table = results.table
    whole = excerpt.choose(table, table.heard)
    assert whole.tolist() == list(range(len(table.event_ids)))
    some = excerpt.choose(table, table.heard, 20)
    assert len(some) <= 20
    assert sorted(set(some.tolist())) == some.tolist()
    digits = "".join(clock["intervals"] for pair in events.of(results)["pairs"] for clock in pair["clocks"])
    assert {"1", "2", "3"} >= set(digits) - {"0"} >= {"2"}


def test_the_instants_of_an_excerpt_are_those_of_the_table(results):
    data, table = events.of(results), results.table
    source = [shown["name"] for shown in data["sources"]].index("ntp")
    for pair, worker in zip(data["pairs"], data["workers"], strict=True):
        send, receive = table.sends(worker, "ntp"), table.readings(worker, "ntp")
        said = pair["clocks"][source]
        both = send.known & receive.known
        apart = np.array(
            [
                b - a if a is not None and b is not None else 0
                for a, b in zip(said["send"]["est"], said["receive"]["est"], strict=True)
            ]
        )
        assert both.any()
        assert (apart[both] == (receive.est - send.est)[both]).all()
        low = np.array(said["receive"]["below"], dtype=object)[receive.bounded]
        assert low.tolist() == (receive.est - receive.earliest)[receive.bounded].tolist()


def test_the_clocks_table_says_what_the_statistics_say(results):
    numbers = results.as_statistics()["causality"]["sources"]
    rows = {row.clock: row for row in clock_table.of(results) if row.question == clock_table.ASKED["causality"]}
    assert list(rows)[-1] == "reference"
    for source in ("ntp", "chronotick"):
        intervals, row = numbers[source]["all"]["intervals"], rows[source]
        assert row.proved.least == intervals["proved"]["numerator"]
        assert row.ambiguous.least == intervals["ambiguous"]["numerator"]
        assert row.wrong.least == intervals["violated"]["numerator"]
        assert row.points_wrong.least == numbers[source]["all"]["points"]["violated"]["numerator"]
        assert row.rounds_saved.least == row.proved.least  # a violated message needs its round
    judged = numbers["system"]["all"]["points"]["against"]["reference"]["decided_by_judge"]
    assert rows["reference"].proved.least + 0 <= judged["numerator"] + 0


def test_every_decision_is_in_one_column(results):
    """Proved, ambiguous, wrong and without a reading make up what was due, and what is saved is proved."""
    for row in clock_table.of(results):
        parts = (row.proved, row.ambiguous, row.wrong, row.no_reading)
        if row.bounded and None not in parts:
            assert sum(part.least for part in parts) == row.decisions == row.proved.of
            assert row.rounds_saved.least == row.proved.least


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0.0"), (1.0, "100.0"), (0.9754, "97.5"), (1 / 20_000, "0.005"), (2 / 20_000, "0.01"),
     (1 - 1 / 20_000, "99.995"), (0.5, "50.0"), (1e-9, "0.0000001")],
)  # fmt: skip
def test_a_share_keeps_a_tenth_of_what_is_left_to_its_end(share, words):
    assert clock_table._percent(share) == words


def test_the_markdown_is_short_whatever_the_run(results):
    """Many nodes, hypotheses and findings: what is left out is counted, and the page has it."""
    judged = hypotheses.judge(hypotheses.read(), results.as_statistics())
    said = opening.of(results, judged)
    many = tuple(Finding("code", "error", f"n{place}", "ntp", "what is wrong") for place in range(500))
    tables = {name: Grid(grid.columns, grid.rows * 60, grid.empty) for name, grid in said.tables.items()}
    long = replace(said, errors=many, known=many, reasons=("reason",) * 300, outcome="degraded", tables=tables)
    text = markdown.render(long)
    assert len(text.splitlines()) <= markdown.MOST_LINES
    assert "and 492 more: see index.html" in text
    assert text.count("index.html and statistics/validity_findings.json |") == 1
