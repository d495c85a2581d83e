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


def breaches(limits: Sequence[Limit], compared: Sequence[Compared]) -> list[str]:
    """Return a line for each limit that is broken, or that nothing can be said of. Raises UsageError for a wrong one.

    A limit is broken by a difference that is shown and larger; one that is not shown is no breach, however large.
    """
    by_name = {metric.metric: metric for metric in compared}
    lines = []
    for limit in limits:
        metric = by_name.get(limit.metric)
        if metric is None:
            known = candidates(limit.metric, by_name)
            raise UsageError(f"--fail-if: expected a metric that is compared, got {limit.metric!r}; there are {known}")
        unknown = metric.verdict == NOT_EVALUABLE and not metric.unit  # no run has a number, so none has a unit
        bare = not limit.unit and metric.unit_of_difference != POINTS  # 5 of a share could be 5 or 500 points
        if not (bare or unknown or limit.unit == metric.unit_of_difference):
            unit = metric.unit_of_difference
            expected = f"a limit in {unit}, in which" if unit else "a limit without a unit, as"
            raise UsageError(f"--fail-if: expected {expected} {limit.metric} differs, got {limit.unit!r}")
        if metric.verdict == NOT_EVALUABLE:
            lines.append(f"{limit.metric}: expected a number to hold against {limit.most:g}, got none: {metric.reason}")
        elif metric.verdict == DIFFERS and metric.value is not None:
            apart = abs(metric.scale * metric.value)
            if apart > limit.most:
                unit = f" {metric.unit_of_difference}".rstrip()
                lines.append(
                    f"{limit.metric}: expected a difference of at most {limit.most:g}{unit}, got {apart:.4g}{unit}"
                )
    return lines
