"""Readings that are always taken equally long after a sample: what they say is of that age alone.

A reading every 10 s of a source that is asked every 10 s finds each sample as old as the one before. Its interval,
which widens with age, and its error are then those of one age, and another start of the watch would have given others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.by_event.event_rows import Instants, floats, integers
from analysis.checks import windows
from analysis.checks.finding import WARNING, Finding, some
from analysis.run import load
from analysis.tables import between
from node_agent.contract.records import OK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.arrays import Ints
    from analysis.run.load import Run
    from analysis.run.stored import Frame

CODE: Final = "aliased-readings"
PLACES: Final = 8  # the time between two samples is looked at in so many equal parts
MIN_READINGS: Final = 12
MIN_SAMPLES: Final = 10
MS_NS: Final = 1e6
S_NS: Final = 1e9


def find(run: Run) -> Iterator[Finding]:
    """Yield one finding per source of whose samples the readings on some nodes meet half as many ages as by chance."""
    alike: dict[str, list[tuple[str, float, float]]] = {}
    for node, frame in run.rows_by_node().items():
        for prefix in load.prefixes([frame]):
            source = load.source_name(prefix)
            ages_ms = floats(frame, f"{prefix}_age_ms")
            ages_ns = np.rint(ages_ms[np.isfinite(ages_ms)] * MS_NS).astype(np.int64)
            between_ns = _between(run.samples.get(node), source)
            if len(ages_ns) < MIN_READINGS or not between_ns:
                continue
            if 2 * windows.phases(ages_ns, between_ns, PLACES) < windows.expected(len(ages_ns), PLACES):
                alike.setdefault(source, []).append((node, between_ns / S_NS, float(np.median(ages_ns)) / S_NS))
    for source, nodes in alike.items():
        names, every_s, ages_s = zip(*nodes, strict=True)
        every, age = (between(min(seconds), max(seconds), 1) for seconds in (every_s, ages_s))
        text = (
            f"{some(list(names))} asked {source} every {every} s, and nearly all readings came equally long after a "
            f"sample ({age} s): its intervals and errors are those of that age alone; read it at a time between "
            f"readings that is no multiple of {every} s, nor a simple part of it"
        )
        numbers = {"nodes": list(names), "between_samples_s": list(every_s), "median_age_s": list(ages_s)}
        yield Finding(CODE, WARNING, "", source, text, numbers)


def _between(samples: Frame | None, source: str) -> int:
    """Return the usual time between two samples of a source in ns, 0 where there are too few."""
    if samples is None:
        return 0
    published = Instants(*integers(samples, "published_raw_ns"))
    own = ((samples["source"] == source) & (samples["outcome"] == OK)).fillna(value=False).to_numpy(dtype=np.bool_)
    instants: Ints = np.sort(published.ns[own & published.known])
    return int(np.median(np.diff(instants))) if len(instants) >= MIN_SAMPLES else 0
