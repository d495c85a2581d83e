"""What has been seen of a stream of events: which ids, and which span of sequence numbers."""

from __future__ import annotations

from typing import Final

_BITMAP_IDS: Final = 1 << 27  # 16 MiB at the most


class Seen:
    """A set of event ids that costs an eighth of a byte per id."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self._others: set[int] = set()

    def add(self, event_id: int) -> bool:
        """Remember an id; return False if it was there already."""
        if event_id >= _BITMAP_IDS:
            fresh = event_id not in self._others
            self._others.add(event_id)
            return fresh
        byte, bit = event_id >> 3, 1 << (event_id & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(max(byte + 1 - len(self._bits), len(self._bits), 1024)))
        if self._bits[byte] & bit:
            return False
        self._bits[byte] |= bit
        return True


class SequenceSpan:
    """The first and last sequence number seen; what lies between was sent."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._last = -1

    def add(self, number: int) -> None:
        """Take one more number into the span."""
        self._first = number if self._first is None else min(self._first, number)
        self._last = max(self._last, number)

    @property
    def expected(self) -> int:
        """Return how many events the span covers."""
        return 0 if self._first is None else self._last - self._first + 1
