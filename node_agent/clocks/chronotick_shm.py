"""What the ChronoTick daemon's record in shared memory says: the offset it predicts for this node's wall clock.

128 bytes, C-native alignment, little endian, written in passing: not a seqlock. So two whole images must agree, and
what is in the image must agree with itself: corrected time = system time + offset, to within a float's rounding. All
of it is about the wall clock. That runs faster than the raw oscillator by the kernel's frequency f, so the prediction
is carried there: ``raw(when) = raw(now) - (wall(now) - when) / (1 + f)`` and ``1 + d_raw = (1 + d)(1 + f)``.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from node_agent.clocks.base import Refused
from node_agent.clocks.holdover import FS_PER_S
from node_agent.clocks.kind import ByHand, CheckTable, SourceKind
from node_agent.clocks.newest import NewestSource
from node_agent.contract.plan import NodePlan, SourcePlan
from node_agent.contract.records import CHRONOTICK_SHM, OK, Sample

PATH: Final = "/dev/shm/chronotick_shm"  # noqa: S108 - where the daemon keeps it
SIZE: Final = 128
_RECORD: Final = struct.Struct("<8df3I")  # as far as it is judged: up to flags and source
_VALID, _WARM = 1, 8
_SOURCES: Final = range(1, 5)  # NTP, CPU, GPU, fusion
MAX_AGE_NS: Final = 5_000_000_000
_AHEAD_NS: Final = 1_000_000  # a system time may be ahead of the look by a float's rounding, and by a slew
_LONGEST_S: Final = 1e9  # 31 years: beyond it nothing is a clock offset
_LATEST_S: Final = 1 << 33  # beyond it ns leave 64 bits


@dataclass(frozen=True)
class Record:
    """A record that is believed, in ns and fs/s: the offset (reference - wall) at ``when_ns`` of the wall clock."""

    system_ns: int
    offset_ns: int
    drift_fs_per_s: int
    sigma_ns: int
    drift_sigma_fs_per_s: int
    when_ns: int
    until_ns: int
    quantum_ns: int

    def numbers(self, wall_ns: int, raw_before_ns: int, raw_after_ns: int, frequency: int | None) -> dict[str, Any]:
        """Return the cells of a sample that began at ``wall_ns``; ``frequency`` is the kernel's, in fs/s.

        Where that is not known, the drift says nothing of the oscillator and is left out: the drift limit holds.
        """
        wall_after_ns = wall_ns + raw_after_ns - raw_before_ns
        if self.system_ns > wall_after_ns + _AHEAD_NS:
            return {"outcome": "future"}
        if wall_ns - self.system_ns > MAX_AGE_NS:
            return {"outcome": "dead"}
        if wall_ns > self.until_ns:
            return {"outcome": "expired"}
        rate = FS_PER_S + (frequency or 0)
        drift = (FS_PER_S + self.drift_fs_per_s) * rate // FS_PER_S - FS_PER_S
        return {
            "outcome": OK,
            "raw_at_ns": raw_before_ns + (self.when_ns - wall_ns) * FS_PER_S // rate,
            "reference_at_ns": self.when_ns + self.offset_ns,
            "offset_ns": self.offset_ns,
            "delay_ns": raw_after_ns - raw_before_ns,
            "sigma_ns": self.sigma_ns,
            "drift_fs_per_s": None if frequency is None else drift,
            "drift_sigma_fs_per_s": None if frequency is None else self.drift_sigma_fs_per_s,
            "valid_until_raw_ns": raw_before_ns + (self.until_ns - wall_ns) * FS_PER_S // rate,
            "scope": "node",
        }


def parse(image: bytes) -> Record | Refused:
    """Read a record; anything but a prediction that the daemon stands behind is a named outcome."""
    if len(image) < SIZE:
        return Refused("too_short")
    corrected, system, offset, drift, sigma, drift_sigma, when, until, _, _, flags, source = _RECORD.unpack_from(image)
    if not flags & _VALID:
        return Refused("not_valid")
    if not flags & _WARM:
        return Refused("warming_up")
    if source not in _SOURCES:
        return Refused("no_source" if source == 0 else "unknown_source")
    if not all(map(math.isfinite, (corrected, system, offset, drift, sigma, drift_sigma, when, until))):
        return Refused("not_finite")
    if sigma < 0 or drift_sigma < 0:
        return Refused("negative_sigma")
    dated = all(0 < instant < _LATEST_S for instant in (corrected, system, when))
    if not (dated and max(abs(offset), sigma) < _LONGEST_S and max(abs(drift), drift_sigma) < 1):
        return Refused("out_of_range")
    if abs(Fraction(corrected) - Fraction(system) - Fraction(offset)) > math.ulp(corrected) or until < when:
        return Refused("inconsistent")
    return Record(
        system_ns=_scaled(round, system, 10**9),
        offset_ns=_scaled(round, offset, 10**9),
        drift_fs_per_s=_scaled(round, drift, FS_PER_S),
        sigma_ns=_scaled(math.ceil, sigma, 10**9),
        drift_sigma_fs_per_s=_scaled(math.ceil, drift_sigma, FS_PER_S),
        when_ns=_scaled(round, when, 10**9),
        until_ns=_scaled(math.floor, min(until, float(_LATEST_S)), 10**9),
        quantum_ns=_scaled(math.ceil, math.ulp(corrected), 10**9),
    )


def _scaled(how: Any, value: float, units: int) -> int:
    whole: int = how(Fraction(value) * units)
    return whole


def kept(image: bytes, frequency: int | None) -> str:
    """Write what a sample is recomputed from."""
    return json.dumps({"record": image.hex(), "frequency_fs_per_s": frequency}, separators=(",", ":"))


@dataclass(frozen=True)
class ChronoTickShmPlan(SourcePlan):
    """Which record to read, and how many of its sigmas make its interval; it answers at once."""

    path: str = PATH
    uncertainty_multiplier: float = 3.0


def _recompute(sample: Sample, _plan: NodePlan) -> dict[str, Any]:
    values = json.loads(sample.payload)
    record = parse(bytes.fromhex(values["record"]))
    if isinstance(record, Refused):
        return {"outcome": record.outcome}
    return record.numbers(
        sample.wall_ns, sample.raw_before_ns, sample.raw_after_ns, values["frequency_fs_per_s"]
    )  # fmt: skip


_SAID: Final = {
    "torn": "it changed at every look",
    "not_valid": "the daemon says that its record is not valid",
    "warming_up": "the daemon is still warming up",
    "no_source": "the daemon has no source of time",
    "dead": "the daemon has not written for more than 5 s",
    "expired": "the prediction's own validity is over",
    "inconsistent": "corrected time is not system time + offset, or it is over before it holds",
    "future": "it was written after this node's now",
}

KIND: Final = SourceKind(
    name=CHRONOTICK_SHM,
    label="ChronoTick (shm)",
    plan_type=ChronoTickShmPlan,
    reader=lambda plan, ppm, valid_ns: NewestSource(CHRONOTICK_SHM, "utc", ppm, valid_ns, plan.uncertainty_multiplier),
    recompute=_recompute,
    traffic=None,
    traffic_note="the daemon asks its servers by itself, and nobody counts here",
    check=CheckTable(
        title="the nodes' own ChronoTick daemon",
        server="record",
        offset="offset ± sigma ms",
        fit=frozenset({OK, "warming_up"}),
        expected="a prediction",
        advice="start the daemon there, name its record, or take chronotick_shm out of clocks.required",
    ),
    by_hand=ByHand(
        "--chronotick-shm",
        f"path of the ChronoTick daemon's record ({PATH})",
        lambda text: ChronoTickShmPlan(path=text),
    ),
    explain=lambda sample: _SAID.get(sample.outcome, ""),
    absent=frozenset({"no_segment"}),
)
