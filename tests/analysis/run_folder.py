"""Build run folders by hand, file by file as the contract says, with clocks whose errors are known by arithmetic."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from node_agent.contract import records
from node_agent.contract.plan import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

START_NS = 1_795_465_420_000_000_000
MS = 1_000_000
US = 1_000
RAW_BEHIND_NS = START_NS - 10_000_000_000  # every raw clock shows 10 s at the first event


@dataclass(frozen=True)
class Clock:
    """A node's local clock error (local - true), and what its sources say: error of est, half-width, or a reason."""

    wall_error_ns: int = 0
    ntp_error_ns: int = 0
    ntp_half_ns: int = 50 * US
    ct_error_ns: int = 0
    ct_half_ns: int = 30 * US
    ntp_gone: str = ""
    ct_gone: str = ""
    root_delay_ns: int | None = 0  # of its NTP server, as the sample says; None: it does not say
    root_dispersion_ns: int | None = 0
    ct_asymmetry_ns: int | None = None  # within ct_half_ns; the rest is three sigmas
    ct_scope: str = "node"  # of its ChronoTick's answers; "" as in older runs


@dataclass(frozen=True)
class Folder:
    """What happened: events every ``spacing_ns``, received ``delay_ns`` later by each worker."""

    workers: dict[str, Clock]
    coordinator: Clock = Clock()
    events: int = 10
    spacing_ns: int = 20 * MS
    delays_ns: dict[str, int] = field(default_factory=dict)
    lost: dict[str, tuple[int, ...]] = field(default_factory=dict)
    truth: bool = True
    own_send_ns: dict[str, int] = field(default_factory=dict)  # this worker's transmit stamp after the first, in ns
    remeasured: dict[float, dict[str, float]] = field(default_factory=dict)  # delay -> source -> uncertainty in ms
    remeasured_asymmetry_ms: float | str = ""  # of ChronoTick, at every delay
    no_file: tuple[str, ...] = ()
    reference: str = "server:10.0.0.1:123"
    samples: bool = True  # older runs may have none


def event_ns(folder: Folder, event: int) -> int:
    """Return the true send time of an event (the first is number 1), in ns."""
    return START_NS + (event - 1) * folder.spacing_ns


def write(folder: Folder, path: Path) -> Path:
    """Write the run folder and return it."""
    path.mkdir(parents=True)
    ids = range(1, folder.events + 1)
    sends = []
    for event in ids:
        true = event_ns(folder, event)
        local = true + folder.coordinator.wall_error_ns
        sends.append(
            {
                "event_id": event,
                "sequence_number": event - 1,
                "planned_send_time_ns": local - 1000,
                "send_time_ns": local,
                "send_raw_ns": true - RAW_BEHIND_NS,
                "send_raw_error_ns": 100,
                "send_origin": records.KERNEL_TX,
                "pattern_delay_ms": folder.spacing_ns / MS,
                **_sources(folder, folder.coordinator, true, local),
                "workers_sent": ",".join(folder.workers),
                "workers_failed": "",
            }
        )
    write_csv(path / records.COORDINATOR_FILE, records.events_columns("coordinator"), sends)
    delays = sorted(folder.remeasured)
    for worker, clock in folder.workers.items():
        if worker in folder.no_file:
            continue
        rows = [_receipt(folder, worker, clock, event) for event in ids if event not in folder.lost.get(worker, ())]
        for row in rows:
            for delay in delays:
                value = folder.remeasured[delay].get(records.CHRONOTICK)
                row[records.delay_column(delay)] = "" if value is None else value
        write_csv(path / records.worker_file(worker), records.worker_columns(delays), rows)
    _write_raw(folder, path)
    (path / records.MANIFEST_FILE).write_text(manifest(folder).to_json(), encoding="utf-8")
    return path


def manifest(folder: Folder, **changes: Any) -> records.Manifest:
    """Return the manifest of such a run."""
    nodes = {"boss": _node("boss", "coordinator", folder.coordinator, folder)}
    nodes |= {worker: _node(worker, "worker", clock, folder) for worker, clock in folder.workers.items()}
    values: dict[str, Any] = {
        "run_id": "ab" * 16,
        "experiment": "by-hand",
        "cluster": "test",
        "phase": records.COLLECTED,
        "outcome": records.RUN_OK,
        "created_utc": "2026-11-23T20:00:00Z",
        "code_version": {"git": "unknown"},
        "argv": ["fab", "test"],
        "config": {
            "cluster": {},
            "coordinator": {"experiment": {"min_received_share": 0.98}},
            "worker": {"clocks": {"max_drift_ppm": 100.0}, "chronotick": {"uncertainty_multiplier": 3.0}},
        },
        "nodes": nodes,
    }
    return records.Manifest(**{**values, **changes})


def write_csv(path: Path, columns: Any, rows: list[dict[str, Any]]) -> None:
    """Write a table of the contract; absent values become empty cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def without(clock: Clock, source: str, reason: str) -> Clock:
    """Return a clock one of whose sources is unavailable for a reason."""
    return replace(clock, **{f"{records.COLUMN_PREFIX[source]}_gone": reason})


def _receipt(folder: Folder, worker: str, clock: Clock, event: int) -> dict[str, Any]:
    true = event_ns(folder, event) + folder.delays_ns.get(worker, 100 * US)
    local = true + clock.wall_error_ns
    return {
        "event_id": event,
        "node_id": worker,
        "sequence_number": event - 1,
        "coordinator_send_time_ns": event_ns(folder, event) + folder.coordinator.wall_error_ns - 5 * US,
        "receive_time_ns": local,
        "receive_raw_ns": true - RAW_BEHIND_NS,
        "receive_raw_error_ns": 100,
        "receive_origin": records.KERNEL_RX,
        **_sources(folder, clock, true, local),
    }


def _sources(folder: Folder, clock: Clock, true: int, local: int) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for prefix, kind, level in (("ntp", records.GUARANTEED, 1), ("ct", records.PROBABILISTIC, 0.9973)):
        gone = getattr(clock, f"{prefix}_gone")
        if gone:
            cells[f"{prefix}_status"] = gone
            continue
        est = true + getattr(clock, f"{prefix}_error_ns")
        half = getattr(clock, f"{prefix}_half_ns")
        systematic = (clock.ct_asymmetry_ns or 0) if prefix == "ct" else 0
        cells |= {
            f"{prefix}_status": records.OK,
            f"{prefix}_offset_ms": f"{(est - local) / MS:.6f}",
            f"{prefix}_uncertainty_ms": (half - systematic) / MS / (3 if prefix == "ct" else 1),
            f"{prefix}_timestamp_ns": est,
            f"{prefix}_lower_bound_ns": est - half,
            f"{prefix}_upper_bound_ns": est + half,
            f"{prefix}_kind": kind,
            f"{prefix}_level": level,
            f"{prefix}_reference": folder.reference,
            f"{prefix}_age_ms": 10,
            f"{prefix}_sample_id": f"{prefix}1",
            f"{prefix}_law": records.DRIFT_LIMIT,
        }
    if clock.ct_asymmetry_ns is not None and not clock.ct_gone:
        cells |= {"ct_asymmetry_ms": clock.ct_asymmetry_ns / MS, "ct_law": records.AS_CLAIMED}
    return cells


def _node(node_id: str, role: str, clock: Clock, folder: Folder) -> records.NodeManifest:
    virtual = VirtualClock(epoch_ns=START_NS, error_ms=clock.wall_error_ns / MS)
    return records.NodeManifest(
        node_id=node_id,
        role=role,
        host=f"host-{node_id}",
        virtual_clock=asdict(virtual) if folder.truth else None,
    )


def _write_raw(folder: Folder, path: Path) -> None:
    """Write the raw files the analysis reads: sends.csv of the coordinator, commit_wait.csv of all."""
    sends = []
    for worker, later in folder.own_send_ns.items():
        for event in range(1, folder.events + 1):
            true = event_ns(folder, event) + later
            sends.append(
                {
                    "event_id": event,
                    "sequence_number": event - 1,
                    "worker_id": worker,
                    "send_time_ns": true + folder.coordinator.wall_error_ns,
                    "send_raw_ns": true - RAW_BEHIND_NS,
                    "send_raw_error_ns": 100,
                    "send_origin": records.KERNEL_TX,
                }
            )
    if sends:
        write_csv(path / records.RAW_DIR / "boss" / records.SENDS_FILE, records.SENDS_COLUMNS, sends)
    for node_id, clock in {"boss": folder.coordinator, **folder.workers}.items():
        if folder.samples:
            file = path / records.RAW_DIR / node_id / records.SAMPLES_FILE
            write_csv(file, records.SAMPLES_COLUMNS, _samples(clock))
        waits = [
            {
                "event_id": event,
                "source": source,
                "kind": records.REMEASURE,
                "due_raw_ns": event_ns(folder, event) - RAW_BEHIND_NS,
                "done_raw_ns": event_ns(folder, event) - RAW_BEHIND_NS + MS,
                "delay_s": delay,
                "status": records.OK,
                "offset_ms": 0,
                "uncertainty_ms": uncertainty,
                "asymmetry_ms": folder.remeasured_asymmetry_ms if source == records.CHRONOTICK else "",
            }
            for delay, by_source in folder.remeasured.items()
            for source, uncertainty in by_source.items()
            for event in range(1, folder.events + 1)
        ]
        if waits:
            file = path / records.RAW_DIR / node_id / records.COMMIT_WAIT_FILE
            write_csv(file, records.COMMIT_WAIT_COLUMNS, waits)


def _samples(clock: Clock) -> list[dict[str, Any]]:
    """Return the samples that all readings rest on, ntp1 and ct1: what each says of its server, and no more."""
    common = {"address": "", "outcome": records.OK, "raw_before_ns": 0, "raw_after_ns": 0, "wall_ns": START_NS}
    return [
        {
            "sample_id": "ntp1",
            "source": records.NTP,
            "server": "10.0.0.1:123",
            "root_delay_ns": "" if clock.root_delay_ns is None else clock.root_delay_ns,
            "root_dispersion_ns": "" if clock.root_dispersion_ns is None else clock.root_dispersion_ns,
            **common,
        },
        {
            "sample_id": "ct1",
            "source": records.CHRONOTICK,
            "server": "http://10.0.0.2:8000",
            "scope": clock.ct_scope,
            **common,
        },
    ]
