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
    from collections.abc import Iterator, Mapping, Sequence

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


def entries(data: Any, path: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Yield every number of JSON data, in its order; the place in a list counts as a key."""
    if isinstance(data, list):
        for place, item in enumerate(data):
            yield from _entry_or_more(item, (*path, str(place)))
    elif isinstance(data, dict):
        counted = next((pair for pair in COUNTED_OF if all(_is_number(data.get(key)) for key in pair)), None)
        names = dict.fromkeys(_is_about(key, value) for key, value in data.items())
        for name in names:
            if counted is None or name not in counted:
                yield from _named(name, data, path)
            elif name == counted[0]:
                yield _share(rates.rate(data[name], data[counted[1]]).as_dict(), (*path, name))


def _named(name: str, data: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Entry]:
    """Yield what a name stands for in a mapping, with what is beside it about the same number."""
    found: Any = data.get(name)
    where = (*path, name)
    bounds, interval = _beside(name, data, BOUNDS), _beside(name, data, INTERVALS)
    if name in CAUSES and _is_number(data.get(UNKNOWN)):
        bounds = [found, found + data[UNKNOWN]]
    if rates.is_rate(found):
        opposite = data.get(OPPOSITES.get(name, "")) or {}
        yield _widened(_share(found, where), bounds, opposite.get("interval"))
    elif isinstance(found, list) and bounds and not _is_pair(bounds):
        for place, (value, ends) in enumerate(zip(found, bounds, strict=True)):
            yield from _quantity(value, ends, None, (*where, str(place)))
    elif found is None or _is_number(found):
        method = str(data.get("method") or "") if name == VALUE else ""
        yield from _quantity(found, bounds, interval, where, method)
    else:
        yield from entries(found, where)


def _entry_or_more(item: Any, path: tuple[str, ...]) -> Iterator[Entry]:
    if rates.is_rate(item):
        yield _share(item, path)
    elif _is_number(item):
        yield Entry(path, item)
    else:
        yield from entries(item, path)


def _quantity(
    value: float | None, bounds: Any, interval: Any, path: tuple[str, ...], method: str = ""
) -> Iterator[Entry]:
    """Yield an entry, none where there is no number at all."""
    least, most = bounds or (None, None)
    low, high = interval or (None, None)
    if any(number is not None for number in (value, least, most, low, high)):
        yield Entry(path, value, least, most, low, high, method)


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
    keys = [name + ending for ending in endings]
    if name == VALUE:
        keys += [ending.removeprefix("_") for ending in endings]
    return next((data[key] for key in keys if data.get(key) is not None and _is_about(key, data[key]) == name), None)


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
