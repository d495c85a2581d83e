"""What the sending schedule does to the windows: events that fall on the same few places of every window.

Whether workers agree on a window depends on how near its border an event falls. Events sent every 50 ms all fall on one
place (phase) of a window of 50 ms: however many there are, they are one trial of that, and another start of the run
would have given another rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.checks.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from analysis.run.load import Run

PLACES: Final = 50  # a window is looked at in so many equal parts
MIN_EVENTS: Final = 20
MS_NS: Final = 1_000_000


def find(run: Run, window_sizes_ms: Sequence[int]) -> Iterator[Finding]:
    """Yield one finding per width whose windows the events meet at half as many places as chance would, or fewer."""
    sent = run.coordinator["send_time_ns"].dropna().to_numpy(dtype=np.int64)
    if len(sent) < MIN_EVENTS:
        return
    for width_ms in window_sizes_ms:
        met = phases(sent, width_ms * MS_NS)
        if 2 * met >= expected(len(sent)):
            continue
        count = max(1, round(met))
        text = (
            f"the {len(sent):,} events fall on about {count} phase{'s' if count > 1 else ''} of {width_ms} ms windows "
            f"(sent at random they would on {expected(len(sent)):.0f} of {PLACES}): all rates of this width rest on "
            f"{'these' if count > 1 else 'that'}, not on {len(sent):,} trials, and depend on when the run began; send "
            f"for longer, at a rate that does not divide into the window"
        )
        numbers = {
            "width_ms": width_ms,
            "phases": met,
            "expected": expected(len(sent)),
            "of": PLACES,
            "events": len(sent),
        }
        yield Finding("aliased-windows", "warning", "", "", text, numbers)


def phases(sent_ns: NDArray[np.int64], width_ns: int, places: int = PLACES) -> float:
    """Return on how many of so many parts of a window events effectively fall: n^2 / (sum of squared counts).

    So many equally often met parts would be met as unevenly (E. H. Simpson, Nature 163 (1949) 688). The parts' borders
    are tried twice, half a part apart, and the smaller number counts: a phase on a border is one phase.
    """
    fewest = float(places)
    for shift in (0, width_ns // (2 * places)):
        place = (sent_ns + shift) % width_ns * places // width_ns
        counts = np.bincount(place, minlength=places).astype(np.float64)
        fewest = min(fewest, float(len(sent_ns)) ** 2 / float(np.sum(counts * counts)))
    return fewest


def expected(events: int, places: int = PLACES) -> float:
    """Return how many that are for events sent at random instants: the mean of the sum is n + n (n - 1) / parts."""
    return events / (1.0 + (events - 1) / places)
