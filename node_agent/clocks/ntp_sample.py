"""One NTP exchange as a sample: its numbers from the stamps at both ends and the reply, made and made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node_agent.clocks import ntp_packet, self_report
from node_agent.clocks.base import Refused
from node_agent.contract.records import NTP, OK, Sample, Stamp

if TYPE_CHECKING:
    from node_agent.clocks.ntp_packet import Bound, Reply
    from node_agent.contract.plan import NodePlan


def sample_of(
    server: str,
    address: str,
    departed: Stamp,
    arrived: Stamp,
    reply: Reply,
    max_drift_ppm: float,
    sample_id: str = "",
    payload: str = "",
) -> Sample:
    """Return the sample of an exchange that was believed, good or not. Raises ValueError without its raw instants."""
    raw1, raw4 = departed.raw_ns, arrived.raw_ns
    if raw1 is None or raw4 is None:
        raise ValueError("an exchange that was believed has raw instants at both ends")
    bound = ntp_packet.bound(raw1, raw4, reply, departed.raw_error_ns + arrived.raw_error_ns, max_drift_ppm)
    common: dict[str, Any] = {
        "sample_id": sample_id, "source": NTP, "server": server, "address": address,
        "raw_before_ns": raw1, "raw_after_ns": raw4, "wall_ns": arrived.wall_ns, "t1_ns": departed.wall_ns,
        "t4_ns": arrived.wall_ns, "payload": payload, **_said(reply),
    }  # fmt: skip
    if isinstance(bound, Refused):
        return Sample(outcome=bound.outcome, **common)
    numbers = _numbers(departed.wall_ns, arrived.wall_ns, raw1, raw4, reply, bound)
    return Sample(outcome=OK, bound_precision_ns=bound.precision_ns, bound_stamp_ns=bound.stamp_ns, **common, **numbers)


def _said(reply: Reply) -> dict[str, int]:
    """Return the cells of what the server said."""
    names = ("t2_ns", "t3_ns", "stratum", "root_delay_ns", "root_dispersion_ns")
    return {name: getattr(reply, name) for name in names}


def _numbers(t1: int, t4: int, raw1: int, raw4: int, reply: Reply, bound: Bound) -> dict[str, Any]:
    """Return the cells of a good sample that follow from its stamps, in ns."""
    reference_at = (reply.t2_ns + reply.t3_ns) // 2
    return {
        "raw_at_ns": (raw1 + raw4) // 2,
        "reference_at_ns": reference_at,
        "offset_ns": reference_at - (t1 + t4) // 2,
        "delay_ns": bound.delay_ns,
        "bound_ns": bound.total_ns,
        "bound_delay_ns": bound.half_delay_ns,
        "bound_drift_ns": bound.drift_ns,
    }


def recompute(sample: Sample, plan: NodePlan) -> dict[str, Any]:
    """Return what a good sample's cells must be, by its stamps and by the answer, where that was kept."""
    stamps = (sample.t1_ns, sample.t2_ns, sample.t3_ns, sample.t4_ns)
    t1, t2, t3, t4 = (stamp or 0 for stamp in stamps)
    if None in stamps:
        return {f"t{place}_ns": "a stamp" for place, stamp in enumerate(stamps, 1) if stamp is None}
    cells: dict[str, Any] = {"wall_ns": t4}
    reply = ntp_packet.Reply(t2, t3, 0, (sample.bound_precision_ns or 1) - 1, 0, 0)
    if sample.payload:  # else it is of an earlier version, or was simulated
        try:
            parsed = ntp_packet.parse_payload(sample.payload, sample.wall_ns)
        except ValueError:
            return {"payload": "an NTP header in hexadecimal"}
        if isinstance(parsed, Refused):
            return {"outcome": parsed.outcome}
        reply = parsed
        own_clock = plan.clocks.ntp is not None and plan.clocks.ntp.own_clock
        limits = self_report.limits_of(plan.clocks, own_clock=own_clock)
        cells |= {**_said(reply), "outcome": self_report.unfit(reply.report, limits, sample.bound_ns or 0) or OK}
    raw1, raw4, stamp_ns = sample.raw_before_ns, sample.raw_after_ns, sample.bound_stamp_ns or 0
    bound = ntp_packet.bound(raw1, raw4, reply, stamp_ns, plan.clocks.max_drift_ppm)
    if isinstance(bound, Refused):
        return {"outcome": bound.outcome}
    if sample.payload:
        cells["bound_precision_ns"] = bound.precision_ns
    return cells | _numbers(t1, t4, raw1, raw4, reply, bound)


def explain(sample: Sample) -> str:
    """Return what a server said of its own state, in words, where that is why it is not believed; else who answered."""
    reply = ntp_packet.parse_payload(sample.payload, sample.wall_ns)
    report = reply.report if isinstance(reply, ntp_packet.Reply) else None
    return self_report.describe(sample.outcome, report) or f"{sample.outcome} from {sample.address or sample.server}"
