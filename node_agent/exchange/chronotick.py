"""One ChronoTick query over a kept-alive connection."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx

from node_agent.clocks import chronotick
from node_agent.clocks.base import Refused
from node_agent.clocks.ntp import refers_to_utc
from node_agent.contract.records import CHRONOTICK, CLOCK_STEP, NO_TLS, OK, UNTRUSTED_CERTIFICATE, Sample
from node_agent.exchange.asking import Asker, Health, Setting
from node_agent.local.instants import ClockPair, LocalClock, stepped
from node_agent.local.resolver import LookUpError, tcp_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node_agent.contract.plan import ChronoTickPlan

TIMEOUT = "timeout"
_MAX_ANSWER_BYTES = 65_536
_PORTS = {"http": 80, "https": 443}
_ZONE = re.compile(r"%[^\]]*")  # of this machine, and nothing to a server (RFC 6874 section 1)


def askers(plan: ChronoTickPlan, setting: Setting) -> list[Asker]:
    """Return the asker of the server."""
    options: dict[str, Any] = {"timeout_s": plan.timeout_s, "dual_model": plan.use_dual_model}
    options |= {"run_id": setting.run_id, "tag": setting.tag}
    options["to_utc"] = setting.clocks.ntp is not None and refers_to_utc(setting.clocks.ntp.servers)
    client = ChronoTickClient(plan.server, setting.node_id, setting.clock, **options)

    def ask() -> list[Sample]:
        return [client.sample(setting.fed(), setting.new_id)]

    return [Asker(plan.server, ask, health=client.health, close=client.close)]


class ChronoTickClient:
    """Asks one server. Proxies from the environment are ignored: the server is a neighbour on the cluster's network."""

    def __init__(
        self,
        server: str,
        node_id: str,
        clock: LocalClock,
        *,
        timeout_s: float,
        dual_model: bool,
        run_id: str = "",
        tag: str = "",
        to_utc: bool = False,
    ) -> None:
        self._server = server.rstrip("/")
        self._url = httpx.URL(self._server)
        self._answers: httpx.URL | None = None  # the address that answered, in place of the name
        self._node_id = node_id
        self._named = {"run_id": run_id, "tag": tag}
        self._to_utc = to_utc
        self._confirmed: frozenset[tuple[str, int | None]] = frozenset()  # NTP server and raw instant of samples
        self._clock = clock
        self._dual_model = dual_model
        self._timeout_s = timeout_s
        verify = ssl.create_default_context() if server.startswith("https:") else False
        # Not httpx.Client: that looks into redirects, cookies and packed answers, which a server could spoil.
        self._transport = httpx.HTTPTransport(verify=verify, trust_env=False)
        self._moved = False  # whether the answer came from another address than the one before
        self._connected = False  # whether the address asked last could be connected to
        self._connection: Any = None  # httpcore's network stream, to be cut off at a deadline
        self._asked: ClockPair | None = None
        self._set_raw_ns: int | None = None  # when the wall clock was last found to have been set, on the raw one

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def health(self) -> Health:
        """Ask the server how it is; never raises for what a network does."""
        text, outcome = self._ask("GET", "health", None)
        if outcome != OK:
            return Health(ok=False, detail=outcome)
        try:
            status = json.loads(text).get("status")
        except (ValueError, AttributeError, RecursionError):
            return Health(ok=False, detail="no JSON object")
        return Health(ok=status == "healthy", detail=f"status {status!r}")

    def sample(self, ntp_samples: Sequence[Sample], new_id: Callable[[], str]) -> Sample:
        """Ask once and return the sample, good or failed. The offset holds when asked: a slow answer is an old one.

        A server predicts the wall clock that the NTP samples of the question describe. If it was set since the newest
        of them, no answer can be about the clock as it is now: the sample fails until NTP has been heard again.
        """
        before = self._clock.pair()
        outdated = self._is_set_since(before, ntp_samples)
        unconfirmed = [sample for sample in ntp_samples if _name_of(sample) not in self._confirmed]
        question = chronotick.question(
            self._node_id, before.wall_ns, before.raw_ns, unconfirmed,
            dual_model=self._dual_model, to_utc=self._to_utc, **self._named,
        )  # fmt: skip
        text, outcome = self._ask("POST", "get_time", question)
        after = self._clock.pair()
        if outcome == OK and outdated:
            outcome = CLOCK_STEP
        answer = chronotick.parse(text, self._node_id) if outcome == OK else Refused(outcome)
        common: dict[str, Any] = {
            "sample_id": new_id(), "source": CHRONOTICK, "server": self._server, "address": "",
            "raw_before_ns": before.raw_ns, "raw_after_ns": after.raw_ns, "wall_ns": before.wall_ns, "payload": text,
            "question_bytes": chronotick.size(question),
        }  # fmt: skip
        self._note_confirmed(ntp_samples, text, good=isinstance(answer, chronotick.Prediction))
        if isinstance(answer, Refused):
            return Sample(outcome=answer.outcome, **common)
        return Sample(
            outcome=OK,
            bound_stamp_ns=before.half_bracket_ns,
            **answer.numbers(before.wall_ns, before.raw_ns, after.raw_ns),
            **common,
        )

    def _note_confirmed(self, ntp_samples: Sequence[Sample], text: str, *, good: bool) -> None:
        """Remember what the server need not be told again: all there was, if it says that it knows the newest of it.

        An answer that failed, or names no confirmation, confirms nothing: the next question holds everything again. So
        does one from another address of the server's name. A server that was started anew is brought back by that.
        """
        told = chronotick.confirmed_raw_ns(text) if good and not self._moved else None
        newest = max((sample.raw_at_ns or 0 for sample in ntp_samples), default=0)
        known = ntp_samples if told is not None and told >= newest else ()
        self._confirmed = frozenset(map(_name_of, known))

    def _is_set_since(self, now: ClockPair, ntp_samples: Sequence[Sample]) -> bool:
        """Notice whether the wall clock was set since the last question, and tell whether NTP does not know of it."""
        if self._asked is not None and stepped(self._asked, now):
            self._set_raw_ns = now.raw_ns
        self._asked = now
        if self._set_raw_ns is None or not ntp_samples:
            return False
        newest = ntp_samples[-1]
        return newest.raw_before_ns < self._set_raw_ns

    def _ask(self, method: str, path: str, question: dict[str, Any] | None) -> tuple[str, str]:
        """Return (answer text, outcome), within the timeout however slowly the server says what.

        All addresses of the server's name are tried in turn; the one that answers is tried first the next time.
        """
        deadline_s = time.monotonic() + self._timeout_s
        try:
            places = self._places()
        except LookUpError as error:
            return "", error.outcome
        answer = "", TIMEOUT
        for left in range(len(places), 0, -1):
            now_s = time.monotonic()
            if now_s >= deadline_s:
                break
            place = places[-left]
            self._connected = False
            share_s = (deadline_s - now_s) / left
            answer = self._ask_at(self._request(method, place, path, question, share_s), deadline_s - now_s)
            if self._connected:
                self._moved = self._answers not in {None, place}
                self._answers = place
                break
            if self._answers == place:
                self._answers = None
        return answer

    def _places(self) -> list[httpx.URL]:
        """Return the server's URL with each of its addresses in place of its name. Raises LookUpError."""
        wait_s = self._timeout_s / 2 if self._answers else self._timeout_s
        try:
            addresses = tcp_addresses(self._url.host, self._url.port or _PORTS[self._url.scheme], wait_s)
        except LookUpError:
            if self._answers is None:  # one that answered is still there when the name service is not
                raise
            return [self._answers]
        places = [self._url.copy_with(host=host, port=port) for host, port in addresses]
        return sorted(places, key=lambda place: place != self._answers)  # a stable sort: the others keep their order

    def _ask_at(self, request: httpx.Request, timeout_s: float) -> tuple[str, str]:
        """Return (answer text, outcome) of one address.

        The client's own timeout is per read, so the connection is cut off when the whole exchange has taken as long.
        """
        content = b""
        over = threading.Event()
        guard = threading.Timer(timeout_s, self._cut_off, (over,))
        guard.daemon = True
        guard.start()
        try:
            with contextlib.closing(self._transport.handle_request(request)) as answer:
                self._connected = True  # also over a connection kept from the last time
                for chunk in answer.iter_raw():
                    content += chunk
                    if len(content) > _MAX_ANSWER_BYTES:
                        return "", "oversized"
        except httpx.HTTPError as error:
            return "", TIMEOUT if over.is_set() else _name(error)
        finally:
            guard.cancel()
            guard.join()  # so that it never cuts off the next exchange
        if over.is_set():
            return "", TIMEOUT
        text = content.decode("utf-8", errors="replace")
        if answer.status_code != httpx.codes.OK:
            return text, f"http_{answer.status_code}"
        return text, OK

    def _request(
        self, method: str, place: httpx.URL, path: str, question: dict[str, Any] | None, connect_s: float
    ) -> httpx.Request:
        """Return the question to one address; for the server, and for its certificate, it is to its name."""
        timeout = httpx.Timeout(self._timeout_s, connect=connect_s)
        named = {"sni_hostname": self._url.host} if self._url.scheme == "https" else {}
        return httpx.Request(
            method,
            f"{place}".rstrip("/") + f"/{path}",
            json=question,
            headers={"Accept-Encoding": "identity", "Host": _ZONE.sub("", self._url.netloc.decode("ascii"))},
            extensions={"timeout": timeout.as_dict(), "trace": self._note_connection, **named},
        )

    def _note_connection(self, event: str, info: dict[str, Any]) -> None:
        """Remember the connection; httpcore tells of each one it makes."""
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._connection = info["return_value"]
            self._connected = True

    def _cut_off(self, over: threading.Event) -> None:
        over.set()
        connection = self._connection
        sock = connection.get_extra_info("socket") if connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):  # it is closed already
                sock.shutdown(socket.SHUT_RDWR)


def _name_of(sample: Sample) -> tuple[str, int | None]:
    return sample.server, sample.raw_at_ns


def _name(error: Exception) -> str:
    """Return an outcome's name for what went wrong: ReadTimeout -> timeout, ConnectError -> no_connection."""
    if isinstance(error, httpx.TimeoutException):
        return TIMEOUT
    reason: BaseException | None = error
    while reason is not None:  # httpx wraps what Python's ssl said
        if isinstance(reason, ssl.SSLCertVerificationError):
            return UNTRUSTED_CERTIFICATE
        if isinstance(reason, ssl.SSLError):
            return NO_TLS
        reason = reason.__cause__ or reason.__context__
    if isinstance(error, httpx.ConnectError):
        return "no_connection"
    return type(error).__name__
