"""A run on an embedded cluster with paths: what the nodes stamped took as long as the cluster file says."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from harness.console import Console
from node_agent.clocks.virtual import true_from_wall
from node_agent.contract.plan import virtual_clock_from
from node_agent.contract.records import EVENTS_FILE, OK, PROBES_FILE, RAW_DIR, SAMPLES_FILE, SENDS_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.conftest import Project

MS = 1_000_000
WORKERS = ("comp11", "comp12")


def rows(folder: Path, node: str, name: str) -> list[dict[str, str]]:
    with (folder / RAW_DIR / node / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_events_probes_and_questions_take_their_paths(project: Project) -> None:
    """By the injected truth no event and no probe is faster than its way, there or back, and nothing is lost on it."""
    lan, ntp = {"delay_ms": 4.0, "asymmetry": 3.0}, {"delay_ms": 10.0, "tail_ms": 1.0}
    project.edit("configs/clusters/campus.yaml", paths={"lan": lan, "ntp": ntp, "chronotick": {"delay_ms": 5.0}})
    code, printed = project.fab("campus", "run", "--experiment", "far")
    assert code == 0, printed
    assert "paths: lan 6 ms there, 2 ms back; ntp 10 ms one way + 1 ms in queues; chronotick 5 ms one way" in printed
    folder = project.path / "results/far"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["config"]["cluster"]["paths"]["lan"] == lan | {"tail_ms": 0.0}
    assert manifest["notes"] == []
    clocks = {name: virtual_clock_from(node["virtual_clock"]) for name, node in manifest["nodes"].items()}

    def true_ns(node: str, wall_ns: str) -> int:
        return true_from_wall(clocks[node], int(wall_ns))

    sent = {(row["worker_id"], row["event_id"]): row["send_time_ns"] for row in rows(folder, "comp18", SENDS_FILE)}
    for worker in WORKERS:
        events = rows(folder, worker, EVENTS_FILE)
        assert len(events) == 20
        for row in events:
            left_ns = true_ns("comp18", sent[worker, row["event_id"]])
            assert true_ns(worker, row["receive_time_ns"]) - left_ns >= 6 * MS - 2
    probes = {
        (node, row["peer"], row["direction"], row["sequence"]): true_ns(node, row["wall_ns"])
        for node in clocks
        for row in rows(folder, node, PROBES_FILE)
    }
    for (node, peer, direction, sequence), arrived_ns in probes.items():
        if direction == "rx":
            there = peer == "comp18" or (peer, node) == ("comp11", "comp12")
            assert arrived_ns - probes[peer, node, "tx", sequence] >= (6 if there else 2) * MS - 2
    for node in clocks:
        samples = [row for row in rows(folder, node, SAMPLES_FILE) if row["outcome"] == OK]
        assert min(int(row["delay_ns"]) for row in samples if row["source"] == "ntp") >= 20 * MS
        asked = [row for row in samples if row["source"] == "chronotick"]
        assert min(int(row["raw_after_ns"]) - int(row["raw_before_ns"]) for row in asked) >= 10 * MS * 0.9999


def test_the_live_display_names_the_paths() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for paths, said in (("lan 0.2 ms one way", True), ("", False)):
        screen = Terminal()
        with Console(screen).display(10.0, paths) as display:
            display.show({})
        assert ("paths: lan 0.2 ms one way" in screen.getvalue()) == said
        assert ("paths:" in screen.getvalue()) == said
