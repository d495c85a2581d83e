"""Checks that a node's files fit together: a file of another run does not fit the clocks of the others.

A journal names no run. What ties it: instants of both clocks, as ``clock_pairs.csv`` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.checks.finding import error, warning
from analysis.checks.subject import raw_file
from analysis.run import wall_clock
from analysis.run.stored import parts_of
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from analysis.checks.finding import Finding
    from analysis.checks.subject import Subject
    from analysis.run.wall_clock import WallClock

    Columns = tuple[str | None, str, str, str | None]

READING: Final[Columns] = ("wall_ns", "raw_ns", "raw_ns", "raw_error_ns")
SLACK_NS: Final = 10_000_000_000  # an agent's threads neither start nor end at one instant

# file: wall instant, the first and the last raw instant at which it may have been read, their error
STAMPS: Final[dict[str, Columns]] = {
    records.SENDS_FILE: ("send_time_ns", "send_raw_ns", "send_raw_ns", "send_raw_error_ns"),
    records.SAMPLES_FILE: ("wall_ns", "raw_before_ns", "raw_after_ns", None),
    records.PROBES_FILE: ("wall_ns", "raw_ns", "raw_ns", "raw_error_ns"),
    records.COMMIT_WAIT_FILE: (None, "done_raw_ns", "done_raw_ns", None),
}


def find(subject: Subject) -> Iterator[Finding]:
    """Yield which instants in a node's journals are none of this node's clocks, as its clock pairs show them."""
    for node_id, node in subject.recorded.items():
        clock = wall_clock.of_pairs(subject.pairs(node_id))
        if not len(clock):
            continue
        stamp = "send" if node.role == "coordinator" else "receive"
        own = (f"{stamp}_time_ns", f"{stamp}_raw_ns", f"{stamp}_raw_ns", f"{stamp}_raw_error_ns")
        rows_of = {records.EVENTS_FILE: own} if subject.has_events else {records.READINGS_FILE: READING}
        for name, columns in {**rows_of, **STAMPS}.items():
            needed = tuple(dict.fromkeys(column for column in columns if column))
            rows = subject.raw(node_id, name, needed)
            if rows is None and name == records.EVENTS_FILE:  # its rows, with what came later
                rows = subject.of_node(node_id)
            if rows is not None and set(needed) <= set(rows.columns):
                tally = _Tally()
                for (part,) in parts_of(rows):
                    tally.add(part[list(needed)].dropna(), columns, clock)
                yield from _of_clock(raw_file(node_id, name), node_id, tally)


@dataclass
class _Tally:
    """How many rows there are, and how many are of a time that the clock pairs do not cover, or do not fit them."""

    rows: int = 0
    outside: int = 0
    strange: int = 0

    def add(self, rows: pd.DataFrame, columns: Columns, clock: WallClock) -> None:
        wall, first, last, error_column = columns
        earliest, latest = (rows[name].to_numpy(dtype=np.int64) for name in (first, last))
        self.rows += len(rows)
        self.outside += int(((earliest < clock.raw[0] - SLACK_NS) | (latest > clock.raw[-1] + SLACK_NS)).sum())
        if wall is not None:
            slack = 0 if error_column is None else rows[error_column].to_numpy(dtype=np.int64)
            fitting = clock.fits(rows[wall].to_numpy(dtype=np.int64), earliest - slack, latest + slack)
            self.strange += int((~fitting).sum())


def _of_clock(file: str, node_id: str, tally: _Tally) -> Iterator[Finding]:
    of = f"of {tally.rows:,} rows"
    if tally.outside:
        text = f"{tally.outside:,} {of} are of a time at which {records.CLOCK_PAIRS_FILE} has nothing"
        why = "the two are of different runs"
        yield error("other-run", file, f"{text}: {why}", node_id, rows=tally.outside, of=tally.rows)
    elif tally.strange:
        text = f"{tally.strange:,} {of} show a wall clock that {records.CLOCK_PAIRS_FILE} does not"
        numbers = {"rows": tally.strange, "of": tally.rows}
        if tally.strange > tally.rows / 2:
            yield error("other-run", file, f"{text}: the two are of different runs", node_id, **numbers)
        else:
            what = "it was set there and back, or the rows are of another run"
            yield warning("other-run", file, f"{text}: {what}", node_id, **numbers)
