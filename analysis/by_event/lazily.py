"""A mapping whose values are made when they are asked for, and then kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_Other = TypeVar("_Other")


class Lazily(Mapping[_Key, _Value], Generic[_Key, _Value]):
    """What ``make`` makes of each of some keys."""

    def __init__(self, keys: Iterable[_Key], make: Callable[[_Key], _Value]) -> None:
        self._keys = dict.fromkeys(keys)
        self._make = make
        self._made: dict[_Key, _Value] = {}

    def __getitem__(self, key: _Key) -> _Value:
        """Return the value of a key. Raises KeyError if it is none of the keys."""
        if key not in self._made:
            if key not in self._keys:
                raise KeyError(key)
            self._made[key] = self._make(key)
        return self._made[key]

    def __iter__(self) -> Iterator[_Key]:
        """Iterate over the keys."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._keys)

    def then(self, change: Callable[[_Value], _Other]) -> Lazily[_Key, _Other]:
        """Return the same keys with changed values, these too made when they are asked for."""
        return Lazily(self._keys, lambda key: change(self[key]))
