"""A mapping whose values are in memory until they are put on disk, from where each is taken anew when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from analysis.storage.scratch import Put, taken

if TYPE_CHECKING:
    from analysis.storage.scratch import Scratch

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class PutAway(Mapping[_Key, _Value], Generic[_Key, _Value]):
    """Values by key. What was taken from disk cannot be written to, and is in memory for as long as somebody has it."""

    def __init__(self, values: Mapping[_Key, _Value]) -> None:
        self._values: dict[_Key, _Value | Put] = dict(values)
        self._scratch: Scratch | None = None

    def put_away(self, scratch: Scratch) -> None:
        """Put all values on disk, if they are not there. Raises AnalysisError where that has no room for them."""
        if self._scratch is None:
            self._values = {key: scratch.put(value) for key, value in self._values.items()}
            self._scratch = scratch  # which is there for as long as this is

    def __getitem__(self, key: _Key) -> _Value:
        """Return a value. Raises KeyError where there is none."""
        value: _Value = taken(self._values[key])
        return value

    def __iter__(self) -> Iterator[_Key]:
        """Iterate over the keys."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._values)
