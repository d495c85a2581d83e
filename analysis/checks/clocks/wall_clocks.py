"""What a run's clock pairs say of its wall clocks: which were stepped, and which were slewed fast.

A wall clock is disciplined by slewing, too: ``adjtimex(2)`` by up to 500 ppm with its offset and frequency, and by a
tenth with ``ADJ_TICK``; chronyd, which uses both, by up to 83,333 ppm unless ``maxslewrate`` says less. A slew moves
the clock by as much in every interval between two pairs; a step moves it in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.checks.finding import NOTE, WARNING, Finding, clock, some
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from analysis.run.load import Run

    Ints = NDArray[np.int64]

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
            shown = some([f"{step.by_ns / 1e6:+.3f} ms at {clock(step.wall_ns)}" for step in steps])
            facts = [{"wall_ns": step.wall_ns, "by_ms": step.by_ns / 1e6} for step in steps[:1000]]
            numbers = {"steps": facts, "count": len(steps)}
            text = f"the wall clock was stepped: {shown} (UTC)"
            yield Finding("wall-step", WARNING, node_id, records.SYSTEM, text, numbers)
        if slews:
            shown = some([
                f"{slew.by_ns / 1e6:+.3f} ms over {slew.over_ns / 1e9:.1f} s ({slew.ppm:+,.0f} ppm) from "
                f"{clock(slew.wall_ns)}" for slew in slews
            ])  # fmt: skip
            facts = [
                {"wall_ns": slew.wall_ns, "by_ms": slew.by_ns / 1e6, "over_s": slew.over_ns / 1e9, "ppm": slew.ppm}
                for slew in slews[:1000]
            ]
            text = f"the wall clock was slewed: {shown} (UTC); stamps that a fast slew blurs have no reading"
            yield Finding("wall-slew", NOTE, node_id, records.SYSTEM, text, {"slews": facts, "count": len(slews)})


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
    places = np.flatnonzero(fast)
    breaks = np.flatnonzero((np.diff(places) > 1) | (np.diff(np.sign(moved)[places]) != 0)) + 1
    for run in np.split(places, breaks) if len(places) else []:  # consecutive fast intervals of one direction
        part = slice(int(run[0]), int(run[-1]) + 1)
        stepped, slewed = _sort_out(
            wall[part.start : part.stop + 1], moved[part], elapsed[part], slack[part], sure[part]
        )
        steps += stepped
        slews += slewed
    return sorted(steps, key=lambda step: step.wall_ns), slews


def _sort_out(wall: Ints, moved: Ints, elapsed: Ints, slack: Ints, sure: Ints) -> tuple[list[Move], list[Move]]:
    """Tell the steps from the slew in consecutive intervals in which a clock moved one way."""
    rates, count = moved / elapsed, len(moved)
    usual = float(np.median(rates[1:-1])) if count >= FEWEST else 0.0
    alike = np.abs(rates - usual) <= ALIKE * abs(usual) + np.abs(slack) / elapsed
    if count < FEWEST or alike[1:-1].mean() < 0.5:
        places = np.flatnonzero(sure > STEP_NS)
        return [Move(int(wall[place + 1]), int(moved[place]), int(elapsed[place])) for place in places], []
    steps = []
    for place in range(count):
        at_end = place in {0, count - 1}  # the ends hold a part of the slew, or a step besides
        extra = round(moved[place] - usual * elapsed[place])
        least = STEP_NS + (ALIKE * abs(usual) * elapsed[place] if at_end else 0)
        if abs(extra) > least and abs(rates[place]) > abs(usual) and (at_end or not alike[place]):
            steps.append(Move(int(wall[place + 1]), extra, int(elapsed[place])))
    return steps, [Move(int(wall[0]), int(moved.sum()), int(elapsed.sum()))]
