"""A node as a ChronoTick server sees it: one kept connection, and questions as the agent's own code writes them.

It costs its machine little (some 50 us per question), so that on few cores the server is measured and not its load.
"""

from __future__ import annotations

import json
import random
import re
import socket
import time
from typing import Final

from node_agent.clocks import chronotick
from node_agent.contract.records import NTP, OK, Sample

RUN_ID: Final = "bench"
SAMPLES_AT_FIRST: Final = 4  # a node has sampled NTP before it asks
SECOND_NS: Final = 1_000_000_000
_SAMPLE_AGE_NS: Final = 5_000_000
_OFFSET_NS, _LEAST_DELAY_NS, _QUEUEING_NS = 12_500_000, 150_000, 60_000
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_CONFIRMED: Final = re.compile(rb'"confirmed_raw_ns": *(-?\d+)')
_LARGEST_READ: Final = 65_536


class AskingNode:
    """Asks one question at a time; every ``questions_per_sample``th is the first that holds a new NTP sample."""

    def __init__(self, number: int, key: bytes, *, dual_model: bool, questions_per_sample: int) -> None:
        self.due_s = 0.0  # of the question under way or, between two, of the next one
        self.left = 0  # questions still to ask
        self._id = f"node{number}"
        self._tag = chronotick.tag(key, RUN_ID, self._id)
        self._dual_model = dual_model
        self._questions_per_sample = questions_per_sample
        self._asked = number  # so that not all nodes have a new sample in the same question
        self._random = random.Random(number)
        raw_ns = _raw_ns()
        self._unconfirmed = [self._sample(raw_ns - age_s * SECOND_NS) for age_s in range(SAMPLES_AT_FIRST, 0, -1)]
        self._received = b""

    def connect(self, host: str, port: int) -> None:
        """Connect to the server. Raises OSError."""
        self._address = host, port
        self.socket = socket.create_connection(self._address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f"POST /get_time HTTP/1.1\r\nHost: {host}:{port}\r\nAccept-Encoding: identity\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()

    def ask(self) -> None:
        """Send a question, with the samples that no answer confirmed. Raises OSError."""
        raw_ns = _raw_ns()
        self._asked += 1
        if self._asked % self._questions_per_sample == 0:
            fresh = self._sample(raw_ns - _SAMPLE_AGE_NS)
            self._unconfirmed = [*self._unconfirmed[1 - chronotick.MAX_NTP_SAMPLES :], fresh]
        question = chronotick.question(
            self._id, time.time_ns(), raw_ns, self._unconfirmed, dual_model=self._dual_model, run_id=RUN_ID,
            tag=self._tag,
        )  # fmt: skip
        body = json.dumps(question, separators=(",", ":")).encode()
        self.socket.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def answered(self) -> int | None:
        """Read what came; return the HTTP status of an answer that is whole, else None.

        A connection that ends with its answer is made anew. Raises OSError, also where one ends without an answer.
        """
        came = self.socket.recv(_LARGEST_READ)
        if not came:
            raise ConnectionResetError("the connection's end")
        self._received += came
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return None
        length = _LENGTH.search(head)
        if length is None:
            raise OSError(f"no content-length in {head!r}")
        if len(body) < int(length[1]):
            return None
        self._received = b""
        confirmed = _CONFIRMED.search(body)
        if confirmed is not None and self._unconfirmed:
            until_ns = int(confirmed[1])
            self._unconfirmed = [sample for sample in self._unconfirmed if (sample.raw_at_ns or 0) > until_ns]
        status = int(head[9:12])
        if status != 200 and _CLOSE.search(head):
            self.close()
            self.connect(*self._address)
        return status

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _sample(self, raw_ns: int) -> Sample:
        queued_ns = self._random.randrange(_QUEUEING_NS)
        offset_ns = _OFFSET_NS + (self._random.random() - 0.5) * queued_ns
        delay_ns = _LEAST_DELAY_NS + queued_ns
        return Sample(
            "n", NTP, "ntp:123", "", OK, raw_ns, raw_ns, 0, raw_at_ns=raw_ns, offset_ns=round(offset_ns),
            delay_ns=delay_ns, bound_ns=delay_ns // 2 + 1000,
        )  # fmt: skip


def _raw_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
