"""What a node's wall clock showed against its raw oscillator, where both were read together.

A wall clock may be set back while a run goes on, and the run is none the worse: its order is the raw oscillator's. So
what is judged of a wall instant is judged with the offsets (wall - raw) that were seen around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from node_agent.clocks.base import SLEW_PPM
from node_agent.contract import records

# Instants of a wall clock: 2000-01-01 to 2100-01-01, in ns since 1970. Seconds, ms or us in their place fall outside.
EARLIEST_NS: Final = 946_684_800_000_000_000
LATEST_NS: Final = 4_102_444_800_000_000_000

if TYPE_CHECKING:
    import pandas as pd

    from analysis.arrays import Bools, Ints, Places


@dataclass(frozen=True)
class Around:
    """The offsets seen around some instants (ns, one entry each): from ``low`` to ``high``, errors included.

    ``stepped``: they differ by more than their errors and a slew allow.
    """

    low: Ints
    high: Ints
    stepped: Bools


@dataclass(frozen=True)
class WallClock:
    """The offsets wall - raw seen at some raw instants, in order of these, each within its error. All ns."""

    raw: Ints
    offset: Ints
    error: Ints

    def __len__(self) -> int:
        """Return how often both clocks were read together."""
        return len(self.raw)

    def around(self, first: Ints, last: Ints) -> Around:
        """Return the offsets from the one seen before each ``first`` to the one seen after each ``last`` (raw, ns).

        There must be at least one.
        """
        begin, end = self._between(first, last)
        low, high = _least(self.offset - self.error, begin, end), -_least(-self.offset - self.error, begin, end)
        surely_low = _least(self.offset + self.error, begin, end)
        surely_high = -_least(-self.offset + self.error, begin, end)
        return Around(low, high, surely_high - surely_low > _slew(self.raw[end] - self.raw[begin]))

    def fits(self, wall: Ints, earliest: Ints, latest: Ints) -> Bools:
        """Tell which wall instants this clock may have shown at a raw instant from ``earliest`` to ``latest``."""
        begin, end = self._between(earliest, latest)
        low, high = _least(self.offset - self.error, begin, end), -_least(-self.offset - self.error, begin, end)
        place = np.searchsorted(self.raw, earliest)
        before, after = np.clip(place - 1, 0, len(self) - 1), np.clip(place, 0, len(self) - 1)
        gap = np.minimum(np.abs(earliest - self.raw[before]), np.abs(self.raw[after] - earliest))
        slack = _slew(gap + (latest - earliest)) + 1
        fitting: Bools = (wall - latest <= high + slack) & (wall - earliest >= low - slack)
        return fitting

    def _between(self, first: Ints, last: Ints) -> tuple[Places, Places]:
        """Return the place of the offset seen before each ``first``, and of the one seen after each ``last``."""
        begin = np.clip(np.searchsorted(self.raw, first, side="right") - 1, 0, len(self) - 1)
        return begin, np.clip(np.searchsorted(self.raw, last, side="left"), begin, len(self) - 1)


def _least(values: Ints, begin: Places, end: Places) -> Ints:
    """Return the least of the values from each ``begin`` to its ``end``, both included."""
    between = np.column_stack([begin, end + 1]).ravel()
    least: Ints = np.minimum.reduceat(np.append(values, values[-1]), between)[::2]
    return least


def _slew(elapsed: Ints) -> Ints:
    return -(-np.abs(elapsed) * SLEW_PPM // 1_000_000)


def of_pairs(pairs: pd.DataFrame | None) -> WallClock:
    """Return what a clock_pairs.csv says; nothing where there is none."""
    if pairs is None or not set(records.CLOCK_PAIRS_COLUMNS) <= set(pairs.columns):
        return WallClock(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
    columns = pairs.dropna(subset=list(records.CLOCK_PAIRS_COLUMNS))
    before, wall, after = (columns[name].to_numpy(dtype=np.int64) for name in records.CLOCK_PAIRS_COLUMNS)
    middle = before + (after - before) // 2
    return _ordered(middle, wall - middle, (after - before + 1) // 2)


def of_sends(from_pairs: WallClock, sent: pd.DataFrame) -> WallClock:
    """Return what a coordinator's clock pairs and the stamps of its sends say together."""
    if not {"send_time_ns", "send_raw_ns", "send_raw_error_ns"} <= set(sent.columns):
        return from_pairs
    rows = sent[["send_time_ns", "send_raw_ns", "send_raw_error_ns"]].dropna()
    wall, raw, error = (rows[name].to_numpy(dtype=np.int64) for name in rows)
    return _ordered(
        np.concatenate([from_pairs.raw, raw]),
        np.concatenate([from_pairs.offset, wall - raw]),
        np.concatenate([from_pairs.error, error]),
    )


def _ordered(raw: Ints, offset: Ints, error: Ints) -> WallClock:
    order = np.argsort(raw, kind="stable")
    return WallClock(raw[order], offset[order], error[order])
