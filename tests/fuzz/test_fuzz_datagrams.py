"""No datagram but the run's own makes a row, and none at all makes a crash: events, controls and probes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import spoilt, spoilt_json

from node_agent.contract import records
from node_agent.datagrams import wire
from node_agent.datagrams.kernel_stamps import Datagram
from node_agent.datagrams.mmsg import socket_address
from node_agent.datagrams.probe import Probe, ProbeWire
from node_agent.datagrams.wire import Control, Event, Refused, Wire
from node_agent.duplicates import EventIds
from node_agent.local.instants import LocalClock, anchor
from node_agent.worker import Worker

FUZZ = settings.get_profile("fuzz")
KEY, OTHER_KEY = bytes(range(32)), bytes(32)
RUN, OTHER_RUN = "0123456789abcdef" * 2, "f" * 32
OURS = Wire(RUN, KEY)
BY_HAND = Wire("", None)
GENUINE = [OURS.event(n, 1_790_000_000_000_000_000 + n, n - 1) for n in (1, 2, 3)]
GENUINE += [OURS.control(wire.HELLO, total=0), OURS.control(wire.END, total=3)]
FOREIGN = [Wire(RUN, OTHER_KEY).event(1, 2, 0), Wire(OTHER_RUN, KEY).event(1, 2, 0), BY_HAND.event(1, 2, 0)]
BODIES = [
    {"event_id": 1, "coordinator_timestamp_ns": 2, "sequence_number": 0, "run_id": RUN, "kind": "event"},
    {"run_id": RUN, "kind": "end", "total": 3},
    {"run_id": RUN, "kind": "hello", "total": 0},
    {"event_id": 1, "coordinator_timestamp_ns": 2, "sequence_number": 0, "payload": {"any": ["thing"]}},
]
SENDER = socket_address("127.0.91.2", 9)


class Node:
    """As much of a node as its receive path needs."""

    def __init__(self) -> None:
        self.plan = SimpleNamespace(run_id=RUN, node_id="comp11", buffer_size=4096)
        self.phase = records.RUNNING
        self.sampler = SimpleNamespace(snapshot=lambda: None)
        self.clock = LocalClock(None)
        self.readings = SimpleNamespace(cells=lambda _stamp, _snapshot: "")
        self.row_end = ""

    def enter(self, phase: str) -> None:
        self.phase = phase


class NoSocket:
    """Where a worker's answers go."""

    def sendto(self, _datagram: bytes, _target: Any) -> None:
        pass


NODE = Node()
PAIR = NODE.clock.pair()


WORKERS = {key: Worker(NODE, NoSocket(), key) for key in (KEY, None)}


def judged(data: bytes, key: bytes | None) -> tuple[dict[str, int], list[str]]:
    """Give a datagram to the judge of a worker that has seen nothing; return what it counted and the rows it made."""
    worker = WORKERS[key]
    worker._seen, worker._counts, worker._total = EventIds(), dict.fromkeys(worker._counts, 0), None
    lines: list[str] = []
    worker._judge_one(Datagram(data, SENDER, PAIR.wall_ns, 0, False), PAIR, anchor(PAIR, PAIR), lines, [])
    return {name: n for name, n in worker._counts.items() if n and name != "user_stamps"}, lines


@FUZZ
@given(data=spoilt(*GENUINE, *FOREIGN))
def test_without_the_run_key_no_datagram_makes_a_row(count, data: bytes) -> None:
    """What is not byte for byte a datagram of this run is refused, counted once, and leaves no row."""
    opened = OURS.open(data)
    if data in GENUINE:
        count("genuine")
        return
    assert isinstance(opened, Refused)
    assert judged(data, KEY) == ({opened.reason: 1}, [])
    count(opened.reason)


@FUZZ
@given(body=st.one_of(spoilt_json(*BODIES), spoilt(*(d[wire.TAG_SIZE :] for d in GENUINE))))
def test_even_with_the_run_key_only_whole_events_make_rows(count, body: bytes) -> None:
    """A newer or broken sender of our own run harms nobody: whole 63-bit numbers, or no row."""
    sealed = OURS._tag(body) + body
    opened = OURS.open(sealed)
    counted, lines = judged(sealed, KEY)
    if isinstance(opened, Event):
        assert all(type(value) is int and 0 <= value < 1 << 63 for value in opened)
        assert len(lines) == 1
        assert lines[0].split(",")[:4] == [str(opened.event_id), "comp11", *map(str, reversed(opened[1:]))]
        assert counted == {"received": 1}
        count("event")
    elif isinstance(opened, Control):
        assert (opened.fields["run_id"], lines, counted) == (RUN, [], {})
        count("control")
    else:
        assert (lines, counted) == ([], {opened.reason: 1})
        count(opened.reason)


@FUZZ
@given(body=st.one_of(spoilt_json(*BODIES), spoilt(*FOREIGN, *GENUINE)))
def test_by_hand_anything_is_an_event_or_refused(count, body: bytes) -> None:
    """Without a key plain events are taken, and nothing can tell the worker to end."""
    opened = BY_HAND.open(body)
    counted, lines = judged(body, None)
    assert isinstance(opened, (Event, Refused))
    reason = "received" if isinstance(opened, Event) else opened.reason
    assert (counted, len(lines)) == ({reason: 1}, isinstance(opened, Event))
    count(reason)


PROBES = ProbeWire(RUN, KEY, 2)
SEALED = [ProbeWire(RUN, KEY, sender).seal(2, sequence) for sender in (0, 1, 7) for sequence in (0, 1, (1 << 64) - 1)]
STRANGE = [
    ProbeWire(RUN, OTHER_KEY, 1).seal(2, 0), ProbeWire(OTHER_RUN, KEY, 1).seal(2, 0),
    ProbeWire(RUN, KEY, 1).seal(3, 0), PROBES.seal(2, 0),
]  # fmt: skip


@FUZZ
@given(data=spoilt(*SEALED, *STRANGE, longest=80))
def test_without_the_run_key_no_datagram_is_a_probe(count, data: bytes) -> None:
    opened = PROBES.open(data)
    if data in SEALED:
        assert isinstance(opened, Probe)
        count("genuine")
    else:
        assert isinstance(opened, Refused)
        count(opened.reason)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 63, 64, 65, 4096])
def test_no_length_matters(size: int) -> None:
    for byte in (b"\0", b"\xff", b"{", b"["):
        assert isinstance(OURS.open(byte * size), Refused)
        assert isinstance(PROBES.open(byte * size), Refused)
        assert isinstance(BY_HAND.open(byte * size), Refused)
