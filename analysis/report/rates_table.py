"""``statistics/rates.csv`` and ``overall_summary.json``: every rate of a run in long form, and what one reads first.

Both are made of the statistics alone, so that a number stands in them as it stands there. A rate has one row, with the
columns of ``COLUMNS``; a cell is empty where a column does not apply. ``subject`` is a node, a pair of workers, the
width of a window in ms or a task; ``low`` and ``high`` are the sampling interval at 95 % where there is one, ``method``
says how it was taken or why there is none. What a judge with a width leaves open is a rate of its own (``unknown``).
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from analysis.errors import AnalysisError
from analysis.stats.rates import is_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analysis.report.hypotheses import Judged

RATES_FILE: Final = "rates.csv"
SUMMARY_FILE: Final = "overall_summary.json"
COLUMNS: Final = (
    "question", "subject", "source", "clock", "ground_truth", "metric", "numerator", "denominator", "low", "high",
    "method", "effective_trials", "unit",
)  # fmt: skip
SHARE: Final = "share"
ROUNDS: Final = "rounds per decision"

# Where a rate stands in its topic, key by key: "{column}" takes a key into that column, "{column=key}"
# that one alone, and the last part all keys that are left. The first form that fits counts; it may add columns.
_INTERVAL: Final = {"clock": "interval"}
_JUDGED: Final = ("against", "{ground_truth}", "{metric}")
_FORMS: Final[Mapping[str, Sequence[tuple[tuple[str, ...], Mapping[str, str]]]]] = {
    "causality": [
        (("{metric=received}",), {}),
        (("sources", "{source}", "{subject=all}", "{clock}", *_JUDGED), {}),
        (("sources", "{source}", "{subject=all}", "{clock}", "{metric}"), {}),
        (("sources", "{source}", "workers", "{subject}", "{clock}", *_JUDGED), {}),
        (("sources", "{source}", "workers", "{subject}", "{clock}", "{metric}"), {}),
    ],
    "ordering": [
        (("sources", "{source}", "{clock}", "who_first", "{subject}", *_JUDGED), {"question": "who_first"}),
        (("sources", "{source}", "{clock}", "who_first", "{subject}", "{metric}"), {"question": "who_first"}),
        (("sources", "{source}", "{clock}", *_JUDGED), {}),
        (("sources", "{source}", "{clock}", "{metric}"), {}),
    ],
    "windows": [
        (("sources", "{source}", "{subject}", "points_against", "{ground_truth}", "{metric}"), {"clock": "point"}),
        (
            ("sources", "{source}", "{subject}", "intervals_against", "{ground_truth}", "{metric}"),
            {"clock": "interval"},
        ),
        (("sources", "{source}", "{subject}", "{metric=agreement}"), {"clock": "point"}),
        (("sources", "{source}", "{subject}", "{metric}"), _INTERVAL),
    ],
    "coordination": [
        (("tasks", "{subject}", "{source}", "{clock}", "{metric}"), {"unit": ROUNDS}),
        (("reductions", "{source}", "{subject}", "{metric}"), {}),
    ],
    "commit_wait": [
        (("commit_waits", "{source}", "{metric}"), {"question": "held_events"}),
        (("sources", "{source}", "{subject}", "{subject}", *_JUDGED), _INTERVAL),
        (("sources", "{source}", "{subject}", "{subject}", "{metric}"), _INTERVAL),
    ],
    "clock_quality": [(("{source}", "{subject}", "{metric}"), {})],
    "clock_truth": [(("sources", "{source}", "{subject}", "{metric}"), {"ground_truth": "injected_truth"})],
}
_CLOCKS: Final = {"points": "point", "intervals": "interval"}


def rows(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per rate of the statistics (topic -> statistics), in their order.

    Raises AnalysisError for a rate whose place no form describes.
    """
    return [
        _row(topic, path, rate)
        for topic, statistics in numbers.items()
        for path, rate in _rates(statistics, ())
    ]  # fmt: skip


def as_csv(numbers: Mapping[str, Any]) -> str:
    """Return ``rates.csv``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(numbers))
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
        "agreement": {clock: order["agreement_decided"] for clock, order in orders.items()},
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
            yield from _rates(value, (*path, str(key)))


def _row(topic: str, path: tuple[str, ...], rate: Mapping[str, Any]) -> dict[str, Any]:
    for form, added in _FORMS.get(topic, ()):
        place = _placed(form, path)
        if place is not None:
            low, high = rate["interval"] or (None, None)
            place |= added
            return {
                "question": place.pop("question", topic),
                **place,
                "clock": _CLOCKS.get(place.get("clock", ""), place.get("clock", "")),
                "numerator": rate["numerator"],
                "denominator": rate["denominator"],
                "low": low,
                "high": high,
                "method": rate["method"],
                "effective_trials": rate["effective_trials"],
                "unit": place.get("unit", SHARE),
            }
    raise AnalysisError(f"{RATES_FILE}: expected a form for the rate {'/'.join((topic, *path))}, got none")


def _placed(form: tuple[str, ...], path: tuple[str, ...]) -> dict[str, str] | None:
    """Return which key goes into which column, None if the path is not of this form."""
    if len(path) < len(form):
        return None
    place: dict[str, str] = {}
    keys = (*path[: len(form) - 1], "/".join(path[len(form) - 1 :]))
    for part, key in zip(form, keys, strict=True):
        column, _, only = part.strip("{}").partition("=")
        if not part.startswith("{"):
            if key != part:
                return None
        elif only and key != only:
            return None
        else:
            place[column] = f"{place[column]} after {key}" if column in place else key
    return place
