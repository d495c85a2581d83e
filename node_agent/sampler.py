"""Asks every source in the background, journals every sample, and publishes the good ones under one lock."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from node_agent.clocks.base import KEEP, good
from node_agent.clocks.self_report import limits_of
from node_agent.contract.records import NTP, SAMPLES_COLUMNS, Sample
from node_agent.exchange import chrony as chrony_exchange
from node_agent.exchange.chronotick import MAX_NTP_SAMPLES, ChronoTickClient
from node_agent.exchange.ntp import NtpServer
from node_agent.local.journal import cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from node_agent.clocks.base import ClockSource
    from node_agent.contract.plan import ClocksPlan
    from node_agent.local.instants import LocalClock
    from node_agent.local.journal import Journal

log = logging.getLogger(__name__)

_KEEP_NS = 10_000_000_000  # a stamp is judged within milliseconds; on a stalled machine, within seconds
_WARM_UP_TRIES = 8  # queries a source gets in quick succession to become ready, like NTP's iburst
_WARM_UP_GOOD = 4
_WARM_UP_INTERVAL_S = 0.25
_PUBLISHED = attrgetter("published_raw_ns")


@dataclass(frozen=True)
class Snapshot:
    """All published good samples by source, oldest first, complete up to ``watermark_ns`` (raw)."""

    watermark_ns: int
    samples: Mapping[str, Sequence[Sample]]


@dataclass(frozen=True)
class Tally:
    """How often a source was asked, how often in vain, and what the last query came to."""

    samples: int = 0
    failures: int = 0
    last_outcome: str = ""


class Sampler:
    """One thread per NTP server and one for each other source. The receive path never waits for any of them."""

    def __init__(
        self, node_id: str, clocks: ClocksPlan, sources: Mapping[str, ClockSource], clock: LocalClock, journal: Journal
    ) -> None:
        self._node_id = node_id
        self._clocks = clocks
        self._clock = clock
        self._journal = journal
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._changed = threading.Condition(self._lock)
        self._good: dict[str, dict[str, deque[Sample]]] = {name: {} for name in sources}  # by source, then by server
        self._valid_for_ns = {name: source.valid_for_ns for name, source in sources.items()}
        self._frozen: dict[str, tuple[Sample, ...]] = dict.fromkeys(sources, ())
        self._tallies: dict[str, Tally] = {name: Tally() for name in sources}
        self._threads = list(self._plan_threads())

    def _plan_threads(self) -> Sequence[threading.Thread]:
        threads = []
        if self._clocks.ntp is not None:
            threads = [
                threading.Thread(target=self._sample_ntp, args=(server,), name=f"ntp {server}", daemon=True)
                for server in self._clocks.ntp.servers
            ]
        if self._clocks.chronotick is not None:
            threads.append(threading.Thread(target=self._sample_chronotick, name="chronotick", daemon=True))
        if self._clocks.chrony is not None:
            threads.append(threading.Thread(target=self._sample_chrony, name="chrony", daemon=True))
        return threads

    def start(self) -> None:
        """Start asking."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop asking; a query under way is waited for, but no longer than ``timeout_s``."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(deadline_s - time.monotonic(), 0.0))

    def snapshot(self) -> Snapshot:
        """Return what has been published so far; nothing will be published before its watermark any more."""
        with self._lock:
            return Snapshot(self._clock.raw_ns(), dict(self._frozen))

    def tally(self, source: str) -> Tally:
        """Return a source's tally."""
        with self._lock:
            return self._tallies[source]

    def publish(self, sample: Sample) -> None:
        """Make a sample visible to every later stamp, and journal it."""
        with self._changed:
            published = replace(sample, published_raw_ns=self._clock.raw_ns())
            tally = self._tallies[sample.source]
            self._tallies[sample.source] = Tally(
                tally.samples + 1, tally.failures + (not good(published)), published.outcome
            )
            if good(published):
                by_server = self._good[sample.source]
                kept = by_server.setdefault(sample.server, deque())
                kept.append(published)
                needed_ns = published.published_raw_ns - self._valid_for_ns[sample.source] - _KEEP_NS
                while len(kept) > KEEP and kept[0].published_raw_ns < needed_ns:
                    kept.popleft()
                self._frozen[sample.source] = tuple(heapq.merge(*by_server.values(), key=_PUBLISHED))
            self._journal.write([row(published)])
            self._changed.notify_all()
        if not good(published) and tally.last_outcome != published.outcome:
            log.warning("sample source=%s server=%s outcome=%s", sample.source, sample.server, sample.outcome)

    def _every(self, interval_s: float, ask: Callable[[], Sequence[Sample]], server: NtpServer | None = None) -> None:
        """Ask again and again; every sample is published, and the last of an asking says whether it was good.

        A ``server`` that asks to be asked less often is, from then on, and one that refuses is not asked again.
        """
        asked = answered = 0
        slower = 1
        while not self._stopping.is_set():
            samples = ask()
            for sample in samples:
                self.publish(sample)
            if server is not None and server.ended:
                log.warning("not_asked_again server=%s outcome=%s", samples[-1].server, samples[-1].outcome)
                return
            if server is not None and server.slower > slower:
                slower = server.slower
                log.warning("asked_less_often server=%s interval_s=%g", samples[-1].server, interval_s * slower)
            asked += 1
            answered += bool(samples) and good(samples[-1])
            warming_up = asked < _WARM_UP_TRIES and answered < _WARM_UP_GOOD and slower == 1
            self._stopping.wait(min(interval_s, _WARM_UP_INTERVAL_S) if warming_up else interval_s * slower)

    def _sample_ntp(self, server: str) -> None:
        plan = self._clocks.ntp
        if plan is None:
            return
        asked = NtpServer(
            server,
            self._clock,
            self._clocks.max_drift_ppm,
            plan.timeout_s,
            limits_of(self._clocks, own_clock=plan.own_clock),
        )
        self._every(plan.query_interval_s, lambda: asked.ask(self.next_id("ntp")), asked)

    def _sample_chronotick(self) -> None:
        plan = self._clocks.chronotick
        if plan is None:
            return
        client = ChronoTickClient(
            plan.server, self._node_id, self._clock, timeout_s=plan.timeout_s, dual_model=plan.use_dual_model
        )
        try:
            self._await_ntp()
            self._every(plan.query_interval_s, lambda: [client.sample(self.recent_ntp(), self.next_id("ct"))])
        finally:
            client.close()

    def _sample_chrony(self) -> None:
        plan = self._clocks.chrony
        if plan is None:
            return
        limits = limits_of(self._clocks)
        self._every(
            plan.query_interval_s,
            lambda: [
                chrony_exchange.sample(plan.socket_path, self._clock, plan.timeout_s, self.next_id("chrony"), limits)
            ],
        )

    def _await_ntp(self) -> None:
        """Let NTP answer first, so that a server has something to predict from, but wait no longer than a second."""
        if self._clocks.ntp is None:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._tallies[NTP].samples > 0 or self._stopping.is_set(), timeout=1.0)

    def recent_ntp(self) -> Sequence[Sample]:
        """Return the newest good NTP samples, which a predicting server is given."""
        with self._lock:
            return self._frozen.get(NTP, ())[-MAX_NTP_SAMPLES:]

    def next_id(self, prefix: str) -> Callable[[], str]:
        """Return a function that numbers one more sample of this node."""
        return lambda: f"{prefix}{next(self._numbers)}"


def row(sample: Sample) -> str:
    """Return a sample as its line of samples.csv."""
    values = (getattr(sample, name) for name in SAMPLES_COLUMNS)
    return ",".join("" if value is None else cell(str(value)) for value in values)
