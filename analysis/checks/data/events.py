"""What is wrong with a run's events: whose they are, which are missing, doubled, or received before they were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.checks.finding import Finding, ids, reasons
from analysis.run import payload_stamps
from analysis.run.event_rows import different
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analysis.run.load import Run


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about events, detector by detector."""
    for detector in (
        _several_coordinators,
        _foreign_events,
        _missing_events,
        _duplicates,
        _negative_delays,
        _mixed_origins,
    ):
        yield from detector(run)


def _several_coordinators(run: Run) -> Iterator[Finding]:
    named = [node_id for node_id, node in run.manifest.nodes.items() if node.role == "coordinator"]
    if len(named) > 1:
        text = f"{len(named)} coordinators in one run ({', '.join(named)}); expected one: events of several are mixed"
        yield Finding("several-coordinators", "error", "", "", text, {"coordinators": named})
    stamps = [
        frame[["event_id", "coordinator_send_time_ns"]].dropna().drop_duplicates()
        for frame in run.workers.values()
        if "coordinator_send_time_ns" in frame
    ]
    if not stamps:
        return
    distinct = pd.concat(stamps).drop_duplicates().groupby("event_id").size()
    several = distinct[distinct > 1]
    if len(several):
        text = (
            f"{len(several):,} of {len(distinct):,} events carry different send stamps in their copies; one broadcast "
            f"has one payload, so more than one coordinator (or run) is in the data: event {ids(several.index)}"
        )
        yield Finding("several-coordinators", "error", "", "", text, {"events": len(several), "of": len(distinct)})


def _foreign_events(run: Run) -> Iterator[Finding]:
    sent = _events(run.coordinator)
    sends = payload_stamps.of(run.coordinator, run.clock_pairs.get(run.manifest.coordinator_id))
    for node, frame in run.workers.items():
        strangers = np.setdiff1d(_events(frame), sent, assume_unique=True)
        if len(strangers):
            text = f"{len(strangers):,} events the coordinator did not send: event {ids(strangers)}"
            yield Finding("foreign-events", "error", node, "", text, {"events": len(strangers)})
        if "coordinator_send_time_ns" not in frame:
            continue
        said = sends.judge(frame["event_id"], frame["coordinator_send_time_ns"])
        of, far = len(said.late_ns), int((said.after_send | said.long_before).sum())
        if far:
            text = (
                f"in {far:,} of {of:,} rows the payload's send stamp is after the logged one, or more than "
                f"{payload_stamps.FOREIGN_NS // 1_000_000_000} s before it: it is not the stamp of that send"
            )
            numbers = {"rows": far, "of": of, "min_ns": int(said.late_ns.min()), "max_ns": int(said.late_ns.max())}
            yield Finding("foreign-events", "error", node, "", text, numbers)
        if set_back := int(said.set_back.sum()):
            text = (
                f"in {set_back:,} of {of:,} rows the payload's send stamp is after the logged one: the coordinator's "
                "wall clock was set back between the two, as its raw oscillator shows"
            )
            yield Finding("set-back-while-sending", "warning", node, "", text, {"rows": set_back, "of": of})


def _missing_events(run: Run) -> Iterator[Finding]:
    sent = _events(run.coordinator)
    for node in run.worker_ids:
        if node not in run.workers:
            text = f"no data: all {len(sent):,} events are missing"
            yield Finding("missing-events", "error", node, "", text, {"missing": len(sent), "of": len(sent)})
            continue
        missing = np.setdiff1d(sent, _events(run.workers[node]), assume_unique=True)
        if len(missing):
            text = f"{len(missing):,} of {len(sent):,} events are missing: event {ids(missing)}"
            numbers = {"missing": len(missing), "of": len(sent), "events": [int(event) for event in missing[:1000]]}
            yield Finding("missing-events", "warning", node, "", text, numbers)


def _duplicates(run: Run) -> Iterator[Finding]:
    for node, frame in run.rows_by_node().items():
        copies = frame.loc[frame["event_id"].duplicated(), "event_id"].dropna()
        if len(copies):
            text = f"{len(copies):,} rows repeat an event (the first copy counts): event {ids(sorted(set(copies)))}"
            yield Finding("duplicate-events", "warning", node, "", text, {"rows": len(copies), "of": len(frame)})


def _negative_delays(run: Run) -> Iterator[Finding]:
    for node, frame in run.workers.items():
        own = run.sends[run.sends["worker_id"] == node] if len(run.sends) else run.sends
        sent = _first_copies(own if len(own) else run.coordinator).set_index("event_id")["send_time_ns"]
        delays = (frame["receive_time_ns"] - frame["event_id"].map(sent)).dropna().astype("int64")
        early = delays[delays < 0]
        if len(early):
            text = (
                f"the wall clocks show {len(early):,} of {len(delays):,} events received before they were sent, by up "
                f"to {-int(early.min()) / 1e6:.3f} ms: at those times the two clocks were at least that far apart"
            )
            numbers = {"rows": len(early), "of": len(delays), "min_ns": int(early.min())}
            yield Finding("negative-delay", "warning", node, records.SYSTEM, text, numbers)


def _mixed_origins(run: Run) -> Iterator[Finding]:
    for node, frame in run.rows_by_node().items():
        column = "send_origin" if node == run.manifest.coordinator_id else "receive_origin"
        origins = (
            {str(name): int(count) for name, count in frame[column].value_counts().items()} if column in frame else {}
        )
        if len(origins) > 1:
            text = f"stamps were taken in different places ({reasons(origins)}): some delays include the program's own"
            yield Finding("mixed-stamps", "note", node, records.SYSTEM, text, {"origins": origins})


def _events(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Return the different events of a table's rows, in order."""
    return different(frame["event_id"].dropna().to_numpy(dtype=np.int64))


def _first_copies(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.dropna(subset=["event_id"]).drop_duplicates("event_id")
