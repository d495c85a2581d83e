"""What `check` prints of a server is what the server said, with every number that a reading is made of."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from harness.check.preflight import NodeCheck, Preflight
from harness.configuration.slurm import SSH, STEP
from harness.console import Console
from node_agent import check
from node_agent.clocks import chronotick
from node_agent.contract.facts import NodeFacts
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


@pytest.mark.parametrize("reached_by", [SSH, STEP])
def test_the_column_of_hosts_says_how_they_are_reached(monkeypatch, reached_by):
    monkeypatch.setenv("COLUMNS", "200")
    output = io.StringIO()
    Console(output).check_table("rack", Preflight((NodeCheck("a", "worker", "h"),), reached_by=reached_by))
    heading = next(line for line in output.getvalue().splitlines() if "free disk" in line)
    assert re.findall("[a-z]+", heading)[:3] == ["node", "role", reached_by]


def test_a_fact_that_no_node_can_tell_has_no_column(monkeypatch):
    """And one that a node cannot tell is an empty cell, not a number."""
    monkeypatch.setenv("COLUMNS", "200")  # narrow tables have no lines between their columns
    told = NodeFacts(interface="eth0", speed_mbps=10_000, allowed_cpus=4, cpus=64, ptp_clocks=(), memory_limited=False)
    limited = NodeFacts(memory_limited=True, memory_limit_bytes=512_000_000)
    output = io.StringIO()
    nodes = (NodeCheck("a", "worker", "h", facts=told), NodeCheck("b", "worker", "h", facts=limited))
    Console(output).check_table("rack", Preflight(nodes))
    lines = output.getvalue().split("rack: node facts")[1].splitlines()[1:]
    heading, _rule, a, b = [[cell.strip() for cell in re.split("[│┃]", line)] for line in lines if line.strip()][:4]
    assert heading == ["node", "interface", "Mbit/s", "PTP", "CPUs", "memory limit"]
    assert a == ["a", "eth0", "10000", "none", "4 of 64", "none"]
    assert b == ["b", "", "", "", "", "512 MB"]
