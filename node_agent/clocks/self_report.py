"""What a time source says of its own state, and whether its time may be believed with that.

A source that follows nothing, or not any more, answers as promptly as a good one. What tells them apart is in every
answer: stratum, reference id, reference time, root delay and root dispersion (RFC 5905 section 7.3). A source that
follows such a one says so only by its stratum and its root distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from node_agent.contract.plan import ClocksPlan
    from node_agent.contract.records import Sample

LOCAL_CLOCK: Final = "local_clock"
ORPHAN: Final = "orphan"
NO_REFERENCE: Final = "no_reference"
NO_REFERENCE_TIME: Final = "no_reference_time"
FUTURE_REFERENCE_TIME: Final = "future_reference_time"
OLD_REFERENCE_TIME: Final = "old_reference_time"
HIGH_STRATUM: Final = "high_stratum"
ROOT_DISTANCE: Final = "root_distance"
REFID: Final = "refid_"  # with one of the codes below: what a source without a peer says instead of one

KISS_RATE: Final = "kiss_rate"
KISS_ENDS: Final = frozenset({"kiss_deny", "kiss_rstr"})  # RFC 5905 section 7.4: stop asking that server

MAX_AGE_NS: Final = 86_400 * 1_000_000_000  # NTP.MAXAGE, RFC 1305 section 3.4.4: a reference older than a day is none
HOST_CLOCK: Final = b"XHST"  # our own NTP server: this host's clock is the reference (RFC 5905: X is for experiments)

_LOCAL_NAMES: Final = frozenset({b"LOCL", b"LCL", b"LOCA"})  # an uncalibrated local clock (RFC 5905 figure 12)
_LOCAL_DRIVER: Final = b"\x7f\x7f\x01"  # 127.127.1.x: ntpd's local clock driver, and chronyd's `local`
_ORPHANS: Final = frozenset({b"LOOP", b"\x7f\x00\x00\x01"})  # ntpd's orphan mode at stratum 1, and beyond it
_ALWAYS_CODES: Final = frozenset({b"INIT", b"STEP", b"XFAC"})
_KISS_CODES: Final = _ALWAYS_CODES | frozenset({  # RFC 5905 figure 13 and RFC 8915; beyond stratum 1 they are addresses
    b"ACST", b"AUTH", b"AUTO", b"BCST", b"CRYP", b"DENY", b"DROP", b"RSTR", b"MCST", b"NKEY", b"NTSN", b"RATE", b"RMOT",
})  # fmt: skip

_SAID: Final = {
    "unsynchronised": "it says that its clock is not synchronised",
    "stratum_16": "it says that its clock is not synchronised",
    LOCAL_CLOCK: "its own clock is its reference, and nothing sets that",
    ORPHAN: "it lost all its sources and serves its own clock",
    NO_REFERENCE: "it names no reference",
    NO_REFERENCE_TIME: "it was never set",
    FUTURE_REFERENCE_TIME: "it was last set after its own now",
    OLD_REFERENCE_TIME: "it was last set more than a day ago",
    HIGH_STRATUM: "it is too many hops away from a reference clock",
    ROOT_DISTANCE: "by its own word it may be too far from UTC",
    KISS_RATE: "it asks to be asked less often",
    "kiss_deny": "it refuses to be asked",
    "kiss_rstr": "it refuses to be asked",
}
UNFIT: Final = frozenset(_SAID)


@dataclass(frozen=True)
class SelfReport:
    """A source's state in its own words. ``reference_ns`` is when it was last set (unix ns), None: never.

    ``now_ns`` is the source's time of the answer, ``root_delay_ns`` and ``root_dispersion_ns`` as it announced them.
    """

    stratum: int
    reference_id: bytes
    reference_ns: int | None
    now_ns: int
    root_delay_ns: int
    root_dispersion_ns: int
    loopback_is_a_source: bool = False  # chronyd names 127.0.0.1 only where it follows a server there

    @property
    def name(self) -> str:
        """Return the reference id as people write it: letters, or an address."""
        code = self.reference_id.rstrip(b"\0")
        return code.decode("ascii") if code.isalpha() else ".".join(map(str, self.reference_id))

    def root_distance_ns(self, exchange_ns: int = 0) -> int:
        """Return how far the time may be from the reference clock: RFC 5905 section 11.2, without the jitter.

        ``exchange_ns`` is the half-width of the exchange with the source.
        """
        return exchange_ns + self.root_dispersion_ns - (-self.root_delay_ns // 2)


@dataclass(frozen=True)
class Limits:
    """What a source may say of itself and still be believed.

    ``own_clock`` says that its own clock is meant to be the truth, as in a test cluster or one without a way out.
    """

    max_root_distance_ms: float = 1000.0
    max_stratum: int = 9
    own_clock: bool = False


USUAL: Final = Limits()


def limits_of(clocks: ClocksPlan, *, own_clock: bool = False) -> Limits | None:
    """Return a plan's limits; None for a plan of an earlier version, which judged nothing of this."""
    if clocks.max_root_distance_ms is None or clocks.max_stratum is None:
        return None
    return Limits(clocks.max_root_distance_ms, clocks.max_stratum, own_clock)


def unfit(report: SelfReport, limits: Limits | None, exchange_ns: int = 0) -> str:
    """Return why a source cannot be believed, as a sample's outcome; "" if it can, or if nothing is judged."""
    if limits is None:
        return ""
    code = report.reference_id.rstrip(b"\0")
    own = code in _LOCAL_NAMES or report.reference_id[:3] == _LOCAL_DRIVER
    if own and not limits.own_clock:
        return LOCAL_CLOCK
    orphan = report.reference_id in _ORPHANS and not report.loopback_is_a_source
    if orphan and not limits.own_clock:
        return ORPHAN
    if code in (_KISS_CODES if report.stratum == 1 else _ALWAYS_CODES):
        return f"{REFID}{code.decode('ascii').lower()}"
    if not code:
        return NO_REFERENCE
    if report.reference_ns is None:
        return NO_REFERENCE_TIME
    if report.reference_ns > report.now_ns:  # RFC 5905 appendix A.5.1.1: "invalid header values"
        return FUTURE_REFERENCE_TIME
    if report.now_ns - report.reference_ns > MAX_AGE_NS:
        return OLD_REFERENCE_TIME
    if report.stratum > limits.max_stratum and not limits.own_clock:
        return HIGH_STRATUM
    if report.root_distance_ns(exchange_ns) > math.ceil(Fraction(str(limits.max_root_distance_ms)) * 1_000_000):
        return ROOT_DISTANCE
    return ""


def without_numbers(sample: Sample, outcome: str) -> Sample:
    """Return a sample that was good but for its source's state: it ties no time to the oscillator any more."""
    return replace(
        sample, outcome=outcome, raw_at_ns=None, reference_at_ns=None, offset_ns=None, delay_ns=None, bound_ns=None,
        bound_delay_ns=None, bound_precision_ns=None, bound_drift_ns=None, bound_stamp_ns=None,
    )  # fmt: skip


def is_unfit(outcome: str) -> bool:
    """Tell whether an outcome is what a source said of its own state, or of being asked."""
    return outcome in UNFIT or outcome.startswith(REFID)


def describe(outcome: str, report: SelfReport | None = None) -> str:
    """Return an outcome of this module in words, with what the source said; "" for any other outcome."""
    if not is_unfit(outcome):
        return ""
    text = _SAID.get(outcome, "it has no source just now")
    if report is None:
        return text
    distance_ms = report.root_distance_ns() / 1e6
    return f"{text}; reference {report.name}, stratum {report.stratum}, root distance {distance_ms:.3f} ms"
