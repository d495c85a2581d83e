"""A connection of an HTTP service speaks HTTP/1.1 as clients do, and no client can hold it beyond its limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time

import pytest

from time_services.client_limits import Connections, Limits
from time_services.http_connection import MAX_HEAD_BYTES, MAX_REQUEST_BYTES, MAX_WAITING, HttpConnection
from time_services.http_messages import MAX_BODY_BYTES, Response, json_response

PATIENCE_S = 30.0
LIMITS = Limits(connections_per_client=8, request_s=0.5)
IN_CHUNKS = b"POST /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def echo(request):
    """Answer with what was asked; /large with a megabyte; /fail with a fault of the service."""
    if request.path == "/fail":
        raise LookupError("a fault of the service")
    if request.path == "/large":
        return Response(200, bytes(1 << 20))
    body = None if request.body is None else request.body.decode()
    return json_response(200, {"method": request.method, "path": request.path, "body": body}, close=body is None)


@contextlib.contextmanager
def serving(answer=echo, limits=LIMITS):
    """Serve in a thread of this process; yield the address and the connections."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    connections = []

    async def serve():
        connections.append(Connections(limits))
        connections.append(asyncio.Event())
        made = lambda: HttpConnection(answer, connections[0])  # noqa: E731 - a factory
        server = await loop.create_server(made, "127.0.77.1", 0)
        connections.append(server.sockets[0].getsockname())
        started.set()
        await connections[1].wait()
        server.close()
        await connections[0].end(PATIENCE_S)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(PATIENCE_S)
    try:
        yield connections[2]
    finally:
        loop.call_soon_threadsafe(connections[1].set)
        thread.join(PATIENCE_S)
        loop.close()


@pytest.fixture
def address():
    with serving() as listening:
        yield listening


def said(address, *parts):
    """Send the parts one after another, and return all that comes until the server closes."""
    with socket.create_connection(address, timeout=PATIENCE_S) as client:
        for part in parts:
            client.sendall(part)
        return rest(client)


def rest(client):
    told = b""
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(1 << 16):
            told += more
    return told


def responses(told):
    """Return (status, headers, body) of every response in what was told."""
    found = []
    while told:
        head, _, told = told.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        found.append((int(first.split()[1]), headers, told[:length]))
        told = told[length:]
    return found


def closing(head, body=b""):
    return head + b"\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_requests_sent_at_once_are_answered_in_their_order(address):
    told = responses(
        said(address, *(GET.replace(b"/a", b"/%d" % number) for number in range(5)), closing(b"GET /last HTTP/1.1"))
    )
    assert [json.loads(body)["path"] for _, _, body in told] == ["/0", "/1", "/2", "/3", "/4", "/last"]
    assert ["connection" in headers for _, headers, _ in told] == [False] * 5 + [True]


def test_requests_that_wait_have_a_limit(address):
    """Of a thousand requests at once the first are answered; the last of those says that the connection ends."""
    told = responses(said(address, GET * 1000))
    assert len(told) == MAX_WAITING + 1
    assert told[-1][1]["connection"] == "close"


def test_a_request_begun_behind_a_whole_one_is_cut_off_too(address):
    """What is left unfinished after an answer has its own deadline, and not that of an idle connection."""
    begun = time.monotonic()
    told = responses(said(address, GET + b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"))
    assert [status for status, _, _ in told] == [200]
    assert time.monotonic() - begun >= LIMITS.request_s


def test_a_client_that_does_not_read_its_answers_is_cut_off(address):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_S)
        client.connect(address)
        client.sendall(GET.replace(b"/a", b"/large") * 20)
        deadline = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < deadline:
                client.sendall(b"\r\n")
                time.sleep(0.02)  # between two looks
        except (ConnectionResetError, BrokenPipeError):
            return
    raise AssertionError("the connection is still open")


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (closing(b"POST /b HTTP/1.1", b"123"), "123"),
        (IN_CHUNKS + b"2\r\n12\r\n1\r\n3\r\n0\r\n\r\n", "123"),
        (b"GET /b?c=d HTTP/1.0\r\n\r\n", ""),
        (b"GET /%62 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ""),
        (b"GET http://x/b HTTP/1.0\r\n\r\n", ""),
        (b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", ""),
    ],
    ids=["length", "chunks", "1.0", "escaped", "absolute", "upgrade"],
)  # fmt: skip
@pytest.mark.parametrize("piecemeal", [False, True])
def test_every_way_to_say_a_request_is_understood(address, sent, body, piecemeal):
    parts = [sent[place : place + 1] for place in range(len(sent))] if piecemeal else [sent]
    ((status, headers, told),) = responses(said(address, *parts))
    assert (status, headers["connection"]) == (200, "close")
    assert (json.loads(told)["path"], json.loads(told)["body"]) == ("/b", body)


def test_a_head_asked_for_alone_comes_alone(address):
    """HEAD is answered with the length of a body that does not follow."""
    told = said(address, closing(b"HEAD /a HTTP/1.1"))
    assert told.endswith(b"\r\n\r\n")
    assert int(responses(told)[0][1]["content-length"]) > 0


def test_a_client_that_waits_to_be_let_on_is(address):
    with socket.create_connection(address, timeout=PATIENCE_S) as client:
        client.sendall(
            b"POST /b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
        )
        assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert responses(rest(client))[0][0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /" + b"b" * MAX_HEAD_BYTES, 400),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES, 400),
        (IN_CHUNKS + b"1;" + b"x" * MAX_REQUEST_BYTES, 400),
        (IN_CHUNKS + b"0\r\nX: " + b"x" * MAX_REQUEST_BYTES, 400),
        (closing(b"POST /b HTTP/1.1", b"x" * (MAX_BODY_BYTES + 1)), 200),
        (closing(b"POST /b HTTP/1.1", b"x" * 20 * MAX_BODY_BYTES), 200),
    ],
    ids=["no HTTP", "two lengths", "tunnel", "target", "head", "chunk", "trailer", "body", "long body"],
)  # fmt: skip
def test_what_is_none_or_too_much_gets_one_answer_and_the_connections_end(address, sent, status):
    """The service is told of a body that is too long, and never sees it; the rest is refused in JSON."""
    ((seen, headers, body),) = responses(said(address, sent))
    assert (seen, headers["connection"]) == (status, "close")
    assert json.loads(body)["status"] == "bad_request" if status == 400 else json.loads(body)["body"] is None
    assert responses(said(address, closing(b"GET /a HTTP/1.1")))[0][0] == 200


def test_a_fault_of_the_service_is_logged_and_costs_one_answer(address, caplog):
    ((status, headers, body),) = responses(said(address, GET.replace(b"/a", b"/fail") + GET))
    assert (status, headers["connection"], json.loads(body)["status"]) == (500, "close", "failed")
    assert "LookupError: a fault of the service" in caplog.text
    assert responses(said(address, closing(b"GET /a HTTP/1.1")))[0][0] == 200


def test_idle_connections_are_closed_when_the_service_ends():
    with serving() as address:
        client = socket.create_connection(address, timeout=PATIENCE_S)
        client.sendall(GET)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
    with client:
        assert client.recv(1) == b""
