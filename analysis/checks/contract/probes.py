"""Checks on one node's probes.csv: all of it there, each end of a probe once, stamps of the kind its direction has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.checks.contract.tables import ERROR, WARNING, Problem, check_columns, read
from analysis.errors import AnalysisError
from analysis.run import load, wall_clock
from analysis.run.wall_clock import EARLIEST_NS, LATEST_NS
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

KEY: Final = ["peer", "sequence", "direction"]
ORIGINS: Final = {
    records.PROBE_TX: {records.KERNEL_TX, records.USER},
    records.PROBE_RX: {records.KERNEL_RX, records.USER},
}
NEAR_NS: Final = 1_000_000_000
COUNTED: Final = {records.PROBE_TX: "probe_sent", records.PROBE_RX: "probe_received"}


def check_probes(path: Path, node_id: str, node: records.NodeManifest) -> Iterator[Problem]:
    """Check the probes of a node whose plan has some."""
    plan = (node.plan or {}).get("probes")
    folder = path / records.RAW_DIR / node_id
    if not plan or not folder.is_dir():
        return
    where = f"{records.RAW_DIR}/{node_id}/{records.PROBES_FILE}"
    problems: list[Problem] = []
    frame = read(folder, records.PROBES_FILE, problems)
    yield from (Problem(problem.severity, where, problem.message) for problem in problems)
    if frame is None:
        return
    columns = list(check_columns(where, frame, records.PROBES_COLUMNS))
    yield from columns
    if not any(problem.severity == ERROR for problem in columns):
        yield from _rows(where, frame, {peer["node_id"] for peer in plan["peers"]})
        yield from _instants(where, frame, folder / records.CLOCK_PAIRS_FILE)
        yield from _counts(where, frame, node)


def _rows(where: str, frame: pd.DataFrame, peers: set[str]) -> Iterator[Problem]:
    strangers = ~frame["peer"].isin(peers)
    if strangers.any():
        yield Problem(ERROR, where, f"{int(strangers.sum())} rows of a peer that is not in the node's plan")
    if doubles := int(frame.duplicated(KEY).sum()):
        yield Problem(ERROR, where, f"{doubles} rows come more than once: same peer, sequence and direction")
    unfit = [
        ~frame["origin"].isin(ORIGINS.get(str(direction), set())) & (frame["direction"] == direction)
        for direction in frame["direction"].unique()
    ]
    if wrong := sum(int(rows.sum()) for rows in unfit):
        yield Problem(ERROR, where, f"{wrong} rows whose origin does not go with their direction")
    if negative := int((frame["raw_error_ns"] < 0).sum()):
        yield Problem(ERROR, where, f"raw_error_ns is negative in {negative} rows")


def _instants(where: str, frame: pd.DataFrame, pairs_file: Path) -> Iterator[Problem]:
    """Check the wall instants: one outside is an error, unless the node's wall clock was really set to such a time."""
    outside = ~frame["wall_ns"].between(EARLIEST_NS, LATEST_NS).fillna(value=False)
    if not outside.any():
        return
    try:
        pairs = load.read_table(pairs_file, records.CLOCK_PAIRS_COLUMNS) if pairs_file.is_file() else None
    except AnalysisError:
        pairs = None  # that it cannot be read is said of that file
    clock = wall_clock.of_pairs(pairs)
    known = frame[outside].dropna(subset=["wall_ns", "raw_ns"])
    shown = 0
    if len(clock) and len(known):
        wall, raw = (known[name].to_numpy(dtype=np.int64) for name in ("wall_ns", "raw_ns"))
        error = known["raw_error_ns"].fillna(0).to_numpy(dtype=np.int64)
        shown = int(clock.fits(wall, raw - error, raw + error).sum())
    strange_ns = clock.raw + clock.offset
    strange_ns = strange_ns[(strange_ns < EARLIEST_NS) | (strange_ns > LATEST_NS)]
    if len(strange_ns):  # one that could not be carried to the raw oscillator, over the very step
        uncarried = frame[outside & frame["raw_ns"].isna()]["wall_ns"].dropna()
        near = uncarried.between(int(strange_ns.min()) - NEAR_NS, int(strange_ns.max()) + NEAR_NS)
        shown += int(near.sum())
    text = "rows is no instant between 2000 and 2100, in ns"
    if wrong := int(outside.sum()) - shown:
        yield Problem(ERROR, where, f"wall_ns of {wrong} {text}")
    if shown:
        yield Problem(WARNING, where, f"wall_ns of {shown} {text}: its wall clock was set so, by {pairs_file.name}")


def _counts(where: str, frame: pd.DataFrame, node: records.NodeManifest) -> Iterator[Problem]:
    """Compare with what the agent counted, once it had ended in order: until then rows may be ahead of the status."""
    status = node.status or {}
    if status.get("outcome") != records.FINISHED_OK:
        return
    for direction, name in COUNTED.items():
        counted = status.get("counts", {}).get(name)
        rows = int((frame["direction"] == direction).sum())
        if counted is not None and counted != rows:
            yield Problem(
                ERROR, where, f"expected {counted} {direction} rows as the agent counted ({name}), got {rows}"
            )
