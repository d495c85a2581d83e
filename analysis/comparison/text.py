"""A comparison as it is told on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.comparison.comparison import NOT_EVALUABLE, ONE_RUN, POINTS, SAME
from analysis.tables import NONE, Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.comparison.comparison import Compared
    from analysis.comparison.inference import Difference
    from analysis.comparison.runs import Number

COLUMNS: Final = (
    "metric",
    "unit",
    "A",
    "B",
    "B - A",
    "95 %",
    "p",
    "p (Holm)",
    "verdict",
    "repeats to show it",
    "would show",
)
COLUMNS_OF_ONE: Final = ("metric", "unit", "A", "95 % of A", "B", "95 % of B", "B - A")
MOST_NAMES: Final = 6  # of metrics that one reason keeps from being judged
NO_CONDITION: Final = "no difference of code, nodes or configuration found"
OWN_INTERVALS: Final = "the intervals are each run's own (block bootstrap)"
LEGEND: Final = (
    "A, B: means over the runs. p: by permutation; p (Holm): adjusted for the number of metrics. "
    "differs: p (Holm) is at most 0.05 and the 95 % interval, where there is one, has no 0. "
    "repeats to show it: of each side (or pairs), for a difference as large as this one, with 80 % power. "
    "would show: the difference that as many runs as these show with 80 % power. Both for this metric alone, without "
    "Holm's adjustment."
)


def lines(compared: Sequence[Compared], conditions: Sequence[str], notes: Sequence[str]) -> list[str]:
    """Return what there is to say: what else differs, the table, and which metrics tell nothing, by reason."""
    told = [f"note: {note}" for note in notes]
    told += ["conditions that differ:", *(f"  {line}" for line in conditions)] if conditions else []
    told += ["" if conditions else NO_CONDITION, ""]
    if single := of_single_runs(compared):
        told += [f"{ONE_RUN}: {OWN_INTERVALS}", ""]
        told += _columns([single.columns, *single.rows])
    if found := differences(compared):
        told += [*_columns([found.columns, *found.rows]), "", legend(compared)]
    told += [f"note: {limit}" for limit in limits(compared)]
    if same := all_the_same(compared):
        told += ["", f"{SAME}: {same}"]
    if reasons := not_evaluable(compared):
        told += ["", "not evaluable:"]
        told += [f"  {reason}: {_few(metrics)}" for reason, metrics in reasons.items()]
    return told


def of_single_runs(compared: Sequence[Compared]) -> Grid:
    """Return the table of what one run of each side says."""
    return Grid.of(COLUMNS_OF_ONE, [_single_row(metric) for metric in compared if metric.reason == ONE_RUN])


def differences(compared: Sequence[Compared]) -> Grid:
    """Return the table of the metrics of which there is a difference to judge."""
    return Grid.of(COLUMNS, [_row(metric, metric.difference) for metric in compared if metric.difference is not None])


def legend(compared: Sequence[Compared]) -> str:
    """Return how to read the table of differences."""
    methods = dict.fromkeys(metric.difference.method for metric in compared if metric.difference)
    return f"95 %: {', '.join(methods)}. {LEGEND}"


def limits(compared: Sequence[Compared]) -> list[str]:
    """Return what so many runs cannot show among so many metrics."""
    reasons = dict.fromkeys(metric.reason for metric in compared if metric.too_few)
    return [f"{limit}; name fewer with --metric, or make more runs" for limit in reasons]


def all_the_same(compared: Sequence[Compared]) -> str:
    """Return the metrics that are one number in all runs, with it."""
    same = [metric for metric in compared if metric.reason == SAME]
    return ", ".join(f"{metric.metric} ({_number(metric, metric.a[0].value)})" for metric in same)


def not_evaluable(compared: Sequence[Compared]) -> dict[str, list[str]]:
    """Return the metrics that tell nothing, by reason."""
    reasons: dict[str, list[str]] = {}
    for metric in compared:
        if metric.verdict == NOT_EVALUABLE and metric.reason != ONE_RUN:
            reasons.setdefault(metric.reason, []).append(metric.metric)
    return reasons


def _few(metrics: Sequence[str]) -> str:
    """Return some names, and how many more there are."""
    more = len(metrics) - MOST_NAMES
    return ", ".join(metrics[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _row(metric: Compared, difference: Difference) -> tuple[str, ...]:
    resolvable = NONE if metric.resolvable is None else f"{metric.scale * metric.resolvable:.3g}{_points(metric)}"
    return (
        metric.metric,
        metric.unit,
        _number(metric, difference.mean_a),
        _number(metric, difference.mean_b),
        _apart(metric, difference.value),
        NONE if difference.low is None else f"{_apart(metric, difference.low)} to {_apart(metric, difference.high)}",
        f"{difference.p:.3g}",
        NONE if metric.p_holm is None else f"{metric.p_holm:.3g}",
        metric.verdict,
        NONE if difference.needed is None else f"{difference.needed:,}",
        resolvable,
    )


def _single_row(metric: Compared) -> tuple[str, ...]:
    (a,), (b,) = metric.a, metric.b
    sides = (_number(metric, a.value), _own(metric, a), _number(metric, b.value), _own(metric, b))
    return metric.metric, metric.unit, *sides, _apart(metric, metric.value)


def _own(metric: Compared, number: Number) -> str:
    if number.low is None or number.high is None:
        return NONE
    return f"{metric.scale * number.low:.4g} to {metric.scale * number.high:.4g}"


def _number(metric: Compared, value: float | None) -> str:
    return NONE if value is None else f"{metric.scale * value:.4g}"


def _apart(metric: Compared, value: float | None) -> str:
    """Return a difference; that of two shares is in percentage points."""
    return NONE if value is None else f"{metric.scale * value:+.4g}{_points(metric)}"


def _points(metric: Compared) -> str:
    return f" {POINTS}" if metric.unit_of_difference == POINTS else ""


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
