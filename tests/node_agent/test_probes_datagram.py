"""A probe is 64 bytes that only a node of the run can make, and only the node it is for will take."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.datagrams.probe import PROBE_SIZE, Probe, ProbeWire
from node_agent.datagrams.wire import BAD_TAG, FOREIGN, MALFORMED, Refused, Wire

RUN, KEY = "ab" * 16, bytes(range(32))
INDICES = st.integers(min_value=0, max_value=65_535)
SEQUENCES = st.integers(min_value=0, max_value=(1 << 64) - 1)

SENDER, RECEIVER = ProbeWire(RUN, KEY, 3), ProbeWire(RUN, KEY, 7)


@given(INDICES, INDICES, SEQUENCES)
def test_the_receiver_reads_who_sent_which_probe(sender, receiver, sequence):
    datagram = ProbeWire(RUN, KEY, sender).seal(receiver, sequence)
    assert len(datagram) == PROBE_SIZE == 64
    expected = Refused(FOREIGN) if sender == receiver else Probe(sender, sequence)
    assert ProbeWire(RUN, KEY, receiver).open(datagram) == expected


def test_the_layout_is_the_one_written_down():
    """Tag, magic, version, hash of the run id, sender, receiver, sequence; big-endian, zeros to the end."""
    datagram = SENDER.seal(7, 0x0102030405060708)
    body = datagram[16:]
    assert datagram[:16] == hashlib.blake2b(body, digest_size=16, key=KEY).digest()
    assert body[:8] == b"CTPB\x01\0\0\0"
    assert body[8:16] == hashlib.blake2b(RUN.encode(), digest_size=8).digest()
    assert body[16:28] == b"\0\3" + b"\0\7" + bytes(range(1, 9))
    assert body[28:] == bytes(20)


@given(st.integers(min_value=0, max_value=PROBE_SIZE * 8 - 1))
def test_no_bit_can_be_changed(bit):
    datagram = bytearray(SENDER.seal(7, 42))
    datagram[bit // 8] ^= 1 << bit % 8
    assert isinstance(RECEIVER.open(bytes(datagram)), Refused)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(datagram):
    assert isinstance(RECEIVER.open(datagram), Refused)


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", MALFORMED),
        (SENDER.seal(7, 1)[:-1], MALFORMED),
        (SENDER.seal(7, 1) + b"\0", MALFORMED),
        (bytes(PROBE_SIZE), MALFORMED),
        (Wire(RUN, KEY).event(1, 2, 3), MALFORMED),
        (ProbeWire("cd" * 16, KEY, 3).seal(7, 1), FOREIGN),
        (ProbeWire("cd" * 16, bytes(32), 3).seal(7, 1), FOREIGN),
        (ProbeWire(RUN, bytes(32), 3).seal(7, 1), BAD_TAG),
        (SENDER.seal(8, 1), FOREIGN),
        (RECEIVER.seal(3, 1), FOREIGN),  # the receiver's own, sent back to it
    ],
)
def test_what_is_refused_is_counted_under_its_reason(datagram, reason):
    assert RECEIVER.open(datagram) == Refused(reason)


def test_a_key_of_another_size_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="expected 32 bytes, got 4"):
        ProbeWire(RUN, b"abcd", 0)
