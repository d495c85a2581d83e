"""Runs made up for the tests, in the older format and in ours, and the published data where it can be found.

Every made-up number is drawn from a seeded generator: clean data is what a careful experiment would write.
"""

import csv
import hashlib
import json
import os
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from analysis.run import load
from node_agent.contract import records

REPOSITORY = Path(__file__).resolve().parents[2]
PUBLISHED = "ares-2025-10-25"
START_NS = 1_700_000_000_000_000_000
RUN_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="session")
def published_data():
    """Return the folder of the published run; skip, saying where it was looked for, if it is nowhere."""
    shared = os.environ.get("CHRONOTICK_SHARED_DATA")
    folders = [Path(shared)] if shared else []
    folders.append(REPOSITORY.parent / "shared" / "data")
    for folder in folders:
        if (folder / PUBLISHED / records.COORDINATOR_FILE).is_file():
            return folder / PUBLISHED
    places = ", ".join(str(folder / PUBLISHED) for folder in folders)
    pytest.skip(f"the published data is not here (looked at {places}); set CHRONOTICK_SHARED_DATA to its parent folder")


class OlderRun:
    """A clean run in the older format, as lists of rows of text that a test may spoil before it writes them."""

    def __init__(self, events=60, workers=("a1", "b2")):
        dice = random.Random(1)
        self.events = events
        self.coordinator = []
        self.workers = {node_id: [] for node_id in workers}
        for event in range(1, events + 1):
            send_ns = START_NS + event * 613_000_000 + dice.randrange(100_000)
            offset = dice.gauss(0.0, 0.3)
            address = ",".join(f"host-{node_id}:9000" for node_id in workers)
            self.coordinator.append({
                "event_id": event, "sequence_number": event - 1, "send_time_ns": send_ns,
                "send_time_iso": "2023-11-14 22:13:20", **_corrected("ntp", send_ns, offset),
                **_corrected("ct", send_ns, dice.gauss(0.1, 0.2)), "pattern_delay_ms": "613.0",
                "workers_sent": address, "workers_failed": "",
            })  # fmt: skip
            for node_id, rows in self.workers.items():
                receive_ns = send_ns + 400_000 + dice.randrange(200_000)
                ct = _corrected("ct", receive_ns, dice.gauss(-0.1, 0.2))
                sigma = round(dice.uniform(0.01, 0.09), 7)
                ct_ns = ct["ct_timestamp_ns"]
                rows.append({
                    "event_id": event, "node_id": node_id, "sequence_number": event - 1, "receive_time_ns": receive_ns,
                    "coordinator_send_time_ns": send_ns - 20_000, **_corrected("ntp", receive_ns, dice.gauss(0, 0.3)),
                    "ntp_uncertainty_ms": round(dice.uniform(0.51, 0.59), 7), **ct, "ct_drift_rate": 1e-7,
                    "ct_uncertainty_ms": sigma, "ct_confidence": 0.9, "ct_source": "fusion",
                    "ct_prediction_time": receive_ns / 1e9,
                    "ct_lower_bound_ns": ct_ns - round(3e6 * sigma), "ct_upper_bound_ns": ct_ns + round(3e6 * sigma),
                })  # fmt: skip

    def write(self, folder):
        """Write the files and return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "coordinator.csv", self.coordinator)
        for node_id, rows in self.workers.items():
            write_csv(folder / f"worker_{node_id}.csv", rows)
        return folder


def _corrected(prefix, instant_ns, offset_ms):
    return {f"{prefix}_offset_ms": repr(offset_ms), f"{prefix}_timestamp_ns": instant_ns + round(offset_ms * 1e6)}


def write_csv(path, rows, columns=None):
    """Write rows (dicts) as a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if columns is None else columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class NativeRun:
    """A clean collected run of our own, as rows that a test may spoil before it writes them."""

    def __init__(self, events=120):
        dice = random.Random(2)
        self.coordinator, self.sends = [], []
        self.workers = {"w1": [], "w2": []}
        clock_ms = {
            "c0": 3.0,
            "w1": 3.4,
            "w2": 2.1,
        }  # error = local - true, all nodes ahead, as one time zone's might be
        for event in range(1, events + 1):
            true_ns = START_NS + event * 53_000_000
            send_ns = true_ns + round(clock_ms["c0"] * 1e6)
            self.coordinator.append({
                "event_id": event, "sequence_number": event - 1, "planned_send_time_ns": send_ns - 500,
                "send_time_ns": send_ns, "send_raw_ns": 10**12 + event * 53_000_000, "send_raw_error_ns": 300,
                "send_origin": "kernel_tx", "pattern_delay_ms": "53", "workers_sent": "w1;w2", "workers_failed": "",
                **_readings(dice, event, send_ns, clock_ms["c0"]),
            })  # fmt: skip
            for node_id, rows in self.workers.items():
                self.sends.append({
                    "event_id": event, "sequence_number": event - 1, "worker_id": node_id, "send_time_ns": send_ns,
                    "send_raw_ns": 10**12 + event * 53_000_000, "send_raw_error_ns": 300, "send_origin": "kernel_tx",
                    "error": "",
                })  # fmt: skip
                delay_ns = 2_000_000 + dice.randrange(300_000)
                receive_ns = true_ns + delay_ns + round(clock_ms[node_id] * 1e6)
                rows.append({
                    "event_id": event, "node_id": node_id, "sequence_number": event - 1,
                    "coordinator_send_time_ns": send_ns - 30_000, "receive_time_ns": receive_ns,
                    "receive_raw_ns": 2 * 10**12 + event * 53_000_000 + delay_ns, "receive_raw_error_ns": 400,
                    "receive_origin": "kernel_rx", **_readings(dice, event, receive_ns, clock_ms[node_id]),
                    "ct_uncertainty_30s_ms": "0.02", "ct_uncertainty_60s_ms": "0.03",
                })  # fmt: skip
        nodes = {"c0": records.NodeManifest("c0", "coordinator", "host-c0")}
        nodes |= {node_id: records.NodeManifest(node_id, "worker", f"host-{node_id}") for node_id in self.workers}
        self.manifest = records.Manifest(
            run_id=RUN_ID, experiment="native", cluster="made-up", phase="collected", outcome="ok",
            created_utc="2023-11-14T22:13:20Z", code_version={"git": None}, argv=[], nodes=nodes,
            config={
                "cluster": {}, "coordinator": {"experiment": {"min_received_share": 0.98}},
                "worker": {"timing": {"commit_wait_delays": [30.0, 60.0]}, "clocks": {"max_drift_ppm": 100}},
            },
        )  # fmt: skip

    def write(self, folder):
        """Write the run folder with statuses and checksums that fit the rows, and return it."""
        path = folder / "native"
        coordinator_columns = records.events_columns("coordinator")
        write_csv(path / records.COORDINATOR_FILE, self.coordinator, coordinator_columns)
        for node_id, node in self.manifest.nodes.items():
            raw = path / records.RAW_DIR / node_id
            rows = self.workers.get(node_id, self.coordinator)
            if node_id in self.workers:
                write_csv(path / records.worker_file(node_id), rows, records.worker_columns([30.0, 60.0]))
            columns = records.events_columns(node.role)
            own = [{column: row.get(column, "") for column in columns} for row in rows]
            write_csv(raw / records.EVENTS_FILE, own, columns)
            if node.role == "coordinator":
                write_csv(raw / records.SENDS_FILE, self.sends, records.SENDS_COLUMNS)
            samples = [{"sample_id": "ntp1", "source": "ntp", "outcome": "ok", "t1_ns": 1}]
            samples.append({"sample_id": "ct1", "source": "chronotick", "outcome": "ok"})
            write_csv(raw / records.SAMPLES_FILE, samples, records.SAMPLES_COLUMNS)
            write_csv(raw / records.COMMIT_WAIT_FILE, [], records.COMMIT_WAIT_COLUMNS)
            write_csv(raw / records.CLOCK_PAIRS_FILE, [], records.CLOCK_PAIRS_COLUMNS)
            (raw / records.LOG_FILE).write_text("started\n", encoding="utf-8")
            key = "sent" if node.role == "coordinator" else "received"
            node.status = {"run_id": RUN_ID, "phase": "finished", "outcome": "ok", "counts": {key: len(rows)}}
            (raw / records.STATUS_FILE).write_text(json.dumps(node.status), encoding="utf-8")
            names = sorted(file.name for file in raw.iterdir())
            sums = "".join(f"{hashlib.sha256((raw / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
            (raw / records.CHECKSUMS_FILE).write_text(sums, encoding="utf-8")
        (path / records.MANIFEST_FILE).write_text(json.dumps(asdict(self.manifest)), encoding="utf-8")
        return path

    def load(self, folder):
        """Write the run folder and read it the way the analysis does."""
        return load.load(self.write(folder))


def _readings(dice, event, local_ns, clock_ms):
    cells = {}
    for prefix, every, kind, spread in (("ntp", 10, "guaranteed", 0.05), ("ct", 2, "probabilistic", 0.01)):
        error_ms = dice.gauss(0.0, spread / 4)
        offset_ms = round(-clock_ms + error_ms, 6)
        est_ns = local_ns + round(offset_ms * 1e6)
        half_ns = round(3e6 * spread) + dice.randrange(50_000)
        cells |= {
            f"{prefix}_status": "ok", f"{prefix}_offset_ms": f"{offset_ms:.6f}",
            f"{prefix}_uncertainty_ms": f"{half_ns / 1e6:.6f}", f"{prefix}_timestamp_ns": est_ns,
            f"{prefix}_lower_bound_ns": est_ns - half_ns, f"{prefix}_upper_bound_ns": est_ns + half_ns,
            f"{prefix}_kind": kind, f"{prefix}_level": "1" if kind == "guaranteed" else "0.9973",
            f"{prefix}_reference": "server:127.0.0.1:123", f"{prefix}_age_ms": "12.5",
            f"{prefix}_sample_id": f"{prefix}{event // every}",
        }  # fmt: skip
    return cells


def unavailable(row, prefix, reason):
    """Make a row's reading of one source unavailable, for a reason."""
    row |= dict.fromkeys(records.source_columns(prefix), "") | {f"{prefix}_status": reason}


@pytest.fixture
def older():
    """Return a clean run in the older format."""
    return OlderRun()


@pytest.fixture
def native():
    """Return a clean run of our own."""
    return NativeRun()


@pytest.fixture
def make_unavailable():
    """Return the function that takes a reading out of a row."""
    return unavailable
