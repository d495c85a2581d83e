"""Shapes a clock's offsets should not have: levels they jump between, and values they hit exactly, again and again.

Both work on *answers*: rows one answer of the server served count once, or one answer that serves many events would
look like a pattern.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from analysis.arrays import Floats, Places

MIN_SHARE: Final = 0.10  # of all answers, on each side of a split; rarer ones are outliers, not a level
MIN_ANSWERS: Final = 5  # on each side of a split
APART: Final = 10.0  # two levels are this many robust standard deviations apart, or more
MIDDLE: Final = 0.5  # of the distance between two levels is empty but for 5 % of each
MIN_SPELLS: Final = 3  # separate stretches in which a value is met exactly
MIN_SPIKE_ROWS: Final = 10
MIN_SPIKE_SHARE: Final = 0.005
OFTENER: Final = 10  # times as often as any number near by: more than chance brings to one of many
NS_PER_MS: Final = 1e6
FARTHEST_MS: Final = 4e12  # a number beyond is none of ns that fits into 64 bits
NEAR_MS: Final = 0.002  # how close to a clamp its copies lie that have drifted since
MAD_TO_SIGMA: Final = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Level:
    """Offsets in ``(above, up_to]`` ms. ``rows`` are those on it, ``median`` (ms) their middle."""

    median: float
    above: float
    up_to: float
    rows: int


@dataclass(frozen=True)
class Stretch:
    """Rows ``first`` to ``last`` (positions, inclusive) that stay on one level (its index in the list of levels)."""

    level: int
    first: int
    last: int


@dataclass(frozen=True)
class Spike:
    """One exact ``value`` (ms) met in ``rows`` rows, in ``spells`` separate stretches."""

    value: float
    rows: int
    spells: int


@dataclass(frozen=True)
class Clamp:
    """A limit in ms that offsets are held at, on both sides; ``near``: rows within 2 us of it, not on it."""

    limit: float
    plus: Spike
    minus: Spike
    near: int


def answers(offsets: Floats, sample_ids: NDArray[np.integer[Any]] | None = None) -> Places:
    """Return the position of the first row of each answer: where the sample (or, without ids, the offset) changes."""
    marks: NDArray[Any] = offsets if sample_ids is None else sample_ids
    if not len(marks):
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(np.concatenate([[True], marks[1:] != marks[:-1]]))


def levels(offsets: Floats, first_rows: Places, resolution_ms: float) -> list[Level]:
    """Return the levels of the offsets, lowest first; one level where they are of one piece.

    ``resolution_ms``: levels closer than that are within what the source claims not to know. The offsets are cut at
    their widest gaps, then every cut is undone that does not separate two groups clearly.
    """
    if not len(offsets):
        return []
    ordered = np.sort(offsets[first_rows])
    least = max(MIN_ANSWERS, int(np.ceil(MIN_SHARE * len(ordered))))
    cuts = _keep_clear(ordered, _cuts(ordered, least), resolution_ms)
    edges = [-np.inf, *(float(ordered[cut - 1] + ordered[cut]) / 2 for cut in cuts), np.inf]
    separate = []
    for low, high in zip(edges, edges[1:], strict=False):
        inside = offsets[(offsets > low) & (offsets <= high)]
        separate.append(Level(float(np.median(inside)), float(low), float(high), len(inside)))
    return separate


def stretches(offsets: Floats, first_rows: Places, known_levels: list[Level]) -> list[Stretch]:
    """Return the stretches of rows on one level, in order; those of fewer than 3 answers are taken as outliers."""
    which = np.searchsorted([level.up_to for level in known_levels[:-1]], offsets, side="left")
    starts = np.flatnonzero(np.concatenate([[True], which[1:] != which[:-1]]))
    ends = np.append(starts[1:], len(which))
    merged: list[Stretch] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if np.count_nonzero((first_rows >= start) & (first_rows < end)) < 3:
            continue
        level = int(which[start])
        if merged and merged[-1].level == level:
            merged[-1] = Stretch(level, merged[-1].first, end - 1)
        else:
            merged.append(Stretch(level, start, end - 1))
    return merged


def spikes(offsets: Floats) -> list[Spike]:
    """Return the values met exactly in several separate stretches, most frequent first.

    A measured number comes back now and then by chance, as often as any other number near by that is
    written as finely. A spike holds at least 0.5 % of the rows, 10 rows, and more than ten times as many as those do.
    """
    least = math.ceil(max(MIN_SPIKE_ROWS, MIN_SPIKE_SHARE * len(offsets)))
    if len(offsets) < least:
        return []
    ordered = np.sort(offsets)
    starts = ordered[: len(ordered) - least + 1]
    often = np.unique(starts[starts == ordered[least - 1 :]])
    if not len(often):
        return []
    step_ms = _step_ms(ordered)
    values = np.array([value for value in often.tolist() if _oftener_than_near(value, ordered, step_ms)])
    changes = np.sort(np.concatenate([offsets[:1], offsets[1:][offsets[1:] != offsets[:-1]]]))
    rows, spells = (_how_often(values, among) for among in (ordered, changes))
    met_again = [
        Spike(value, of_value, separate)
        for value, of_value, separate in zip(values.tolist(), rows, spells, strict=True)
        if separate >= MIN_SPELLS
    ]
    return sorted(met_again, key=lambda spike: -spike.rows)


def _oftener_than_near(value: float, ordered: Floats, step_ms: float) -> bool:
    """Tell whether a number is there oftener than chance brings it: compared with as many rows on either side of it."""
    first, end = np.searchsorted(ordered, value), np.searchsorted(ordered, value, "right")
    rows = int(end - first)
    by_chance = 0.0
    for beside in (ordered[max(0, first - rows) : first], ordered[end : end + rows]):
        if len(beside):
            span_ms = float(np.abs(beside - value).max())  # without end beside an infinity
            by_chance = max(by_chance, len(beside) / max(1.0, span_ms / step_ms))  # of what could be written there
    return rows > OFTENER * by_chance


def _step_ms(ordered: Floats) -> float:
    """Return the coarsest step that all numbers are whole steps apart: how finely they are written, 1 ns at best."""
    near = ordered[np.abs(ordered) < FARTHEST_MS]
    return max(1, int(np.gcd.reduce(np.diff(np.rint(near * NS_PER_MS).astype(np.int64))))) / NS_PER_MS


def _how_often(values: Floats, ordered: Floats) -> list[int]:
    ends: list[int] = (np.searchsorted(ordered, values, "right") - np.searchsorted(ordered, values)).tolist()
    return ends


def clamps(offsets: Floats, met_again: Iterable[Spike] | None = None) -> list[Clamp]:
    """Return the limits that offsets are held at: both +x and -x are spikes, which can be given."""
    by_value = {spike.value: spike for spike in (spikes(offsets) if met_again is None else met_again)}
    limits = []
    for limit in sorted(value for value in by_value if value > 0 and -value in by_value):
        apart = np.abs(np.abs(offsets) - limit)
        near = int(np.count_nonzero((apart <= NEAR_MS) & (apart > 0)))
        limits.append(Clamp(limit, by_value[limit], by_value[-limit], near))
    return limits


def _cuts(ordered: Floats, least: int) -> list[int]:
    """Return the positions at which to cut at the widest gap, again and again, leaving ``least`` values everywhere."""
    if len(ordered) < 2 * least:
        return []
    gaps = np.diff(ordered)[least - 1 : len(ordered) - least]
    cut = least + int(np.argmax(gaps))
    return [*_cuts(ordered[:cut], least), cut, *(cut + later for later in _cuts(ordered[cut:], least))]


def _keep_clear(ordered: Floats, cuts: list[int], resolution_ms: float) -> list[int]:
    """Drop the least clear cut, again and again, until every cut separates two levels that are clearly apart."""
    kept = list(cuts)
    while kept:
        edges = [0, *kept, len(ordered)]
        groups = [ordered[start:end] for start, end in zip(edges, edges[1:], strict=False)]
        clear = [_clearness(low, high, resolution_ms) for low, high in zip(groups, groups[1:], strict=False)]
        least = int(np.argmin(clear))
        if clear[least] > 1.0:
            break
        del kept[least]
    return kept


def _clearness(low: Floats, high: Floats, resolution_ms: float) -> float:
    """Return by what factor two neighbouring groups pass the strictest of the tests for two levels; > 1 passes all."""
    apart = float(np.median(high) - np.median(low))
    middle = float(np.quantile(high, 0.05) - np.quantile(low, 0.95))
    needed = max(resolution_ms, APART * _spread(low), APART * _spread(high))
    if apart <= 0.0:
        return 0.0
    return min(apart / needed if needed else np.inf, middle / (MIDDLE * apart))


def _spread(values: Floats) -> float:
    return MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
