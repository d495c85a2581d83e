"""Every number of some statistics, an entry each: shares with what they count, and quantities.

What belongs to one number stands beside it in the statistics and becomes one entry: ``X`` is the number, ``X_bounds``
the least and the greatest that it can be for all that a standard with a width of its own can tell, ``X_interval`` or
``X_ci`` its sampling interval. In a mapping with ``value``, ``bounds`` and ``interval`` are about that. Words, truth
values and what there is no number for are no entries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from analysis.stats import rates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BOUNDS: Final = ("_bounds",)
INTERVALS: Final = ("_interval", "_ci")
OPPOSITES: Final = {"right": "wrong", "wrong": "right", "contained": "missed", "missed": "contained"}
COUNTED_OF: Final = (("held", "checked"), ("hits", "of"))  # keys of a share without an interval: numerator, denominator
CAUSES: Final = (
    "true_windows_differ",
    "true_orders_differ",
    "caused_by_clocks",
)  # each may be as much more as is unknown
UNKNOWN: Final = "unknown"
VALUE: Final = "value"


@dataclass(frozen=True)
class Entry:
    """One number, or the two that it lies between, with the keys that lead to it.

    ``least`` to ``most``: what a standard leaves open; ``low`` to ``high``: the 95 % interval, taken by ``method``.
    ``numerator``, ``denominator`` and ``effective_trials`` are those of a share; None of a quantity.
    """

    path: tuple[str, ...]
    value: float | None
    least: float | None = None
    most: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    numerator: int | None = None
    denominator: int | None = None
    effective_trials: float | None = None

    @property
    def is_share(self) -> bool:
        """Tell whether it is a numerator of a denominator, even of none."""
        return self.denominator is not None


def entries(data: Any) -> list[Entry]:
    """Return every number of JSON data, in its order; the place in a list counts as a key."""
    found: list[Entry] = []
    _add(found, data, ())
    return found


def _add(found: list[Entry], data: Any, path: tuple[str, ...]) -> None:
    """Add every number of JSON data that these keys lead to."""
    if isinstance(data, list):
        for place, item in enumerate(data):
            _add_item(found, item, (*path, str(place)))
    elif isinstance(data, dict):
        counted = next((pair for pair in COUNTED_OF if all(_is_number(data.get(key)) for key in pair)), None)
        names = dict.fromkeys(_is_about(key, value) for key, value in data.items())
        for name in names:
            if counted is None or name not in counted:
                _add_named(found, name, data, path)
            elif name == counted[0]:
                found.append(_share(rates.rate(data[name], data[counted[1]]).as_dict(), (*path, name)))


def _add_named(found: list[Entry], name: str, data: Mapping[str, Any], path: tuple[str, ...]) -> None:
    """Add what a name stands for in a mapping, with what is beside it about the same number."""
    named: Any = data.get(name)
    where = (*path, name)
    bounds, interval = _beside(name, data, BOUNDS), _beside(name, data, INTERVALS)
    if name in CAUSES and _is_number(data.get(UNKNOWN)):
        bounds = [named, named + data[UNKNOWN]]
    if rates.is_rate(named):
        opposite = data.get(OPPOSITES.get(name, "")) or {}
        found.append(_widened(_share(named, where), bounds, opposite.get("interval")))
    elif isinstance(named, list) and bounds and not _is_pair(bounds):
        for place, (value, ends) in enumerate(zip(named, bounds, strict=True)):
            _add_quantity(found, value, ends, None, (*where, str(place)))
    elif named is None or _is_number(named):
        method = str(data.get("method") or "") if name == VALUE else ""
        _add_quantity(found, named, bounds, interval, where, method)
    else:
        _add(found, named, where)


def _add_item(found: list[Entry], item: Any, path: tuple[str, ...]) -> None:
    if rates.is_rate(item):
        found.append(_share(item, path))
    elif _is_number(item):
        found.append(Entry(path, item))
    else:
        _add(found, item, path)


def _add_quantity(
    found: list[Entry], value: float | None, bounds: Any, interval: Any, path: tuple[str, ...], method: str = ""
) -> None:
    """Add an entry, none where there is no number at all."""
    least, most = bounds or (None, None)
    low, high = interval or (None, None)
    if any(number is not None for number in (value, least, most, low, high)):
        found.append(Entry(path, value, least, most, low, high, method))


def _share(rate: Mapping[str, Any], path: tuple[str, ...]) -> Entry:
    low, high = rate["interval"] or (None, None)
    counted = {name: rate[name] for name in ("numerator", "denominator", "method", "effective_trials")}
    return Entry(path, rate["value"], low=low, high=high, **counted)


def _widened(share: Entry, bounds: Sequence[float] | None, opposite: Sequence[float] | None) -> Entry:
    """Return a share whose interval reaches as far as what a standard cannot tell allows.

    At most it is what its opposite is not: the interval reaches to the mirrored ``opposite``, the interval of that.
    """
    if not bounds:
        return share
    least, most = bounds
    open_ = replace(share, least=least, most=most)
    if share.low is None or share.high is None:
        return replace(open_, low=least, high=most) if least < most else open_
    edges = [share.low, least], [share.high, most]
    if opposite:
        edges[1].append(1.0 - opposite[0])
    return replace(open_, low=min(edges[0]), high=max(edges[1]))


def _is_about(key: str, value: Any) -> str:
    """Return the name of the number that a key is about: itself, or another one beside it."""
    if value is None or _is_pair(value) or (isinstance(value, list) and value and all(map(_is_pair, value))):
        if key in {"bounds", "interval"}:
            return VALUE
        for ending in (*BOUNDS, *INTERVALS):
            if key.endswith(ending):
                return key.removesuffix(ending)
    return key


def _beside(name: str, data: Mapping[str, Any], endings: Sequence[str]) -> Any:
    """Return what stands beside a number with one of these endings, None for nothing."""
    for ending in endings:
        for key in (name + ending, ending.removeprefix("_")) if name == VALUE else (name + ending,):
            if data.get(key) is not None and _is_about(key, data[key]) == name:
                return data[key]
    return None


def _is_pair(value: Any) -> bool:
    """Tell whether it is two numbers, of which one may be missing."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and any(map(_is_number, value))
        and all(item is None or _is_number(item) for item in value)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
