"""What an HTTP service takes and gives: one request that came in whole, one response."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY_BYTES: Final = 64 * 1024
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True)
class Request:
    """A request: ``address`` is who asks, ``asked_address`` which of this machine's addresses. A path has no query.

    ``body`` is None where it was longer than ``MAX_BODY_BYTES``; the rest of it was not read.
    """

    method: str
    path: str
    address: str
    asked_address: str
    body: bytes | None


@dataclass(frozen=True)
class Response:
    """A response. ``headers`` are whole lines besides those of the body; ``close`` ends the connection with it."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[bytes, ...] = ()
    close: bool = False


Answering = Callable[[Request], Response]  # what a service does; it waits for nothing


class RefusedError(Exception):
    """A request that is not answered: its HTTP status, why, and more header lines."""

    def __init__(self, status: int, detail: str, *headers: bytes, close: bool = False) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers
        self.close = close

    @property
    def response(self) -> Response:
        """Return what the client is told."""
        return json_response(
            self.status, {"status": "refused", "detail": str(self)}, headers=self.headers, close=self.close
        )


def json_response(status: int, content: Any, *, headers: tuple[bytes, ...] = (), close: bool = False) -> Response:
    """Return a response that says ``content`` in JSON."""
    return Response(status, _ENCODER.encode(content).encode(), headers=headers, close=close)


def pay(allowed: bool) -> None:
    """Go on if a client's rate allows its request. Raises RefusedError (429)."""
    if not allowed:
        raise RefusedError(429, "expected fewer requests a second", b"Retry-After: 1", close=True)


def check_method(request: Request, methods: Mapping[str, str]) -> None:
    """Go on if a request's path is one of ``methods`` and its method that path's. Raises RefusedError (404, 405)."""
    method = methods.get(request.path)
    if method is None:
        raise RefusedError(404, f"expected one of {', '.join(methods)}")
    if request.method != method:
        raise RefusedError(405, f"expected {method}", b"Allow: " + method.encode())


def whole_body(request: Request) -> bytes:
    """Return a request's body. Raises RefusedError (413) where it is too long."""
    if request.body is None:
        raise RefusedError(413, f"body: expected at most {MAX_BODY_BYTES} bytes", close=True)
    return request.body
