"""What worker and coordinator have in common: clocks, journals, sampling, status, and one orderly end."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from node_agent.after_events.commit_wait import CommitWait
from node_agent.after_events.per_event import PerEvent
from node_agent.clocks import chronotick
from node_agent.clocks.base import evaluate
from node_agent.clocks.sources import column_prefixes, configured
from node_agent.contract import records
from node_agent.contract.plan import PER_EVENT, NodePlan
from node_agent.contract.records import NodeStatus, SourceStatus, Unavailable
from node_agent.local import machine
from node_agent.local.instants import ClockPair, LocalClock, user_stamp
from node_agent.local.journal import FLUSH_EVERY_S, Journal, keep_reserve, release_reserve, write_whole
from node_agent.readings import Readings
from node_agent.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


log = logging.getLogger(__name__)

STATUS_EVERY_S = 0.5
_PAIR_EVERY_NS = 100_000_000
_PER_EVENT_TAIL_S = 10.0


class Part(Protocol):
    """What a node runs beside its clocks: a worker's receiving, the coordinator's broadcasting, a watch, the probes."""

    def start(self) -> None:
        """Start its threads; the socket is bound already."""

    def stop(self) -> None:
        """Stop its threads and hand on every row they still hold."""

    def counts(self) -> dict[str, int]:
        """Return its counters."""


class Mesh(Part, Protocol):
    """The probe mesh: a part that has something to do after the last event."""

    @property
    def pending(self) -> int:
        """Return how much is left to do."""


@dataclass(frozen=True)
class Ending:
    """How a node ended: one of the FINISHED_ outcomes, and a sentence."""

    outcome: str
    detail: str


class Node:
    """One agent at work. ``run`` returns when it is over, however it ended; everything journaled is then on disk."""

    def __init__(
        self, plan: NodePlan, run_dir: Path, rows_path: Path, row_columns: Sequence[str], key: bytes | None
    ) -> None:
        """Open its journals: ``rows_path``, with these columns, is that of its events, or of a watch's readings."""
        self.plan = plan
        self.run_dir = run_dir
        self.clock = LocalClock(plan.virtual_clock)
        self.sources = configured(plan.clocks)
        self.readings = Readings(self.sources)
        self.rows = Journal(rows_path, row_columns)
        self._journals = [self.rows]
        now = records.events_columns(plan.role, column_prefixes(plan.clocks))
        self.row_end = "," * (len(row_columns) - len(now))  # the cells of an event that are filled in later
        samples = self.add_journal(records.SAMPLES_FILE, records.SAMPLES_COLUMNS)
        keep_reserve(run_dir)
        self._pairs = self.add_journal(records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS)
        self._paired_ns = 0
        tag = "" if key is None else chronotick.tag(key, plan.run_id, plan.node_id)
        who = {"run_id": plan.run_id, "tag": tag}
        self.sampler = Sampler(plan.node_id, plan.clocks, self.sources, self.clock, samples, **who)
        self._commit_wait: CommitWait | None = None
        self._per_event: PerEvent | None = None
        if plan.watch is None:
            self._follow_events()
        self.mesh: Mesh | None = None
        self.listen = ""
        self.held_by: tuple[str, ...] = ()  # what keeps it from the next phase, once it has started
        self.phase = records.STARTING
        self._machine = machine.describe()
        self._started_s = self._entered_s = time.monotonic()
        self._ending: Ending | None = None
        self._over = threading.Event()

    def add_journal(self, name: str, columns: Sequence[str]) -> Journal:
        """Open one more journal in the run folder, flushed with the others."""
        journal = Journal(self.run_dir / name, columns)
        self._journals.append(journal)
        return journal

    def _follow_events(self) -> None:
        """Make what comes after events, and its journal."""
        plan, tick = self.plan, self.plan.clocks.chronotick
        journal = self.add_journal(records.COMMIT_WAIT_FILE, records.COMMIT_WAIT_COLUMNS)
        readings = Readings(self.sources)
        delays_s, share = plan.commit_wait_delays_s, plan.commit_wait_share
        self._commit_wait = CommitWait(delays_s, share, self.clock, self.sampler, readings, journal)
        if tick is not None and tick.mode == PER_EVENT:
            (asker,) = self.sampler.askers(chronotick.KIND, tick)
            self._per_event = PerEvent(asker, self.sampler, journal)

    def follow_up(self, events: list[tuple[int, int]]) -> None:
        """Take events, as (event_id, raw instant), for what is to come after them: re-measurement, holds, queries."""
        if self._commit_wait is not None:
            self._commit_wait.add(events)
        if self._per_event is not None:
            self._per_event.add(events)

    @property
    def _followers(self) -> list[CommitWait | PerEvent]:
        return [follower for follower in (self._commit_wait, self._per_event) if follower is not None]

    @property
    def pending(self) -> int:
        """Return how much is still to come after the events so far.

        Queries per event are given up some seconds into the tail: a stalled server must not hold up the end.
        """
        patient = self.phase != records.TAIL or time.monotonic() - self._entered_s < _PER_EVENT_TAIL_S
        queries = self._per_event.pending if self._per_event and patient else 0
        measured_again = self._commit_wait.pending if self._commit_wait else 0
        return measured_again + queries + (self.mesh.pending if self.mesh else 0)

    def keep_pair(self, pair: ClockPair) -> None:
        """Journal a clock pair, if the last one is old enough; from one thread only."""
        if pair.raw_ns - self._paired_ns >= _PAIR_EVERY_NS:
            self._paired_ns = pair.raw_ns
            self._pairs.write([f"{pair.raw_before_ns},{pair.wall_ns},{pair.raw_after_ns}"])

    def end(self, outcome: str, detail: str) -> None:
        """Ask the node to end; the first reason given counts. Safe from any thread and from a signal handler."""
        if self._ending is None:
            self._ending = Ending(outcome, detail)
        self._over.set()

    def enter(self, phase: str) -> None:
        """Go on to the next phase."""
        self.phase, self.held_by = phase, ()
        self._entered_s = time.monotonic()
        log.info("phase phase=%s", phase)

    def waiting_for(self) -> list[str]:
        """Return which required sources have no usable reading yet, each with the outcome of its last query."""
        stamp = user_stamp(self.clock.pair())
        snapshot = self.sampler.snapshot()
        missing = []
        for name in self.plan.clocks.required:
            if name not in self.sources:
                missing.append(f"{name}: not configured")
                continue
            reading = evaluate(self.sources[name], snapshot.samples[name], stamp)
            if isinstance(reading, Unavailable):
                last = self.sampler.tally(name).last_outcome or "no answer yet"
                missing.append(f"{name}: {reading.reason if last == records.OK else last}")
        return missing

    def run(self, part: Part) -> Ending:
        """Work until the data path, a signal, the lease or a failure ends it; then close everything in order."""
        housekeeping = threading.Thread(target=self._keep_house, args=(part,), name="housekeeping", daemon=True)
        self.sampler.start()
        for follower in self._followers:
            follower.start()
        housekeeping.start()
        part.start()
        if self.mesh is not None:
            self.mesh.start()
        self._over.wait()
        part.stop()
        if self.mesh is not None:
            self.mesh.stop()
        for follower in self._followers:
            follower.stop()
        self.sampler.stop()
        housekeeping.join()
        release_reserve(self.run_dir)
        for journal in self._journals:
            try:
                journal.close()
            except OSError as error:  # noqa: PERF203 - every journal gets its chance
                self._ending = Ending(records.FINISHED_FAILED, f"{journal.path.name}: {error.strerror}")
        ending = self._ending or Ending(records.FINISHED_FAILED, "ended without a reason")
        self.enter(records.FINISHED)
        log.info("finished outcome=%s detail=%r", ending.outcome, ending.detail)
        with contextlib.suppress(OSError):  # a full disk: the last status before stands, and the rows are what counts
            self._write_status(self.status(part, ending))
        return ending

    def status(self, part: Part, ending: Ending | None = None) -> NodeStatus:
        """Return the node's state now."""
        counts = {
            **part.counts(),
            **{f"{prefix}_unavailable": count for prefix, count in self.readings.unavailable.items()},
            **({"remeasured": self._commit_wait.done} if self._commit_wait else {}),
            **({"per_event_skipped": self._per_event.skipped} if self._per_event else {}),
            **(self.mesh.counts() if self.mesh else {}),
        }
        return NodeStatus(
            run_id=self.plan.run_id,
            node_id=self.plan.node_id,
            role=self.plan.role,
            pid=os.getpid(),
            start_ticks=machine.own_start_ticks(),
            **self._machine,
            agent_sha256=machine.agent_sha256(),
            phase=self.phase,
            outcome=ending.outcome if ending else None,
            updated_wall_ns=self.clock.wall_ns(),
            listen=self.listen,
            counts=counts,
            sources=self._source_statuses(),
            waiting_for=self.waiting_for() if self.phase == records.STARTING else list(self.held_by),
            detail=ending.detail if ending else "",
        )

    def _source_statuses(self) -> dict[str, SourceStatus]:
        stamp = user_stamp(self.clock.pair())
        statuses = {}
        for name, reading in self.readings.by_source(stamp, self.sampler.snapshot()).items():
            tally = self.sampler.tally(name) if name in self.sources else None
            asked = (tally.samples, tally.failures, tally.last_outcome) if tally else (0, 0, "")
            statuses[name] = SourceStatus.from_reading(reading, stamp.wall_ns, *asked)
        return statuses

    def _keep_house(self, part: Part) -> None:
        """Flush journals, keep the status fresh, watch the lease; a failure here ends the node with its reason."""
        status_due_s = 0.0
        lease_s = self.plan.lease_s
        while not self._over.wait(FLUSH_EVERY_S):
            try:
                for journal in self._journals:
                    journal.flush()
                if time.monotonic() >= status_due_s:
                    self._write_status(self.status(part))
                    status_due_s = time.monotonic() + STATUS_EVERY_S - FLUSH_EVERY_S / 2
            except OSError as error:
                log.exception("cannot write to the run folder")
                self.end(records.FINISHED_FAILED, f"cannot write to {self.run_dir}: {error.strerror}")
            if lease_s is not None and time.monotonic() - self._started_s > lease_s:
                told = f"the lease of {lease_s:g} s is over; no controller stopped this agent"
                self.end(records.FINISHED_LEASE, told)

    def _write_status(self, status: NodeStatus) -> None:
        write_whole(self.run_dir / records.STATUS_FILE, status.to_json())
