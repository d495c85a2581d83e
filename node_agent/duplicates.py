"""What has been seen of a stream of events: which ids, and which sequence numbers."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

MOST_RANGES: Final = 4_096  # 64 KiB; a stream so full of gaps is no stream of one coordinator
_BITMAP_IDS: Final = 1 << 27  # 16 MiB at the most


class EventIds:
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
    """The first and last sequence number seen; what lies between was sent.

    That holds only of numbers that are authenticated: one sender, who holds the run's key and counts from 0. Of
    anyone's numbers ``SequenceRanges`` says what can be said.
    """

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


class SequenceRanges:
    """The sequence numbers seen, as ranges without a gap: all that can be said of numbers anyone may have made up.

    A gap may be a loss, a sender that counts otherwise, or one forged number; nobody here can tell, so gaps are not
    added up. Beyond ``MOST_RANGES`` ranges numbers that join none are no longer kept: the counts are then "at least".
    """

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._distinct = self._repeated = 0
        self._first: int | None = None
        self._last = 0

    def add(self, number: int) -> None:
        """Take one more number in."""
        self._first = number if self._first is None else min(self._first, number)
        self._last = max(self._last, number)
        place = bisect_right(self._firsts, number) - 1
        if place >= 0 and number <= self._lasts[place]:
            self._repeated += 1
            return
        after_one = place >= 0 and self._lasts[place] == number - 1
        before_one = place + 1 < len(self._firsts) and self._firsts[place + 1] == number + 1
        if after_one and before_one:
            self._lasts[place] = self._lasts.pop(place + 1)
            del self._firsts[place + 1]
        elif after_one:
            self._lasts[place] = number
        elif before_one:
            self._firsts[place + 1] = number
        elif len(self._firsts) < MOST_RANGES:
            self._firsts.insert(place + 1, number)
            self._lasts.insert(place + 1, number)
        else:
            return
        self._distinct += 1

    def counts(self) -> dict[str, int]:
        """Return how many distinct and repeated numbers were seen, in how many ranges, and the first and the last."""
        counts = {
            "sequence_distinct": self._distinct,
            "sequence_repeated": self._repeated,
            "sequence_ranges": len(self._firsts),
        }
        if self._first is not None:
            counts.update({"sequence_first": self._first, "sequence_last": self._last})
        return counts
