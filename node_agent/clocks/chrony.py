"""What a local chronyd says: the correction it has not applied yet, and how far the truth can be.

``chronyc -c tracking`` prints one line of 14 comma-separated fields (chrony's chronyc(1), command ``tracking``). Its
system time is positive where the wall clock is slow, so it is added. The error is at most |system time| + root
dispersion + root delay / 2 (same page), as long as chronyd's own sources are right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from node_agent.clocks.base import Refused
from node_agent.clocks.kind import ByHand, CheckTable, SourceKind
from node_agent.clocks.newest import NewestSource
from node_agent.clocks.self_report import SelfReport, describe, limits_of, unfit
from node_agent.contract.plan import ChronyPlan, NodePlan
from node_agent.contract.records import CHRONY, OK, Sample

_FIELDS: Final = 14
_REFERENCE_ID, _STRATUM, _REFERENCE_TIME, _SYSTEM_TIME, _ROOT_DELAY, _ROOT_DISPERSION, _LEAP = 0, 2, 3, 4, 10, 11, 13
_SLACK_NS: Final = 1_000_000_000  # its time is told from a wall clock that it may just now correct
_UNSYNCHRONISED: Final = "Not synchronised"


@dataclass(frozen=True)
class Tracking:
    """A synchronised chronyd's state, in ns; each rounded so that the bound only widens."""

    offset_ns: int
    root_delay_ns: int
    root_dispersion_ns: int
    reference_id: bytes = bytes(4)
    stratum: int = 0
    reference_ns: int | None = None

    def report(self, wall_ns: int) -> SelfReport:
        """Return what chronyd says of its own state, in an answer that was there when the wall clock showed that."""
        now_ns = wall_ns + self.offset_ns + _SLACK_NS
        state = (self.stratum, self.reference_id, self.reference_ns)
        roots = (self.root_delay_ns, self.root_dispersion_ns)
        return SelfReport(*state, now_ns, *roots, loopback_is_a_source=True)

    @property
    def bound_ns(self) -> int:
        """Return the half-width around the corrected time."""
        return abs(self.offset_ns) + self.root_dispersion_ns + -(-self.root_delay_ns // 2)

    def numbers(self, wall_ns: int, raw_before_ns: int, raw_after_ns: int, stamp_ns: int) -> dict[str, Any]:
        """Return the cells of the sample of an exchange that began at ``wall_ns``, known to ``stamp_ns``."""
        return {
            "raw_at_ns": raw_before_ns,
            "reference_at_ns": wall_ns + self.offset_ns,
            "offset_ns": self.offset_ns,
            "delay_ns": raw_after_ns - raw_before_ns,
            "bound_ns": self.bound_ns + stamp_ns,
            "root_delay_ns": self.root_delay_ns,
            "root_dispersion_ns": self.root_dispersion_ns,
        }


def parse(text: str) -> Tracking | Refused:
    """Read the answer to ``chronyc -c tracking``; anything but a synchronised state is a named outcome."""
    cells = text.strip().split(",")
    if len(cells) != _FIELDS:
        return Refused("wrong_format")
    if cells[_LEAP] == _UNSYNCHRONISED:
        return Refused("unsynchronised")
    try:
        offset_s, delay_s, dispersion_s, set_at_s = (
            float(cells[at]) for at in (_SYSTEM_TIME, _ROOT_DELAY, _ROOT_DISPERSION, _REFERENCE_TIME)
        )
        reference_id, stratum = bytes.fromhex(cells[_REFERENCE_ID]), int(cells[_STRATUM])
    except ValueError:
        return Refused("wrong_format")
    finite = all(map(math.isfinite, (offset_s, delay_s, dispersion_s, set_at_s)))
    if not finite or min(delay_s, dispersion_s) < 0 or len(reference_id) != 4:
        return Refused("wrong_format")
    if not 0 < stratum < 16:
        return Refused("stratum_0" if stratum <= 0 else "stratum_16")
    return Tracking(
        offset_ns=round(offset_s * 1e9),
        root_delay_ns=math.ceil(delay_s * 1e9) + 1,
        root_dispersion_ns=math.ceil(dispersion_s * 1e9) + 1,
        reference_id=reference_id,
        stratum=stratum,
        reference_ns=round(set_at_s * 1e9) if set_at_s else None,
    )


def _recompute(sample: Sample, plan: NodePlan) -> dict[str, Any]:
    state = parse(sample.payload)
    if isinstance(state, Refused):
        return {"outcome": state.outcome}
    raw1, raw2 = sample.raw_before_ns, sample.raw_after_ns
    reason = unfit(state.report(sample.wall_ns + raw2 - raw1), limits_of(plan.clocks))
    return {"outcome": reason or OK, **state.numbers(sample.wall_ns, raw1, raw2, sample.bound_stamp_ns or 0)}


def _explain(sample: Sample) -> str:
    state = parse(sample.payload)
    return describe(sample.outcome, state.report(sample.wall_ns) if isinstance(state, Tracking) else None)


KIND: Final = SourceKind(
    name=CHRONY,
    label="chrony",
    plan_type=ChronyPlan,
    reader=lambda _plan, ppm, valid_ns: NewestSource(CHRONY, "utc", ppm, valid_ns),
    recompute=_recompute,
    traffic=None,
    traffic_note="chronyd asks its servers by itself, and nobody counts here",
    check=CheckTable(
        title="the nodes' own chronyd",
        who="chronyd",
        expected="one that knows the time",
        advice="start chronyd there, or take chrony out of clocks.required",
    ),
    by_hand=ByHand("--chrony", "ask this machine's chronyd too", lambda _text: ChronyPlan(), takes_text=False),
    explain=_explain,
    absent=frozenset({"no_chronyc", "no_chronyd"}),
)
