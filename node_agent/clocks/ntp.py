"""What NTP samples mean: intersect the samples of one server, then Marzullo's intersection over several servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from node_agent.clocks.base import aged_bound_ns
from node_agent.records import GUARANTEED, INCONSISTENT, NTP, STALE, Available, Reading, Sample, Stamp, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WINDOW: Final = (
    8  # the newest samples of a server that are intersected; the fresher ones are almost always the narrower
)


class Interval(NamedTuple):
    """A closed interval of reference time in ns, with the estimate and the sample it rests on."""

    low: int
    high: int
    est: int
    sample: Sample


@dataclass(frozen=True)
class NtpSource:
    """The NTP clock: guaranteed intervals, as long as no oscillator is off by more than ``max_drift_ppm``.

    With one configured server readings refer to that server, with several to UTC (each server's root delay / 2 and root
    dispersion are added), and fewer than half of them may be falsetickers.
    """

    servers: tuple[str, ...]
    max_drift_ppm: float
    valid_for_ns: int
    name: str = NTP

    def read(self, samples: Sequence[Sample], stamp: Stamp, raw_ns: int) -> Reading:
        """Return the intersection of what the fresh samples allow, widened by the stamp's own error."""
        fresh = [s for s in samples if raw_ns - _raw_at(s) <= self.valid_for_ns]
        if not fresh:
            return Unavailable(STALE)
        to_utc = len(self.servers) > 1
        intervals = [
            found
            for server in self.servers
            if (found := self._of_server([s for s in fresh if s.server == server][-WINDOW:], raw_ns, to_utc=to_utc))
            is not None
        ]
        if any(found.low > found.high for found in intervals) and not to_utc:
            return Unavailable(INCONSISTENT)
        if to_utc:
            joint = marzullo([(found.low, found.high) for found in intervals])
            if joint is None:
                return Unavailable(INCONSISTENT)
            low, high = joint
        else:
            low, high = intervals[0].low, intervals[0].high
        truechimers = [
            found for found in intervals if max(found.low, low) <= min(found.high, high) and found.low <= found.high
        ]
        best = min(truechimers, key=lambda found: found.high - found.low)
        return Available(
            est_ns=min(max(best.est, low), high),
            earliest_ns=low - stamp.raw_error_ns,
            latest_ns=high + stamp.raw_error_ns,
            kind=GUARANTEED,
            level=1.0,
            reference="utc" if to_utc else f"server:{self.servers[0]}",
            uncertainty_ns=(high - low) / 2 + stamp.raw_error_ns,
            age_ns=raw_ns - _raw_at(best.sample),
            sample_id=best.sample.sample_id,
        )

    def _of_server(self, samples: Sequence[Sample], raw_ns: int, *, to_utc: bool) -> Interval | None:
        """Intersect one server's samples at ``raw_ns``; low > high says that the server contradicts itself."""
        found: Interval | None = None
        narrowest = 0
        for sample in samples:
            age = raw_ns - _raw_at(sample)
            center = _reference_at(sample) + age
            bound = aged_bound_ns(_bound(sample, to_utc=to_utc), age, self.max_drift_ppm)
            if found is None:
                found, narrowest = Interval(center - bound, center + bound, center, sample), bound
                continue
            low, high = max(found.low, center - bound), min(found.high, center + bound)
            if bound <= narrowest:
                found, narrowest = Interval(low, high, center, sample), bound
            else:
                found = Interval(low, high, found.est, found.sample)
        return found


def marzullo(intervals: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the smallest interval that holds the truth if fewer than half of ``intervals`` are wrong, else None.

    That is the hull of all points that lie in at least n - f of the n intervals, f = ceil(n / 2) - 1 (K. Marzullo,
    Maintaining the Time in a Distributed System, 1984). Intervals with low > high count as wrong. O(n log n).
    """
    given = list(intervals)
    if not given:
        return None
    needed = len(given) - (len(given) - 1) // 2
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


def _bound(sample: Sample, *, to_utc: bool) -> int:
    bound = sample.bound_ns or 0
    if to_utc:
        bound += -(-(sample.root_delay_ns or 0) // 2) + (sample.root_dispersion_ns or 0)
    return bound
