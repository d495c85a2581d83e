"""The windows of true time, where a truth was injected: what workers' windows are right or wrong by.

Point indices are held against the true windows as they are. What a worker is certain of refers to its source's
reference, and is wrong only if the root distance of that does not excuse it (``utc``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event import utc, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.arrays import Bools, Ints, Labels
    from analysis.by_event.table import Readings, Table
    from analysis.stats.counts import Counts, Outcomes

SAME: Final = verdicts.BEFORE  # the two decided labels, as the judges compare them
DIFFER: Final = verdicts.AFTER
UNKNOWN: Final = verdicts.AMBIGUOUS
TRUE_WINDOWS: Final = "true_windows"


@dataclass(frozen=True)
class TrueWindows:
    """The index of every receipt's window of true time, and of which events all receipts' are known.

    Worker by worker, of the windows it is certain of: which are ``right``, which ``wrong`` (see
    ``utc.window_verdicts``), and whose root distance is ``bare``, not known.
    """

    index: Ints
    known: Bools
    right: Bools
    wrong: Bools
    bare: Bools


def of(
    table: Table, blocks: Sequence[Readings], roots: Sequence[utc.RootDistance], width: int, received: Bools
) -> TrueWindows | None:
    """Return the windows of true time, None where no truth was injected, or not at every worker."""
    true = [instants for worker in table.heard if (instants := table.truth(worker)) is not None]
    if not true or len(true) < len(blocks):
        return None
    index = np.array([instants.ns for instants in true]) // width
    judged = [utc.window_verdicts(*parts, width) for parts in zip(blocks, roots, true, strict=True)]
    return TrueWindows(
        index=index,
        known=np.all(np.array([instants.known for instants in true]) | ~received, axis=0),
        right=np.array([right for right, _wrong in judged]),
        wrong=np.array([wrong for _right, wrong in judged]),
        bare=np.array([~root.known for root in roots]),
    )


def right_points(true: TrueWindows | None, evaluable: Bools, received: Bools, index: Ints) -> dict[str, Labels]:
    """Label events by whether every receiving worker's window is the one of true time: SAME, DIFFER, or UNKNOWN."""
    if true is None:
        return {}
    wrong = evaluable & (received & (index != true.index)).any(axis=0)
    return {TRUE_WINDOWS: np.where(true.known, np.where(wrong, DIFFER, SAME), UNKNOWN).astype(np.int8)}


def right_intervals(true: TrueWindows | None, received: Bools, certain: Bools) -> dict[str, Labels]:
    """Label events likewise by the windows that workers are certain of."""
    if true is None:
        return {}
    there = certain & received
    right, wrong = (true.right | ~there).all(axis=0), (true.wrong & there).any(axis=0)
    labels = np.where(true.known & wrong, DIFFER, np.where(true.known & right, SAME, UNKNOWN))
    return {TRUE_WINDOWS: labels.astype(np.int8)}


def count_points(true: TrueWindows | None, evaluable: Bools, received: Bools, index: Ints) -> dict[str, int]:
    """Count the evaluable events whose true windows are known, and of them two kinds.

    Those whose true windows differ (agreement would be wrong there), and those whose true windows are equal while the
    point indices are not.
    """
    if true is None:
        return {}
    known, same = true.known & evaluable, all_equal(true.index, received)
    return {
        "truth_known": int(known.sum()),
        "true_windows_differ": int((known & ~same).sum()),
        "clock_disagreements": int((known & same & ~all_equal(index, received)).sum()),
    }


def count_certain(true: TrueWindows | None, received: Bools, certain: Bools) -> dict[str, int]:
    """Count the events that a worker was certain about and the root distance leaves open, though none is wrong.

    And how many certain windows there are, how many of a known root distance, and, where the truth is known, of none.
    """
    if true is None:
        return {}
    there = true.known & certain & received
    wrong = (there & true.wrong).any(axis=0)
    open_ = (there & ~true.right & ~true.wrong).any(axis=0) & ~wrong
    return {
        "certain_open": int(open_.sum()),
        "bare": int((there & true.bare).sum()),
        "certain": int((certain & received).sum()),
        "certain_to_utc": int((certain & received & ~true.bare).sum()),
    }


def wrong(counts: Counts) -> int:
    """Return how many events some worker puts into a wrong window, or is wrongly certain about."""
    return counts.number(wrong_outcomes(counts.outcomes))


def wrong_outcomes(outcomes: Outcomes) -> Bools:
    """Tell in which outcomes that is so."""
    differs: Bools = outcomes.by_truth[TRUE_WINDOWS] == DIFFER
    return differs


def known(tallies: Mapping[str, int]) -> bool:
    """Tell whether anything can be said of windows of true time: of certain ones not, if no root distance is known."""
    return not tallies.get("certain") or tallies["certain_to_utc"] > 0


def as_dict(points: Counts, intervals: Counts) -> dict[str, Any] | None:
    """Return these counts as JSON-serialisable data, None where no truth was injected."""
    if not points.tallies:
        return None
    certain = intervals.tallies
    wrongly: dict[str, Any] = {"wrong_certain": wrong(intervals)}
    if certain["bare"]:
        wrongly = {"wrong_certain": None, "wrong_certain_reason": utc.NO_ROOT_DISTANCE}
    elif certain["certain_open"]:
        wrongly["certain_left_open_by_root_distance"] = certain["certain_open"]
    return {
        "events": points.tallies["truth_known"],
        "true_windows_differ": points.tallies["true_windows_differ"],
        "disagreements_caused_by_clocks": points.tallies["clock_disagreements"],
        **wrongly,
    }


def all_equal(values: Ints, there: Bools) -> Bools:
    """Tell, column by column, whether all values that are there are equal (no value or one is equal to itself)."""
    limits = np.iinfo(np.int64)
    highest = np.where(there, values, limits.min).max(axis=0)
    lowest = np.where(there, values, limits.max).min(axis=0)
    equal: Bools = (highest == lowest) | ~there.any(axis=0)
    return equal
