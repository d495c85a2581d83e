"""The windows of true time, where a truth was injected: what workers' windows are right or wrong by.

Point indices are held against the true windows as they are. What a worker is certain of refers to its source's
reference, and is wrong only if the root distance of that does not excuse it (``utc``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.questions import verdicts
from analysis.run import utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analysis.run.readings import Readings, Table

SAME: Final = verdicts.BEFORE  # the two decided labels, as the judges compare them
DIFFER: Final = verdicts.AFTER
UNKNOWN: Final = verdicts.AMBIGUOUS


@dataclass(frozen=True)
class TrueWindows:
    """The index of every receipt's window of true time, and of which events all receipts' are known.

    Worker by worker, of the windows it is certain of: which are ``right``, which ``wrong`` (see
    ``utc.window_verdicts``), and whose root distance is ``bare``, not known.
    """

    index: NDArray[np.int64]
    known: NDArray[np.bool_]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    bare: NDArray[np.bool_]


def of(
    table: Table,
    blocks: Sequence[Readings],
    roots: Sequence[utc.RootDistance],
    width: int,
    received: NDArray[np.bool_],
) -> TrueWindows | None:
    """Return the windows of true time, None where no truth was injected, or not at every worker."""
    true = [table.truth(worker) for worker in table.heard]
    told = [one for one in true if one is not None]
    if not told or len(told) < len(true):
        return None
    index = np.array([one.ns for one in told]) // width
    judged = [utc.window_verdicts(*parts, width) for parts in zip(blocks, roots, told, strict=True)]
    return TrueWindows(
        index=index,
        known=np.all(np.array([one.known for one in told]) | ~received, axis=0),
        right=np.array([right for right, _wrong in judged]),
        wrong=np.array([wrong for _right, wrong in judged]),
        bare=np.array([~root.known for root in roots]),
    )


def _wrong(true: TrueWindows, indices: NDArray[np.int64], told: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which events some worker puts into a wrong window, of the indices told."""
    wrong: NDArray[np.bool_] = true.known & (told & (indices != true.index)).any(axis=0)
    return wrong


def right_points(
    true: TrueWindows | None, received: NDArray[np.bool_], indices: NDArray[np.int64]
) -> NDArray[np.int8] | None:
    """Label events by whether every receiving worker's window is the one of true time: SAME, DIFFER, or UNKNOWN."""
    if true is None:
        return None
    return np.where(true.known, np.where(_wrong(true, indices, received), DIFFER, SAME), UNKNOWN).astype(np.int8)


def right_intervals(
    true: TrueWindows | None, received: NDArray[np.bool_], certain: NDArray[np.bool_]
) -> NDArray[np.int8] | None:
    """Label events likewise by the windows that workers are certain of; None where no root distance is known at all."""
    there = certain & received
    if true is None or (there.any() and not (there & ~true.bare).any()):
        return None
    right, wrong = (true.right | ~there).all(axis=0), (true.wrong & there).any(axis=0)
    return np.where(true.known & wrong, DIFFER, np.where(true.known & right, SAME, UNKNOWN)).astype(np.int8)


def counts(
    true: TrueWindows | None,
    received: NDArray[np.bool_],
    evaluable: NDArray[np.bool_],
    agree: NDArray[np.bool_],
    certain: NDArray[np.bool_],
    index: NDArray[np.int64],
) -> dict[str, int | None]:
    """Return what the injected truth says of the windows of true time itself, None where there is none."""
    if true is None:
        names = ("truth_known", "true_windows_differ", "clock_disagreements", "wrong_points")
        return dict.fromkeys((*names, "wrong_certain", "certain_open"))
    known, same = true.known & evaluable, all_equal(true.index, received)
    there = known & certain & received
    wrong = (there & true.wrong).any(axis=0)
    open_ = (there & ~true.right & ~true.wrong).any(axis=0) & ~wrong
    judged = not (there & true.bare).any()
    return {
        "truth_known": int(known.sum()),
        "true_windows_differ": int((known & ~same).sum()),
        "clock_disagreements": int((known & same & ~agree).sum()),
        "wrong_certain": int(wrong.sum()) if judged else None,
        "certain_open": int(open_.sum()) if judged else None,
        "wrong_points": int((known & _wrong(true, index, received)).sum()),
    }


def all_equal(values: np.ndarray[Any, Any], there: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell, column by column, whether all values that are there are equal (no value or one is equal to itself)."""
    limits = np.iinfo(np.int64)
    highest = np.where(there, values, limits.min).max(axis=0)
    lowest = np.where(there, values, limits.max).min(axis=0)
    equal: np.ndarray[Any, Any] = (highest == lowest) | ~there.any(axis=0)
    return equal
