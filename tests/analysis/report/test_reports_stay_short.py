"""What a report says does not grow with the nodes: of many findings of one kind, and of many names, it shows a few."""

from __future__ import annotations

from types import SimpleNamespace

from analysis.analyses import clock_quality
from analysis.checks.finding import SHOWN, Finding
from analysis.report import markdown, run_tables

NODES = [f"comp{number:02d}" for number in range(65)]


def test_of_many_findings_of_one_kind_a_few_have_a_row_and_the_rest_is_counted():
    negative = [Finding("negative-delay", "warning", node, "", "received before sent") for node in NODES]
    alone = Finding("one-boot", "note", "", "", "one machine")
    grid = run_tables.findings(SimpleNamespace(findings=[*negative, alone]))
    assert len(grid.rows) == run_tables.MOST_ALIKE + 2
    assert grid.rows[run_tables.MOST_ALIKE][3].startswith(f"and {len(NODES) - run_tables.MOST_ALIKE} more")
    assert grid.rows[-1][1] == "one-boot"


def test_of_many_remarks_the_first_are_said_and_the_rest_is_counted():
    said = markdown.some(NODES, "there")
    assert len(said) == markdown.MOST_NAMED + 1
    assert said[-1] == f"and {len(NODES) - markdown.MOST_NAMED} more: there"
    assert markdown.some(NODES[:3], "there") == NODES[:3]


def test_of_many_nodes_that_were_judged_alike_the_first_are_named():
    clocks = [
        SimpleNamespace(
            source="ntp", node_id=node, standard="injected truth", judged_as="reading", left_out={},
            laws={"drift_limit": 10},
        )
        for node in NODES
    ]  # fmt: skip
    result = SimpleNamespace(clocks=clocks)
    for words in (clock_quality.judged_against(result), clock_quality.holdover(result)):
        assert sum(node in words for node in NODES) == SHOWN
        assert f"and {len(NODES) - SHOWN} more" in words
