"""Checks on one node's probes.csv: all of it there, each end of a probe once, stamps of the kind its direction has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.table_checks import EARLIEST_NS, ERROR, LATEST_NS, Problem, check_columns, read
from node_agent import records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

KEY: Final = ["peer", "sequence", "direction"]
ORIGINS: Final = {
    records.PROBE_TX: {records.KERNEL_TX, records.USER},
    records.PROBE_RX: {records.KERNEL_RX, records.USER},
}
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
    outside = ~frame["wall_ns"].between(EARLIEST_NS, LATEST_NS).fillna(value=False)
    if outside.any():
        yield Problem(ERROR, where, f"wall_ns of {int(outside.sum())} rows is no instant between 2000 and 2100, in ns")
    if negative := int((frame["raw_error_ns"] < 0).sum()):
        yield Problem(ERROR, where, f"raw_error_ns is negative in {negative} rows")


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
