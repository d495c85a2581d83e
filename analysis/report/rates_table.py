"""``statistics/rates.csv`` and ``overall_summary.json``: every rate of a run in long form, and what one reads first.

Both are made of the statistics alone, so that a number stands in them as it stands there. A rate has one row, with the
columns of ``COLUMNS``; a cell is empty where a column does not apply. ``subject`` is a node, a pair of workers, the
width of a window in ms or a task; ``low`` and ``high`` are the sampling interval at 95 % where there is one, ``method``
says how it was taken or why there is none. What a judge with a width leaves open is a rate of its own (``unknown``):
``low`` and ``high`` of what it calls right or wrong reach as far as that allows, too.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from analysis.errors import AnalysisError
from analysis.stats.rates import is_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analysis.analyses.analysis import Analysis
    from analysis.report.hypotheses import Judged

RATES_FILE: Final = "rates.csv"
SUMMARY_FILE: Final = "overall_summary.json"
COLUMNS: Final = (
    "question", "subject", "source", "clock", "ground_truth", "metric", "numerator", "denominator", "low", "high",
    "method", "effective_trials", "unit",
)  # fmt: skip
SHARE: Final = "share"
_CLOCKS: Final = {"points": "point", "intervals": "interval"}


def rows(analyses: Sequence[Analysis], numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per rate of the statistics (by analysis), in their order.

    Raises AnalysisError for a rate whose place its analysis does not know.
    """
    return [_row(topic, path, rate) for topic in analyses for path, rate in _rates(numbers[topic.name], ())]


def as_csv(analyses: Sequence[Analysis], numbers: Mapping[str, Any]) -> str:
    """Return ``rates.csv``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(analyses, numbers))
    return text.getvalue()


def summary(numbers: Mapping[str, Any], judged: Sequence[Judged], findings: Mapping[str, int]) -> dict[str, Any]:
    """Return what one reads first: per source its verdicts, agreement, rounds and claims; hypotheses; findings."""
    causality = numbers["causality"]["sources"]
    return {
        "received": numbers["causality"]["received"],
        "sources": {source: _of_source(source, numbers) for source in causality},
        "hypotheses": [
            {"name": judgement.hypothesis.name, "status": judgement.status, "measured": judgement.measured}
            for judgement in judged
        ],
        "findings": dict(findings),
    }


def _of_source(source: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    verdicts = numbers["causality"]["sources"][source]["all"]
    orders = numbers["ordering"]["sources"].get(source, {})
    widths = numbers["windows"]["sources"].get(source, {})
    tasks = numbers["coordination"]["tasks"]
    nodes = numbers["clock_quality"].get(source, {})
    return {
        "violated_as_points": verdicts["points"]["violated"],
        "violated_as_intervals": verdicts["intervals"]["violated"],
        "proved": verdicts["intervals"]["proved"],
        "agreement_decided": {clock: order["agreement_decided"] for clock, order in orders.items()},
        "provable_window_agreement": {width: window["provable_agreement"] for width, window in widths.items()},
        "rounds_per_decision": {
            task: {clock: cost["rounds_per_decision"] for clock, cost in by_source[source].items()}
            for task, by_source in tasks.items()
            if source in by_source
        },
        "clocks": {
            node: {
                "judged_against": quality["judged_against"],
                "half_width_us": None if (median := quality["width_us"]["median"]) is None else median / 2,
                **quality["coverage_rates"],
            }
            for node, quality in nodes.items()
        },
    }


def _rates(data: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield every rate below ``data`` with the keys that lead to it; the place in a list counts as a key."""
    if is_rate(data):
        yield path, data
    elif isinstance(data, (dict, list)):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in items:
            bounds = data.get(f"{key}_bounds") if isinstance(data, dict) and is_rate(value) else None
            yield from _rates(_widened(value, bounds) if bounds else value, (*path, str(key)))


def _widened(rate: Mapping[str, Any], bounds: tuple[float, float]) -> dict[str, Any]:
    """Return a rate whose interval reaches as far as what a judge cannot tell allows."""
    least, most = bounds
    low, high = rate["interval"] or bounds
    return {**rate, "interval": [min(low, least), max(high, most)] if rate["interval"] or least < most else None}


def _row(analysis: Analysis, path: tuple[str, ...], rate: Mapping[str, Any]) -> dict[str, Any]:
    for place in analysis.rates:
        columns = _columns(place.path.split("/"), path)
        if columns is not None:
            low, high = rate["interval"] or (None, None)
            clock = place.clock or columns.get("clock", "")
            counted = {name: rate[name] for name in ("numerator", "denominator", "method", "effective_trials")}
            return columns | {
                "question": place.question or analysis.name,
                "clock": _CLOCKS.get(clock, clock),
                "ground_truth": place.ground_truth or columns.get("ground_truth", ""),
                **counted,
                "low": low,
                "high": high,
                "unit": place.unit or SHARE,
            }
    raise AnalysisError(f"{RATES_FILE}: expected a place of the rate {'/'.join((analysis.name, *path))}, got none")


def _columns(place: Sequence[str], path: tuple[str, ...]) -> dict[str, str] | None:
    """Return which key goes into which column, None if the path is not one of this place."""
    if len(path) < len(place):
        return None
    columns: dict[str, str] = {}
    keys = (*path[: len(place) - 1], "/".join(path[len(place) - 1 :]))
    for part, key in zip(place, keys, strict=True):
        column, _, only = part.strip("{}").partition("=")
        if not part.startswith("{"):
            if key != part:
                return None
        elif only and key != only:
            return None
        else:
            columns[column] = f"{columns[column]} after {key}" if column in columns else key
    return columns
