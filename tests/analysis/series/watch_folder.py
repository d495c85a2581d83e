"""A watch whose truth is known: a simulated run of which the readings are kept and every event is forgotten."""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING

from analysis.run.series import readings_file
from analysis.simulation.simulate import simulate
from node_agent.contract import records

if TYPE_CHECKING:
    from pathlib import Path

STAMPS = ("time_ns", "raw_ns", "raw_error_ns")
EVENT_FILES = (records.EVENTS_FILE, records.COMMIT_WAIT_FILE, records.SENDS_FILE)


def make(results: Path, *, scenario: str = "honest", readings: int = 60, every_s: float = 2.0, seed: int = 5) -> Path:
    """Make a run folder of the kind ``watch`` with so many readings on each of three nodes."""
    path = simulate(scenario, 3, readings, rate_hz=1 / every_s, seed=seed, results=results)
    manifest = json.loads((path / records.MANIFEST_FILE).read_text())
    for node_id, node in manifest["nodes"].items():
        _forget_events(path, node_id, node)
    manifest |= {"kind": records.WATCH, "assembled": {}}
    (path / records.MANIFEST_FILE).write_text(json.dumps(manifest))
    return path


def _forget_events(path: Path, node_id: str, node: dict) -> None:
    folder = path / records.RAW_DIR / node_id
    role = "send" if node["role"] == "coordinator" else "receive"
    with (folder / records.EVENTS_FILE).open(newline="") as stream:
        table = csv.DictReader(stream)
        prefixes = [name.removesuffix("_status") for name in table.fieldnames or () if name.endswith("_status")]
        rows = [_reading(row, node_id, role, prefixes) for row in table]
    with (path / readings_file(node_id)).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, records.readings_columns(prefixes), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for name in EVENT_FILES:
        (folder / name).unlink(missing_ok=True)
    (path / records.table_file(node_id, node["role"])).unlink()
    node["plan"] = None  # it was one of a run with events
    node["status"]["counts"] = {"readings": len(rows)}
    vouch(folder)


def vouch(folder: Path) -> None:
    """Write the sums of a node's files anew."""
    files = sorted(file for file in folder.iterdir() if file.name != records.CHECKSUMS_FILE)
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (folder / records.CHECKSUMS_FILE).write_text(sums)


def _reading(row: dict, node_id: str, role: str, prefixes: list[str]) -> dict:
    stamps = dict(zip(("wall_ns", "raw_ns", "raw_error_ns"), (row[f"{role}_{name}"] for name in STAMPS), strict=True))
    sources = {column: row[column] for prefix in prefixes for column in records.source_columns(prefix)}
    return {"reading_id": row["event_id"], "node_id": node_id, **stamps, **sources}
