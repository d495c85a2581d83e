"""A ChronoTick server that says anything at all, in pieces, too much or never: one sample each time, and no number."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import spoilt, spoilt_json

from node_agent.clocks import chronotick
from node_agent.contract.records import LATER_SAMPLES_COLUMNS, OK
from node_agent.exchange.chronotick import ChronoTickClient
from node_agent.local.instants import LocalClock

if TYPE_CHECKING:
    from collections.abc import Iterator

FUZZ = settings.get_profile("fuzz")
HOST = "127.0.91.1"
TIMEOUT_S = 0.3
NODE = "comp11"
GOOD = {"offset_ms": -12.5, "uncertainty_ms": 0.25, "node_id": NODE, "prediction_time_ns": 1_790_000_000_000_000_000}
BODY = json.dumps(GOOD).encode()
SENT_WHOLE, CLOSED, STALLED = "whole", "closed", "stalled"


@dataclass
class Answer:
    """What the server does with the next request: these bytes, then keep the connection, close it or say no more."""

    pieces: list[bytes]
    then: str


def response(body: bytes, status: bytes = b"200 OK", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), more, body)


def chunked(*parts: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


SEEDS = [
    response(BODY), response(b'{"status": "warming_up"}', b"503 Service Unavailable"), chunked(BODY[:20], BODY[20:]),
    response(BODY, more=b"Content-Encoding: gzip\r\n"), response(BODY, more=b"Connection: close\r\n"),
    response(b"", b"302 Found", b"Location: http://127.0.91.1:1/get_time\r\n"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + response(BODY),
    response(b"x" * 70_000), b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n" + BODY,
    b"SSH-2.0-x\r\n", b"",
]  # fmt: skip
CLAIM = {
    **GOOD, "drift_ppm": -12.5, "drift_uncertainty_ppm": 0.1, "asymmetry_ms": 0.04,
    "valid_until_ns": 1_790_000_060_000_000_000,
}  # fmt: skip
SPOILT_BODIES = spoilt_json(GOOD, {"offset_ms": 1, "uncertainty_ms": 2}, CLAIM).map(response)


@st.composite
def answers(draw: Any) -> Answer:
    """Mostly whole answers with other values, some broken HTTP; one in a hundred leaves the client waiting."""
    kind = draw(st.integers(0, 99))
    data = draw(SPOILT_BODIES if kind < 60 else spoilt(*SEEDS, longest=400))
    cut = draw(st.integers(0, len(data)))
    then = STALLED if kind == 99 else SENT_WHOLE if kind < 60 else CLOSED
    return Answer([data[:cut], data[cut:]] if kind % 4 == 0 else [data], then)


class Server:
    """A real TCP server of one thread per connection, which answers each request as told."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self._next = Answer([], CLOSED)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"

    def will(self, answer: Answer) -> None:
        self._next = answer

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads = [self._threads[0], *(t for t in self._threads[1:] if t.is_alive()), thread]

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while _request(connection):
                answer = self._next
                for piece in answer.pieces:
                    connection.sendall(piece)
                if answer.then == STALLED:
                    while connection.recv(4096):  # until the client gives up; one that waits for ever hangs the test
                        pass
                if answer.then != SENT_WHOLE:
                    return


def _request(connection: socket.socket) -> bool:
    """Read one request to its end; False once the client is gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65_536)):
            return False
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(body) < length:
        if not (more := connection.recv(65_536)):
            return False
        body += more
    return True


@pytest.fixture(scope="module")
def asked() -> Iterator[tuple[Server, ChronoTickClient]]:
    """Return a server and the client that asks it."""
    server = Server()
    client = ChronoTickClient(server.url, NODE, LocalClock(None), timeout_s=TIMEOUT_S, dual_model=True)
    yield server, client
    client.close()
    server.close()


@FUZZ
@given(answer=answers())
def test_an_answer_is_a_sound_number_or_a_named_failure(count, asked, answer: Answer) -> None:
    """The client gives up every answer by itself; a believed one is finite, and what the parser says of its text."""
    server, client = asked
    server.will(answer)
    sample = client.sample((), lambda: "ct1")
    numbers = (sample.raw_at_ns, sample.reference_at_ns, sample.offset_ns, sample.sigma_ns)
    if sample.outcome != OK:
        assert set(numbers) == {None}
        count(sample.outcome if len(sample.outcome) < 40 else "long")
        assert sample.outcome.replace("_", "").isalnum()
        return
    said = chronotick.parse(sample.payload, NODE)
    assert isinstance(said, chronotick.Prediction)
    assert (sample.offset_ns, sample.sigma_ns, sample.scope) == (said.offset_ns, said.sigma_ns, said.scope)
    assert all(type(number) is int and abs(number) < 1 << 63 for number in numbers)
    claims = [getattr(sample, name) for name in LATER_SAMPLES_COLUMNS]
    assert all(claim is None or (type(claim) is int and abs(claim) < 1 << 63) for claim in claims)
    assert min(sample.sigma_ns, sample.asymmetry_ns or 0, sample.drift_sigma_fs_per_s or 0) >= 0
    assert math.isfinite(sample.offset_ns / 1e6)
    assert len(sample.payload) <= 65_536
    count("believed")


def test_after_all_that_the_client_still_believes_a_good_answer(asked) -> None:
    server, client = asked
    server.will(Answer([response(BODY)], SENT_WHOLE))
    client.sample((), lambda: "ct1")  # the connection kept from before may be one that the server spoilt
    assert client.sample((), lambda: "ct2").outcome == OK
