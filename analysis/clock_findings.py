"""What a run's clock pairs say of the assumption every guaranteed bound rests on: an oscillator within max_drift_ppm.

Only a virtual clock tells: its wall stamps are true time bent in a known way, so that true time can be held against the
raw oscillator. A host whose own time service slews its clock by more than the bound breaks the assumption as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis import truth
from analysis.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.load import Run

SPAN_NS: Final = 1_000_000_000  # over shorter times the brackets of the pairs hide a rate


def find(run: Run) -> Iterator[Finding]:
    """Yield one finding per node whose raw oscillator ran away from true time faster than the bounds allow for."""
    try:
        ppm = float(run.manifest.config["worker"]["clocks"]["max_drift_ppm"])
    except (KeyError, TypeError, ValueError):
        return  # a run that states no bound on the drift has none to break
    for node, frame in run.clock_pairs.items():
        clock = truth.clock_of(run.manifest.nodes[node].virtual_clock)
        pairs = frame.dropna().sort_values("raw_before_ns")
        if clock is None or pairs.empty:
            continue
        before, wall, after = (pairs[name].to_numpy(dtype=np.int64) for name in frame.columns[:3])
        clear = truth.told_apart(clock, wall)
        before, wall, after = before[clear], wall[clear], after[clear]
        true, raw, half = truth.true_from_wall(clock, wall), before + (after - before) // 2, (after - before + 1) // 2
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
