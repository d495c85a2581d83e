"""Names become addresses inside a deadline, off the thread that asks.

``getaddrinfo`` has no deadline and cannot be interrupted: with a silent name server it takes ten seconds or more. So it
runs in a few threads that nobody waits for at the end, and whoever asks waits only as long as it wants. Questions about
one name share one look-up, however many there are.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Final

from node_agent.contract.servers import check_zone, is_ipv6
from node_agent.datagrams import mmsg

if TYPE_CHECKING:
    from collections.abc import Callable

Address = tuple[str, int]

MAX_THREADS: Final = 8
UNRESOLVED: Final = "unresolved"
_NO_SUCH_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class LookUpError(OSError):
    """A name without an address: ``outcome`` is the sample's; ``strerror`` says why in words.

    ``known``: the name service said that there is none, or no host can have the name; else another answer may come.
    """

    def __init__(self, outcome: str, why: str, *, known: bool = False) -> None:
        super().__init__(None, why)
        self.outcome, self.known = outcome, known


class Resolver:
    """Runs blocking look-ups in at most ``max_threads`` threads; a look-up beyond that waits for its turn."""

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max_threads = max_threads
        self._lock = threading.Lock()
        self._threads = 0
        self._queue: deque[tuple[Any, Callable[[], Any]]] = deque()
        self._under_way: dict[Any, Future[Any]] = {}

    def within(self, timeout_s: float, key: object, look_up: Callable[[], Any]) -> Any:
        """Return what ``look_up()`` returns or raises; LookUpError where it takes longer than ``timeout_s``.

        ``key`` names the question: who asks it again meanwhile shares the answer.
        """
        with self._lock:
            asked = self._under_way.get(key)
            if asked is None:
                asked = self._under_way[key] = Future()
                self._queue.append((key, look_up))
                if self._threads < self._max_threads:
                    self._threads += 1
                    threading.Thread(target=self._work, name="resolver", daemon=True).start()
        if not wait([asked], max(timeout_s, 0.0)).done:
            raise LookUpError(UNRESOLVED, f"no answer from the name service within {timeout_s:.1f} s")
        return asked.result()

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # it could do nothing about them
        while True:
            with self._lock:
                if not self._queue:
                    self._threads -= 1
                    return
                key, look_up = self._queue.popleft()
            found, error = None, None
            try:
                found = look_up()
            except BaseException as raised:  # noqa: BLE001 - raised again by whoever asked
                error = raised
            with self._lock:
                asked = self._under_way.pop(key)
            if error is None:
                asked.set_result(found)
            else:
                asked.set_exception(error)


RESOLVER: Final = Resolver()


def udp_addresses(host: str, port: int, timeout_s: float, resolver: Resolver = RESOLVER) -> tuple[Address, ...]:
    """Return all addresses of a host, each once, in the name service's order, IPv4 first. Raises LookUpError."""
    found: tuple[Address, ...] = _look_up(host, port, timeout_s, resolver, _udp)
    return found


def tcp_addresses(host: str, port: int, timeout_s: float, resolver: Resolver = RESOLVER) -> tuple[Address, ...]:
    """Return all addresses of a host, of both families, each once, in the name service's order. Raises LookUpError."""
    found: tuple[Address, ...] = _look_up(host, port, timeout_s, resolver, _tcp)
    return found


def _look_up(host: str, port: int, timeout_s: float, resolver: Resolver, ask: Any) -> Any:
    try:
        if _is_ipv4(host):
            return ((host, port),)
        if is_ipv6(host):
            check_zone(host)
            return (mmsg.address(mmsg.socket_address(host, port)),)  # as a sender is written, so that both are one
        return resolver.within(timeout_s, (ask.__name__, host, port), lambda: ask(host, port))
    except LookUpError:
        raise
    except OSError as error:
        known = isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME
        raise LookUpError(UNRESOLVED, error.strerror or str(error), known=known) from error
    except UnicodeError as error:  # a label that no DNS name can have
        raise LookUpError(UNRESOLVED, f"no host can have this name: {error}", known=True) from error
    except ValueError as error:
        raise LookUpError(UNRESOLVED, str(error), known=True) from error


def _is_ipv4(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return True


def _udp(host: str, port: int) -> tuple[Address, ...]:
    found = _addresses(socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM))
    return tuple(sorted(found, key=lambda address: ":" in address[0]))  # a stable sort


def _tcp(host: str, port: int) -> tuple[Address, ...]:
    return _addresses(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))


def _addresses(found: Any) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(mmsg.address(mmsg.name_of(address)) for *_, address in found))
