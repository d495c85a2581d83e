"""What a run's clock pairs say of its clocks: steps of a wall clock, and an oscillator beyond max_drift_ppm.

Every guaranteed bound rests on that last one, and only a virtual clock tells: its wall stamps are true time bent in a
known way, so that true time can be held against the raw oscillator. A host whose own time service slews its clock by
more than the bound breaks the assumption as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis import truth
from analysis.finding import SHOWN, Finding, clock
from node_agent import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.load import Run

SLEW_PPM: Final = 1_000  # adjtimex slews by 500 ppm at most, and an oscillator by less
STEP_NS: Final = 100_000
SPAN_NS: Final = 1_000_000_000  # over shorter times the brackets of the pairs hide a rate


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about clocks: wall clocks that were stepped, oscillators that ran away."""
    yield from _wall_steps(run)
    yield from _drift(run)


def _wall_steps(run: Run) -> Iterator[Finding]:
    """Find steps of a wall clock: it moves against the raw oscillator by more than a slew and the brackets explain."""
    for node, frame in run.clock_pairs.items():
        pairs = frame.dropna().sort_values("raw_before_ns")
        before, wall, after = (pairs[name].to_numpy(dtype=np.int64) for name in frame.columns[:3])
        least, most = wall - after, wall - before  # wall - raw lies between the two
        elapsed = np.diff(before)
        slewed = elapsed // 1_000_000 * SLEW_PPM + STEP_NS
        up, down = least[1:] - most[:-1] > slewed, least[:-1] - most[1:] > slewed
        at = np.flatnonzero(up | down)
        if not len(at):
            continue
        middle = (least + most) // 2
        steps = [(int(wall[place + 1]), float(middle[place + 1] - middle[place]) / 1e6) for place in at.tolist()]
        shown = ", ".join(f"{by:+.3f} ms at {clock(when)}" for when, by in steps[:SHOWN])
        more = f" and {len(steps) - SHOWN} more" if len(steps) > SHOWN else ""
        text = f"the wall clock was stepped: {shown}{more} (UTC)"
        numbers = {"steps": [{"wall_ns": when, "by_ms": by} for when, by in steps[:1000]], "count": len(steps)}
        yield Finding("wall-step", "warning", node, records.SYSTEM, text, numbers)


def _drift(run: Run) -> Iterator[Finding]:
    """Yield one finding per node whose raw oscillator ran away from true time faster than the bounds allow for."""
    try:
        ppm = float(run.manifest.config["worker"]["clocks"]["max_drift_ppm"])
    except (KeyError, TypeError, ValueError):
        return  # a run that states no bound on the drift has none to break
    for node, frame in run.clock_pairs.items():
        virtual = truth.clock_of(run.manifest.nodes[node].virtual_clock)
        pairs = frame.dropna().sort_values("raw_before_ns")
        if virtual is None or pairs.empty:
            continue
        before, wall, after = (pairs[name].to_numpy(dtype=np.int64) for name in frame.columns[:3])
        clear = truth.told_apart(virtual, wall)
        before, wall, after = before[clear], wall[clear], after[clear]
        true, raw, half = truth.true_from_wall(virtual, wall), before + (after - before) // 2, (after - before + 1) // 2
        later = np.searchsorted(raw, raw + SPAN_NS)
        first = np.flatnonzero(later < len(raw))
        last = later[first]
        elapsed, moved = raw[last] - raw[first], np.abs((true[last] - true[first]) - (raw[last] - raw[first]))
        least = moved - half[first] - half[last] - truth.ROUNDING_NS  # what no bracket explains
        beyond = least > elapsed * (ppm / (1e6 - ppm))
        if beyond.any():
            worst = float((least / np.maximum(elapsed, 1)).max() * 1e6)
            text = (
                f"the raw oscillator ran away from true time by up to {worst:.0f} ppm over a second or more, in "
                f"{int(beyond.sum()):,} of {len(beyond):,} stretches: bounds allow for {ppm:g} ppm (max_drift_ppm), so "
                f"none of this node's guaranteed intervals is guaranteed there"
            )
            numbers = {"worst_ppm": worst, "stretches": int(beyond.sum()), "of": len(beyond), "max_drift_ppm": ppm}
            yield Finding("drift-beyond-bound", "error", node, "", text, numbers)
