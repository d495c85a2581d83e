"""One ChronoTick query over a kept-alive connection."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from node_agent.clocks import chronotick
from node_agent.records import CHRONOTICK, OK, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node_agent.instants import LocalClock

MAX_NTP_SAMPLES = 16
_MAX_ANSWER_BYTES = 65_536


@dataclass(frozen=True)
class Health:
    """What ``GET /health`` said."""

    ok: bool
    detail: str


class ChronoTickClient:
    """Asks one server. Proxies from the environment are ignored: the server is a neighbour on the cluster's network."""

    def __init__(self, server: str, node_id: str, clock: LocalClock, *, timeout_s: float, dual_model: bool) -> None:
        self._server = server.rstrip("/")
        self._node_id = node_id
        self._clock = clock
        self._dual_model = dual_model
        self._timeout_s = timeout_s
        verify = ssl.create_default_context() if server.startswith("https:") else False
        self._client = httpx.Client(timeout=timeout_s, trust_env=False, verify=verify)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def health(self) -> Health:
        """Ask the server how it is; never raises for what a network does."""
        try:
            answer = self._client.get(f"{self._server}/health")
            status = answer.json().get("status") if answer.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            return Health(ok=False, detail=_name(error))
        return Health(ok=status == "healthy", detail=f"http {answer.status_code}, status {status!r}")

    def sample(self, ntp_samples: Sequence[Sample], new_id: Callable[[], str]) -> Sample:
        """Ask once and return the sample, good or failed. The offset holds when asked: a slow answer is an old one."""
        before = self._clock.pair()
        text, outcome = self._ask(self._question(before.wall_ns, before.raw_ns, ntp_samples))
        after = self._clock.pair()
        answer = chronotick.parse(text, self._node_id) if outcome == OK else chronotick.BadAnswer(outcome)
        common: dict[str, Any] = {
            "sample_id": new_id(), "source": CHRONOTICK, "server": self._server, "address": "",
            "raw_before_ns": before.raw_ns, "raw_after_ns": after.raw_ns, "wall_ns": before.wall_ns, "payload": text,
        }  # fmt: skip
        if isinstance(answer, chronotick.BadAnswer):
            return Sample(outcome=answer.outcome, **common)
        when = before.wall_ns if answer.prediction_time_ns is None else answer.prediction_time_ns
        return Sample(
            outcome=OK,
            raw_at_ns=before.raw_ns + (when - before.wall_ns),
            reference_at_ns=when + answer.offset_ns,
            offset_ns=answer.offset_ns,
            delay_ns=after.raw_ns - before.raw_ns,
            bound_stamp_ns=before.half_bracket_ns,
            sigma_ns=answer.sigma_ns,
            scope=answer.scope,
            **common,
        )

    def _question(self, wall_ns: int, raw_ns: int, ntp_samples: Sequence[Sample]) -> dict[str, Any]:
        return {
            "node_id": self._node_id,
            "instant_ns": wall_ns,
            "raw_ns": raw_ns,
            "use_dual_model": self._dual_model,
            "ntp_samples": [
                {
                    "raw_ns": sample.raw_at_ns,
                    "offset_ms": (sample.offset_ns or 0) / 1e6,
                    "delay_ms": (sample.delay_ns or 0) / 1e6,
                    "bound_ms": (sample.bound_ns or 0) / 1e6,
                }
                for sample in ntp_samples[-MAX_NTP_SAMPLES:]
            ],
        }

    def _ask(self, question: dict[str, Any]) -> tuple[str, str]:
        """Return (answer text, outcome). The client's timeout is per read, so that the whole answer has its own."""
        deadline = time.monotonic() + self._timeout_s
        content = b""
        try:
            with self._client.stream("POST", f"{self._server}/get_time", json=question) as answer:
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > _MAX_ANSWER_BYTES:
                        return "", "oversized"
                    if time.monotonic() > deadline:
                        return "", "timeout"
        except httpx.HTTPError as error:
            return "", _name(error)
        text = content.decode("utf-8", errors="replace")
        if answer.status_code != httpx.codes.OK:
            return text, f"http_{answer.status_code}"
        return text, OK


def _name(error: Exception) -> str:
    """Return an outcome's name for what went wrong: ReadTimeout -> timeout, ConnectError -> no_connection."""
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    if isinstance(error, httpx.ConnectError):
        return "no_connection"
    return type(error).__name__
