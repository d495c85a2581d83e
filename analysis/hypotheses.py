"""The hypotheses of ``configs/hypotheses.yaml`` against the numbers of a run: supported, not supported, not evaluable.

A hypothesis is supported iff the measured number meets its threshold; the number's interval is printed beside it, so
that a reader sees how sure that is. Nothing is evaluable without a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = Path(__file__).resolve().parent.parent / "configs" / "hypotheses.yaml"
SUPPORTED: Final = "supported"
NOT_SUPPORTED: Final = "not supported"
NOT_EVALUABLE: Final = "not evaluable"
KEYS: Final = {"name", "source", "statement", "metric", "comparison", "threshold"}


@dataclass(frozen=True)
class Hypothesis:
    """One claim about one number. ``low`` and ``high`` bound the values that support it (None: no bound)."""

    name: str
    source: str
    statement: str
    metric: str
    comparison: str
    low: float | None
    high: float | None

    @property
    def threshold(self) -> str:
        """Return the threshold in words."""
        if self.comparison == "between":
            return f"between {self.low:g} and {self.high:g}"
        return f"at least {self.low:g}" if self.comparison == "at_least" else f"at most {self.high:g}"


@dataclass(frozen=True)
class Judged:
    """A hypothesis with what was measured: ``value`` is None where there is no such number in this run."""

    hypothesis: Hypothesis
    status: str
    value: float | None
    measured: str

    def as_dict(self) -> dict[str, Any]:
        """Return the judgement as JSON-serialisable data."""
        return {
            "name": self.hypothesis.name,
            "statement": self.hypothesis.statement,
            "metric": self.hypothesis.metric,
            "threshold": self.hypothesis.threshold,
            "status": self.status,
            "value": self.value,
            "measured": self.measured,
        }


def read(file: Path = FILE) -> list[Hypothesis]:
    """Read the hypotheses file. Raises AnalysisError naming file, key, expected and got."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise AnalysisError(f"{file}: expected hypotheses in YAML, got: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or not isinstance(data.get("hypotheses"), list):
        raise AnalysisError(f"{file}: expected a list under the key 'hypotheses', got {data!r:.80}")
    return [_hypothesis(file, entry) for entry in data["hypotheses"]]


def judge(hypotheses: list[Hypothesis], statistics: Mapping[str, Any]) -> list[Judged]:
    """Judge each hypothesis by the number its metric names in the statistics of one run."""
    return [_judge(one, statistics) for one in hypotheses]


def _judge(one: Hypothesis, statistics: Mapping[str, Any]) -> Judged:
    found: Any = statistics
    for key in one.metric.split("/"):
        found = found.get(key) if isinstance(found, dict) else None
    value, measured = found, "no such number in this run"
    if isinstance(found, dict) and "denominator" in found:
        value = found["value"]
        measured = "no event to judge"
        if value is not None:
            low, high = found["interval"]
            counts = f"{found['numerator']} of {found['denominator']}"
            measured = f"{value:.4f} ({counts}; {low:.4f} to {high:.4f}, {found['method']})"
    elif isinstance(value, (int, float)):
        measured = f"{value:.4g}"
    if not isinstance(value, (int, float)):
        return Judged(one, NOT_EVALUABLE, None, measured)
    meets = (one.low is None or value >= one.low) and (one.high is None or value <= one.high)
    return Judged(one, SUPPORTED if meets else NOT_SUPPORTED, float(value), measured)


def _hypothesis(file: Path, entry: Any) -> Hypothesis:
    if not isinstance(entry, dict) or set(entry) != KEYS:
        raise AnalysisError(
            f"{file}: expected the keys {', '.join(sorted(KEYS))} in each hypothesis, got {entry!r:.120}"
        )
    where = f"{file}: hypothesis {entry['name']!r}"
    comparison, threshold = entry["comparison"], entry["threshold"]
    bounds: tuple[float | None, float | None]
    if comparison == "between" and _numbers(threshold, 2) and threshold[0] <= threshold[1]:
        bounds = (float(threshold[0]), float(threshold[1]))
    elif comparison == "at_least" and _numbers([threshold], 1):
        bounds = (float(threshold), None)
    elif comparison == "at_most" and _numbers([threshold], 1):
        bounds = (None, float(threshold))
    else:
        wanted = "at_least or at_most with a number, or between with two"
        raise AnalysisError(f"{where}: expected {wanted}, got {comparison!r} with {threshold!r}")
    words = {key: str(entry[key]) for key in ("name", "source", "statement", "metric")}
    return Hypothesis(comparison=comparison, low=bounds[0], high=bounds[1], **words)


def _numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(type(one) in {int, float} for one in value)
