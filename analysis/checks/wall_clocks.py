"""What a run's clock pairs say of its wall clocks: which were stepped, and which were slewed fast.

A wall clock is disciplined by slewing, too: ``adjtimex(2)`` by up to 500 ppm with its offset and frequency, and by a
tenth with ``ADJ_TICK``; chronyd, which uses both, by up to 83,333 ppm unless ``maxslewrate`` says less. A slew moves
the clock by as much in every interval between two pairs; a step moves it in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.checks.finding import SHOWN, Finding, clock
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from analysis.run.load import Run

SLEW_PPM: Final = 1_000  # slower ones are everyday discipline
STEP_NS: Final = 100_000
FEWEST: Final = 3  # intervals of one slew; of fewer, the outer ones may hold a part of it only
ALIKE: Final = 0.25  # by so much the rates of a slew may differ


@dataclass(frozen=True)
class Move:
    """How a wall clock moved against the raw oscillator: by ``by_ns`` within ``over_ns``, from ``wall_ns`` on."""

    wall_ns: int
    by_ns: int
    over_ns: int

    @property
    def ppm(self) -> float:
        """Return its rate."""
        return 1e6 * self.by_ns / self.over_ns


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about wall clocks: those that were stepped, and those that were slewed."""
    for node_id, frame in run.clock_pairs.items():
        steps, slews = moves(frame)
        if steps:
            shown = ", ".join(f"{step.by_ns / 1e6:+.3f} ms at {clock(step.wall_ns)}" for step in steps[:SHOWN])
            more = f" and {len(steps) - SHOWN} more" if len(steps) > SHOWN else ""
            told = [{"wall_ns": step.wall_ns, "by_ms": step.by_ns / 1e6} for step in steps[:1000]]
            text = f"the wall clock was stepped: {shown}{more} (UTC)"
            numbers = {"steps": told, "count": len(steps)}
            yield Finding("wall-step", "warning", node_id, records.SYSTEM, text, numbers)
        if slews:
            shown = ", ".join(
                f"{slew.by_ns / 1e6:+.3f} ms over {slew.over_ns / 1e9:.1f} s ({slew.ppm:+,.0f} ppm) from "
                f"{clock(slew.wall_ns)}"
                for slew in slews[:SHOWN]
            )
            more = f" and {len(slews) - SHOWN} more" if len(slews) > SHOWN else ""
            told = [
                {"wall_ns": slew.wall_ns, "by_ms": slew.by_ns / 1e6, "over_s": slew.over_ns / 1e9, "ppm": slew.ppm}
                for slew in slews[:1000]
            ]
            text = f"the wall clock was slewed: {shown}{more} (UTC); stamps that a fast slew blurs have no reading"
            numbers = {"slews": told, "count": len(slews)}
            yield Finding("wall-slew", "note", node_id, records.SYSTEM, text, numbers)


def moves(frame: pd.DataFrame) -> tuple[list[Move], list[Move]]:
    """Return the steps and the slews of a wall clock, given its clock_pairs.csv.

    Looked for are intervals in which it moved by more than ``SLEW_PPM`` (and, of a step, ``STEP_NS``) and the brackets
    explain. Neighbours of one direction and rate are one slew; what stands out from them, or alone, is a step.
    """
    pairs = frame.dropna().sort_values("raw_before_ns")
    before, wall, after = (pairs[name].to_numpy(dtype=np.int64) for name in records.CLOCK_PAIRS_COLUMNS)
    least, most = wall - after, wall - before  # wall - raw lies between the two
    elapsed = np.diff(before)
    moved = np.diff((least + most) // 2)
    slack = ((most - least)[1:] + (most - least)[:-1]) // 2
    sure = np.maximum(least[1:] - most[:-1], least[:-1] - most[1:])  # it moved by this much at least
    fast = sure > elapsed // 1_000_000 * SLEW_PPM
    steps: list[Move] = []
    slews: list[Move] = []
    for run in _runs(fast, np.sign(moved)):
        _sort_out(run, wall, moved, elapsed, slack, sure, steps, slews)
    return sorted(steps, key=lambda step: step.wall_ns), slews


def _runs(fast: NDArray[np.bool_], sign: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Return the runs of consecutive fast intervals of one direction."""
    places = np.flatnonzero(fast)
    if not len(places):
        return []
    breaks = np.flatnonzero((np.diff(places) > 1) | (np.diff(sign[places]) != 0)) + 1
    return np.split(places, breaks)


def _sort_out(
    run: NDArray[np.intp],
    wall: NDArray[np.int64],
    moved: NDArray[np.int64],
    elapsed: NDArray[np.int64],
    slack: NDArray[np.int64],
    sure: NDArray[np.int64],
    steps: list[Move],
    slews: list[Move],
) -> None:
    """Tell the steps from the slew in a run of intervals in which a clock moved one way."""
    rates = moved[run] / elapsed[run]
    blur = np.abs(slack[run]) / elapsed[run]
    usual = float(np.median(rates[1:-1])) if len(run) >= FEWEST else 0.0
    alike = np.abs(rates - usual) <= ALIKE * abs(usual) + blur
    inner = alike[1:-1]
    if len(run) < FEWEST or inner.mean() < 0.5:
        steps += [_move(place, place, wall, moved, elapsed) for place in run if sure[place] > STEP_NS]
        return
    for place, like, rate in zip(run[1:-1], inner, rates[1:-1], strict=True):
        extra = round((rate - usual) * elapsed[place])
        if not like and abs(rate) > abs(usual) and abs(extra) > STEP_NS:
            steps.append(Move(int(wall[place + 1]), extra, int(elapsed[place])))
    for end in (run[0], run[-1]):  # the ends hold a part of the slew, or a step besides
        extra = round(moved[end] - usual * elapsed[end])
        if abs(extra) > STEP_NS + ALIKE * abs(usual) * elapsed[end] and abs(moved[end]) > abs(usual) * elapsed[end]:
            steps.append(Move(int(wall[end + 1]), extra, int(elapsed[end])))
    slews.append(_move(run[0], run[-1], wall, moved, elapsed))


def _move(
    first: np.intp, last: np.intp, wall: NDArray[np.int64], moved: NDArray[np.int64], elapsed: NDArray[np.int64]
) -> Move:
    by, over = (int(part[first : last + 1].sum()) for part in (moved, elapsed))
    return Move(int(wall[last + 1] if first == last else wall[first]), by, over)
