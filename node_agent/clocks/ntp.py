"""What NTP samples mean: intersect the samples of one server, then Marzullo's intersection over several servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from node_agent.clocks import ntp_sample
from node_agent.clocks.holdover import aged_bound_ns, drift_per_ns, stamp_bound_ns
from node_agent.clocks.kind import ByHand, CheckTable, SourceKind, datagrams
from node_agent.clocks.ntp_packet import PACKET_SIZE, serves_host_clock
from node_agent.contract.plan import NtpPlan
from node_agent.contract.records import GUARANTEED, INCONSISTENT, NTP, STALE, TOO_FEW_SERVERS, Available, Unavailable
from node_agent.contract.servers import split_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from node_agent.contract.records import Reading, Sample, Stamp

WINDOW: Final = (
    8  # the newest samples of a server that are intersected; the fresher ones are almost always the narrower
)
OWN_CLOCKS: Final = "own_clocks"  # what several servers refer to that serve their hosts' clocks


class Interval(NamedTuple):
    """A closed interval of reference time in ns, with the estimate and the sample it rests on."""

    low: int
    high: int
    est: int
    sample: Sample


class _Line(NamedTuple):
    """One sample as what a reading needs of it, in ns."""

    raw_at: int
    reference_at: int
    bound: int
    sample: Sample


class _Digest(NamedTuple):
    """What is common to all stamps from ``since_ns`` to ``until_ns`` (raw): the samples that count, by server."""

    samples: Sequence[Sample]
    since_ns: int
    until_ns: int
    servers: tuple[tuple[_Line, ...], ...]
    reference: str


class _Memory:
    """The digest made last. Thousands of stamps share one; threads may replace it under each other at no harm."""

    __slots__ = ("digest",)

    def __init__(self) -> None:
        self.digest = _Digest((), 0, -1, (), "")


@dataclass(frozen=True)
class NtpSource:
    """The NTP clock: guaranteed intervals, as long as no oscillator is off by more than ``max_drift_ppm``.

    With one configured server readings refer to that server, with several to UTC (each server's root delay / 2 and root
    dispersion are added), or to their own clocks where one says that this is what it serves. Fewer than half of the
    configured ones may be falsetickers, silent ones or not: of five, two. So with three of five answering, one of them
    must be right; with two, nothing is known. Names that lead to one address are one machine and have one vote, the
    first one's.
    """

    servers: tuple[str, ...]
    max_drift_ppm: float
    valid_for_ns: int
    name: str = NTP
    own_clock: bool = False
    _memory: _Memory = field(default_factory=_Memory, init=False, repr=False, compare=False)

    def read(self, samples: Sequence[Sample], stamp: Stamp, raw_ns: int) -> Reading:
        """Return the intersection of what the fresh samples allow, widened by the stamp's own error."""
        digest = self._memory.digest
        if digest.samples is not samples or not digest.since_ns <= raw_ns <= digest.until_ns:
            digest = self._memory.digest = self._digest(samples, raw_ns)
        if not digest.servers:
            return Unavailable(STALE)
        if len(self.servers) == 1:
            best = self._of_server(digest.servers[0], raw_ns)
            low, high = best.low, best.high
            if low > high:
                return Unavailable(INCONSISTENT)
        else:
            intervals = [self._of_server(lines, raw_ns) for lines in digest.servers]
            wrong = (len(self.servers) - 1) // 2
            if len(intervals) <= wrong:
                return Unavailable(TOO_FEW_SERVERS)
            joint = marzullo([(interval.low, interval.high) for interval in intervals], wrong)
            if joint is None:
                return Unavailable(INCONSISTENT)
            low, high = joint
            best = min(
                (
                    interval
                    for interval in intervals
                    if max(interval.low, low) <= min(interval.high, high) and interval.low <= interval.high
                ),
                key=lambda interval: interval.high - interval.low,
            )
        error = stamp_bound_ns(stamp.raw_error_ns, self.max_drift_ppm)
        return Available(
            best.est if low <= best.est <= high else min(max(best.est, low), high),
            low - error,
            high + error,
            GUARANTEED,
            1.0,
            digest.reference,
            (high - low) / 2 + error,
            raw_ns - _raw_at(best.sample),
            best.sample.sample_id,
        )

    def _digest(self, samples: Sequence[Sample], raw_ns: int) -> _Digest:
        """Choose the fresh samples at ``raw_ns``, and tell between which instants exactly these are fresh."""
        ends = [(_raw_at(sample) + self.valid_for_ns, sample) for sample in samples]
        fresh = [sample for end, sample in ends if raw_ns <= end]
        by_server = [_of_one_machine([s for s in fresh if s.server == server])[-WINDOW:] for server in self.servers]
        # two names of one machine have one vote
        machines = {_machine(own): own for own in reversed(by_server) if own}
        return _Digest(
            samples,
            max([_raw_at(sample) for sample in fresh] + [end + 1 for end, _sample in ends if raw_ns > end]),
            min((end for end, _sample in ends if raw_ns <= end), default=raw_ns),
            tuple(self._decisive(own) for own in by_server if own and machines[_machine(own)] is own),
            self._reference(fresh),
        )

    def _reference(self, samples: Sequence[Sample]) -> str:
        if len(self.servers) == 1:
            return f"server:{self.servers[0]}"
        own = self.own_clock or any(serves_host_clock(sample.payload) for sample in samples)
        return OWN_CLOCKS if own else "utc"

    def _decisive(self, samples: Sequence[Sample]) -> tuple[_Line, ...]:
        """Return the samples that can shape an intersection at any instant after them; the others never do.

        A sample's ends run as raw * (1 -+ p) + constant, p the drift, and its bound grows by p, each rounded by less
        than 1 ns. One whose constants are all worse by 1 ns or more than the best of the others is never decisive.
        """
        to_utc = refers_to_utc(self.servers)
        lines = [_Line(_raw_at(s), _reference_at(s), bound_ns(s, to_utc=to_utc), s) for s in samples]
        rate, per = drift_per_ns(self.max_drift_ppm)
        narrow = [line.bound * per - line.raw_at * rate for line in lines]  # all in units of 1 / per ns
        lows = [(line.reference_at - line.raw_at) * per - width for line, width in zip(lines, narrow)]
        highs = [(line.reference_at - line.raw_at) * per + width for line, width in zip(lines, narrow)]
        return tuple(
            line
            for line, width, low, high in zip(lines, narrow, lows, highs)
            if width < min(narrow) + per or low > max(lows) - per or high < min(highs) + per
        )

    def _of_server(self, lines: Sequence[_Line], raw_ns: int) -> Interval:
        """Intersect one server's samples at ``raw_ns``; low > high says that the server contradicts itself."""
        low = high = est = narrowest = 0
        best: Sample | None = None
        for raw_at, reference_at, own_bound, sample in lines:
            age = raw_ns - raw_at
            center = reference_at + age
            bound = aged_bound_ns(own_bound, age, self.max_drift_ppm)
            if best is None:
                low, high = center - bound, center + bound
            else:
                low, high = max(low, center - bound), min(high, center + bound)
            if best is None or bound <= narrowest:
                est, narrowest, best = center, bound, sample
        assert best is not None, "a digest holds at least one sample of each of its servers"  # noqa: S101 - for the type checker
        return Interval(low, high, est, best)


def _of_one_machine(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples of the address that answered last: a name may move to a machine with another clock."""
    return [sample for sample in samples if sample.address == samples[-1].address]


def _machine(samples: Sequence[Sample]) -> str:
    """Return what tells the machine behind some samples from others: its address, where one is known."""
    return samples[-1].address or samples[-1].server


def marzullo(intervals: Iterable[tuple[int, int]], wrong: int | None = None) -> tuple[int, int] | None:
    """Return the smallest interval that holds the truth if at most ``wrong`` of ``intervals`` are wrong, else None.

    That is the hull of all points that lie in at least n - f of the n intervals, f = ``wrong``, by default the most
    below half, ceil(n / 2) - 1 (K. Marzullo, Maintaining the Time in a Distributed System, 1984). Intervals with
    low > high count as wrong. O(n log n).
    """
    given = list(intervals)
    needed = len(given) - ((len(given) - 1) // 2 if wrong is None else wrong)
    if not given or needed < 1:
        return None
    edges = sorted([(low, 0) for low, high in given if low <= high] + [(high, 1) for low, high in given if low <= high])
    depth = 0
    first = last = None
    for point, closes in edges:
        if closes:
            if depth >= needed:
                last = point
            depth -= 1
        else:
            depth += 1
            if depth >= needed and first is None:
                first = point
    return None if first is None or last is None else (first, last)


def falsetickers(intervals: dict[str, tuple[int, int]]) -> tuple[str, ...]:
    """Return the servers whose interval misses the joint one; all of them where there is no joint one."""
    joint = marzullo(intervals.values())
    return tuple(
        server
        for server, (low, high) in intervals.items()
        if joint is None or low > high or max(low, joint[0]) > min(high, joint[1])
    )


def _raw_at(sample: Sample) -> int:
    assert sample.raw_at_ns is not None, "a good sample is tied to the raw oscillator"  # noqa: S101 - for the type checker
    return sample.raw_at_ns


def _reference_at(sample: Sample) -> int:
    assert sample.reference_at_ns is not None, "a good sample names the reference time"  # noqa: S101 - for the type checker
    return sample.reference_at_ns


def refers_to_utc(servers: Sequence[str]) -> bool:
    """Tell whether readings refer to UTC: of several servers, not one is the reference."""
    return len(servers) > 1


def bound_ns(sample: Sample, *, to_utc: bool) -> int:
    """Return what a sample's offset may be wrong by, in ns: its server's own time, or with the root distance UTC."""
    bound = sample.bound_ns or 0
    if to_utc:
        bound += -(-(sample.root_delay_ns or 0) // 2) + (sample.root_dispersion_ns or 0)
    return bound


def _by_hand(text: str) -> NtpPlan | None:
    for server in text.split(",") if text else ():
        split_address(server)
    return NtpPlan(tuple(text.split(","))) if text else None


KIND: Final = SourceKind(
    name=NTP,
    label="NTP",
    plan_type=NtpPlan,
    reader=lambda plan, ppm, valid_ns: NtpSource(plan.servers, ppm, valid_ns, own_clock=plan.own_clock),
    recompute=ntp_sample.recompute,
    traffic=datagrams(NTP, PACKET_SIZE, PACKET_SIZE),  # RFC 5905 section 7.3, no extensions
    check=CheckTable(
        title="NTP",
        server="NTP server",
        delay="round trip ms",
        stratum="stratum",
        advice="start it, open its port to the node, or change it in configs/clusters/{cluster}.yaml",
        advice_answered="it runs and is reached: see its log, or change it in configs/clusters/{cluster}.yaml",
    ),
    by_hand=ByHand(
        "--ntp-server",
        "H:P[,H:P...]; left out, the ntp columns stay empty",
        _by_hand,
        hosts=lambda plan: [split_address(server)[0] for server in plan.servers],
    ),
    explain=ntp_sample.explain,
)
