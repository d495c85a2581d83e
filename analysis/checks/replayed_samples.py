"""What one row of samples.csv says twice must agree: every number is recomputed from the stamps or the answer it is of.

A reading rests on few of a sample's cells. The others are how a reader convinces himself that those few are right, so a
replay checks them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from node_agent.clocks import chronotick, chrony, ntp_packet
from node_agent.clocks.base import drift_bound_ns
from node_agent.clocks.self_report import limits_of, unfit
from node_agent.contract.records import CHRONOTICK, CHRONY, NTP, OK, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from node_agent.contract.plan import NodePlan

Wrong = tuple[str, str, Any, Any]  # sample_id, column, recorded, recomputed

_COMPONENTS: Final = ("bound_delay_ns", "bound_precision_ns", "bound_drift_ns", "bound_stamp_ns")


def check(samples: Sequence[Sample], plan: NodePlan) -> Iterator[Wrong]:
    """Yield what is off in one node's samples, in the order of its journal."""
    yield from _publication(samples, plan)
    for sample in samples:
        if sample.outcome != OK:
            continue
        for column, value in _recomputed(sample, plan).items():
            recorded = getattr(sample, column)
            if recorded != value:
                yield sample.sample_id, column, recorded, value


def _publication(samples: Sequence[Sample], plan: NodePlan) -> Iterator[Wrong]:
    """Check that every sample has a name of its own and was published after it was taken and in the journal's order."""
    clock = plan.virtual_clock
    if clock is not None and (clock.raw_steps or clock.freezes):
        return  # an oscillator that leaps or stands still has no order to keep
    named: set[str] = set()
    last_ns = 0
    for sample in samples:
        if sample.sample_id in named:
            yield sample.sample_id, "sample_id", sample.sample_id, "an id of its own"
        named.add(sample.sample_id)
        earliest_ns = max(last_ns, sample.raw_after_ns)
        if sample.published_raw_ns < earliest_ns:
            yield sample.sample_id, "published_raw_ns", sample.published_raw_ns, f"{earliest_ns} or later"
        last_ns = max(last_ns, sample.published_raw_ns)


def _recomputed(sample: Sample, plan: NodePlan) -> dict[str, Any]:
    if sample.source == NTP:
        return _of_ntp(sample, plan.clocks.max_drift_ppm) | _of_reply(sample, plan)
    if sample.source == CHRONOTICK:
        return _of_chronotick(sample, plan.node_id)
    if sample.source == CHRONY:
        return _of_chrony(sample, plan)
    return {}


def _of_ntp(sample: Sample, max_drift_ppm: float) -> dict[str, Any]:
    stamps = (sample.t1_ns, sample.t2_ns, sample.t3_ns, sample.t4_ns)
    missing = {f"t{place}_ns": "a stamp" for place, stamp in enumerate(stamps, 1) if stamp is None}
    if missing:
        return missing
    t1, t2, t3, t4 = (stamp or 0 for stamp in stamps)
    took_ns = sample.raw_after_ns - sample.raw_before_ns
    delay_ns = took_ns - (t3 - t2)
    components = [getattr(sample, name) for name in _COMPONENTS]
    return {
        "wall_ns": t4,
        "raw_at_ns": (sample.raw_before_ns + sample.raw_after_ns) // 2,
        "reference_at_ns": (t2 + t3) // 2,
        "offset_ns": (t2 + t3) // 2 - (t1 + t4) // 2,
        "delay_ns": delay_ns,
        "bound_delay_ns": -(-max(delay_ns, 0) // 2),
        "bound_drift_ns": drift_bound_ns(took_ns, max_drift_ppm),
        "bound_ns": sum(part or 0 for part in components) + 1,
    }


def _of_reply(sample: Sample, plan: NodePlan) -> dict[str, Any]:
    """Return what the server's answer, where it was kept, says of itself."""
    if not sample.payload:  # as in runs of earlier versions
        return {}
    try:
        reply = ntp_packet.parse_payload(sample.payload, sample.wall_ns)
    except ValueError:
        return {"payload": "an NTP header in hexadecimal"}
    if isinstance(reply, ntp_packet.Rejected):
        return {"outcome": reply.outcome}
    own_clock = plan.clocks.ntp is not None and plan.clocks.ntp.own_clock
    reason = unfit(reply.report, limits_of(plan.clocks, own_clock=own_clock), sample.bound_ns or 0)
    return {
        "outcome": reason or OK,
        "t2_ns": reply.t2_ns,
        "t3_ns": reply.t3_ns,
        "stratum": reply.stratum,
        "bound_precision_ns": reply.precision_ns + 1,
        "root_delay_ns": reply.root_delay_ns,
        "root_dispersion_ns": reply.root_dispersion_ns,
    }


def _of_chronotick(sample: Sample, node_id: str) -> dict[str, Any]:
    answer = chronotick.parse(sample.payload, node_id)
    if isinstance(answer, chronotick.BadAnswer):
        return {"outcome": answer.outcome}
    when = sample.wall_ns if answer.prediction_time_ns is None else answer.prediction_time_ns
    return {
        "raw_at_ns": sample.raw_before_ns + (when - sample.wall_ns),
        "reference_at_ns": when + answer.offset_ns,
        "offset_ns": answer.offset_ns,
        "delay_ns": sample.raw_after_ns - sample.raw_before_ns,
        "sigma_ns": answer.sigma_ns,
        "scope": answer.scope,
    }


def _of_chrony(sample: Sample, plan: NodePlan) -> dict[str, Any]:
    answer = chrony.parse(sample.payload)
    if isinstance(answer, chrony.NotTracking):
        return {"outcome": answer.outcome}
    answered_ns = sample.wall_ns + sample.raw_after_ns - sample.raw_before_ns
    return {
        "outcome": unfit(answer.report(answered_ns), limits_of(plan.clocks)) or OK,
        "raw_at_ns": sample.raw_before_ns,
        "reference_at_ns": sample.wall_ns + answer.offset_ns,
        "offset_ns": answer.offset_ns,
        "delay_ns": sample.raw_after_ns - sample.raw_before_ns,
        "bound_ns": answer.bound_ns + (sample.bound_stamp_ns or 0),
        "root_delay_ns": answer.root_delay_ns,
        "root_dispersion_ns": answer.root_dispersion_ns,
    }
