"""Asks every source in the background, journals every sample, and publishes the good ones under one lock."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from node_agent.clocks.base import KEEP, ClockSource, counts, good
from node_agent.clocks.sources import BY_NAME, planned
from node_agent.contract.cells import sample_row
from node_agent.exchange import asking
from node_agent.exchange.asking import Asker, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node_agent.clocks.kind import SourceKind
    from node_agent.contract.plan import ClocksPlan
    from node_agent.contract.records import Sample
    from node_agent.local.instants import LocalClock
    from node_agent.local.journal import Journal

log = logging.getLogger(__name__)

_KEEP_NS = 10_000_000_000  # a stamp is judged within milliseconds; on a stalled machine, within seconds
# A source begins with a burst, as with NTP's iburst (RFC 5905 appendix A.1.1: UNREACH, BCOUNT and BTIME). Its first
# answers come sooner than that, for a run waits for them; the later ones are far enough apart to tell of the drift.
_BURST_TRIES = 14
_BURST_ANSWERS = 10
_BURST_INTERVAL_S = 2.0
_FIRST_INTERVAL_S = 0.25
_RANDOM = random.Random()
_PUBLISHED = attrgetter("published_raw_ns")


@dataclass(frozen=True)
class Snapshot:
    """All published samples that count, by source, oldest first, complete up to ``watermark_ns`` (raw)."""

    watermark_ns: int
    samples: Mapping[str, Sequence[Sample]]


@dataclass(frozen=True)
class Tally:
    """How often a source was asked, how often in vain, and what the last query came to."""

    samples: int = 0
    failures: int = 0
    last_outcome: str = ""


class Sampler:
    """One thread per server of each source. The receive path never waits for any of them."""

    def __init__(
        self,
        node_id: str,
        clocks: ClocksPlan,
        sources: Mapping[str, ClockSource],
        clock: LocalClock,
        journal: Journal,
        *,
        run_id: str = "",
        tag: str = "",
    ) -> None:
        self._node_id = node_id
        self._run_id, self._tag = run_id, tag
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
        self._threads = [
            threading.Thread(
                target=self._run, args=(BY_NAME[name], plan, asker), name=f"{name} {asker.server}", daemon=True
            )
            for name, plan in planned(clocks).items()
            for asker in self.askers(BY_NAME[name], plan)
        ]

    def askers(self, kind: SourceKind[Any], plan: Any) -> Sequence[Asker]:
        """Return new askers of one kind, which know what feeds it."""

        def new_id() -> str:
            return f"{kind.prefix}{next(self._numbers)}"

        def fed() -> Sequence[Sample]:
            with self._lock:
                return self._frozen.get(kind.fed_by, ())

        setting = Setting(self._node_id, self._clocks, self._clock, new_id, fed, self._run_id, self._tag)
        return asking.askers(kind, plan, setting)

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
            failures = tally.failures + (not good(published))
            self._tallies[sample.source] = Tally(tally.samples + 1, failures, published.outcome)
            if counts(published):
                by_server = self._good[sample.source]
                kept = by_server.setdefault(sample.server, deque())
                kept.append(published)
                needed_ns = published.published_raw_ns - self._valid_for_ns[sample.source] - _KEEP_NS
                while len(kept) > KEEP and kept[0].published_raw_ns < needed_ns:
                    kept.popleft()
                self._frozen[sample.source] = tuple(heapq.merge(*by_server.values(), key=_PUBLISHED))
            self._journal.write([sample_row(published)])
            self._changed.notify_all()
        if not good(published) and tally.last_outcome != published.outcome:
            log.warning("sample source=%s server=%s outcome=%s", sample.source, sample.server, sample.outcome)

    def _run(self, kind: SourceKind[Any], plan: Any, asker: Asker) -> None:
        try:
            self._await(kind.fed_by)
            self._every(plan.query_interval_s, asker)
        finally:
            asker.close()

    def _await(self, source: str) -> None:
        """Let a source answer first, so that there is something to predict from, but wait no longer than a second."""
        if source in self._tallies:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._tallies[source].samples > 0 or self._stopping.is_set(), timeout=1.0
                )

    def _every(self, interval_s: float, asker: Asker) -> None:
        """Ask again and again; every sample is published, and the last of an asking says whether it was good.

        A server that asks to be asked less often is, from then on, and one that refuses is not asked again.
        """
        asked = answered = 0
        slower = 1
        while not self._stopping.is_set():
            samples = asker.ask()
            for sample in samples:
                self.publish(sample)
            if asker.pace.ended:
                for sample in samples[-1:]:  # none, where only addresses are left that refused before
                    log.warning("not_asked_again server=%s outcome=%s", sample.server, sample.outcome)
                return
            if asker.pace.slower > slower:
                slower = asker.pace.slower
                log.warning("asked_less_often server=%s interval_s=%g", samples[-1].server, interval_s * slower)
            asked += 1
            answered += bool(samples) and good(samples[-1])
            self._stopping.wait(wait_s(asked, answered, interval_s, slower, _RANDOM.random()))


def wait_s(asked: int, answered: int, interval_s: float, slower: int, chance: float) -> float:
    """Return how long the next query waits, s, after so many that were asked and answered well.

    In the burst at first it is twice as long after every answer, and by ``chance`` (0 to 1) up to a quarter of it
    shorter or longer: nodes that begin together, and the sources of one node, do not ask all at one instant and wait
    for each other. A server that wants to be asked ``slower`` gets no burst.
    """
    if asked >= _BURST_TRIES or answered >= _BURST_ANSWERS or slower > 1:
        return interval_s * slower
    doubled = 1 << max(answered - 1, 0)
    return min(interval_s, min(_FIRST_INTERVAL_S * doubled, _BURST_INTERVAL_S) * (0.75 + chance / 2))
