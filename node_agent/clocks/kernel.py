"""What the kernel says of its clock: the greatest error that whoever disciplines it told it, grown by the kernel since.

``struct timex`` of ``adjtimex(2)``, 64-bit Linux. Its ``maxerror`` (us) is set by ntpd, chronyd or whatever else, and
grows by ``tolerance`` (500 ppm), once a second (kernel/time/ntp.c, ``second_overflow``). It is as good as the program
that set it: guaranteed under that assumption, and under no other.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final

from node_agent.clocks.base import Refused
from node_agent.clocks.holdover import FS_PER_S_OF_PPM
from node_agent.clocks.kind import ByHand, CheckTable, SourceKind
from node_agent.clocks.newest import NewestSource
from node_agent.contract import json_objects
from node_agent.contract.plan import NodePlan, SourcePlan
from node_agent.contract.records import KERNEL, OK, Sample

BUFFER_BYTES: Final = 208  # sizeof(struct timex)
_TIMEX: Final = struct.Struct("=I4x4qi4x6q")  # modes offset freq maxerror esterror status constant precision ...
_TIME_ERROR: Final = 5  # linux/timex.h: the clock is not synchronised
_UNSYNCHRONISED, _NANO = 0x0040, 0x2000  # STA_UNSYNC, STA_NANO
_SCALE: Final = 1 << 16  # of freq and tolerance: 2^-16 ppm
_MOST_US: Final = 16_000_000  # linux/timex.h, NTP_PHASE_LIMIT: there maxerror stays
_MOST_PPM, _NS = 100_000, 1_000_000_000
_USUAL_TICK_US: Final = 10_000  # of a hundredth of a second, so that one us of it is 100 ppm


@dataclass(frozen=True)
class Discipline:
    """The kernel's state: what ``adjtimex`` returned, and what it wrote, in its own units."""

    state: int
    status: int
    offset: int
    freq: int
    maxerror: int
    tolerance: int
    tick: int

    @property
    def outcome(self) -> str:
        """Return why its bound says nothing; ok if it does."""
        if self.state == _TIME_ERROR or self.status & _UNSYNCHRONISED:
            return "unsynchronised"
        fits = 0 <= self.maxerror <= _MOST_US and 0 < self.tolerance <= _MOST_PPM * _SCALE and abs(self.offset) <= _NS
        return OK if fits else "wrong_format"

    @property
    def frequency_fs_per_s(self) -> int:
        """Return by how much the wall clock runs faster than the raw oscillator, in fs/s, rounded."""
        return round((Fraction(self.freq, _SCALE) + (self.tick - _USUAL_TICK_US) * 100) * FS_PER_S_OF_PPM)

    @property
    def max_drift_ppb(self) -> int:
        """Return by how much the bound grows, rounded up."""
        return -(-self.tolerance * 1_000 // _SCALE)

    @property
    def bound_ns(self) -> int:
        """Return the bound now: maxerror, a second of its growth, and what is still to be slewed."""
        offset_ns = abs(self.offset) * (1 if self.status & _NANO else 1_000)
        return self.maxerror * 1_000 + self.max_drift_ppb + offset_ns

    def numbers(self, wall_ns: int, raw_before_ns: int, raw_after_ns: int, stamp_ns: int) -> dict[str, Any]:
        """Return the cells of a sample taken from ``wall_ns`` on, known to ``stamp_ns``."""
        if self.outcome != OK:
            return {"outcome": self.outcome}
        return {
            "outcome": OK,
            "raw_at_ns": raw_before_ns,
            "reference_at_ns": wall_ns,
            "offset_ns": 0,
            "delay_ns": raw_after_ns - raw_before_ns,
            "bound_ns": self.bound_ns + stamp_ns,
            "max_drift_ppb": self.max_drift_ppb,
        }

    def text(self) -> str:
        """Write the state, as ``parse`` reads it."""
        return json.dumps(asdict(self), separators=(",", ":"))


def decode(returned: int, timex: bytes) -> Discipline:
    """Read a ``struct timex`` and what the call returned. Raises struct.error for fewer bytes than it has."""
    _, offset, freq, maxerror, _, status, _, _, tolerance, _, _, tick = _TIMEX.unpack_from(timex)
    return Discipline(returned, status, offset, freq, maxerror, tolerance, tick)


def parse(text: str) -> Discipline | Refused:
    """Read what ``text`` wrote."""
    try:
        return json_objects.read(Discipline, text, KERNEL, whole=True)
    except ValueError:
        return Refused("wrong_format")


@dataclass(frozen=True)
class KernelPlan(SourcePlan):
    """How often to ask the kernel; it answers at once."""


def _recompute(sample: Sample, _plan: NodePlan) -> dict[str, Any]:
    state = parse(sample.payload)
    if isinstance(state, Refused):
        return {"outcome": state.outcome}
    return state.numbers(sample.wall_ns, sample.raw_before_ns, sample.raw_after_ns, sample.bound_stamp_ns or 0)


_SAID: Final = {
    "unsynchronised": "nobody disciplines this clock, or whoever does says that it is not synchronised (TIME_ERROR)",
    "virtual_clock": "the kernel's bound is for the host's clock, and this node has one of its own",
    "unsupported_platform": "adjtimex is read on 64-bit Linux alone",
}

KIND: Final = SourceKind(
    name=KERNEL,
    label="kernel",
    plan_type=KernelPlan,
    reader=lambda _plan, ppm, valid_ns: NewestSource(KERNEL, "utc", ppm, valid_ns),
    recompute=_recompute,
    traffic=None,
    traffic_note="whoever disciplines the clock asks its servers by itself, and nobody counts here",
    check=CheckTable(
        title="the nodes' kernels (adjtimex)",
        who="the kernel",
        expected="a disciplined clock",
        advice="start something that disciplines the clock there, or take kernel out of clocks.required",
    ),
    by_hand=ByHand(
        "--kernel", "ask this machine's kernel for its bound (adjtimex)", lambda _text: KernelPlan(), takes_text=False
    ),
    explain=lambda sample: _SAID.get(sample.outcome, sample.payload[:200]),
    absent=frozenset({"unsupported_platform", "not_permitted", "virtual_clock"}),
)
