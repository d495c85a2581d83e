"""Put together again what was made of consecutive parts of a run, field by field.

What is by event is strung together; counts add up; what is said of the run is the same in every part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

_Whole = TypeVar("_Whole")


def joined(parts: Sequence[_Whole]) -> _Whole:
    """Return the whole that consecutive parts are of. Parts are dataclasses, mappings or tuples; of one it is that.

    Arrays that are one object in every part are one in the whole. Raises ValueError where parts disagree about
    something that is not by event.
    """
    if len(parts) == 1:
        return parts[0]
    whole: _Whole = _of_fields(parts, {}) if is_dataclass(parts[0]) else _joined(parts, {})
    return whole


def _joined(parts: Sequence[Any], made: dict[tuple[int, ...], Any]) -> Any:
    first = parts[0]
    if isinstance(first, np.ndarray):
        ids = tuple(map(id, parts))
        if ids not in made:
            made[ids] = np.concatenate(parts)
        return made[ids]
    if isinstance(first, pd.Categorical):
        return pd.Categorical.from_codes(np.concatenate([part.codes for part in parts]), dtype=first.dtype)
    if is_dataclass(first):  # one object in all parts is the run's
        return first if all(part is first for part in parts) else _of_fields(parts, made)
    if isinstance(first, Mapping):
        return _mapped(parts, made)
    if isinstance(first, tuple) and any(isinstance(entry, (np.ndarray, tuple, Mapping)) for entry in first):
        entries = [_joined(column, made) for column in zip(*parts, strict=True)]
        return type(first)(*entries) if hasattr(first, "_fields") else tuple(entries)
    if any(part != first for part in parts):
        raise ValueError(f"parts of a run: expected all of them to say {first!r}, got {set(map(repr, parts))}")
    return first


def _of_fields(parts: Sequence[Any], made: dict[tuple[int, ...], Any]) -> Any:
    first = parts[0]
    names = [spec.name for spec in fields(first)]
    return replace(first, **{name: _joined([getattr(part, name) for part in parts], made) for name in names})


def _mapped(parts: Sequence[Mapping[Any, Any]], made: dict[tuple[int, ...], Any]) -> dict[Any, Any]:
    """Add up counts, and put anything else together; a part may lack what it has none of."""
    by_key: dict[Any, list[Any]] = {}
    for part in parts:
        for key, value in part.items():
            by_key.setdefault(key, []).append(value)
    return {
        key: sum(values) if all(type(value) is int for value in values) else _joined(values, made)
        for key, values in by_key.items()
    }
