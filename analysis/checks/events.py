"""What is wrong with a run's events: whose they are, which are missing, doubled, or received before they were sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from analysis.by_event.event_rows import different
from analysis.checks.files import payload_stamps
from analysis.checks.finding import NOTE, WARNING, Finding, error, ids, reasons, warning
from analysis.checks.subject import raw_file
from analysis.run import load
from analysis.run.stored import parts_of
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
    broadcast = _events_of(sent)
    log, log_file = subject.raw(coordinator, records.SENDS_FILE), raw_file(coordinator, records.SENDS_FILE)
    if log is not None and not set(LOGGED) <= set(log.columns):
        yield error("columns", log_file, f"expected the columns {', '.join(records.SENDS_COLUMNS)}")
        log = None
    logs = None if log is None else _Log.of(log, sent)
    if logs is not None:
        yield from _logged(log_file, logs, broadcast, subject.roles)
    pairs = subject.pairs(coordinator)
    logged = payload_stamps.of(sent, pairs) if "send_time_ns" in sent else None
    least = None if subject.manifest is None else load.min_received_share(subject.manifest)
    for node_id in subject.workers:
        if node_id not in tables:
            continue
        file, table = subject.file_of(node_id), tables[node_id]
        received, addressed = _events_of(table), broadcast
        if logs is not None:
            addressed = logs.addressed(node_id)
        strangers = np.union1d(_only(received, addressed), _only(received, broadcast))
        if len(strangers):
            text = f"{len(strangers):,} events the coordinator did not send here (event {ids(strangers)})"
            yield error("foreign-events", file, text, node_id, events=len(strangers))
        yield from _missing(file, node_id, _only(broadcast, received), len(broadcast), least)
        if logged is not None and "coordinator_send_time_ns" in table:
            yield from _payload_stamps(file, node_id, logged, table)


def duplicates(subject: Subject) -> Iterator[Finding]:
    """Yield which tables have an event, or a number of the sequence, more than once."""
    for node_id, table in subject.events().items():
        yield from _duplicates(subject.file_of(node_id), table, node_id)


def _duplicates(file: str, table: Frame, node_id: str) -> Iterator[Finding]:
    rows, events, numbers = 0, set[int](), [np.zeros(0, dtype=np.int64)]
    for (part,) in parts_of(table):
        again = part["event_id"].duplicated() & part["event_id"].notna()
        rows += int(again.sum())
        events |= set(part["event_id"][again])
        if "sequence_number" in part:
            numbers.append(part["sequence_number"][~again].dropna().to_numpy(dtype=np.int64))
    if rows:
        text = f"duplicate event_id: {rows:,} come more than once, of which the first copy counts (event {ids(events)})"
        yield error("duplicate-events", file, text, node_id, rows=rows, of=len(table))
    ordered = np.concatenate(numbers)
    numbers.clear()
    ordered.sort()
    if len(copies := set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())):
        text = f"duplicate sequence_number: {len(copies):,} come more than once ({ids(copies)})"
        yield error("duplicate-sequence-numbers", file, text, node_id, numbers=len(copies))


def _several_payloads(workers: Sequence[Frame]) -> Iterator[Finding]:
    """Check that an event's payload says the same in all its copies: one broadcast has one."""
    columns = ["event_id", "coordinator_send_time_ns"]
    several, of = [], 0
    for parts in parts_of(*(frame for frame in workers if set(columns) <= set(frame.columns))):
        stamps = [part[columns].dropna().drop_duplicates() for part in parts]
        if stamps:
            distinct = pd.concat(stamps).drop_duplicates().groupby("event_id").size()
            several += distinct.index[distinct > 1].tolist()
            of += len(distinct)
    if several:
        text = (
            f"{len(several):,} of {of:,} events carry different payload stamps on different workers: more than one "
            f"coordinator is in the data, or the tables are of different runs (event {ids(several)})"
        )
        yield error("several-coordinators", "worker_*.csv", text, events=len(several), of=of)


def _missing(file: str, node_id: str, missing: Ids, of: int, least: float | None) -> Iterator[Finding]:
    if len(missing):
        short = f", less than the {least:.0%} wanted" if least is not None and 1 - len(missing) / of < least else ""
        text = f"{len(missing):,} of {of:,} events are missing{short} ({ids(missing)})"
        events = [int(event) for event in missing[:1000]]
        yield warning("missing-events", file, text, node_id, missing=len(missing), of=of, events=events)


def _payload_stamps(file: str, node_id: str, sends: payload_stamps.Sends, table: Frame) -> Iterator[Finding]:
    """Check that payloads were stamped before their own send, and not long before."""
    rows, earliest, latest = 0, 0, 0
    after_send, long_before, set_back = 0, 0, 0
    for (part,) in parts_of(table):
        payloads = sends.judge(part["event_id"], part["coordinator_send_time_ns"])
        late = payloads.late_ns
        if len(late):
            earliest = int(late.min()) if not rows else min(earliest, int(late.min()))
            latest = int(late.max()) if not rows else max(latest, int(late.max()))
            rows += len(late)
        after_send += int(payloads.after_send.sum())
        long_before += int(payloads.long_before.sum())
        set_back += int(payloads.set_back.sum())
    late_text = f"payload stamps are after their own send (by up to {max(latest, 0):,} ns)"
    limit_s = payload_stamps.FOREIGN_NS // 1_000_000_000
    why = "the coordinator's wall clock was set back in between, as its raw oscillator shows"
    for count, of, code, text in (
        (after_send, error, "foreign-events", late_text),
        (long_before, error, "foreign-events",
         f"payload stamps are more than {limit_s} s before their own send: they are not the stamps of that send"),
        (set_back, warning, "set-back-while-sending", f"{late_text}: {why}"),
    ):  # fmt: skip
        if count:
            numbers = {"rows": count, "of": rows, "min_ns": earliest, "max_ns": latest}
            yield of(code, file, f"{count:,} {text}", node_id, **numbers)


# --- the send log -----------------------------------------------------------------------------------------------------


@dataclass
class _Log:
    """What the send log says, counted part by part.

    ``repeated``: rows of an event and worker that come again; ``failure``: the first error; ``unstamped``: rows without
    error and without a stamp; ``nobodys``: rows without a worker; ``not_theirs``: events that have another stamp in the
    coordinator's table.
    """

    rows: int = 0
    repeated: int = 0
    failed: int = 0
    failure: str = ""
    unstamped: int = 0
    not_theirs: int = 0
    nobodys: int = 0
    by_worker: Counter[str] = field(default_factory=Counter)
    events: list[Ids] = field(default_factory=list)
    _addressed: dict[str, list[Ids]] = field(default_factory=dict)

    @classmethod
    def of(cls, log: Frame, sent: Frame) -> _Log:
        made = cls()
        for rows, sent_here in parts_of(log, sent):
            made._add(rows[list(LOGGED)], sent_here)
        return made

    def addressed(self, worker: str) -> Ids:
        """Return the events that were sent to a worker, in order."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._addressed.get(worker, [])])

    def _add(self, rows: pd.DataFrame, sent: Frame) -> None:
        failed = rows["error"].notna()
        self.rows += len(rows)
        self.repeated += int(rows.duplicated(["event_id", "worker_id"]).sum())
        if failed.any():
            self.failure = self.failure or str(rows["error"].dropna().iloc[0])
            self.failed += int(failed.sum())
        self.unstamped += int((rows["send_time_ns"].isna() & ~failed).sum())
        self.not_theirs += _not_theirs(rows, sent)
        self.events.append(_events(rows))
        for worker, count in rows["worker_id"].value_counts().items():
            self.by_worker[str(worker)] += int(count)
            own = _events(rows[(rows["worker_id"] == worker) & ~failed])
            self._addressed.setdefault(str(worker), []).append(own)
        self.nobodys += int(rows["worker_id"].isna().sum())


def _logged(file: str, log: _Log, broadcast: Ids, roles: Mapping[str, str]) -> Iterator[Finding]:
    """Compare the send log with itself, the manifest and the coordinator's table."""
    workers = {node_id for node_id, role in roles.items() if role == "worker"}
    strangers = {worker: count for worker, count in log.by_worker.items() if count and worker not in workers}
    named = ", ".join(sorted(strangers))
    logged = np.concatenate(log.events)
    only_sent = _only(broadcast, logged)
    only_logged = _only(logged, broadcast)
    table = records.COORDINATOR_FILE
    for count, of, text in (
        (log.repeated, error, "rows repeat an event and worker"),
        (sum(strangers.values(), log.nobodys) if named else 0, error,
         f"sends to a worker that is not in the manifest: {named}"),
        (len(only_sent), error, f"events of {table} are not in it ({ids(only_sent)})"),
        (len(only_logged), error, f"events are not in {table} ({ids(only_logged)})"),
        (log.failed, warning, f"of {log.rows:,} sends failed: {log.failure}"),
        (log.unstamped, error, "sends without error and without send_time_ns"),
        (log.not_theirs, error,
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
    columns = ["event_id", "send_time_ns"]  # and none of the raw oscillator: what was set back counts as well
    for node, frame in run.workers.items():
        logged = any(bool((part["worker_id"] == node).any()) for (part,) in parts_of(run.sends))
        early, of, least_ns = 0, 0, 0
        for sends, sent, received in parts_of(run.sends, run.coordinator, frame):
            own = sends[[*columns, "worker_id"]]
            stamps = payload_stamps.of(own[own["worker_id"] == node] if logged else sent[columns], None)
            took = stamps.judge(received["event_id"], received["receive_time_ns"]).late_ns
            early += int((took < 0).sum())
            of += len(took)
            least_ns = min(least_ns, int(took.min(initial=0)))
        if early:
            text = (
                f"the wall clocks show {early:,} of {of:,} events received before they were sent, by up "
                f"to {-least_ns / 1e6:.3f} ms: at those times the two clocks were at least that far apart"
            )
            numbers = {"rows": early, "of": of, "min_ns": least_ns}
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


def _events_of(frame: Frame) -> Ids:
    """Return the different events of a whole table, in order."""
    return np.concatenate([_events(part) for (part,) in parts_of(frame)])


def _events(frame: Frame) -> Ids:
    """Return the different events of a table's rows, in order."""
    return different(frame["event_id"].dropna().to_numpy(dtype=np.int64))


def _only(first: Ids, second: Ids) -> Ids:
    """Return the events, in order and each once, that are in the first and not in the second."""
    return first[:0] if np.array_equal(first, second) else np.setdiff1d(first, second, assume_unique=True)
