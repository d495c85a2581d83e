"""What is wrong with a run's events: whose they are, which are missing, doubled, or received before they were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from analysis.checks.finding import NOTE, WARNING, Finding, error, ids, reasons, warning
from analysis.checks.subject import raw_file
from analysis.run import load, payload_stamps
from analysis.run.event_rows import different
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from analysis.checks.subject import Subject
    from analysis.run.load import Run
    from analysis.run.stored import Frame

    Ids = NDArray[np.int64]

LOGGED: Final = ("event_id", "worker_id", "send_time_ns", "error")  # of the send log, what is looked at


def find(subject: Subject) -> Iterator[Finding]:
    """Yield the findings about which events were sent and received, as far as there are tables to tell."""
    tables = subject.events()
    yield from duplicates(subject)
    yield from _several_payloads([tables[node_id] for node_id in subject.workers if node_id in tables])
    coordinator = subject.coordinator
    sent = None if coordinator is None else tables.get(coordinator)
    for node_id in subject.workers:
        if not (subject.path / (file := subject.file_of(node_id))).is_file():
            numbers = {} if sent is None else {"missing": sent["event_id"].nunique(), "of": sent["event_id"].nunique()}
            text = "expected the file, found none" + (f": all {numbers['of']:,} events are missing" if numbers else "")
            of = error if subject.promised(node_id) else warning
            yield of("missing-events", file, text, node_id, **numbers)
    if coordinator is None or sent is None:
        return
    broadcast = _events(sent)
    log, log_file = subject.raw(coordinator, records.SENDS_FILE), raw_file(coordinator, records.SENDS_FILE)
    if log is not None and not set(LOGGED) <= set(log.columns):
        yield error("columns", log_file, f"expected the columns {', '.join(records.SENDS_COLUMNS)}")
        log = None
    if log is not None:
        log = log[list(LOGGED)]
        yield from _logged(log_file, log, sent, broadcast, subject.roles)
    pairs = subject.pairs(coordinator)
    stamps = [name for name in ("event_id", "send_time_ns", "send_raw_ns", "send_raw_error_ns") if name in sent]
    logged = payload_stamps.of(sent[stamps], pairs) if "send_time_ns" in sent else None
    least = None if subject.manifest is None else load.min_received_share(subject.manifest)
    for node_id in subject.workers:
        if node_id not in tables:
            continue
        file, table = subject.file_of(node_id), tables[node_id]
        received, addressed = _events(table), broadcast
        if log is not None:
            addressed = _events(log[(log["worker_id"] == node_id) & log["error"].isna()])
        strangers = np.union1d(_only(received, addressed), _only(received, broadcast))
        if len(strangers):
            text = f"{len(strangers):,} events the coordinator did not send here (event {ids(strangers)})"
            yield error("foreign-events", file, text, node_id, events=len(strangers))
        yield from _missing(file, node_id, _only(broadcast, received), len(broadcast), least)
        if logged is not None and "coordinator_send_time_ns" in table:
            payloads = logged.judge(table["event_id"], table["coordinator_send_time_ns"])
            yield from _payload_stamps(file, node_id, payloads)


def duplicates(subject: Subject) -> Iterator[Finding]:
    """Yield which tables have an event, or a number of the sequence, more than once."""
    for node_id, table in subject.events().items():
        yield from _duplicates(subject.file_of(node_id), table, node_id)


def _duplicates(file: str, table: Frame, node_id: str) -> Iterator[Finding]:
    again = table["event_id"].duplicated() & table["event_id"].notna()
    if rows := int(again.sum()):
        which = ids(set(table["event_id"][again]))
        text = f"duplicate event_id: {rows:,} come more than once, of which the first copy counts (event {which})"
        yield error("duplicate-events", file, text, node_id, rows=rows, of=len(table))
    if "sequence_number" in table:
        known = table["sequence_number"][~again].dropna()
        if len(copies := set(known[known.duplicated()])):
            text = f"duplicate sequence_number: {len(copies):,} come more than once ({ids(copies)})"
            yield error("duplicate-sequence-numbers", file, text, node_id, numbers=len(copies))


def _several_payloads(workers: Sequence[Frame]) -> Iterator[Finding]:
    """Check that an event's payload says the same in all its copies: one broadcast has one."""
    columns = ["event_id", "coordinator_send_time_ns"]
    stamps = [frame[columns].dropna().drop_duplicates() for frame in workers if set(columns) <= set(frame.columns)]
    if not stamps:
        return
    distinct = pd.concat(stamps).drop_duplicates().groupby("event_id").size()
    several = distinct[distinct > 1]
    if len(several):
        text = (
            f"{len(several):,} of {len(distinct):,} events carry different payload stamps on different workers: more "
            f"than one coordinator is in the data, or the tables are of different runs (event {ids(several.index)})"
        )
        yield error("several-coordinators", "worker_*.csv", text, events=len(several), of=len(distinct))


def _missing(file: str, node_id: str, missing: Ids, of: int, least: float | None) -> Iterator[Finding]:
    if len(missing):
        short = f", less than the {least:.0%} wanted" if least is not None and 1 - len(missing) / of < least else ""
        text = f"{len(missing):,} of {of:,} events are missing{short} ({ids(missing)})"
        events = [int(event) for event in missing[:1000]]
        yield warning("missing-events", file, text, node_id, missing=len(missing), of=of, events=events)


def _payload_stamps(file: str, node_id: str, payloads: payload_stamps.Payloads) -> Iterator[Finding]:
    """Check that payloads were stamped before their own send, and not long before."""
    late = payloads.late_ns
    late_text = f"payload stamps are after their own send (by up to {int(late.max(initial=0)):,} ns)"
    limit_s = payload_stamps.FOREIGN_NS // 1_000_000_000
    set_back = "the coordinator's wall clock was set back in between, as its raw oscillator shows"
    for rows, of, code, text in (
        (payloads.after_send, error, "foreign-events", late_text),
        (payloads.long_before, error, "foreign-events",
         f"payload stamps are more than {limit_s} s before their own send: they are not the stamps of that send"),
        (payloads.set_back, warning, "set-back-while-sending", f"{late_text}: {set_back}"),
    ):  # fmt: skip
        if count := int(rows.sum()):
            numbers = {"rows": count, "of": len(late), "min_ns": int(late.min()), "max_ns": int(late.max())}
            yield of(code, file, f"{count:,} {text}", node_id, **numbers)


# --- the send log -----------------------------------------------------------------------------------------------------


def _logged(file: str, log: pd.DataFrame, sent: Frame, broadcast: Ids, roles: Mapping[str, str]) -> Iterator[Finding]:
    """Compare the send log with itself, the manifest and the coordinator's table."""
    workers = {node_id for node_id, role in roles.items() if role == "worker"}
    strangers = ", ".join(sorted(set(log["worker_id"].dropna().unique()) - workers))
    logged, failed = _events(log), log["error"].notna()
    only_sent = _only(broadcast, logged)
    only_logged = _only(logged, broadcast)
    table = records.COORDINATOR_FILE
    for count, of, text in (
        (int(log.duplicated(["event_id", "worker_id"]).sum()), error, "rows repeat an event and worker"),
        (len(strangers) and int((~log["worker_id"].isin(workers)).sum()), error,
         f"sends to a worker that is not in the manifest: {strangers}"),
        (len(only_sent), error, f"events of {table} are not in it ({ids(only_sent)})"),
        (len(only_logged), error, f"events are not in {table} ({ids(only_logged)})"),
        (int(failed.sum()), warning,
         f"of {len(log):,} sends failed: {log['error'].dropna().iloc[0] if failed.any() else ''}"),
        (int((log["send_time_ns"].isna() & ~failed).sum()), error, "sends without error and without send_time_ns"),
        (_not_theirs(log, sent), error,
         f"events have a send stamp in {table} that is none of theirs here: the two are of different runs"),
    ):  # fmt: skip
        if count:
            yield of("send-log", file, f"{count:,} {text}", rows=count)


def _not_theirs(log: pd.DataFrame, sent: Frame) -> int:
    """Count the events whose send stamp in the coordinator's table is none of their stamps in the send log."""
    if "send_time_ns" not in sent:
        return 0
    columns = ["event_id", "send_time_ns"]
    logged, rows = (frame[columns].dropna().astype("int64") for frame in (log, sent))
    rows = rows[rows["event_id"].isin(logged["event_id"])]
    merged = rows.merge(logged.drop_duplicates(), how="left", on=columns, indicator="side")
    return int((merged["side"] != "both").sum())


# --- what the loaded data says ----------------------------------------------------------------------------------------


def delays(run: Run) -> Iterator[Finding]:
    """Yield which workers received events before they were sent, by the two wall clocks."""
    for node, frame in run.workers.items():
        columns = ["event_id", "send_time_ns"]
        own = run.sends[[*columns, "worker_id"]]
        own = own[own["worker_id"] == node]
        took = (
            payload_stamps.of(own if len(own) else run.coordinator[columns], None)
            .judge(frame["event_id"], frame["receive_time_ns"])
            .late_ns
        )
        early = took[took < 0]
        if len(early):
            text = (
                f"the wall clocks show {len(early):,} of {len(took):,} events received before they were sent, by up "
                f"to {-int(early.min()) / 1e6:.3f} ms: at those times the two clocks were at least that far apart"
            )
            numbers = {"rows": len(early), "of": len(took), "min_ns": int(early.min())}
            yield Finding("negative-delay", WARNING, node, records.SYSTEM, text, numbers)


def origins(run: Run) -> Iterator[Finding]:
    """Yield on which nodes some stamps are the kernel's and some the program's."""
    for node, frame in run.rows_by_node().items():
        column = run.stamp_column(node).replace("_time_ns", "_origin")
        if column in frame:
            counts = {str(name): int(count) for name, count in frame[column].value_counts().items()}
            if len(counts) > 1:
                text = (
                    f"stamps were taken in different places ({reasons(counts)}): some delays include the program's own"
                )
                yield Finding("mixed-stamps", NOTE, node, records.SYSTEM, text, {"origins": counts})


def _events(frame: Frame) -> Ids:
    """Return the different events of a table's rows, in order."""
    return different(frame["event_id"].dropna().to_numpy(dtype=np.int64))


def _only(first: Ids, second: Ids) -> Ids:
    """Return the events, in order and each once, that are in the first and not in the second."""
    return first[:0] if np.array_equal(first, second) else np.setdiff1d(first, second, assume_unique=True)
