"""Datagrams and their authentication: 16 bytes of keyed BLAKE2b, then JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

EVENT: Final = "event"
HELLO: Final = "hello"
HELLO_ACK: Final = "hello_ack"
END: Final = "end"
END_ACK: Final = "end_ack"

TAG_SIZE: Final = 16
KEY_SIZE: Final = 32
_MAX_ID: Final = 1 << 63
_INTEGER: Final = rb"(0|[1-9][0-9]{0,18})"  # as JSON writes it, and not much above _MAX_ID

MALFORMED: Final = "malformed"
FOREIGN: Final = "foreign"
BAD_TAG: Final = "bad_tag"
OVERSIZED: Final = "oversized"


class Event(NamedTuple):
    """One broadcast event, as the coordinator sent it."""

    event_id: int
    coordinator_timestamp_ns: int
    sequence_number: int


@dataclass(frozen=True)
class Control:
    """Anything else of the run: hello, end and their acknowledgements; ``fields`` is the JSON object."""

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """A datagram that is not of this run, counted under ``reason``."""

    reason: str


class Wire:
    """Reads and writes one run's datagrams; without a key, plain JSON events as anyone can type them."""

    def __init__(self, run_id: str, key: bytes | None) -> None:
        if key is not None and len(key) != KEY_SIZE:
            raise ValueError(f"run key: expected {KEY_SIZE} bytes, got {len(key)}")
        self._run_id = run_id
        self._event_end = b"" if key is None else b',"run_id":%b,"kind":"event"' % json.dumps(run_id).encode()
        self._own_event = re.compile(
            rb'\{"event_id":%b,"coordinator_timestamp_ns":%b,"sequence_number":%b%b\}'
            % (_INTEGER, _INTEGER, _INTEGER, re.escape(self._event_end))
        )
        self._keyed = None if key is None else hashlib.blake2b(digest_size=TAG_SIZE, key=key)

    def event(self, event_id: int, coordinator_timestamp_ns: int, sequence_number: int) -> bytes:
        """Return an event's datagram."""
        body = (
            b'{"event_id":%d,"coordinator_timestamp_ns":%d,"sequence_number":%d%b}'
            % (event_id, coordinator_timestamp_ns, sequence_number, self._event_end)
        )  # fmt: skip
        return body if self._keyed is None else self._tag(body) + body

    def control(self, kind: str, **fields: Any) -> bytes:
        """Return a control datagram; only a keyed run has them."""
        body = json.dumps({**fields, "run_id": self._run_id, "kind": kind}, separators=(",", ":")).encode()
        return self._tag(body) + body

    def open(self, datagram: bytes) -> Event | Control | Refused:
        """Check and read a datagram; what ``event`` writes needs no JSON parser, which would take thrice as long."""
        if self._keyed is None:
            return self._read(datagram)
        if len(datagram) <= TAG_SIZE:
            return Refused(MALFORMED)
        if not hmac.compare_digest(datagram[:TAG_SIZE], self._tag(datagram[TAG_SIZE:])):
            return Refused(BAD_TAG)
        return self._read(datagram[TAG_SIZE:])

    def _tag(self, body: bytes) -> bytes:
        if self._keyed is None:
            raise ValueError("a wire without a run key has no tags")
        hasher = self._keyed.copy()
        hasher.update(body)
        return hasher.digest()

    def _read(self, body: bytes) -> Event | Control | Refused:
        own = self._own_event.fullmatch(body)
        if own is not None:
            event = Event(*map(int, own.groups()))
            if max(event) < _MAX_ID:
                return event
        try:
            data = json.loads(body.decode())  # of bytes, json would guess the encoding first
        except (ValueError, RecursionError):
            return Refused(MALFORMED)
        if not isinstance(data, dict):
            return Refused(MALFORMED)
        if self._keyed is not None and data.get("run_id") != self._run_id:
            return Refused(FOREIGN)
        kind = data.get("kind", EVENT)
        if kind != EVENT:
            return Control(kind, data) if self._keyed is not None and isinstance(kind, str) else Refused(MALFORMED)
        try:
            event_id, sent_ns, sequence = data["event_id"], data["coordinator_timestamp_ns"], data["sequence_number"]
        except KeyError:
            return Refused(MALFORMED)
        for value in (event_id, sent_ns, sequence):
            if type(value) is not int or not 0 <= value < _MAX_ID:
                return Refused(MALFORMED)
        return Event(event_id, sent_ns, sequence)
