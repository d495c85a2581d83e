"""Only datagrams of this very run are believed; everything else has a name and harms nothing."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.datagrams import wire
from node_agent.datagrams.wire import Control, Event, Refused, Wire

KEY = bytes(range(32))
RUN = "0123456789abcdef" * 2
IDS = st.integers(min_value=0, max_value=(1 << 63) - 1)
KEYED = Wire(RUN, KEY)
BY_HAND = Wire("", None)


@given(IDS, IDS, IDS)
def test_an_event_arrives_as_it_was_sent(event_id, sent_ns, sequence):
    for end in (KEYED, BY_HAND):
        assert end.open(end.event(event_id, sent_ns, sequence)) == Event(event_id, sent_ns, sequence)


@given(st.sampled_from([wire.HELLO, wire.HELLO_ACK, wire.END, wire.END_ACK]), st.integers(), st.text())
def test_a_control_datagram_arrives_with_its_fields(kind, total, node_id):
    opened = KEYED.open(KEYED.control(kind, total=total, node_id=node_id))
    assert isinstance(opened, Control)
    assert opened.kind == kind
    assert (opened.fields["total"], opened.fields["node_id"]) == (total, node_id)


def test_what_goes_out_is_a_tag_over_exactly_the_json_that_follows():
    datagram = KEYED.event(7, 123, 6)
    said = json.loads(datagram[wire.TAG_SIZE :])
    assert said == {
        "event_id": 7, "coordinator_timestamp_ns": 123, "sequence_number": 6, "run_id": RUN, "kind": "event",
    }  # fmt: skip


def test_any_flipped_bit_is_a_bad_tag():
    datagram = KEYED.event(1, 2, 3)
    for bit in range(8 * len(datagram)):
        flipped = bytearray(datagram)
        flipped[bit // 8] ^= 1 << bit % 8
        assert KEYED.open(bytes(flipped)) == Refused(wire.BAD_TAG)


def test_another_key_is_a_bad_tag():
    assert KEYED.open(Wire(RUN, bytes(32)).event(1, 2, 3)) == Refused(wire.BAD_TAG)


def test_another_run_under_the_same_key_is_foreign():
    other = Wire("f" * 32, KEY)
    assert KEYED.open(other.event(1, 2, 3)) == Refused(wire.FOREIGN)
    assert KEYED.open(other.control(wire.END, total=1)) == Refused(wire.FOREIGN)


def test_plain_json_is_no_event_of_a_keyed_run():
    assert isinstance(KEYED.open(BY_HAND.event(1, 2, 3)), Refused)


def test_json_typed_by_hand_is_an_event_without_a_key():
    typed = b'{ "event_id": 1, "sequence_number": 0, "coordinator_timestamp_ns": 5, "payload": {"any": ["thing"]} }'
    assert BY_HAND.open(typed) == Event(1, 5, 0)


GOOD = {"event_id": 1, "coordinator_timestamp_ns": 2, "sequence_number": 3}


@pytest.mark.parametrize(
    "datagram",
    [
        b"", b"TEST\n", b"\xff\xfe", b"null", b"[]", b"7", b'"event"', b"{}", b"{", b"[" * 4_000,
        *(json.dumps({k: v for k, v in GOOD.items() if k != key}).encode() for key in GOOD),
        *(json.dumps({**GOOD, key: value}).encode() for key in GOOD
          for value in (None, "1", 1.0, True, -1, 1 << 63, [], {})),
        json.dumps({**GOOD, "kind": "hello"}).encode(),
        json.dumps({**GOOD, "kind": 7}).encode(),
        b'{"event_id":' + b"9" * 3_000 + b',"coordinator_timestamp_ns":1,"sequence_number":1}',
    ],
)  # fmt: skip
def test_what_is_no_event_is_malformed(datagram):
    assert BY_HAND.open(datagram) == Refused(wire.MALFORMED)
    sealed = KEYED._tag(datagram) + datagram
    assert KEYED.open(sealed).reason in {wire.MALFORMED, wire.FOREIGN}


@pytest.mark.parametrize("size", range(wire.TAG_SIZE + 1))
def test_a_datagram_without_a_body_is_malformed(size):
    assert KEYED.open(bytes(size)) == Refused(wire.MALFORMED)


def test_no_datagram_raises_and_no_garbage_is_an_event():
    chance = random.Random(6)
    seed = KEYED.event(1, 2, 3)
    for _ in range(2_000):
        fuzzed = bytearray(chance.choice([seed, seed[wire.TAG_SIZE :], chance.randbytes(chance.randrange(200))]))
        for _ in range(chance.randrange(1, 6)):
            if fuzzed:
                fuzzed[chance.randrange(len(fuzzed))] = chance.randrange(256)
        cut = bytes(fuzzed[: chance.randrange(len(fuzzed) + 1)])
        if cut != seed:
            assert isinstance(KEYED.open(cut), Refused)
        assert isinstance(BY_HAND.open(cut), (Event, Refused))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_run_key_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match=f"expected 32 bytes, got {size}"):
        Wire(RUN, bytes(size))


def test_without_a_key_there_is_nothing_to_tag():
    with pytest.raises(ValueError, match="without a run key"):
        BY_HAND.control(wire.HELLO)
