"""What is known of offsets without any source: the injected truth, and by probes how two nodes' clocks stood.

The n-th reading of a node is t later than the n-th of the first node, by probes between two limits. In that time the
wall clocks went from one stamp to the other, so first's reference - local minus node's is known: of the node, relative
to the first, it is t - (wall stamp there - wall stamp here). Each source says the same by its own two offsets.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.series.course import MS, Course, in_order
from analysis.series.timeline import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.by_event.table import Table
    from analysis.clocks.standards import Flights

FIGURE: Final = "series_reference"
TRUTH: Final = "injected truth"
BY_PROBES: Final = "by probes"


def truths(table: Table) -> dict[str, Known]:
    """Return the true offset at every node's readings, by node; a node without a virtual clock has none."""
    known = {}
    for node_id in table.nodes:
        if (true := table.truth(node_id)) is not None:
            places, at_ns = in_order(table, node_id, true.known)
            offset = (true.ns[places] - table.stamps[node_id].ns[places]) / MS
            if len(places):
                known[node_id] = Known(at_ns, offset, offset, TRUTH)
    return known


def relative(
    table: Table, courses: Sequence[Course], flights: Flights | None
) -> tuple[tuple[Course, ...], dict[str, Known]]:
    """Return, node by node, what sources and probes say of its offset minus the first node's.

    The courses' readings are those of one number on both nodes. Nothing, where there is no reference.
    """
    differences: list[Course] = []
    known: dict[str, Known] = {}
    for node_id in table.present if flights is not None else ():
        lag = flights(node_id) if flights is not None else None
        if lag is None or not lag.known.any():
            continue
        here, there = table.stamps[table.coordinator_id], table.stamps[node_id]
        elapsed = np.where(lag.known, there.ns - here.ns, 0)
        places, at_ns = in_order(table, node_id, lag.known & here.known)
        low, high = (((side - elapsed)[places]) / MS for side in (lag.low, lag.high))
        name = f"{node_id} against {table.coordinator_id}"
        known[name] = Known(at_ns, low, high, BY_PROBES)
        differences += [
            difference
            for course in courses
            if course.node_id == node_id and (difference := _difference(table, course, name)) is not None
        ]
    return tuple(differences), known


def _difference(table: Table, course: Course, name: str) -> Course | None:
    """Return a source's offset on a node minus that on the first; ends of intervals the other way round."""
    node_id, first = course.node_id, table.coordinator_id
    there, here = table.readings(node_id, course.source), table.readings(first, course.source)
    places, at_ns = in_order(table, node_id, there.known & here.known & (there.reference == here.reference))
    if not len(places):
        return None
    elapsed = (table.stamps[node_id].ns - table.stamps[first].ns)[places]
    ends = (
        (there.est - here.est)[places] - elapsed,
        (there.earliest - here.latest)[places] - elapsed,
        (there.latest - here.earliest)[places] - elapsed,
    )
    offset, low, high = (end / MS for end in ends)
    return replace(
        course,
        node_id=name,
        at_ns=at_ns,
        wall_ns=table.stamps[node_id].ns[places],
        offset_ms=offset,
        low_ms=low,
        high_ms=high,
        bounded=(there.bounded & here.bounded)[places],
        claimed_ms=np.full(len(places), np.nan),
    )
