"""What AWS ClockBound's shared memory segment says: a bound on the error of CLOCK_REALTIME, and how it grows.

Layout and rules: aws/clock-bound, ``docs/PROTOCOL.md``, versions 1 and 2. The bound holds at ``as_of`` and grows by
``max_drift_ppb`` of the time since; past ``void_after`` it says nothing. Both are on CLOCK_MONOTONIC_COARSE, which is
CLOCK_MONOTONIC as of the last tick, so an age by CLOCK_MONOTONIC is never too small.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from node_agent.clocks.base import Refused
from node_agent.clocks.holdover import FS_PER_S, aged_bound_ns
from node_agent.clocks.kind import ByHand, CheckTable, SourceKind
from node_agent.clocks.newest import NewestSource
from node_agent.contract.plan import NodePlan, SourcePlan
from node_agent.contract.records import CLOCKBOUND, DISRUPTED, OK, Sample

PATH: Final = "/var/run/clockbound/shm0"
SIZE: Final = 80  # of version 2; version 1 has 72
_HEADER: Final = struct.Struct("=8sIHH")  # magic, size, version, generation
_BODIES: Final = {1: struct.Struct("=5qIIi4x"), 2: struct.Struct("=5qQIiB7x")}
_MAGICS: Final = frozenset({  # two native words, as the daemon writes them, and the bytes as PROTOCOL.md lists them
    struct.pack("=II", 0x414D5A4E, 0x43420200), bytes.fromhex("414d5a4e43420200"),
})  # fmt: skip
_SYNCHRONIZED, _FREE_RUNNING, _DISRUPTED = 1, 2, 3
_NS: Final = 1_000_000_000
_MOST_NS, _MOST_PPB = 1 << 60, 100_000_000  # beyond a tenth no oscillator drifts, and bounds would leave 64 bits
_COARSE_NS: Final = 1_000  # the daemon's own readers let as_of be that much ahead of their clock
_FS_PER_S_OF_PPB: Final = 10**6
_ANY_FREQUENCY: Final = 10**14  # a tenth, in fs/s: as far as the kernel lets anyone go (ADJ_TICK)


@dataclass(frozen=True)
class Segment:
    """A segment whose writer was not at work: instants and bound in ns. ``marker`` is None in version 1."""

    as_of_ns: int
    void_after_ns: int
    bound_ns: int
    max_drift_ppb: int
    marker: int | None

    def numbers(
        self, wall_ns: int, raw_before_ns: int, raw_after_ns: int, monotonic_ns: int, frequency: int | None, stamp: int
    ) -> dict[str, Any]:
        """Return the cells of a sample that began at ``wall_ns``, where CLOCK_MONOTONIC showed that after the read.

        The bound and its drift are claimed of the wall clock. That runs faster than the raw oscillator by the kernel's
        ``frequency`` (fs/s), so the oscillator is off by at most the claimed drift and that; where the frequency is not
        known, the claim says nothing of the oscillator, and the drift limit holds. ``stamp`` is added, in ns.
        """
        age_ns = monotonic_ns - self.as_of_ns
        if age_ns < -_COARSE_NS:
            return {"outcome": "future"}
        if monotonic_ns > self.void_after_ns:
            return {"outcome": "void"}
        rate = FS_PER_S + abs(_ANY_FREQUENCY if frequency is None else frequency)
        correction_ppb = None if frequency is None else -(-abs(frequency) // _FS_PER_S_OF_PPB)
        return {
            "outcome": OK,
            "raw_at_ns": raw_before_ns,
            "reference_at_ns": wall_ns,
            "offset_ns": 0,
            "delay_ns": raw_after_ns - raw_before_ns,
            "bound_ns": aged_bound_ns(self.bound_ns, age_ns, self.max_drift_ppb / 1_000) + stamp,
            "max_drift_ppb": None if correction_ppb is None else self.max_drift_ppb + correction_ppb,
            "valid_until_raw_ns": raw_before_ns + (self.void_after_ns - monotonic_ns) * FS_PER_S // rate,
        }


def parse(image: bytes) -> Segment | Refused:
    """Read a segment; anything but a bound that the daemon stands behind is a named outcome."""
    if len(image) < _HEADER.size:
        return Refused("too_short")
    magic, size, version, generation = _HEADER.unpack_from(image)
    if magic not in _MAGICS:
        return Refused("wrong_magic")
    if version == 0 or generation == 0:
        return Refused("not_initialised")
    if generation % 2:
        return Refused("torn")
    if version not in _BODIES:
        return Refused("wrong_version")
    body = _BODIES[version]
    if min(size, len(image)) < _HEADER.size + body.size:
        return Refused("too_short")
    as_of_s, as_of, void_s, void, bound_ns, *rest = body.unpack_from(image, _HEADER.size)
    marker, drift_ppb, status = (rest[0], rest[1], rest[2]) if version > 1 else (None, rest[0], rest[2])
    dated = 0 <= as_of < _NS and 0 <= void < _NS and max(abs(as_of_s), abs(void_s)) < 1 << 32
    if not (dated and 0 <= bound_ns < _MOST_NS and drift_ppb < _MOST_PPB):
        return Refused("wrong_format")
    if version > 1 and status == _DISRUPTED:
        return Refused(DISRUPTED)
    if status not in {_SYNCHRONIZED, _FREE_RUNNING}:
        return Refused("status_unknown")
    return Segment(as_of_s * _NS + as_of, void_s * _NS + void, bound_ns, drift_ppb, marker)


def kept(image: bytes, monotonic_ns: int, frequency: int | None) -> str:
    """Write what a sample is recomputed from."""
    values = {"segment": image.hex(), "monotonic_ns": monotonic_ns, "frequency_fs_per_s": frequency}
    return json.dumps(values, separators=(",", ":"))


@dataclass(frozen=True)
class ClockBoundPlan(SourcePlan):
    """Which segment to read; it answers at once."""

    path: str = PATH


def _recompute(sample: Sample, _plan: NodePlan) -> dict[str, Any]:
    values = json.loads(sample.payload)
    segment = parse(bytes.fromhex(values["segment"]))
    if isinstance(segment, Refused):
        return {"outcome": segment.outcome}
    return segment.numbers(
        sample.wall_ns, sample.raw_before_ns, sample.raw_after_ns, values["monotonic_ns"],
        values["frequency_fs_per_s"], sample.bound_stamp_ns or 0,
    )  # fmt: skip


_SAID: Final = {
    DISRUPTED: "the clock was disrupted, as by a migration of the machine; what was said before is void",
    "void": "the daemon has not written for longer than it stands behind a bound",
    "status_unknown": "the daemon does not know the clock's state",
    "not_initialised": "the daemon has not written yet",
    "torn": "the daemon was writing, or died while it did",
    "wrong_version": "expected version 1 or 2 of the protocol",
}

KIND: Final = SourceKind(
    name=CLOCKBOUND,
    label="ClockBound",
    plan_type=ClockBoundPlan,
    reader=lambda _plan, ppm, valid_ns: NewestSource(CLOCKBOUND, "utc", ppm, valid_ns),
    recompute=_recompute,
    traffic=None,
    traffic_note="the daemon asks its servers by itself, and nobody counts here",
    check=CheckTable(
        title="the nodes' own ClockBound",
        server="segment",
        expected="a bound",
        advice="start clockbound there, name its segment, or take clockbound out of clocks.required",
    ),
    by_hand=ByHand("--clockbound", f"path of ClockBound's segment ({PATH})", lambda text: ClockBoundPlan(path=text)),
    explain=lambda sample: _SAID.get(sample.outcome, ""),
    absent=frozenset({"no_segment"}),
)
