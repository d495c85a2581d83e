"""The probe's datagram: 64 bytes, big-endian, so that every probe costs and delays the same."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final, NamedTuple

from node_agent.datagrams.wire import BAD_TAG, FOREIGN, KEY_SIZE, MALFORMED, TAG_SIZE, Refused

PROBE_SIZE: Final = 64
_MAGIC: Final = b"CTPB"
_VERSION: Final = 1
_RUN_SIZE: Final = 8
# magic, version, hash of the run id, sender, receiver, sequence number; all after the tag, and zeros to the full size
_BODY = struct.Struct(f">4sB3x{_RUN_SIZE}sHHQ20x")


class Probe(NamedTuple):
    """One probe that was for this node: its sender's index and the sender's number for this receiver."""

    sender: int
    sequence: int


class ProbeWire:
    """Reads and writes one node's probes of one run."""

    def __init__(self, run_id: str, key: bytes, index: int) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"run key: expected {KEY_SIZE} bytes, got {len(key)}")
        self._run = hashlib.blake2b(run_id.encode(), digest_size=_RUN_SIZE).digest()
        self._keyed = hashlib.blake2b(digest_size=TAG_SIZE, key=key)
        self._index = index

    def seal(self, receiver: int, sequence: int) -> bytes:
        """Return the datagram of this node's probe number ``sequence`` to the node of that index."""
        body = _BODY.pack(_MAGIC, _VERSION, self._run, self._index, receiver, sequence)
        return self._tag(body) + body

    def open(self, datagram: bytes) -> Probe | Refused:
        """Check and read a datagram. One for another node is foreign, and none comes back to its sender."""
        if len(datagram) != PROBE_SIZE:
            return Refused(MALFORMED)
        body = datagram[TAG_SIZE:]
        magic, version, run, sender, receiver, sequence = _BODY.unpack(body)
        if (magic, version) != (_MAGIC, _VERSION):
            return Refused(MALFORMED)
        if run != self._run:
            return Refused(FOREIGN)
        if not hmac.compare_digest(datagram[:TAG_SIZE], self._tag(body)):
            return Refused(BAD_TAG)
        if receiver != self._index or sender == self._index:
            return Refused(FOREIGN)
        return Probe(sender, sequence)

    def _tag(self, body: bytes) -> bytes:
        hasher = self._keyed.copy()
        hasher.update(body)
        return hasher.digest()
