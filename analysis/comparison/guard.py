"""``--fail-if METRIC:LIMIT``: which difference ends a comparison with an exit code of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis.comparison.comparison import DIFFERS, NOT_EVALUABLE, POINTS
from analysis.errors import UsageError, candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.comparison.comparison import Compared

FORM: Final = re.compile(r"(?P<metric>.+):(?P<limit>\d+(?:\.\d+)?)(?P<unit>[^\d]*)")


@dataclass(frozen=True)
class Limit:
    """No metric of this name may be shown to differ by more than ``most``, in ``unit`` ("" is the metric's own)."""

    metric: str
    most: float
    unit: str


def read(text: str) -> Limit:
    """Read one limit, as ``ntp-causality-violations:5pp``. Raises UsageError."""
    found = FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"--fail-if: expected METRIC:LIMIT, as ntp-causality-violations:5pp, got {text!r}")
    return Limit(found["metric"], float(found["limit"]), found["unit"].strip().replace("us", "µs"))


def judged(
    limits: Sequence[Limit], compared: Sequence[Compared], by_themselves: Sequence[Compared]
) -> tuple[list[str], list[str]]:
    """Return a line for each limit that holds, and for each that is broken or that nothing can be said of.

    A limit is broken by a difference that is shown and larger; one that is not shown is no breach, however large,
    unless so few runs could not show any. ``by_themselves``: the metrics with a limit, with p adjusted for these alone.
    Raises UsageError for a wrong limit, and for a metric that is not among the ``compared``.
    """
    names = dict.fromkeys(metric.metric for metric in compared)
    of_limits = {metric.metric: metric for metric in by_themselves}
    held, broken = [], []
    for limit in limits:
        if limit.metric not in names:
            known = candidates(limit.metric, names)
            raise UsageError(f"--fail-if: expected a metric that is compared, got {limit.metric!r}; there are {known}")
        metric = of_limits[limit.metric]
        _demand_unit(limit, metric)
        unit = f" {metric.unit_of_difference}".rstrip()
        apart = "" if metric.value is None else f"{abs(metric.scale * metric.value):.4g}{unit}"
        most = f"{limit.most:g}{unit}"
        if metric.verdict == NOT_EVALUABLE:
            broken.append(f"{limit.metric}: expected a number to hold against {most}, got none: {metric.reason}")
        elif metric.too_few:
            advice = "give fewer limits, or make more runs"
            broken.append(f"{limit.metric}: expected enough runs to show a difference, got {metric.reason}; {advice}")
        elif metric.verdict == DIFFERS and metric.value is not None and abs(metric.scale * metric.value) > limit.most:
            broken.append(f"{limit.metric}: expected a difference of at most {most}, got {apart}")
        else:
            held.append(f"limit {limit.metric}: at most {most}, holds: {metric.verdict}{apart and f' ({apart})'}")
    return held, broken


def _demand_unit(limit: Limit, metric: Compared) -> None:
    unknown = metric.verdict == NOT_EVALUABLE and not metric.unit  # no run has a number, so none has a unit
    bare = not limit.unit and metric.unit_of_difference != POINTS  # 5 of a share could be 5 or 500 points
    if not (bare or unknown or limit.unit == metric.unit_of_difference):
        unit, got = metric.unit_of_difference, repr(limit.unit) if limit.unit else "one without"
        expected = f"a limit in {unit}, in which" if unit else "a limit without a unit, as"
        raise UsageError(f"--fail-if: expected {expected} {limit.metric} differs, got {got}")
