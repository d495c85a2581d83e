"""One connection of an HTTP/1.1 service: requests in, as httptools reads them, and responses out.

A service answers at once and waits for nothing, so a connection holds the request that is coming in and the few that a
client sent behind it. They are answered one in a turn of the event loop, so that other connections have theirs. There
is a limit to everything: the bytes of a head and of a request, the requests that wait, the time from a request's first
byte to its answer, the time a client takes to read its answers, and the time without a request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import httptools

from time_services.http_messages import MAX_BODY_BYTES, RefusedError, Request, Response, json_response

if TYPE_CHECKING:
    from time_services.client_limits import Connections
    from time_services.http_messages import Answering

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_REQUEST_BYTES: Final = MAX_HEAD_BYTES + 8 * MAX_BODY_BYTES  # a chunk of one byte takes six
MAX_WAITING: Final = 64  # requests that one connection may have sent before their answers
KEEP_ALIVE_S: Final = 120.0  # longer than any query interval, so that a node's connection survives from one to the next
_PART_BYTES: Final = MAX_HEAD_BYTES  # read at a time, so that limits hold within what came at once

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Asked:
    """A request as it came in; ``keep`` tells whether its client wants to keep the connection."""

    method: str
    target: bytes
    body: bytes | None
    keep: bool


class HttpConnection(asyncio.Protocol):
    """Reads requests and writes what ``answer`` says to them, within the limits of ``connections``."""

    def __init__(self, answer: Answering, connections: Connections) -> None:
        self._answer = answer
        self._connections = connections
        self._request_s = connections.limits.request_s
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._address = self._asked_address = ""
        self._waiting: deque[_Asked | Response] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._due_s = 0.0  # on the loop's clock: when the connection is cut off
        self._owes = True  # a request: the connection's first, or one that has begun
        self._held_up = False  # by a client that does not read its answers
        self._paused = False  # reading
        self._ending = False  # nothing more is read
        self._in_request = False
        self._expect_head()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or refuse it where its client, or all of them together, have too many."""
        self._transport: Any = transport
        self._address = (transport.get_extra_info("peername") or ("",))[0]
        self._asked_address = (transport.get_extra_info("sockname") or ("",))[0]
        if not self._connections.take(self, self._address):
            self._ending = True
            refusal = RefusedError(503, "expected fewer connections at once", close=True)
            self._write(refusal.response, keep=False)
            self._transport.close()
            return
        self._due_s = self._loop.time() + self._request_s
        self._look_at_clock()

    def data_received(self, data: bytes) -> None:
        """Read what came, and answer the first request of it."""
        if self._ending:
            return
        if not self._owes:
            self._owes = True
            self._due_s = self._loop.time() + self._request_s
        try:
            self._read(data)
        except httptools.HttpParserUpgrade:
            self._ending = True  # nothing but HTTP is spoken here; the request that asked for more is answered
        except httptools.HttpParserCallbackError:
            raise  # a fault of ours, and no client's
        except httptools.HttpParserError as error:
            self._refuse(f"expected an HTTP/1.1 request, got {error}")
        if not self._paused:
            self._answer_next()

    def pause_writing(self) -> None:
        """Answer nothing more to a client that does not read."""
        self._held_up = True

    def resume_writing(self) -> None:
        """Go on."""
        self._held_up = False
        self._answer_next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        del exc
        self._ending = True
        self._waiting.clear()
        self._parser = None  # it knows this object, and this object knows it
        if self._watch is not None:
            self._watch.cancel()
        self._connections.give_back(self, self._address)

    def close(self) -> None:
        """Close as soon as what was answered is written."""
        self._ending = True
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # what httptools calls

    def on_message_begin(self) -> None:
        """Notice the first byte of a request."""
        self._in_request = True

    def on_url(self, part: bytes) -> None:
        """Take a part of the target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; only one of them means anything here."""
        if name.lower() == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True

    def on_headers_complete(self) -> None:
        """Let the body come."""
        self._in_head = False
        if self._expects_continue and not self._waiting and not self._ending:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Take a part of the body; what is too long ends there."""
        if not self._ending:
            self._body += part
            if len(self._body) > MAX_BODY_BYTES:
                self._ending = True
                self._wait_for_answer(None, keep=False)

    def on_message_complete(self) -> None:
        """Let a request that is whole wait for its answer."""
        if not self._ending:
            parser = self._parser
            keep = parser.should_keep_alive() and parser.get_http_version() == "1.1" and not parser.should_upgrade()
            keep = keep and len(self._waiting) < MAX_WAITING
            self._ending = not keep
            self._wait_for_answer(bytes(self._body), keep=keep)
        self._in_request = False
        self._expect_head()

    # reading

    def _expect_head(self) -> None:
        self._in_head = True
        self._came = 0  # bytes since the end of the request before
        self._target = b""
        self._expects_continue = False
        self._body = bytearray()

    def _read(self, data: bytes) -> None:
        for start in range(0, len(data), _PART_BYTES):
            part = data[start : start + _PART_BYTES]
            self._came += len(part)
            self._parser.feed_data(part)
            if self._in_head and self._came > MAX_HEAD_BYTES:
                self._refuse(f"expected a head of at most {MAX_HEAD_BYTES} bytes")
            elif self._came > MAX_REQUEST_BYTES:
                self._refuse(f"expected a request of at most {MAX_REQUEST_BYTES} bytes")
            if self._ending:
                return

    def _wait_for_answer(self, body: bytes | None, *, keep: bool) -> None:
        self._waiting.append(_Asked(self._parser.get_method().decode("ascii"), self._target, body, keep))

    def _refuse(self, detail: str) -> None:
        if not self._ending:
            self._ending = True
            self._waiting.append(json_response(400, {"status": "bad_request", "detail": detail}, close=True))

    # answering

    def _answer_next(self) -> None:
        """Answer one request; the next one has its turn after the other connections."""
        if self._held_up or self._transport.is_closing() or not self._waiting:
            self._read_on()
            return
        asked = self._waiting.popleft()
        response = asked if isinstance(asked, Response) else self._response(asked)
        keep = not isinstance(asked, Response) and asked.keep and not response.close
        self._write(response, keep=keep, head_only=isinstance(asked, _Asked) and asked.method == "HEAD")
        now_s = self._loop.time()
        if not keep:
            self._finish(now_s)
            return
        self._owes = self._in_request or self._held_up or bool(self._waiting)
        self._due_s = now_s + (self._request_s if self._owes else KEEP_ALIVE_S)
        if self._waiting:
            self._loop.call_soon(self._answer_next)
        self._read_on()

    def _read_on(self) -> None:
        """Read only while nothing waits, neither requests nor answers."""
        paused = self._held_up or bool(self._waiting)
        if paused != self._paused and not self._transport.is_closing():
            self._paused = paused
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def _response(self, asked: _Asked) -> Response:
        try:
            path = (httptools.parse_url(asked.target).path or b"").decode("ascii")
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
            detail = f"expected a path, got {asked.target[:60]!r}"
            return json_response(400, {"status": "bad_request", "detail": detail}, close=True)
        request = Request(
            asked.method, unquote(path) if "%" in path else path, self._address, self._asked_address, asked.body
        )
        try:
            return self._answer(request)
        except Exception:
            _logger.exception("%s %s failed", request.method, request.path)
            return json_response(500, {"status": "failed", "detail": "an internal error"}, close=True)

    def _write(self, response: Response, *, keep: bool, head_only: bool = False) -> None:
        lines = [
            _STATUS_LINES[response.status],
            b"Date: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
            % (_date(int(time.time())), response.content_type, len(response.body)),
            *(b"%b\r\n" % header for header in response.headers),
            b"\r\n" if keep else b"Connection: close\r\n\r\n",
        ]
        if not head_only:
            lines.append(response.body)
        self._transport.write(b"".join(lines))

    def _finish(self, now_s: float) -> None:
        """Say that this was the last answer, and let the client close.

        To close with unread bytes left resets a connection, which can cost a client the answer (RFC 9112 section 9.6).
        """
        self._ending = True
        self._waiting.clear()
        self._owes, self._due_s = True, now_s + self._request_s
        self._transport.write_eof()
        self._read_on()

    def _look_at_clock(self) -> None:
        """Cut the connection off when it is due; look once per ``request_s`` at least, as no request is due earlier."""
        now_s = self._loop.time()
        if now_s >= self._due_s:
            self.abort()
        else:
            self._watch = self._loop.call_at(min(self._due_s, now_s + self._request_s), self._look_at_clock)


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")
