"""What a source's own questions cost on the network, and what the experiment's probes cost: messages and bytes.

Counted from samples.csv: one message per question sent and one per answer that came, failures included. NTP: 48 bytes
each way (RFC 5905 section 7.3, no extensions) and 28 of UDP and IPv4. ChronoTick: the answer's bytes as recorded, and
the question's rebuilt from the samples it was asked with; HTTP's own lines, TCP and its acknowledgements are left out,
so that its bytes are a lower limit. chrony asks its servers by itself and records nothing here: not evaluable.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from analysis.run.load import Run

HEADERS_BYTES: Final = 28  # 8 of UDP (RFC 768) and 20 of IPv4 without options (RFC 791)
NTP_BYTES: Final = 48
PROBE_BYTES: Final = 64  # node_agent's probe datagram; the tests hold it against the agent's own
NTP_IN_QUESTION: Final = 16  # the newest NTP samples a ChronoTick question carries, as the agent sends them
NOT_SENT: Final = frozenset(
    {"unresolved", "ipv6_only", "send_failed", "no_connection", "no_tls", "untrusted_certificate"}
)
NOT_ANSWERED: Final = NOT_SENT | {"timeout"}
NOT_RECORDED: Final = "chronyd asks its servers by itself, and nobody counts here"
NOT_KNOWN: Final = "nothing here knows what a question of this source is on the wire"
NO_SAMPLES: Final = "no samples.csv of this source"


@dataclass(frozen=True)
class Polling:
    """One source's questions on all nodes. ``reason`` says why nothing is known; ``rests_on``: what it is fed with."""

    source: str
    questions: int
    answers: int
    bytes_sent: int
    bytes_received: int
    reason: str = ""
    rests_on: str = ""
    left_out: str = ""

    @property
    def messages(self) -> int:
        """Return questions and answers together."""
        return self.questions + self.answers

    @property
    def bytes(self) -> int:
        """Return the bytes both ways."""
        return self.bytes_sent + self.bytes_received

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-serialisable data."""
        if self.reason:
            return {"status": "not_evaluable", "reason": self.reason}
        names = ("questions", "answers", "messages", "bytes_sent", "bytes_received", "bytes", "rests_on", "left_out")
        return {"status": "counted"} | {name: getattr(self, name) for name in names}


def of(run: Run, source: str) -> Polling:
    """Count what one source's questions cost on all nodes; the system clock asks nobody."""
    if source == records.SYSTEM:
        return Polling(source, 0, 0, 0, 0)
    if source == records.CHRONY:
        return Polling(source, 0, 0, 0, 0, NOT_RECORDED)
    if source not in {records.NTP, records.CHRONOTICK}:
        return Polling(source, 0, 0, 0, 0, NOT_KNOWN)
    parts = [(node, frame[frame["source"] == source], frame) for node, frame in run.samples.items()]
    if not any(len(rows) for _, rows, _ in parts):
        return Polling(source, 0, 0, 0, 0, NO_SAMPLES)
    questions = answers = sent = received = 0
    for node, rows, everything in parts:
        asked = ~rows["outcome"].isin(NOT_SENT)
        questions += int(asked.sum())
        if source == records.CHRONOTICK:
            payload = rows["payload"].dropna() if "payload" in rows else rows["outcome"].iloc[:0]
            answers += len(payload)
            received += int(sum(len(str(text).encode("utf-8")) for text in payload))
            sent += _question_bytes(node, rows[asked], _ntp_items(everything))
        else:
            came = int((~rows["outcome"].isin(NOT_ANSWERED)).sum())
            answers += came
            received += came * (NTP_BYTES + HEADERS_BYTES)
            sent += int(asked.sum()) * (NTP_BYTES + HEADERS_BYTES)
    if source == records.CHRONOTICK:
        fed = any(len(_ntp_items(everything)[0]) for _, _, everything in parts)
        rests_on = records.NTP if fed else ""
        return Polling(
            source, questions, answers, sent, received, "", rests_on, "HTTP headers, TCP, its acknowledgements"
        )
    return Polling(source, questions, answers, sent, received)


def probes(run: Run) -> dict[str, int]:
    """Return what the probe mesh cost: the experiment's own, no source's."""
    sent = sum(int((frame["direction"] == records.PROBE_TX).sum()) for frame in run.probes.values())
    return {"probes": sent, "bytes": sent * (PROBE_BYTES + HEADERS_BYTES)}


def _ntp_items(samples: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return when each good NTP sample was published (raw, ns), in order, and its bytes in a question's list."""
    good = samples[(samples["source"] == records.NTP) & (samples["outcome"] == records.OK)]
    needed = ("raw_at_ns", "offset_ns", "delay_ns", "bound_ns", "published_raw_ns")
    if not len(good) or any(name not in good for name in needed):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    good = good.dropna(subset=list(needed)).sort_values("published_raw_ns", kind="stable")
    sizes = [
        len(_compact({"raw_ns": int(raw), "offset_ms": offset / 1e6, "delay_ms": delay / 1e6, "bound_ms": bound / 1e6}))
        for raw, offset, delay, bound in zip(*(good[name].astype(int) for name in needed[:4]), strict=True)
    ]
    return good["published_raw_ns"].to_numpy(dtype=np.int64), np.array(sizes, dtype=np.int64)


def _question_bytes(node: str, rows: pd.DataFrame, items: tuple[NDArray[np.int64], NDArray[np.int64]]) -> int:
    """Return the bytes of the questions' bodies, rebuilt as the agent writes them, of those that say when."""
    published, sizes = items
    rows = rows.dropna(subset=["wall_ns", "raw_before_ns"])
    until = np.searchsorted(published, rows["raw_before_ns"].to_numpy(dtype=np.int64))
    since = np.maximum(until - NTP_IN_QUESTION, 0)
    total = np.concatenate([[0], np.cumsum(sizes)])
    inside = total[until] - total[since] + np.maximum(until - since - 1, 0)
    bare = len(_compact({"node_id": node, "instant_ns": 0, "raw_ns": 0, "use_dual_model": True, "ntp_samples": []})) - 2
    digits = sum(len(str(int(one))) for name in ("wall_ns", "raw_before_ns") for one in rows[name])
    return int(inside.sum()) + bare * len(rows) + digits


def _compact(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
