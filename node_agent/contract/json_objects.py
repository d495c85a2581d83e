"""Dataclasses from JSON: every value is of its field's type, or the whole is refused.

Fields may be plain values, other dataclasses, lists, tuples, ``dict[str, ...]`` and Optional ones of these. The module
of a class has no ``from __future__ import annotations`` where Python 3.9 is to read its types.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

ABSENT: Final = "absent"  # in a field's metadata: its value where what an earlier version wrote has none
_EXACT: Final = 1 << 53  # up to here a float holds every whole number

T = TypeVar("T")


def read(kind: type[T], text: str, where: str, *, whole: bool = False) -> T:
    """Build an object of a class from JSON text; with ``whole`` no key may be left out. Raises ValueError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected JSON, got {error}") from error
    return build(kind, data, where, whole=whole)


def write(value: Any) -> str:
    """Write an object of a dataclass as JSON text, on one line."""
    return json.dumps(dataclasses.asdict(value), sort_keys=True)


def build(kind: type[T], data: Any, where: str, *, whole: bool = False) -> T:
    """Build an object of a class from what JSON holds. Raises ValueError for unknown keys and wrong types."""
    return cast("T", _value(kind, data, where, whole=whole))


def _value(kind: Any, data: Any, where: str, *, whole: bool) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if type(None) in inner:  # Optional[...] is the only union there is
        return None if data is None else _value(inner[0], data, where, whole=whole)
    if origin in {list, tuple}:
        if not isinstance(data, list):
            raise ValueError(f"{where}: expected a list, got {data!r:.80}")
        kinds = inner if origin is tuple and ... not in inner else (inner[0],) * len(data)
        if len(kinds) != len(data):
            raise ValueError(f"{where}: expected {len(kinds)} values, got {len(data)}")
        items = (_value(of, item, f"{where}[{i}]", whole=whole) for i, (of, item) in enumerate(zip(kinds, data)))
        return origin(items)
    if origin is dict or dataclasses.is_dataclass(kind):
        if not isinstance(data, dict):
            raise ValueError(f"{where}: expected an object, got {data!r:.80}")
        if origin is dict:
            return {key: _value(inner[1], value, f"{where}.{key:.80}", whole=whole) for key, value in data.items()}
        return _object(kind, data, where, whole=whole)
    if kind is float and type(data) is int and abs(data) <= _EXACT:
        return float(data)
    if type(data) is not kind:  # a bool is no int here
        raise ValueError(f"{where}: expected {kind.__name__}, got {data!r:.80}")
    if kind is float and not math.isfinite(data):
        raise ValueError(f"{where}: expected a finite number, got {data!r}")
    return data


def _object(kind: Any, data: dict[str, Any], where: str, *, whole: bool) -> Any:
    hints, fields = get_type_hints(kind), dataclasses.fields(kind)
    if unknown := sorted(set(data) - set(hints)):
        raise ValueError(f"{where}: unknown key {unknown[0]!r:.80}")
    values = {spec.name: spec.metadata[ABSENT] for spec in fields if ABSENT in spec.metadata}
    values |= {key: _value(hints[key], value, f"{where}.{key}", whole=whole) for key, value in data.items()}
    for spec in fields:
        needed = whole or (spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING)
        if needed and spec.name not in values:
            raise ValueError(f"{where}: expected the key {spec.name!r}, got none")
    return kind(**values)
