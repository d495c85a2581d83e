"""The hypotheses of ``configs/hypotheses.yaml`` against the numbers of a run: supported, not supported, not evaluable.

A hypothesis is supported iff the measured number meets its threshold; the number's interval is printed beside it, so
that a reader sees how sure that is. Nothing is evaluable without a number, nor without the evidence a hypothesis asks
for: "never wrong" is also true of a clock that never decides, of one that seldom answers, and of a run that lost nearly
everything. So each piece of evidence is a rate that must reach a share, nine tenths where nothing else is said. Where
the interval of the number does not clear the threshold, the status is the number's, and the reason beside it says so.

A number and its threshold are shown in one unit: of a rate in percent (or in the unit that its analysis says), of any
other number in the unit that its key ends with (``age_ms``; ``age_ms/median`` of a spread), then in the words of the
hypothesis. A hypothesis that asks for another unit is refused, for its threshold was meant in that one.

Beside a number that is no rate, ``in_words`` of the same mapping says the first number of it with its unit and its
counts (``NAME_in_words`` another one), and ``remark`` what a reader must know of the first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from analysis.errors import AnalysisError, cause
from analysis.report import rates_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

RESULTS_FILE: Final = "hypotheses.json"  # below statistics/
FILE: Final = Path(__file__).resolve().parents[2] / "configs" / "hypotheses.yaml"
SUPPORTED: Final = "supported"
NOT_SUPPORTED: Final = "not supported"
NOT_EVALUABLE: Final = "not evaluable"
KEYS: Final = {"name", "source", "statement", "metric", "comparison", "threshold"}
OPTIONAL: Final = {"unit", "evidence"}
EVIDENCE_KEYS: Final = {"metric", "otherwise"}  # and at_least_share
PERCENT: Final = "%"
UNITS: Final = {word: unit for word, unit in rates_table.UNITS.items() if unit != rates_table.SHARE}
RENAMED: Final = {"ordering": {"correctness": "wrong_decided"}}  # by topic: keys of earlier versions, and what they are
OF_A_SPREAD: Final = {"median", "p95", "p99", "max", "value"}
MOST: Final = 0.9  # the share that evidence must reach where a hypothesis names none


@dataclass(frozen=True)
class Evidence:
    """The rate that must be at least ``at_least_share``, which is above 0; ``otherwise`` says what the rest is."""

    metric: str
    otherwise: str
    at_least_share: float = MOST


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
    unit: str = ""  # one that begins with % shows number and threshold times 100
    evidence: tuple[Evidence, ...] = ()

    def allows(self, at_least: float, at_most: float) -> bool:
        """Tell whether one number is not below the lower bound, and the other not above the upper one."""
        return (self.low is None or at_least >= self.low) and (self.high is None or at_most <= self.high)

    @property
    def scale(self) -> int:
        """Return by what a number is multiplied to be shown in the unit."""
        return 100 if self.unit.startswith(PERCENT) else 1

    @property
    def threshold(self) -> str:
        """Return the threshold in words, with its unit."""
        low, high = (None if bound is None else f"{self.scale * bound:g}" for bound in (self.low, self.high))
        words = {"between": f"between {low} and {high}", "at_least": f"at least {low}", "at_most": f"at most {high}"}
        return f"{words[self.comparison]} {self.unit}".rstrip()


@dataclass(frozen=True)
class Judged:
    """A hypothesis with what was measured: ``value`` is None where there is no such number in this run.

    ``reason``, where there is one, stands beside the status; ``method`` says how the measured interval was taken.
    """

    hypothesis: Hypothesis
    status: str
    value: float | None
    measured: str
    reason: str = ""
    method: str = ""
    interval: list[float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the judgement as JSON-serialisable data."""
        claim = {name: getattr(self.hypothesis, name) for name in ("name", "statement", "metric", "threshold")}
        judged = {name: getattr(self, name) for name in ("status", "reason", "value", "measured", "method")}
        return claim | judged | {"unit": self.hypothesis.unit, "interval": self.interval}


def read(file: Path = FILE) -> list[Hypothesis]:
    """Read the hypotheses file. Raises AnalysisError naming file, key, expected and got."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise AnalysisError(f"{file}: expected hypotheses in YAML, got: {cause(error)}") from error
    if not isinstance(data, dict) or not isinstance(data.get("hypotheses"), list):
        raise AnalysisError(f"{file}: expected a list under the key 'hypotheses', got {data!r:.80}")
    return [_hypothesis(file, entry) for entry in data["hypotheses"]]


def demand_topics(hypotheses: Sequence[Hypothesis], topics: Collection[str]) -> None:
    """Raise AnalysisError for a metric of a topic that no run has: a slip of the pen, not a number that is missing.

    Likewise for one that an earlier version had under another name, with the name that it has now.
    """
    for hypothesis in hypotheses:
        for metric in (hypothesis.metric, *(evidence.metric for evidence in hypothesis.evidence)):
            if metric.partition("/")[0] not in topics:
                wanted = f"a metric that begins with one of {', '.join(topics)}"
                raise AnalysisError(f"hypothesis {hypothesis.name!r}: expected {wanted}, got {metric!r}")
            topic, *path = metric.split("/")
            names = RENAMED.get(topic, {})
            if names.keys() & set(path):
                now = "/".join([topic, *(names.get(key, key) for key in path)])
                raise AnalysisError(f"hypothesis {hypothesis.name!r}: expected {now!r}, got its former name {metric!r}")


def judge(
    hypotheses: Sequence[Hypothesis],
    statistics: Mapping[str, Any],
    unit_of_rate: Callable[[str], str] = lambda _metric: "",
) -> list[Judged]:
    """Judge each hypothesis by the number its metric names in the statistics of one run.

    ``unit_of_rate`` says what a rate is counted in that is no share, "" for a share. Raises AnalysisError for a
    hypothesis whose unit is not that of its number.
    """
    return [_judge(hypothesis, statistics, unit_of_rate) for hypothesis in hypotheses]


def _judge(hypothesis: Hypothesis, statistics: Mapping[str, Any], unit_of_rate: Callable[[str], str]) -> Judged:
    number, beside = number_at(statistics, hypothesis.metric)
    key = hypothesis.metric.split("/")[-1]
    first = key == next(iter(beside), None)  # what the mapping says of its number it says of its first one
    value, method = number, ""
    reason = str(beside.get("remark") or "") if first else ""
    in_words = beside.get(f"{key}_in_words") or (beside.get("in_words") if first else None)
    interval: list[float] | None = None
    measured = str(in_words or "no such number in this run")
    if isinstance(number, dict) and "denominator" in number:
        hypothesis = _in_unit(hypothesis, unit_of_rate(hypothesis.metric) or PERCENT)
        value = number["value"]
        measured = "no event to judge"
        if value is not None:
            interval, method = number["interval"], str(number["method"])
            unit = PERCENT if hypothesis.unit.startswith(PERCENT) else hypothesis.unit
            counts = f"{number['numerator']:,} of {number['denominator']:,}"
            ends = "" if interval is None else " to ".join(f"{hypothesis.scale * edge:.2f}" for edge in interval)
            measured = f"{hypothesis.scale * value:.2f} {unit} ({counts}{f'; {ends}' * bool(ends)})"
    elif isinstance(number, dict) and number:
        value, measured = None, f"no number but {', '.join(map(str, number))}: name one of these"
    else:
        hypothesis = _in_unit(hypothesis, _unit_of_number(hypothesis.metric))
        if isinstance(value, (int, float)) and not in_words:
            name = "/".join(hypothesis.metric.split("/")[-2:])
            measured = f"{name} = {_in_figures(hypothesis.scale * value)} {hypothesis.unit}".rstrip()
    bounds = beside.get(f"{key}_bounds")
    if isinstance(bounds, list) and bounds[0] != bounds[1]:  # the judge's own width leaves it open between these
        value, beside, first = None, {"at_least": bounds[0], "at_most": bounds[1]}, True
        low, high = (_in_figures(hypothesis.scale * bound) for bound in bounds)
        open_ = f"between {low} and {high} {hypothesis.unit}".rstrip()
        measured = f"{measured}; {open_} by a judge with a width of its own"
    between = _between(hypothesis, beside) if value is None and first else None
    if not isinstance(value, (int, float)) and between is None:
        return Judged(hypothesis, NOT_EVALUABLE, None, measured, reason)
    missing = [why for evidence in hypothesis.evidence if (why := _missing(evidence, statistics)) is not None]
    if missing:
        return Judged(hypothesis, NOT_EVALUABLE, value, measured, "; ".join(missing), method)
    if between is not None:
        return Judged(hypothesis, between[0], None, measured, "; ".join(part for part in (reason, between[1]) if part))
    meets = hypothesis.allows(value, value)
    sure = _sureness(hypothesis, interval, meets=meets)
    reason = "; ".join(part for part in (reason, sure) if part)
    return Judged(hypothesis, SUPPORTED if meets else NOT_SUPPORTED, float(value), measured, reason, method, interval)


def _unit_of_number(metric: str) -> str:
    """Return the unit that the key of a number which is no rate ends with, of a spread its own key; "" for none."""
    *above, key = metric.split("/")
    if key in OF_A_SPREAD and above:
        key = above[-1]
    return UNITS.get(key.rpartition("_")[2], "") if "_" in key else ""


def _in_unit(hypothesis: Hypothesis, unit: str) -> Hypothesis:
    """Return the hypothesis with the number's unit in front of its own words. Raises AnalysisError if it has another.

    A number of no known unit has the hypothesis' own.
    """
    said = hypothesis.unit.replace("us", "µs", 1) if hypothesis.unit.split()[:1] == ["us"] else hypothesis.unit
    if not unit or f"{said} ".startswith(f"{unit} ") or (unit == PERCENT and said.startswith(PERCENT)):
        return replace(hypothesis, unit=said)
    if said.startswith(PERCENT) or any(f"{said} ".startswith(f"{known} ") for known in UNITS.values()):
        wanted = f"a unit that begins with {unit!r}, in which {hypothesis.metric} is counted"
        raise AnalysisError(f"hypothesis {hypothesis.name!r}: expected {wanted}, got {hypothesis.unit!r}")
    return replace(hypothesis, unit=f"{unit} {said}".rstrip())


def _in_figures(number: float) -> str:
    """Return a number in four figures, and from 10,000 on in whole ones."""
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.4g}"


def _between(hypothesis: Hypothesis, beside: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return status and reason of a number known to lie from ``at_least`` (None: no limit) to ``at_most``."""
    low, high = beside.get("at_least"), beside.get("at_most")
    if not isinstance(high, (int, float)):
        return None
    least = float("-inf") if low is None else float(low)
    if not hypothesis.allows(high, least):
        return NOT_SUPPORTED, "wherever between the two it is"
    if hypothesis.allows(least, high):
        return SUPPORTED, "wherever between the two it is"
    return NOT_EVALUABLE, "the threshold lies between the two"


def _sureness(hypothesis: Hypothesis, interval: list[float] | None, *, meets: bool) -> str:
    """Return, in words, how far a number's interval lies on the other side of the threshold; "" where it does not."""
    if interval is None:
        return "no interval tells how sure this number is: no proof" if meets else ""
    low, high = interval
    unit = PERCENT if hypothesis.unit.startswith(PERCENT) else hypothesis.unit
    if meets:
        beyond = [low] if hypothesis.low is not None and low < hypothesis.low else []
        beyond += [high] if hypothesis.high is not None and high > hypothesis.high else []
        edges = " and ".join(f"{hypothesis.scale * edge:.2f} {unit}" for edge in beyond)
        return f"the 95 % interval reaches {edges}: consistent with, not proof" if beyond else ""
    if hypothesis.allows(high, low):
        edge = f"{hypothesis.scale * low:.2f} to {hypothesis.scale * high:.2f} {unit}"
        return f"the 95 % interval, {edge}, reaches the threshold: not refuted either"
    return ""


def number_at(statistics: Mapping[str, Any], metric: str) -> tuple[Any, Mapping[str, Any]]:
    """Return what a metric names, and the mapping it is in (empty where there is none)."""
    value: Any = statistics
    beside: Any = {}
    for key in metric.split("/"):
        beside = value if isinstance(value, dict) else {}
        value = beside.get(key)
    return value, beside


def _missing(evidence: Evidence, statistics: Mapping[str, Any]) -> str | None:
    """Return why the evidence does not suffice, or None where it does."""
    rate, _ = number_at(statistics, evidence.metric)
    name = evidence.metric.split("/")[-1]
    if not isinstance(rate, dict) or not rate.get("denominator"):
        return f"nothing says how much was {name}"
    count, of = rate["numerator"], rate["denominator"]
    if count == 0:
        return f"nothing was {name}: {of:,} of {of:,} {evidence.otherwise}"
    if count < evidence.at_least_share * of:
        rest = f"the other {of - count:,} {evidence.otherwise}"
        return f"too little was {name}: {count:,} of {of:,} ({rest}), needed are {100 * evidence.at_least_share:g} %"
    return None


def _hypothesis(file: Path, entry: Any) -> Hypothesis:
    if not isinstance(entry, dict) or set(entry) - OPTIONAL != KEYS:
        raise AnalysisError(
            f"{file}: expected the keys {', '.join(sorted(KEYS))} in each hypothesis "
            f"(and, if wanted, {', '.join(sorted(OPTIONAL))}), got {entry!r:.120}"
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
    asked = entry.get("evidence", [])
    evidence = tuple(_evidence(where, item) for item in (asked if isinstance(asked, list) else [asked]))
    unit = str(entry.get("unit", ""))
    return Hypothesis(comparison=comparison, low=bounds[0], high=bounds[1], unit=unit, evidence=evidence, **words)


def _evidence(where: str, entry: Any) -> Evidence:
    if not isinstance(entry, dict) or set(entry) - {"at_least_share"} != EVIDENCE_KEYS:
        raise AnalysisError(f"{where}: expected evidence with metric and otherwise (and at_least_share), got {entry!r}")
    share = entry.get("at_least_share", MOST)
    if not _numbers([share], 1) or not 0 < share <= 1:
        raise AnalysisError(f"{where}: expected at_least_share above 0 and at most 1, got {share!r}")
    return Evidence(str(entry["metric"]), str(entry["otherwise"]), float(share))


def _numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(type(number) in {int, float} for number in value)
