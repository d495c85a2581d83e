"""What has been seen before is known, whatever the ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node_agent.duplicates import EventIds, SequenceSpan

IDS = (
    st.integers(min_value=0, max_value=40)
    | st.integers(min_value=(1 << 27) - 3, max_value=(1 << 27) + 3)
    | st.integers(min_value=0, max_value=(1 << 63) - 1)
)


@given(st.lists(IDS, max_size=60))
def test_an_id_is_fresh_exactly_once(ids):
    seen = EventIds()
    known = set()
    for event_id in ids:
        assert seen.add(event_id) == (event_id not in known)
        known.add(event_id)


def test_a_million_ids_cost_an_eighth_of_a_byte_each():
    seen = EventIds()
    assert all(seen.add(event_id) for event_id in range(1_000_000))
    assert not any(seen.add(event_id) for event_id in range(0, 1_000_000, 997))
    assert len(seen._bits) <= 2 * 1_000_000 // 8 + 1_024


@given(st.lists(st.integers(min_value=0, max_value=10**6), max_size=30))
def test_the_span_covers_first_to_last_in_any_order(numbers):
    span = SequenceSpan()
    for number in numbers:
        span.add(number)
    assert span.expected == (max(numbers) - min(numbers) + 1 if numbers else 0)
