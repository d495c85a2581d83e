"""Real NTP servers, some of them wrong, real agents and a real ChronoTick server: who is wrong is outvoted.

One of three and two of five servers are wrong by a constant. The intervals rest on the majority's being right, so they
hold the truth whether or not a lie can be told: one that is smaller than what two servers' bounds leave open cannot.
``invoke test --tier falsetickers`` runs all settings, the suite two of them.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml

from analysis import registry
from analysis.analyses import causality, clock_quality, ordering, windows
from analysis.by_event.readings import table
from analysis.by_event.table import INTERVAL, Table
from analysis.checks.replay import replay
from analysis.questions.judges import TRUTH
from analysis.report import rates_table
from analysis.run import load
from node_agent.contract import records
from node_agent.contract.records import CHRONOTICK, NTP, OK, RAW_DIR, SAMPLES_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.by_event.event_rows import Rows
    from tests.harness.conftest import Project

ANALYSES = (clock_quality.AGAINST_TRUTH, causality.ANALYSIS, ordering.ANALYSIS, windows.ANALYSIS)
HOSTS = "127.0.83"
EVENTS = 120
LEAST_AVAILABLE = 0.98
FAR = {"lan": {"delay_ms": 0.3}}  # so that messages take longer than clocks are sure, and can be proved
FARTHER = {**FAR, "ntp": {"delay_ms": 0.4, "tail_ms": 0.03}, "chronotick": {"delay_ms": 0.2}}


@dataclass(frozen=True)
class Figures:
    """What a run came to, by source: at the node where each is worst the share of readings, and of those that hold."""

    available: dict[str, float]
    coverage: dict[str, float]
    wrong_proofs: int
    proofs: int
    left_out: list[int]
    differences: int


def run(project: Project, servers: int, liars: int, error_ms: float, paths: dict[str, object]) -> Path:
    """Run an experiment in which the last ``liars`` of ``servers`` NTP servers are wrong by ``error_ms``."""
    cluster = yaml.safe_load((project.path / "configs/clusters/local.yaml").read_text())
    for node in cluster["nodes"]:
        node["host"] = node["host"].replace("127.0.0", HOSTS)
    cluster["ntp_server"] = [f"{HOSTS}.{number}:0" for number in range(1, servers + 1)]
    cluster["ntp_error_ms"] = [0.0] * (servers - liars) + [error_ms] * liars
    (project.path / "configs/clusters/liars.yaml").write_text(yaml.safe_dump(cluster | {"paths": paths}))
    experiment = {"num_events": EVENTS, "duration_minutes": 0.12}
    project.edit("configs/coordinator_config.yaml", experiment=experiment)
    code, printed = project.fab("liars", "run", "--experiment", "x")
    assert code == 0, printed
    return project.path / "results/x"


def figures(folder: Path) -> Figures:
    """Analyse a run's folder as ``invoke analyze`` and ``invoke replay`` do."""
    readings = table(load.load(folder))
    numbers = {analysis.name: analysis.statistics(registry.only(analysis, readings)) for analysis in ANALYSES}
    rates = list(csv.DictReader(io.StringIO(rates_table.as_csv(ANALYSES, numbers))))
    by_truth = [row for row in rates if row["source"] in {NTP, CHRONOTICK} and row["ground_truth"] == TRUTH]
    held = {source: [row for row in by_truth if row["source"] == source] for source in (NTP, CHRONOTICK)}
    proved = [row for row in by_truth if row["clock"] == INTERVAL]
    replayed = replay(folder)
    assert replayed.readings > 0
    return Figures(
        {source: min(available(readings, source)) for source in held},
        {source: min(share(row) for row in rows if row["metric"] == "contained") for source, rows in held.items()},
        sum(int(row["numerator"]) for row in proved if row["metric"] == "wrong"),
        sum(int(row["numerator"]) for row in proved if row["metric"] in {"right", "wrong"}),
        [left_out(folder, node) for node in readings.nodes],
        len(replayed.differences),
    )


def available(readings: Table, source: str) -> list[float]:
    """Return the share of a source's readings, node by node, of the stamps that reached the raw oscillator.

    Where this machine held an agent up for 50 ms a row has none, and says so.
    """
    shares = []
    for node in readings.nodes:
        status = statuses(readings.rows[node], source)
        judged = [word for word in status if word != records.STAMP_GAP]
        assert len(judged) >= 0.8 * len(status)
        shares.append(sum(word == OK for word in judged) / len(judged))
    return shares


def statuses(rows: Rows, source: str) -> list[str]:
    words = rows.text(f"{records.COLUMN_PREFIX[source]}_status")
    return [str(words.words[code]) for code in words.codes]


def share(row: dict[str, str]) -> float:
    return int(row["numerator"]) / int(row["denominator"])


def left_out(folder: Path, node: str) -> int:
    """Return how many NTP servers ChronoTick's last answer to a node left out."""
    with (folder / RAW_DIR / node / SAMPLES_FILE).open(newline="") as file:
        answers = [
            row["payload"] for row in csv.DictReader(file) if (row["source"], row["outcome"]) == (CHRONOTICK, OK)
        ]
    return int(json.loads(answers[-1])["calibration"]["left_out_servers"])


def check(project: Project, servers: int, liars: int, error_ms: float, paths: dict[str, object]) -> None:
    found = figures(run(project, servers, liars, error_ms, paths))
    sys.stdout.write(f"{liars} of {servers} wrong by {error_ms:g} ms: {found}\n")
    assert min(found.available.values()) >= LEAST_AVAILABLE, found
    assert found.coverage[NTP] == 1.0, found
    assert found.coverage[CHRONOTICK] >= 0.99, found
    assert found.wrong_proofs == 0 < found.proofs, found
    assert found.differences == 0, found
    if error_ms >= 50:
        assert set(found.left_out) == {liars}, found


@pytest.mark.parametrize(("servers", "liars", "error_ms", "paths"), [(3, 1, 50.0, FAR), (5, 2, 0.3, FARTHER)])
def test_a_minority_of_wrong_servers_harms_nobody(
    project: Project, servers: int, liars: int, error_ms: float, paths: dict[str, object]
) -> None:
    """One that is told apart, and two whose lie is smaller than the bounds of the servers."""
    check(project, servers, liars, error_ms, paths)


@pytest.mark.falsetickers
@pytest.mark.timeout(600)
@pytest.mark.parametrize("error_ms", [0.1, 0.3, 1.0, 5.0, 50.0, 500.0])
@pytest.mark.parametrize(("servers", "liars"), [(3, 1), (5, 2)])
def test_however_wrong_a_minority_is_it_harms_nobody(
    project: Project, servers: int, liars: int, error_ms: float
) -> None:
    check(project, servers, liars, error_ms, FAR)
