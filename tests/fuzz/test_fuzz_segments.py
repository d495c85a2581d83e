"""Shared memory with anything in it: numbers that a file of ours can hold, or a reason, and never an exception."""

from __future__ import annotations

from hypothesis import given, settings
from mutations import spoilt
from segments import ChronoTickRecord, ClockBoundSegment, S

from node_agent.clocks import chronotick_shm, clockbound
from node_agent.clocks.base import Refused

FUZZ = settings.get_profile("fuzz")
WALL = 1_800_000_000 * S
RAW = 5_000 * S
RECORD = ChronoTickRecord(WALL / S).image()
SEGMENTS = [ClockBoundSegment(700 * S, 760 * S, version=version).image() for version in (1, 2)]


def holds(numbers: dict[str, object]) -> str:
    """Return the outcome, having seen that all numbers are whole and fit into 64 bits."""
    values = [value for name, value in numbers.items() if name not in {"outcome", "scope"} and value is not None]
    assert all(type(value) is int and abs(value) < 1 << 63 for value in values), numbers
    assert (numbers["outcome"] == "ok") == bool(values)
    return str(numbers["outcome"])


@FUZZ
@given(image=spoilt(RECORD))
def test_a_chronotick_record_is_numbers_or_a_reason(count, image: bytes) -> None:
    record = chronotick_shm.parse(image)
    if isinstance(record, Refused):
        count(record.outcome)
        return
    count(holds(record.numbers(WALL, RAW, RAW + 1_000, 20 * 10**9)))


@FUZZ
@given(image=spoilt(*SEGMENTS))
def test_a_clockbound_segment_is_numbers_or_a_reason(count, image: bytes) -> None:
    segment = clockbound.parse(image)
    if isinstance(segment, Refused):
        count(segment.outcome)
        return
    count(holds(segment.numbers(WALL, RAW, RAW + 1_000, 702 * S, -12 * 10**9, 100)))
