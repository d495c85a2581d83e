"""What the reference must not contradict: itself, any event, and the truth where one was injected.

These checks gate every verdict: one that fails says that an assumption does not hold on this run, and then nothing the
reference says can be relied on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations, islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from analysis.by_event.event_rows import integers
from analysis.processes import pieces
from analysis.reference import drift
from analysis.reference.doubtful import NOTHING
from analysis.reference.envelope import even_instants, pair_envelope
from analysis.reference.model import Check, TruthCheck
from analysis.run import truth
from analysis.run.stored import parts_of
from analysis.stats import rates
from analysis.stats.ordered import Ordered
from node_agent.clocks.base import SLEW_PPM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analysis.arrays import Bools, Floats, Ints
    from analysis.reference.relation import Reference
    from analysis.run.load import Run
    from analysis.run.stored import Frame
    from node_agent.contract.plan import VirtualClock

ORDERED: Final = "low_not_above_high"
HALVES: Final = "even_probes_not_contradicted_by_odd"
EVENTS: Final = "no_event_before_it_was_sent"
LOOPS: Final = "loops_close"
TRUTH: Final = "injected_truth_inside"
NO_TRUTH: Final = "no two nodes with virtual clocks are bounded by probes"

_INSTANTS: Final = 1_000
_TRIANGLES: Final = 500
_STAMPS: Final = 20_000
_AT_ONCE: Final = 250_000  # events, whose lags take some 200 bytes each while they are found
_ROUNDING_NS: Final = 4  # both wall stamps' inverses and both injected errors are whole ns
_SLEW_PPB: Final = 1_000 * SLEW_PPM
_US: Final = 1_000.0


def checked(reference: Reference, run: Run, processes: int = 1) -> Reference:
    """Return the reference with its self-checks made; not evaluable, and saying why, if one of them failed."""
    checks = self_checks(reference, run, processes)
    failed = [check for check in checks if check.passed is False]
    if not failed:
        return replace(reference, checks=checks)
    why = "; ".join(f"{check.name}: {check.checked - check.held:,} of {check.checked:,} failed" for check in failed)
    return replace(reference, checks=checks, evaluable=False, reason=f"the reference contradicts itself: {why}")


def self_checks(reference: Reference, run: Run, processes: int = 1) -> tuple[Check, ...]:
    """Make every check of a reference, by some processes; none where it is not evaluable to begin with."""
    if not reference.evaluable:
        return ()
    given = {node: truth.clock_of(manifest.virtual_clock) for node, manifest in run.manifest.nodes.items()}
    clocks = {node: clock for node, clock in given.items() if clock is not None}
    of_truth = [partial(_truth, reference, run, clocks, ends_of) for ends_of in (_ends_of_events, _ends_of_probes)]
    others = [
        partial(_halves, reference),
        partial(_events, reference, run),
        partial(_loops, reference),
        partial(_ordered, reference),
    ]
    *inside, halves, events, loops, ordered = pieces.results([*of_truth, *others], processes)
    return ordered, halves, events, loops, _truth_check(inside)


def _ordered(reference: Reference) -> Check:
    held = checked_knots = 0
    for envelope in reference.envelopes.values():
        held += int((envelope.low <= envelope.high).sum())
        checked_knots += len(envelope.at)
    return Check(ORDERED, "the lower bound is not above the upper one, at every probe", held, checked_knots)


def _halves(reference: Reference) -> Check:
    held = known = 0
    for pair, joined in reference.joined.items():
        bounds = joined.bounds
        twice = (reference.twice.get(pair[0], NOTHING), reference.twice.get(pair[1], NOTHING))
        even = pair_envelope(bounds.take(bounds.even), twice, reference.direct[pair].ppb)
        odd = bounds.take(~bounds.even)
        theta = even.theta(odd.at)
        fits = np.where(odd.upper, odd.value >= theta.low, odd.value <= theta.high)
        # half of the probes may not show a step that all of them do
        judged = (theta.segment >= 0) & (reference.direct[pair].theta(odd.at).segment >= 0)
        held += int((fits & judged).sum())
        known += int(judged.sum())
    meaning = "the envelope of the even probes alone is contradicted by no odd probe"
    return Check(HALVES, meaning, held, known, "" if known else "too few probes")


def _events(reference: Reference, run: Run) -> Check:
    coordinator = run.manifest.coordinator_id
    held = known = 0
    names = ("raw_ns", "raw_error_ns")
    for worker, frame in run.workers.items():
        for sends, receipts in parts_of(run.sends, frame):
            both = _same_events(_by_event(sends, "send", names, worker), _by_event(receipts, "receive", names))
            for begin in range(0, len(both[0].events), _AT_ONCE):
                some = slice(begin, begin + _AT_ONCE)
                (sent, sent_error), (received, received_error) = (
                    [column[some] for column in end.columns] for end in both
                )
                lag = reference.lag(coordinator, sent, worker, received, sent_error, received_error)
                held += int((lag.known & (lag.high_ns >= 0)).sum())
                known += int(lag.known.sum())
    meaning = "no event provably arrived before it was sent"
    return Check(EVENTS, meaning, held, known, "" if known else "no event with raw stamps at both ends in probed time")


def _loops(reference: Reference) -> Check:
    """Check that going from a to c by b leads where going straight does, by the pairs' own probes alone."""
    held = known = 0
    direct = reference.direct
    triangles = (
        (a, b, c)
        for a, b, c in combinations(reference.nodes, 3)
        if (a, b) in direct and (b, c) in direct and (a, c) in direct
    )
    for a, b, c in islice(triangles, _TRIANGLES):
        at = even_instants(direct[a, c], _INSTANTS)
        no_error = np.zeros(len(at), dtype=np.int64)
        straight = direct[a, c].ahead(at, no_error)
        by_b = direct[a, b].ahead(at, no_error)
        half = -(-(by_b.high - by_b.low) // 2)
        around = direct[b, c].ahead(by_b.low + half, half)
        evaluable = (straight.segment >= 0) & (by_b.segment >= 0) & (around.segment >= 0)
        meets = (straight.low <= around.high) & (around.low <= straight.high)
        held += int((meets & evaluable).sum())
        known += int(evaluable.sum())
    meaning = f"from a to c by b agrees with straight, over at most {_TRIANGLES} triangles of pairs with own probes"
    return Check(LOOPS, meaning, held, known, "" if known else "no three nodes with probes between all of them")


class _Inside(NamedTuple):
    """How many true lags were inside what the reference says, of how many judged, and half of how wide each is (ns)."""

    held: int
    known: int
    half_widths: Floats


def _truth(reference: Reference, run: Run, clocks: Mapping[str, VirtualClock], ends_of: _EndsOf) -> _Inside:
    """Hold lags against what the virtual clocks were given, for two nodes' stamps of the same probes or events.

    A wall stamp tells the true instant T; a's oscillator advances from T_a to T_b by T_b - T_a and the change of its
    injected error. True time is the host's wall clock. Its time service slews it against the host's oscillator, by
    500 ppm in everyday discipline: by so much of that while the truth itself is not known. A host that is slewed faster
    than that while it plays a cluster has no truth to judge by, and this check then fails.
    """
    held = known = 0
    widths = [np.zeros(0, dtype=np.float64)]
    for first, second, one, other in ends_of(reference, run, clocks):
        clock_a = clocks[first]
        true_lag = other.true - one.true
        true_lag += truth.raw_error(clock_a, other.true) - truth.raw_error(clock_a, one.true)
        loose = drift.up(np.abs(other.true - one.true), _SLEW_PPB) + _ROUNDING_NS
        lag = reference.lag(first, one.raw, second, other.raw, one.error, other.error)
        judged = lag.known & one.told_apart & other.told_apart
        inside = (lag.low_ns - loose <= true_lag) & (true_lag <= lag.high_ns + loose)
        held += int((inside & judged).sum())
        known += int(judged.sum())
        widths.append((lag.high_ns - lag.low_ns)[judged] / 2)
    return _Inside(held, known, np.concatenate(widths))


def _truth_check(parts: Sequence[_Inside]) -> TruthCheck:
    """Return the check against the injected truth, of what was found of probes and of events."""
    meaning = "the true lag between the two ends of probes and events lies inside, the stamps' errors included"
    held, known = sum(part.held for part in parts), sum(part.known for part in parts)
    half_width = rates.spread_of(Ordered(lambda: (part.half_widths / _US for part in parts)))
    return TruthCheck(TRUTH, meaning, held, known, "" if known else NO_TRUTH, half_width)


@dataclass(frozen=True)
class _Stamped:
    """Stamps of a node with a virtual clock: its raw oscillator and its error, in ns.

    ``true``: the first true instant of each, in ns; ``told_apart``: it has no other.
    """

    raw: Ints
    error: Ints
    true: Ints
    told_apart: Bools

    @classmethod
    def of(cls, clock: VirtualClock, wall: Ints, raw: Ints, error: Ints) -> _Stamped:
        return cls(raw, error, truth.true_from_wall(clock, wall), truth.told_apart(clock, wall))

    def take(self, places: Ints) -> _Stamped:
        return _Stamped(self.raw[places], self.error[places], self.true[places], self.told_apart[places])


def _thinned(column: Ints) -> Ints:
    """Return at most so many of some numbers, evenly."""
    return column[:: max(1, -(-len(column) // _STAMPS))]


_BothEnds = tuple[str, str, _Stamped, _Stamped]  # two nodes, and what each stamped of the same probes or events


class _EndsOf(Protocol):
    def __call__(self, reference: Reference, run: Run, clocks: Mapping[str, VirtualClock]) -> Iterator[_BothEnds]: ...


def _ends_of_probes(reference: Reference, run: Run, clocks: Mapping[str, VirtualClock]) -> Iterator[_BothEnds]:  # noqa: ARG001 - as of events
    """Yield what two nodes with virtual clocks stamped of the probes between them, those of both ways at once."""
    for (first, second), joined in reference.joined.items():
        if not {first, second} <= clocks.keys():
            continue
        forward, backward = joined.forward, joined.backward
        own = ((forward.sent, backward.received), (forward.received, backward.sent))
        one, other = (
            _Stamped.of(clocks[node], *(np.concatenate([*map(_thinned, both)]) for both in zip(*ways, strict=True)))
            for node, ways in zip((first, second), own, strict=True)
        )
        yield first, second, one, other


def _ends_of_events(reference: Reference, run: Run, clocks: Mapping[str, VirtualClock]) -> Iterator[_BothEnds]:  # noqa: ARG001 - as of probes
    """Yield what two nodes with virtual clocks stamped of the same events."""
    coordinator = run.manifest.coordinator_id
    receipts = {node: _Journal(frame, "receive", node) for node, frame in run.workers.items() if node in clocks}
    ends = list(combinations(receipts.values(), 2))
    if coordinator in clocks:
        ends = [(_Journal(run.sends, "send", coordinator, of), receipts[of]) for of in receipts] + ends
    chosen = [_thinned(_common(first.events, second.events)) for first, second in ends]
    asked: dict[_Journal, list[Ints]] = {}
    for both, events in zip(ends, chosen, strict=True):
        for journal in both:
            asked.setdefault(journal, []).append(events)
    asked_of = {journal: np.unique(np.concatenate(events)) for journal, events in asked.items()}
    stamped = {journal: journal.stamped(clocks[journal.node_id], events) for journal, events in asked_of.items()}
    for (first, second), events in zip(ends, chosen, strict=True):
        one, other = (stamped[end].take(np.searchsorted(asked_of[end], events)) for end in (first, second))
        yield first.node_id, second.node_id, one, other


class _Journal:
    """A node's stamps of events in a table of one ``kind``, of sends those to one worker."""

    def __init__(self, frame: Frame, kind: str, node_id: str, worker: str = "") -> None:
        self._frame, self._kind, self._worker = frame, kind, worker
        self.node_id = node_id

    @cached_property
    def events(self) -> Ints:
        """Return the events with a stamp of both clocks, in order."""
        return np.concatenate([part.events for part in self._parts()])

    def stamped(self, clock: VirtualClock, events: Ints) -> _Stamped:
        """Return the stamps of some of the events, in order."""
        parts = [part.at(events) for part in self._parts()]
        return _Stamped.of(clock, *map(np.concatenate, zip(*parts, strict=True)))

    def _parts(self) -> Iterator[_ByEvent]:
        for (part,) in parts_of(self._frame):
            yield _by_event(part, self._kind, ("time_ns", "raw_ns", "raw_error_ns"), self._worker)


class _ByEvent(NamedTuple):
    """Stamps by event: the events that have all that was asked for, in order, and one column for each of it."""

    events: Ints
    columns: tuple[Ints, ...]

    def at(self, events: Ints) -> tuple[Ints, ...]:
        """Return the columns of those of some events that are here."""
        here = np.isin(self.events, events, assume_unique=True)
        return tuple(column[here] for column in self.columns)


def _by_event(frame: Frame, kind: str, names: Sequence[str], worker: str = "") -> _ByEvent:
    """Return columns of a table by event, of several rows of one the first; none where the table lacks a column.

    ``worker``: of the sends to this one alone.
    """
    wanted = [f"{kind}_{name}" for name in names]
    if not {"event_id", *wanted} <= {*frame.columns}:
        return _ByEvent(np.zeros(0, dtype=np.int64), (np.zeros(0, dtype=np.int64),) * len(names))
    ids, there = integers(frame, "event_id")
    if worker:
        there = there & (frame["worker_id"] == worker).fillna(value=False).to_numpy(dtype=np.bool_)
    events, first = np.unique(ids[there], return_index=True)
    rows = np.flatnonzero(there)[first]
    columns, known = zip(*(integers(frame, name) for name in wanted), strict=True)
    complete = np.logical_and.reduce([cells[rows] for cells in known])
    return _ByEvent(events[complete], tuple(column[rows[complete]] for column in columns))


def _same_events(first: _ByEvent, second: _ByEvent) -> tuple[_ByEvent, _ByEvent]:
    """Return both tables' columns at the events that are in both."""
    if np.array_equal(first.events, second.events):
        return first, second
    events = _common(first.events, second.events)
    return _ByEvent(events, first.at(events)), _ByEvent(events, second.at(events))


def _common(first: Ints, second: Ints) -> Ints:
    """Return the numbers that are in both of two arrays, which have each once, in order."""
    return first if np.array_equal(first, second) else np.intersect1d(first, second, assume_unique=True)
