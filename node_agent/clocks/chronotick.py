"""What ChronoTick answers mean: a strict schema, and a probabilistic interval of some sigmas."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from node_agent.clocks.base import good
from node_agent.clocks.kind import NOT_SENT, ByHand, CheckTable, SourceKind, Traffic
from node_agent.clocks.newest import NewestSource
from node_agent.contract.plan import ChronoTickPlan
from node_agent.contract.records import CHRONOTICK, NTP, OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node_agent.contract.plan import NodePlan
    from node_agent.contract.records import Sample

MAX_NTP_SAMPLES: Final = 16  # the newest ones, in a question
TAG_SIZE: Final = 16  # bytes
_MAX_MS = 1e12  # 31 years: beyond it nothing is a clock offset, and ns would leave 64 bits


@dataclass(frozen=True)
class Prediction:
    """A server's answer: the offset (reference - local wall) at ``prediction_time_ns``, None meaning when asked."""

    offset_ns: int
    sigma_ns: int
    prediction_time_ns: int | None
    scope: str

    def numbers(self, wall_ns: int, raw_before_ns: int, raw_after_ns: int) -> dict[str, Any]:
        """Return the cells of the sample of an exchange that began at ``wall_ns``: a slow answer is an old one."""
        when_ns = wall_ns if self.prediction_time_ns is None else self.prediction_time_ns
        return {
            "raw_at_ns": raw_before_ns + (when_ns - wall_ns),
            "reference_at_ns": when_ns + self.offset_ns,
            "offset_ns": self.offset_ns,
            "delay_ns": raw_after_ns - raw_before_ns,
            "sigma_ns": self.sigma_ns,
            "scope": self.scope,
        }


@dataclass(frozen=True)
class BadAnswer:
    """Why an answer is not believed."""

    outcome: str


def parse(text: str, node_id: str) -> Prediction | BadAnswer:
    """Read an answer to ``POST /get_time``. Missing key, wrong type, NaN or negative uncertainty: a failed sample.

    An answer that echoes ``node_id`` is about the node's clock (scope ``node``); one that does not is about the
    server's own (scope ``server``).
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # the latter: thousands of nested brackets
        return BadAnswer("not_json")
    if not isinstance(data, dict):
        return BadAnswer("not_an_object")
    values: dict[str, float] = {}
    for key in ("offset_ms", "uncertainty_ms"):
        if key not in data:
            return BadAnswer(f"missing_{key}")
        value = data[key]
        if not _is_number(value):
            return BadAnswer(f"wrong_type_{key}")
        if not abs(value) <= _MAX_MS:  # so written, NaN and integers that no float holds are caught too
            return BadAnswer(f"not_finite_{key}")
        values[key] = value
    if values["uncertainty_ms"] < 0:
        return BadAnswer("negative_uncertainty_ms")
    when = data.get("prediction_time_ns")
    if when is not None and (type(when) is not int or not 0 < when < 1 << 63):
        return BadAnswer("wrong_type_prediction_time_ns")
    echoed = data.get("node_id")
    if echoed is not None and echoed != node_id:
        return BadAnswer("wrong_node_id")
    offset_ns = round(values["offset_ms"] * 1e6)
    if when is not None and not abs(when + offset_ns) < 1 << 63:
        return BadAnswer("out_of_range_prediction_time_ns")  # a reference time that no file of ours can hold
    return Prediction(
        offset_ns=offset_ns,
        sigma_ns=math.ceil(values["uncertainty_ms"] * 1e6),
        prediction_time_ns=when,
        scope="node" if echoed == node_id else "server",
    )


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}


# --- the kind ------------------------------------------------------------------------------------------------------


def tag(key: bytes, run_id: str, node_id: str) -> str:
    """Return what names a node of a run to a server and what nobody without the run key can make: keyed BLAKE2b."""
    named = json.dumps([run_id, node_id]).encode()
    return hashlib.blake2b(named, key=key, digest_size=TAG_SIZE, person=b"chronotick").hexdigest()


def question(
    node_id: str,
    wall_ns: int,
    raw_ns: int,
    samples: Sequence[Sample],
    *,
    dual_model: bool = True,
    run_id: str = "",
    tag: str = "",
) -> dict[str, Any]:
    """Return the JSON of a question, which the newest of a node's good NTP samples are in."""
    return {
        "node_id": node_id,
        "run_id": run_id,
        **({"tag": tag} if tag else {}),
        "instant_ns": wall_ns,
        "raw_ns": raw_ns,
        "use_dual_model": dual_model,
        "ntp_samples": [{"server": sample.server, **_item(sample)} for sample in samples[-MAX_NTP_SAMPLES:]],
    }


def size(data: dict[str, Any]) -> int:
    """Return the bytes of a question's JSON as it is sent."""
    return len(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode())


def confirmed_raw_ns(text: str) -> int | None:
    """Return the newest raw instant that a good answer says the server has learnt of; None where it names none."""
    told = json.loads(text).get("confirmed_raw_ns")
    return told if type(told) is int else None


def _item(sample: Sample) -> dict[str, Any]:
    return {
        "raw_ns": sample.raw_at_ns,
        "offset_ms": (sample.offset_ns or 0) / 1e6,
        "delay_ms": (sample.delay_ns or 0) / 1e6,
        "bound_ms": (sample.bound_ns or 0) / 1e6,
    }


def _traffic(node_id: str, samples: Sequence[Sample]) -> Traffic:
    """Count answers and questions as they were kept.

    Journals of before ``question_bytes`` hold no sizes: their questions are rebuilt as they were sent then, with the
    newest samples that were published by that time.
    """
    fed = sorted(
        (sample for sample in samples if sample.source == NTP and good(sample) and sample.raw_at_ns is not None),
        key=lambda sample: sample.published_raw_ns,
    )
    published = [sample.published_raw_ns for sample in fed]
    ends = list(accumulate((size(_item(sample)) + 1 for sample in fed), initial=0))  # 1: a comma
    asked = [sample for sample in samples if sample.source == CHRONOTICK and sample.outcome not in NOT_SENT]
    sent = 0
    for sample in asked:
        if sample.question_bytes is not None:
            sent += sample.question_bytes
            continue
        until = bisect_left(published, sample.raw_before_ns)
        inside = ends[until] - ends[max(until - MAX_NTP_SAMPLES, 0)]
        sent += size(_question_of_old(node_id, sample)) + max(inside - 1, 0)
    payloads = [sample.payload for sample in samples if sample.source == CHRONOTICK and sample.payload]
    received = sum(len(payload.encode()) for payload in payloads)
    return Traffic(len(asked), len(payloads), sent, received, fed=bool(fed))


def _question_of_old(node_id: str, sample: Sample) -> dict[str, Any]:
    asked = {"node_id": node_id, "instant_ns": sample.wall_ns, "raw_ns": sample.raw_before_ns}
    return asked | {"use_dual_model": True, "ntp_samples": []}


def _reader(plan: ChronoTickPlan, max_drift_ppm: float, valid_ns: int) -> NewestSource:
    return NewestSource(CHRONOTICK, f"server:{plan.server}", max_drift_ppm, valid_ns, plan.uncertainty_multiplier)


def _recompute(sample: Sample, plan: NodePlan) -> dict[str, Any]:
    answer = parse(sample.payload, plan.node_id)
    if isinstance(answer, BadAnswer):
        return {"outcome": answer.outcome}
    return answer.numbers(sample.wall_ns, sample.raw_before_ns, sample.raw_after_ns)


def _by_hand(text: str) -> ChronoTickPlan:
    if not text.startswith(("http://", "https://")):
        raise ValueError(f"--chronotick-server: expected http://HOST:PORT, got {text!r}")
    return ChronoTickPlan(text)


KIND: Final = SourceKind(
    name=CHRONOTICK,
    label="ChronoTick",
    plan_type=ChronoTickPlan,
    reader=_reader,
    recompute=_recompute,
    traffic=_traffic,
    traffic_note="HTTP headers, TCP, its acknowledgements",
    check=CheckTable(
        title="ChronoTick",
        server="ChronoTick server",
        health="health",
        offset="offset ± sigma ms",
        delay="latency ms",
        fit=frozenset({OK, "warming_up"}),  # it needs only more samples than a check takes
        advice="start it, open its port to the node, or change it in configs/clusters/{cluster}.yaml",
    ),
    by_hand=ByHand("--chronotick-server", "base URL; left out, the ct columns stay empty", _by_hand),
    explain=lambda sample: sample.payload[:200],
    fed_by=NTP,
)
