"""Checks that what a run's files say fits together: a file of another run does not fit the others of its node.

A journal names no run. What ties it: instants of both clocks as clock_pairs.csv shows them, stamps that two files have,
and numbers that two nodes have of one datagram.
"""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from analysis.checks.contract import identity
from analysis.checks.contract.tables import ERROR, WARNING, Problem
from analysis.errors import AnalysisError
from analysis.run import load, wall_clock
from node_agent.clocks.base import drift_per_ns
from node_agent.contract import plan as plans
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from analysis.run.wall_clock import WallClock

    Ints = NDArray[np.int64]

SLACK_NS: Final = 10_000_000_000  # an agent's threads neither start nor end at one instant
CONTRADICTED: Final = 0.1  # of two nodes' probes: near a step of an oscillator some are, of two runs half of all
FEWEST: Final = 3

# file: wall instant, the first and the last raw instant at which it may have been read, their error
_STAMPS: Final = {
    records.SENDS_FILE: ("send_time_ns", "send_raw_ns", "send_raw_ns", "send_raw_error_ns"),
    records.SAMPLES_FILE: ("wall_ns", "raw_before_ns", "raw_after_ns", None),
    records.PROBES_FILE: ("wall_ns", "raw_ns", "raw_ns", "raw_error_ns"),
}


def check_identity(path: Path, node_id: str, manifest: records.Manifest) -> Iterator[Problem]:
    """Check that every file of a node that names a run or an agent names this run's."""
    for name, key, expected, got in identity.strangers(path / records.RAW_DIR / node_id, node_id, manifest):
        where = f"{records.RAW_DIR}/{node_id}/{name}"
        if name.startswith(records.MANIFEST_FILE):
            where = f"{records.MANIFEST_FILE} {node_id}"
        yield Problem(ERROR, where, f"of another run or agent: {key}: expected {expected}, got {got}")


def check_clocks(path: Path, node_id: str, role: str) -> Iterator[Problem]:
    """Check that the instants in a node's journals are instants of this node's clocks, as its clock pairs show them."""
    folder = path / records.RAW_DIR / node_id
    try:
        pairs = _read(folder / records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS)
    except AnalysisError as error:
        yield Problem(ERROR, f"{records.RAW_DIR}/{node_id}/{records.CLOCK_PAIRS_FILE}", str(error))
        return
    clock = wall_clock.of_pairs(pairs)
    if not len(clock):
        return
    stamp = "send" if role == "coordinator" else "receive"
    events = (f"{stamp}_time_ns", f"{stamp}_raw_ns", f"{stamp}_raw_ns", f"{stamp}_raw_error_ns")
    looks = (None, "done_raw_ns", "done_raw_ns", None)
    for name, columns in {records.EVENTS_FILE: events, **_STAMPS, records.COMMIT_WAIT_FILE: looks}.items():
        where = f"{records.RAW_DIR}/{node_id}/{name}"
        try:
            frame = _read(folder / name, tuple(dict.fromkeys(column for column in columns if column)))
        except AnalysisError as error:
            yield Problem(ERROR, where, str(error).removeprefix(f"{folder / name}: "))
            continue
        if frame is not None:
            yield from _of_clock(where, frame.dropna(), columns, clock)


def _read(file: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    return load.read_table(file, columns, only=True) if file.is_file() else None


def _of_clock(
    where: str, rows: pd.DataFrame, columns: tuple[str | None, str, str, str | None], clock: WallClock
) -> Iterator[Problem]:
    wall_column, first, last, error_column = columns
    earliest, latest = (rows[name].to_numpy(dtype=np.int64) for name in (first, last))
    outside = (earliest < clock.raw[0] - SLACK_NS) | (latest > clock.raw[-1] + SLACK_NS)
    if outside.any():
        count = f"{int(outside.sum()):,} of {len(rows):,} rows"
        text = f"{count} are of a time at which {records.CLOCK_PAIRS_FILE} has nothing"
        yield Problem(ERROR, where, f"{text}: the two are of different runs")
        return
    if wall_column is None or not len(rows):
        return
    error = 0 if error_column is None else rows[error_column].to_numpy(dtype=np.int64)
    strange = ~clock.fits(rows[wall_column].to_numpy(dtype=np.int64), earliest - error, latest + error)
    if strange.any():
        text = (
            f"{int(strange.sum()):,} of {len(rows):,} rows show a wall clock that {records.CLOCK_PAIRS_FILE} does not"
        )
        if strange.sum() > len(rows) / 2:
            yield Problem(ERROR, where, f"{text}: the two are of different runs")
        else:
            yield Problem(WARNING, where, f"{text}: it was set there and back, or the rows are of another run")


def check_payloads(tables: Mapping[str, pd.DataFrame], roles: Mapping[str, str]) -> Iterator[Problem]:
    """Check that an event's payload says the same on all workers: one broadcast has one."""
    stamps = [
        table[["event_id", "coordinator_send_time_ns"]].dropna().drop_duplicates()
        for node_id, table in tables.items()
        if roles[node_id] != "coordinator" and {"event_id", "coordinator_send_time_ns"} <= set(table.columns)
    ]
    if len(stamps) < 2:
        return
    several = pd.concat(stamps).drop_duplicates().groupby("event_id").size()
    if count := int((several > 1).sum()):
        text = f"{count:,} of {len(several):,} events carry different payload stamps on different workers"
        yield Problem(ERROR, "worker_*.csv", f"{text}: the tables are of different runs")


def check_send_times(where: str, sends: pd.DataFrame, sent: pd.DataFrame) -> Iterator[Problem]:
    """Check that every event's send stamp in the coordinator's table is one of its stamps in the send log."""
    if "send_time_ns" not in sent:
        return
    logged = sends[["event_id", "send_time_ns"]].dropna().astype("int64")
    rows = sent[["event_id", "send_time_ns"]].dropna().astype("int64")
    rows = rows[rows["event_id"].isin(logged["event_id"])]
    merged = rows.merge(logged.drop_duplicates(), how="left", on=["event_id", "send_time_ns"], indicator="found")
    if wrong := int((merged["found"] != "both").sum()):
        text = (
            f"{wrong:,} of {len(rows):,} events have a send stamp in {records.COORDINATOR_FILE} that is none of theirs"
        )
        yield Problem(ERROR, where, f"{text} here: the two are of different runs")


# --- probes -----------------------------------------------------------------------------------------------------------


def check_mesh(path: Path, manifest: records.Manifest) -> Iterator[Problem]:
    """Check that what two nodes noted of the probes between them is of the same probes."""
    frames: dict[str, pd.DataFrame] = {}
    for node_id, node in manifest.nodes.items():
        try:
            file = path / records.RAW_DIR / node_id / records.PROBES_FILE
            frame = _read(file, records.PROBES_COLUMNS) if (node.plan or {}).get("probes") else None
        except AnalysisError:
            continue  # check_probes says so
        if frame is not None:
            frames[node_id] = frame
    for one, other in combinations(frames, 2):
        there, back = (_joined(frames[a], frames[b], a, b) for a, b in ((one, other), (other, one)))
        for sender, receiver, joined in ((one, other, there), (other, one, back)):
            unsent = int((joined["found"] == "right_only").sum())
            status = manifest.nodes[sender].status or {}
            excused = status.get("counts", {}).get("probe_send_errors", 0)
            if status.get("outcome") == records.FINISHED_OK and unsent > excused:
                where = f"{records.RAW_DIR}/{receiver}/{records.PROBES_FILE}"
                yield Problem(ERROR, where, f"{unsent:,} probes of {sender} that {sender} did not send")
        yield from _contradictions(one, other, there, back, manifest)


def _joined(sender: pd.DataFrame, receiver: pd.DataFrame, sender_id: str, receiver_id: str) -> pd.DataFrame:
    columns = ["sequence", "raw_ns", "raw_error_ns"]
    sent = sender[(sender["peer"] == receiver_id) & (sender["direction"] == records.PROBE_TX)][columns]
    got = receiver[(receiver["peer"] == sender_id) & (receiver["direction"] == records.PROBE_RX)][columns]
    return sent.merge(got, how="outer", on="sequence", suffixes=("_tx", "_rx"), indicator="found")


def _contradictions(
    one: str, other: str, there: pd.DataFrame, back: pd.DataFrame, manifest: records.Manifest
) -> Iterator[Problem]:
    """Compare each probe with the one back that is nearest to it: together they took no less than no time."""
    try:
        given = [plans.from_json(json.dumps(manifest.nodes[node_id].plan)) for node_id in (one, other)]
    except (ValueError, TypeError, KeyError):
        return  # a plan that no agent had: its replay says so
    if any(plan.virtual_clock and (plan.virtual_clock.raw_steps or plan.virtual_clock.freezes) for plan in given):
        return  # an oscillator that leaps contradicts itself
    there, back = (
        joined[["raw_ns_tx", "raw_ns_rx", "raw_error_ns_tx", "raw_error_ns_rx"]].dropna().astype("int64")
        for joined in (there, back)
    )
    if len(there) < FEWEST or len(back) < FEWEST:
        return
    back = back.sort_values("raw_ns_rx")  # both in terms of the first node's oscillator
    left, came = there["raw_ns_tx"].to_numpy(), back["raw_ns_rx"].to_numpy()
    after = np.clip(np.searchsorted(came, left), 1, len(came) - 1)
    nearest = np.where(left - came[after - 1] < came[after] - left, after - 1, after)
    apart = np.abs(left - came[nearest])
    forth_ns = (there["raw_ns_rx"] - there["raw_ns_tx"]).to_numpy()
    back_ns = (back["raw_ns_rx"] - back["raw_ns_tx"]).to_numpy()[nearest]
    errors = (there["raw_error_ns_tx"] + there["raw_error_ns_rx"]).to_numpy()
    errors = errors + (back["raw_error_ns_tx"] + back["raw_error_ns_rx"]).to_numpy()[nearest]
    drift = np.zeros(len(apart), dtype=np.int64)
    for plan in given:
        rate, per = drift_per_ns(plan.clocks.max_drift_ppm)
        drift += -(-apart * rate // per)
    impossible = int((forth_ns + back_ns + errors + drift < 0).sum())
    if impossible >= FEWEST and impossible > CONTRADICTED * len(there):
        text = (
            f"{impossible:,} of {len(there):,} probes between {one} and {other} took, there and back, less than no time"
        )
        yield Problem(ERROR, f"{records.RAW_DIR}/{one}, {other}/{records.PROBES_FILE}", f"{text}: they are of two runs")
