"""Two conditions, metric by metric: means, the difference and its interval, a test, and a verdict that says no more.

With two or more runs on both sides the unit is the run. Holm's adjustment is over the hypotheses, which were there
before the runs, and over the numbers of the summary apart from them; those that are the same in all runs do not count,
for of them a permutation says nothing, whichever runs are whose. A metric "differs" where the test says so and its
interval excludes 0 as well, so that no row contradicts itself. "No difference shown" is not "equal": what 80 % of
such comparisons would have shown stands beside it. With one run each there is the difference and how sure each run is
of its own number, which says nothing of runs to come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from analysis.comparison import inference
from analysis.comparison.runs import PERCENT, SUMMARY, Number
from analysis.report import rates_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.comparison.inference import Difference
    from analysis.comparison.runs import MeasuredRun

DIFFERS: Final = "differs"
NOT_SHOWN: Final = "no difference shown"
NOT_EVALUABLE: Final = "not evaluable"
SAME: Final = "the same in all runs"
ONE_RUN: Final = "one run of each says nothing of runs to come"
POINTS: Final = "pp"


@dataclass(frozen=True)
class Compared:
    """One metric: each side's numbers, in the order of the runs, what they tell, and the verdict with its reason.

    ``p_holm`` is the permutation's p adjusted for the number of metrics. ``value`` is mean of B minus mean of A.
    """

    metric: str
    unit: str
    a: tuple[Number, ...]
    b: tuple[Number, ...]
    verdict: str
    reason: str = ""
    difference: Difference | None = None
    p_holm: float | None = None
    resolvable: float | None = None

    @property
    def value(self) -> float | None:
        """Return mean of B minus mean of A, in the metric's own unit (shares as shares); None without numbers."""
        if self.difference is not None:
            return self.difference.value
        if len(self.a) == len(self.b) == 1 and self.a[0].value is not None and self.b[0].value is not None:
            return self.b[0].value - self.a[0].value
        return None

    @property
    def too_few(self) -> bool:
        """Return whether so few runs could show no difference among so many metrics; the reason says so."""
        return self.verdict == NOT_SHOWN and self.reason not in {"", SAME}

    @property
    def scale(self) -> int:
        """Return by what a number is multiplied to be shown in its unit."""
        return 100 if self.unit == PERCENT else 1

    @property
    def unit_of_difference(self) -> str:
        """Return the unit of a difference: of two shares, or of what is a difference of shares, percentage points."""
        return POINTS if self.unit in {PERCENT, rates_table.UNITS["points"]} else self.unit

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-serialisable data, numbers as they are in the statistics."""
        told = self.difference
        return {
            "metric": self.metric,
            "unit": self.unit,
            "a": [number.value for number in self.a],
            "b": [number.value for number in self.b],
            "mean_a": told and told.mean_a,
            "mean_b": told and told.mean_b,
            "difference": self.value,
            "interval": None if told is None or told.low is None else [told.low, told.high],
            "method": told.method if told else "",
            "p": told and told.p,
            "p_holm": self.p_holm,
            "repeats_needed": told and told.needed,
            "resolvable": self.resolvable,
            "verdict": self.verdict,
            "reason": self.reason,
        }


def compare(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun], metrics: Sequence[str]) -> list[Compared]:
    """Compare two sets of runs by the named metrics, in their order."""
    ordered = _paired(a, b)
    first, second = ordered or (a, b)
    compared = [_compared(metric, first, second, paired=ordered is not None) for metric in metrics]
    least = inference.least_p(len(first), len(second), paired=ordered is not None)
    for of_summary in (False, True):
        family = {
            place: metric.difference
            for place, metric in enumerate(compared)
            if metric.difference is not None
            and metric.verdict != NOT_EVALUABLE
            and metric.metric.startswith(SUMMARY) == of_summary
        }
        adjusted = inference.holm([difference.p for difference in family.values()])
        for (place, difference), p_holm in zip(family.items(), adjusted, strict=True):
            verdict = DIFFERS if p_holm <= inference.LEVEL and difference.interval_agrees else NOT_SHOWN
            reason = ""
            if (best := min(1.0, least * len(family))) > inference.LEVEL:
                reason = f"so many runs reach p (Holm) = {best:.2g} at best among {len(family)} metrics"
            compared[place] = replace(compared[place], p_holm=p_holm, verdict=verdict, reason=reason)
    return compared


def metrics_of(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun]) -> list[str]:
    """Return the metrics that any run has, in the order of the files."""
    return list(dict.fromkeys(metric for run in (*a, *b) for metric in run.numbers))


def without_partner(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun]) -> list[str]:
    """Return the runs of sweeps for whose lack of a partner nothing is compared in pairs.

    None where there are pairs, where a side has runs of no sweep, and where no run at all has a partner.
    """
    first, second = _places(a, b)
    if not all(run.cell for run in (*a, *b)) or not first.keys() & second.keys():
        return []
    lone = first.keys() ^ second.keys()
    return [run.name for side in (first, second) for key, run in side.items() if key in lone]


def _paired(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun]) -> tuple[list[MeasuredRun], list[MeasuredRun]] | None:
    """Return both sides in one order where each run has its partner: of one cell and block, or of one block.

    Blocks pair two cells of one sweep, whose runs follow each other, and cells and blocks two sweeps of one plan.
    """
    keys = _places(a, b)
    if not all(run.cell for run in (*a, *b)) or keys[0].keys() != keys[1].keys():
        return None
    if len(keys[0]) < len(a) or len(keys[1]) < len(b):  # two runs of one place
        return None
    order = sorted(keys[0], key=str)
    return [keys[0][key] for key in order], [keys[1][key] for key in order]


def _places(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun]) -> list[dict[tuple[bool | str, str], MeasuredRun]]:
    """Return each side's runs by what makes two of them partners."""
    by_block = len({run.cell for run in a}) == len({run.cell for run in b}) == 1
    return [{(by_block or run.cell, run.repeat): run for run in side} for side in (a, b)]


def _compared(metric: str, a: Sequence[MeasuredRun], b: Sequence[MeasuredRun], *, paired: bool) -> Compared:
    numbers = [tuple(_number(run, metric) for run in side) for side in (a, b)]
    known = [number for side in numbers for number in side if number.unit]
    result = Compared(metric, known[0].unit if known else "", numbers[0], numbers[1], NOT_EVALUABLE)
    missing = [
        (run.name, number.reason)
        for side, of in ((a, numbers[0]), (b, numbers[1]))
        for run, number in zip(side, of, strict=True)
        if number.value is None
    ]
    if missing:
        name, why = missing[0]
        told = f"no number in {len(missing)} of {len(a) + len(b)} runs, first in {name}: {why}"
        return replace(result, reason=told)
    asked = sorted({number.of for side in numbers for number in side})
    if len(asked) > 1:
        told = f"the runs were analysed with different hypotheses of this name, of {' and of '.join(asked)}"
        return replace(result, reason=f"{told}; analyse them again with the same")
    if len({number.unit for number in known}) > 1:
        return replace(result, reason=f"in several units: {', '.join(sorted({number.unit for number in known}))}")
    if len(a) == len(b) == 1:
        return replace(result, reason=ONE_RUN)
    if min(len(a), len(b)) < 2:
        return replace(result, reason=f"expected 2 runs or more on both sides, got {len(a)} and {len(b)}")
    values = [[number.value for number in side if number.value is not None] for side in numbers]
    least, same = inference.least_p(len(a), len(b), paired=paired), len({*values[0], *values[1]}) == 1
    difference = None if same else (inference.pairs if paired else inference.independent)(*values)
    if least > inference.LEVEL:
        told = f"{len(a)} and {len(b)} runs{' in pairs' * paired} reach p = {least:.2g} at best; "
        reason = f"{told}{inference.fewest(paired=paired)} of each can show a difference"
        return replace(result, reason=reason, difference=difference)
    if same:
        return replace(result, verdict=NOT_SHOWN, reason=SAME)
    return replace(result, verdict=NOT_SHOWN, difference=difference, resolvable=_resolvable(values, paired=paired))


def _resolvable(values: Sequence[Sequence[float]], *, paired: bool) -> float:
    """Return the difference that as many repeats as these show in 80 % of all comparisons."""
    a, b = values
    if paired:
        return inference.resolvable(inference.spread([y - x for x, y in zip(a, b, strict=True)]), len(a), paired=True)
    return inference.resolvable(inference.spread(a, b), min(len(a), len(b)))


def _number(run: MeasuredRun, metric: str) -> Number:
    number = run.numbers.get(metric) or Number(None, "", reason="no such metric in this run")
    if number.value is None or math.isfinite(number.value):
        return number
    # JSON as Python reads it may hold NaN, of which every comparison is false: a permutation would find p = 0.
    return replace(number, value=None, reason=f"expected a finite number, got {number.value}")
