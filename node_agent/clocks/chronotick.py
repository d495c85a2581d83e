"""What ChronoTick answers mean: a strict schema, and a probabilistic interval of some sigmas and an asymmetry."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from node_agent.clocks import ntp
from node_agent.clocks.base import Refused, good
from node_agent.clocks.holdover import FS_PER_S_OF_PPM
from node_agent.clocks.kind import NOT_SENT, ByHand, CheckTable, SourceKind, Traffic
from node_agent.clocks.newest import NewestSource
from node_agent.contract.plan import ChronoTickPlan, NodePlan
from node_agent.contract.records import CHRONOTICK, NTP, OK, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


MAX_NTP_SAMPLES: Final = 16  # the newest ones, in a question
_MAX_MS: Final = 4e12  # 126 years, for a clock never set, too; ns of such an offset and its instant have 64 bits
_MAX_PPM: Final = 1e6  # from here on time would stand still, or nothing would be known of its rate
_NEEDED: Final = ("offset_ms", "uncertainty_ms")
_CLAIMS: Final = ("asymmetry_ms", "drift_ppm", "drift_uncertainty_ppm")
_SIGNED: Final = frozenset({"offset_ms", "drift_ppm"})
_AS_ANSWERED: Final = (
    "offset_ns", "sigma_ns", "asymmetry_ns", "drift_fs_per_s", "drift_sigma_fs_per_s", "scope",
)  # fmt: skip
TAG_SIZE: Final = 16  # bytes


@dataclass(frozen=True)
class Prediction:
    """A server's answer: the offset (reference - local wall) at ``prediction_time_ns``, None meaning when asked.

    What it may claim besides is None where it does not: its drift and one sigma of that in fs/s, the half-width of what
    no averaging removes, and the instant of the node's wall clock until which the answer holds.
    """

    offset_ns: int
    sigma_ns: int
    prediction_time_ns: int | None
    scope: str
    asymmetry_ns: int | None = None
    drift_fs_per_s: int | None = None
    drift_sigma_fs_per_s: int | None = None
    valid_until_ns: int | None = None

    def numbers(self, wall_ns: int, raw_before_ns: int, raw_after_ns: int) -> dict[str, Any]:
        """Return the cells of the sample of an exchange that began at ``wall_ns``: a slow answer is an old one."""
        when_ns = wall_ns if self.prediction_time_ns is None else self.prediction_time_ns
        until_ns = self.valid_until_ns
        return {
            "raw_at_ns": raw_before_ns + (when_ns - wall_ns),
            "reference_at_ns": when_ns + self.offset_ns,
            "delay_ns": raw_after_ns - raw_before_ns,
            "valid_until_raw_ns": None if until_ns is None else raw_before_ns + (until_ns - wall_ns),
            **{name: getattr(self, name) for name in _AS_ANSWERED},
        }


def parse(text: str, node_id: str) -> Prediction | Refused:
    """Read an answer to ``POST /get_time``. Missing key, wrong type, NaN or negative uncertainty: a failed sample.

    The claims and the instants may be absent or null. An answer that echoes ``node_id`` is about the node's clock
    (scope ``node``); one that does not is about the server's own (scope ``server``).
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # the latter: thousands of nested brackets
        return Refused("not_json")
    if not isinstance(data, dict):
        return Refused("not_an_object")
    claims = tuple(key for key in _CLAIMS if data.get(key) is not None)
    instants = {key: data.get(key) for key in ("prediction_time_ns", "valid_until_ns")}
    wrong = _first(_wrong_number(data, key) for key in (*_NEEDED, *claims)) or _first(
        f"wrong_type_{key}" for key, value in instants.items() if not _is_instant(value)
    )
    if wrong:
        return Refused(wrong)
    echoed = data.get("node_id")
    if echoed is not None and echoed != node_id:
        return Refused("wrong_node_id")
    when, offset_ns = instants["prediction_time_ns"], round(data["offset_ms"] * 1e6)
    if when is not None and not abs(when + offset_ns) < 1 << 63:
        return Refused("out_of_range_prediction_time_ns")  # a reference time that no file of ours can hold
    typed = {key: Fraction(str(data[key])) for key in claims}  # as they were sent, not as a float holds them
    return Prediction(
        offset_ns=offset_ns,
        sigma_ns=math.ceil(data["uncertainty_ms"] * 1e6),
        prediction_time_ns=when,
        scope="node" if echoed == node_id else "server",
        asymmetry_ns=_whole(math.ceil, typed.get("asymmetry_ms"), 1_000_000),
        drift_fs_per_s=_whole(round, typed.get("drift_ppm"), FS_PER_S_OF_PPM),
        drift_sigma_fs_per_s=_whole(math.ceil, typed.get("drift_uncertainty_ppm"), FS_PER_S_OF_PPM),
        valid_until_ns=instants["valid_until_ns"],
    )


def _first(reasons: Iterable[str]) -> str:
    return next(filter(None, reasons), "")


def _wrong_number(data: Mapping[str, Any], key: str) -> str:
    """Return why an answer's number is not believed, as an outcome; "" if it is."""
    if key not in data:
        return f"missing_{key}"
    value = data[key]
    if type(value) not in {int, float}:
        return f"wrong_type_{key}"
    if key.endswith("_ppm"):
        if not abs(value) < _MAX_PPM:
            return f"out_of_range_{key}"
    elif not abs(value) <= _MAX_MS:  # so written, NaN and integers that no float holds are caught too
        return f"not_finite_{key}"
    return f"negative_{key}" if value < 0 and key not in _SIGNED else ""


def _is_instant(value: Any) -> bool:
    return value is None or (type(value) is int and 0 < value < 1 << 63)


def _whole(how: Callable[[Fraction], int], value: Fraction | None, units: int) -> int | None:
    return None if value is None else how(value * units)


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
    to_utc: bool = False,
) -> dict[str, Any]:
    """Return the JSON of a question, which the newest of a node's good NTP samples are in, as many of each server.

    ``to_utc``: the node asks several NTP servers, so that ``bound_ms`` has the server's root distance in it. It is the
    bound by which the NTP source tells falsetickers, and the ChronoTick server leaves out the same ones.
    """
    return {
        "node_id": node_id,
        "run_id": run_id,
        **({"tag": tag} if tag else {}),
        "instant_ns": wall_ns,
        "raw_ns": raw_ns,
        "use_dual_model": dual_model,
        "ntp_samples": [
            {"server": sample.server, **_item(sample, to_utc=to_utc)} for sample in _newest_of_each(samples)
        ],
    }


def _newest_of_each(samples: Sequence[Sample]) -> list[Sample]:
    """Return as many of the newest samples as a question holds, in their order, as many of each server as it can.

    The newest of all would be those of the servers that were asked last, and these a majority in the server's eyes.
    """
    later: Counter[str] = Counter()
    ranked = []
    for place in range(len(samples) - 1, -1, -1):
        server = samples[place].server
        ranked.append((later[server], len(samples) - place, place))
        later[server] += 1
    return [samples[place] for *_, place in sorted(sorted(ranked)[:MAX_NTP_SAMPLES], key=itemgetter(2))]


def size(data: dict[str, Any]) -> int:
    """Return the bytes of a question's JSON as it is sent."""
    return len(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode())


def confirmed_raw_ns(text: str) -> int | None:
    """Return the newest raw instant that a good answer says the server has learnt of; None where it names none."""
    told = json.loads(text).get("confirmed_raw_ns")
    return told if type(told) is int else None


def _item(sample: Sample, *, to_utc: bool = False) -> dict[str, Any]:
    return {
        "raw_ns": sample.raw_at_ns,
        "offset_ms": (sample.offset_ns or 0) / 1e6,
        "delay_ms": (sample.delay_ns or 0) / 1e6,
        "bound_ms": ntp.bound_ns(sample, to_utc=to_utc) / 1e6,
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
        question_of_old = {
            "node_id": node_id, "instant_ns": sample.wall_ns, "raw_ns": sample.raw_before_ns, "use_dual_model": True,
            "ntp_samples": [],
        }  # fmt: skip
        sent += size(question_of_old) + max(inside - 1, 0)
    payloads = [sample.payload for sample in samples if sample.source == CHRONOTICK and sample.payload]
    received = sum(len(payload.encode()) for payload in payloads)
    return Traffic(len(asked), len(payloads), sent, received, fed=bool(fed))


def _reader(plan: ChronoTickPlan, max_drift_ppm: float, valid_ns: int) -> NewestSource:
    return NewestSource(CHRONOTICK, f"server:{plan.server}", max_drift_ppm, valid_ns, plan.uncertainty_multiplier)


def _recompute(sample: Sample, plan: NodePlan) -> dict[str, Any]:
    answer = parse(sample.payload, plan.node_id)
    if isinstance(answer, Refused):
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
        asymmetry="asymmetry ms",
        delay="latency ms",
        fit=frozenset({OK, "warming_up"}),  # it needs only more samples than a check takes
        advice="start it, open its port to the node, or change it in configs/clusters/{cluster}.yaml",
        advice_answered="it runs and is reached: see its log, or change it in configs/clusters/{cluster}.yaml",
    ),
    by_hand=ByHand(
        "--chronotick-server",
        "base URL; left out, the ct columns stay empty",
        _by_hand,
        hosts=lambda plan: [urlsplit(plan.server).hostname or ""],
    ),
    explain=lambda sample: sample.payload[:200],
    fed_by=NTP,
)
