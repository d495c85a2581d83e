"""What `check` prints of a server is what the server said, with every number that a reading is made of."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from harness.check.preflight import NodeCheck, Preflight
from harness.console import Console
from node_agent import check
from node_agent.clocks import chronotick
from node_agent.contract.records import CHRONOTICK, OK, Sample

SERVER = "http://t:8124"


def printed(**claims: Any) -> list[list[str]]:
    """Return the cells that `check` prints of one ChronoTick answer that claims this, heading first."""
    answer = {"offset_ms": 1.5, "uncertainty_ms": 0.25, "node_id": "a", "prediction_time_ns": 10**18} | claims
    parsed = chronotick.parse(json.dumps(answer), "a")
    assert isinstance(parsed, chronotick.Prediction)
    numbers = parsed.numbers(10**18, 5_000, 2_005_000)
    sample = Sample("1", CHRONOTICK, SERVER, "", OK, 5_000, 2_005_000, 10**18, payload="", **numbers)
    row = check._row(chronotick.KIND, SERVER, None, [sample])
    output = io.StringIO()
    node = NodeCheck("a", "worker", "h", sources={CHRONOTICK: (row,)})
    Console(output).check_table("rack", Preflight((node,)))
    lines = [line for line in output.getvalue().splitlines() if "│" in line or "┃" in line]
    return [[cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")] for line in lines[-2:]]


@pytest.mark.parametrize(("claims", "shown"), [({"asymmetry_ms": 0.125}, "0.125"), ({}, "")])
def test_the_asymmetry_that_an_answer_claims_stands_beside_its_sigma(monkeypatch, claims, shown):
    """A reading is ± (k sigma + asymmetry): a check that shows sigma alone makes the clock look surer than it is."""
    monkeypatch.setenv("COLUMNS", "200")
    heading, cells = printed(**claims)
    told = dict(zip(heading, cells, strict=True))
    assert told["offset ± sigma ms"] == "+1.500 ± 0.250"
    assert told["asymmetry ms"] == shown
