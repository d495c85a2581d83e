"""Readings of whole arrays of stamps: what ``node_agent.clocks`` computes one by one, in the same integer arithmetic.

``invoke replay`` recomputes every reading of a simulated run with the agent's own functions and finds no difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from node_agent.clocks.base import drift_per_ns, good
from node_agent.clocks.ntp import WINDOW
from node_agent.contract.plan import valid_for_ns
from node_agent.contract.records import (
    CHRONOTICK,
    GUARANTEED,
    INCONSISTENT,
    NEVER_SAMPLED,
    NTP,
    OK,
    PROBABILISTIC,
    STALE,
    TOO_FEW_SERVERS,
    Sample,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from node_agent.contract.plan import ClocksPlan

    Ints = NDArray[np.int64]

_NO_CELLS: Final = "," * 10
_FAR: Final = np.iinfo(np.int64).max // 4


@dataclass(frozen=True)
class Answers:
    """What one source says at each of some raw instants. Where ``status`` is not "ok" the numbers mean nothing."""

    source: str
    kind: str
    level: float
    reference: str
    status: NDArray[np.object_]
    est: Ints
    earliest: Ints
    latest: Ints
    uncertainty_ns: NDArray[np.float64]
    age: Ints
    sample_id: NDArray[np.object_]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Return where there is a reading."""
        found: NDArray[np.bool_] = self.status == OK
        return found

    def cells(self, wall: Ints) -> list[str]:
        """Return the readings as the source columns of a row, like ``records.reading_cells``."""
        rows = [f"{status}{_NO_CELLS}" for status in self.status.tolist()]
        places = np.flatnonzero(self.ok)
        form = f"ok,%.6f,%.6f,%d,%d,%d,{self.kind},{self.level:.6g},{self.reference},%.3f,%s"
        columns = (
            (self.est - wall) / 1e6, self.uncertainty_ns / 1e6, self.est, self.earliest, self.latest, self.age / 1e6,
            self.sample_id,
        )  # fmt: skip
        filled = [form % row for row in zip(*(column[places].tolist() for column in columns), strict=True)]
        if len(filled) == len(rows):
            return filled
        for place, cells in zip(places.tolist(), filled, strict=True):
            rows[place] = cells
        return rows

    def claims(self) -> NDArray[np.object_]:
        """Return the claimed uncertainties in ms, as text."""
        return np.array([f"{uncertainty:.6f}" for uncertainty in (self.uncertainty_ns / 1e6).tolist()], dtype=object)

    def waiting_cells(self, wall: Ints) -> list[str]:
        """Return the readings as the cells from status to sample_id of a row of commit_wait.csv."""
        columns = ((self.est - wall) / 1e6, self.uncertainty_ns / 1e6, self.status, self.sample_id)
        return [
            f"{OK},{offset:.6f},{uncertainty:.6f},{sample_id}" if status == OK else f"{status},,,"
            for offset, uncertainty, status, sample_id in zip(*(column.tolist() for column in columns), strict=True)
        ]


class Source(Protocol):
    """One source of one node with all its samples."""

    def at(self, raw: Ints, error: Ints) -> Answers:
        """Return the readings of stamps with these raw instants and raw errors, in ns."""


def sources(samples: Sequence[Sample], clocks: ClocksPlan) -> dict[str, Source]:
    """Return the sources of one node by name, from its samples in order of publication."""
    found: dict[str, Source] = {}
    if clocks.ntp is not None:
        mine = [sample for sample in samples if sample.source == NTP and good(sample)]
        valid = valid_for_ns(clocks.ntp.query_interval_s, clocks.ntp.valid_for_s)
        found[NTP] = Ntp(
            [_Server(mine, name, len(clocks.ntp.servers) > 1) for name in clocks.ntp.servers], clocks, valid
        )
    if clocks.chronotick is not None:
        mine = [sample for sample in samples if sample.source == CHRONOTICK and good(sample)]
        found[CHRONOTICK] = ChronoTick(mine, clocks)
    return found


def _aged(bound: Ints, age: Ints, clocks: ClocksPlan) -> Ints:
    """Return ``clocks.base.aged_bound_ns`` of arrays."""
    rate, per = drift_per_ns(clocks.max_drift_ppm)
    aged: Ints = bound - (-np.abs(age) * rate // per)
    return aged


def _column(samples: Sequence[Sample], name: str) -> Ints:
    return np.array([getattr(sample, name) for sample in samples], dtype=np.int64)


class ChronoTick:
    """The ChronoTick clock of one node, as ``clocks.chronotick.ChronoTickSource`` reads it."""

    def __init__(self, samples: Sequence[Sample], clocks: ClocksPlan) -> None:
        plan = clocks.chronotick
        if plan is None:
            raise ValueError("a ChronoTick source has a plan")
        self._clocks = clocks
        self._multiplier = plan.uncertainty_multiplier
        self._valid = valid_for_ns(plan.query_interval_s, plan.valid_for_s)
        self._reference = f"server:{plan.server}"
        self._published = _column(samples, "published_raw_ns")
        self._raw_at, self._reference_at = _column(samples, "raw_at_ns"), _column(samples, "reference_at_ns")
        self._sigma, self._bound_stamp = _column(samples, "sigma_ns"), _column(samples, "bound_stamp_ns")
        self._ids = np.array([sample.sample_id for sample in samples], dtype=object)

    def at(self, raw: Ints, error: Ints) -> Answers:
        """Return the newest published sample's interval at each instant."""
        newest = np.searchsorted(self._published, raw, side="right") - 1
        place = np.maximum(newest, 0)
        age = raw - self._raw_at[place]
        status = np.full(len(raw), OK, dtype=object)
        status[age > self._valid] = STALE
        status[newest < 0] = NEVER_SAMPLED
        est = self._reference_at[place] + age
        width = np.ceil(self._multiplier * self._sigma[place]).astype(np.int64) + self._bound_stamp[place]
        half = _aged(width, age, self._clocks) + _aged(error, error, self._clocks)
        level = math.erf(self._multiplier / math.sqrt(2))
        return Answers(
            CHRONOTICK, PROBABILISTIC, level, self._reference, status, est, est - half, est + half,
            self._sigma[place].astype(np.float64), age, self._ids[place],
        )  # fmt: skip


@dataclass(frozen=True)
class _Interval:
    """One server's intersection at each instant. ``found``: it has a fresh sample there."""

    found: NDArray[np.bool_]
    low: Ints
    high: Ints
    est: Ints
    raw_at: Ints
    sample_id: NDArray[np.object_]


class _Server:
    """The good samples of one NTP server."""

    def __init__(self, samples: Sequence[Sample], name: str, to_utc: bool) -> None:
        mine = [sample for sample in samples if sample.server == name]
        self.published = _column(mine, "published_raw_ns")
        self.raw_at, self.reference_at = _column(mine, "raw_at_ns"), _column(mine, "reference_at_ns")
        self.bound = _column(mine, "bound_ns")
        if to_utc:
            self.bound = self.bound - (-_column(mine, "root_delay_ns") // 2) + _column(mine, "root_dispersion_ns")
        self.ids = np.array([sample.sample_id for sample in mine], dtype=object)

    def at(self, raw: Ints, clocks: ClocksPlan, valid: int) -> _Interval:
        """Intersect the fresh ones of the newest published samples at each instant, oldest first."""
        newest = np.searchsorted(self.published, raw, side="right") - 1
        found = np.zeros(len(raw), dtype=np.bool_)
        low, high = np.full(len(raw), -_FAR), np.full(len(raw), _FAR)
        est, narrowest, best = (
            np.zeros(len(raw), dtype=np.int64),
            np.full(len(raw), _FAR),
            np.zeros(len(raw), dtype=np.int64),
        )
        for back in range(WINDOW - 1, -1, -1):
            place = newest - back
            usable = place >= 0
            place = np.maximum(place, 0)
            age = raw - self.raw_at[place]
            usable &= age <= valid
            if not usable.any():
                continue
            center = self.reference_at[place] + age
            bound = _aged(self.bound[place], age, clocks)
            low = np.where(usable, np.maximum(low, center - bound), low)
            high = np.where(usable, np.minimum(high, center + bound), high)
            better = usable & (bound <= narrowest)
            est, narrowest, best = (
                np.where(better, new, old) for new, old in ((center, est), (bound, narrowest), (place, best))
            )
            found |= usable
        return _Interval(found, low, high, est, self.raw_at[best], self.ids[best])


class Ntp:
    """The NTP clock of one node, as ``clocks.ntp.NtpSource`` reads it."""

    def __init__(self, servers: Sequence[_Server], clocks: ClocksPlan, valid: int) -> None:
        self._servers, self._clocks, self._valid = servers, clocks, valid
        names = clocks.ntp.servers if clocks.ntp is not None else ()
        self._wrong = (len(names) - 1) // 2  # so many of the configured ones may be
        self._reference = "utc" if len(names) > 1 else f"server:{names[0]}"
        self._first = min((int(server.published[0]) for server in servers if len(server.published)), default=_FAR)

    def at(self, raw: Ints, error: Ints) -> Answers:
        """Return what the fresh samples of all servers allow at each instant."""
        intervals = [server.at(raw, self._clocks, self._valid) for server in self._servers if len(server.published)]
        if len(self._servers) == 1:
            best = intervals[0]
            low, high, joint = best.low, best.high, best.low <= best.high
        else:
            low, high, joint = _marzullo(intervals, self._wrong)
            best = _narrowest(intervals, low, high)
        answering = np.sum([interval.found for interval in intervals], axis=0)
        status = np.where(joint, OK, INCONSISTENT).astype(object)
        status[answering <= self._wrong] = TOO_FEW_SERVERS
        status[answering == 0] = STALE
        status[raw < self._first] = NEVER_SAMPLED
        wide = _aged(error, error, self._clocks)
        return Answers(
            NTP, GUARANTEED, 1.0, self._reference, status, np.minimum(np.maximum(best.est, low), high), low - wide,
            high + wide, (high - low) / 2 + wide, raw - best.raw_at, best.sample_id,
        )  # fmt: skip


def _marzullo(intervals: Sequence[_Interval], wrong: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return ``clocks.ntp.marzullo`` at each instant: low, high, and whether there is a joint interval."""
    found = np.array([interval.found for interval in intervals])
    valid = np.array([interval.found & (interval.low <= interval.high) for interval in intervals])
    given = found.sum(axis=0)
    needed = np.maximum(given - wrong, 1)
    lows = np.where(valid, np.array([interval.low for interval in intervals]), _FAR)
    highs = np.where(valid, np.array([interval.high for interval in intervals]), _FAR)
    edges = np.concatenate([2 * lows, 2 * highs + 1])  # a point that opens comes before one that closes there
    order = np.argsort(edges, axis=0, kind="stable")
    sorted_edges = np.take_along_axis(edges, order, axis=0)
    opens = (sorted_edges % 2) == 0
    real = sorted_edges < 2 * _FAR
    depth = np.cumsum(np.where(real, np.where(opens, 1, -1), 0), axis=0)
    points = sorted_edges // 2
    begins = real & opens & (depth >= needed)
    ends = real & ~opens & (depth + 1 >= needed)
    low = np.where(begins, points, _FAR).min(axis=0)
    high = np.where(ends, points, -_FAR).max(axis=0)
    return low, high, begins.any(axis=0) & ends.any(axis=0) & (given > 0)


def _narrowest(intervals: Sequence[_Interval], low: Ints, high: Ints) -> _Interval:
    """Return, at each instant, the narrowest of the intervals that touch the joint one, the first of equals."""
    widths = np.array(
        [
            np.where(
                one.found & (one.low <= one.high) & (np.maximum(one.low, low) <= np.minimum(one.high, high)),
                one.high - one.low, _FAR,
            )
            for one in intervals
        ]
    )  # fmt: skip
    chosen = widths.argmin(axis=0)

    def pick(name: str) -> NDArray[np.generic]:
        columns = np.array([getattr(interval, name) for interval in intervals])
        picked: NDArray[np.generic] = np.take_along_axis(columns, chosen[None, :], axis=0)[0]
        return picked

    return _Interval(*(pick(name) for name in ("found", "low", "high", "est", "raw_at", "sample_id")))  # type: ignore[arg-type]  # each has its type
