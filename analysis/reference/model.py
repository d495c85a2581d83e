"""What the reference says: intervals about two nodes' instants, each with its support, its segment, or a reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from analysis.stats import rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.arrays import Bools, Ints, Texts


DEFAULT_RHO_PPM: Final = 200.0  # of nodes that state no drift limit, half of it for each
RHO_OF_NODES: Final = "the nodes' max_drift_ppm"
RHO_DEFAULT: Final = "the default, as the run states no max_drift_ppm"
RHO_PARTLY: Final = "the nodes' max_drift_ppm, and the default where a node states none"
RHO_GIVEN: Final = "what was asked for"
ASSUMPTIONS: Final = (
    "no packet arrives before it left",
    "no transmit stamp is later, no receive stamp earlier than what it stamps, each within its stated error",
    "two oscillators never differ in rate by more than their pair's rho, save for steps large enough to show",
)
NO_SPREAD: Final = rates.Spread(0, None, None, None)
NO_PROBES: Final = "no probes: this run has no probes.csv with joined probes"
SHARED_CLOCK: Final = "shared clock: synchronisation not evaluable"

# Reasons why an instant has no reference.
NO_PATH: Final = "no_probes_between_nodes"
OUTSIDE: Final = "outside_probed_time"
AT_A_STEP: Final = "at_a_contradiction"
ACROSS_SEGMENTS: Final = "across_segments"


@dataclass(frozen=True)
class Lags:
    """How much later b's instants are than a's, on a's raw oscillator, in ns: low <= truth <= high.

    Where ``known`` is false the numbers are 0, ``segment`` is -1 and ``reason`` says why; it is empty elsewhere.
    ``why`` finds the reasons: only when somebody asks for them, as that takes as long as the numbers.
    """

    low_ns: Ints
    high_ns: Ints
    known: Bools
    segment: Ints
    why: Callable[[], Texts] = field(repr=False, compare=False)

    @cached_property
    def reason(self) -> Texts:
        """Return why each instant has no reference, empty where it has one."""
        return self.why()


@dataclass(frozen=True)
class Walls:
    """What one node's wall clock showed at instants, in ns: low <= truth <= high; masked as ``Lags`` is."""

    low_ns: Ints
    high_ns: Ints
    known: Bools
    why: Callable[[], Texts] = field(repr=False, compare=False)

    @cached_property
    def reason(self) -> Texts:
        """Return why each instant has no reference, empty where it has one."""
        return self.why()


@dataclass(frozen=True)
class Check:
    """One self-check: how many of how many held. ``passed`` is None where there was nothing to check, and why."""

    name: str
    meaning: str
    held: int
    checked: int
    reason: str = ""

    @property
    def passed(self) -> bool | None:
        """Tell whether all that was checked held; None if nothing was."""
        return self.held == self.checked if self.checked else None

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON-serialisable data."""
        return {name: getattr(self, name) for name in ("meaning", "held", "checked", "passed", "reason")}


@dataclass(frozen=True)
class TruthCheck(Check):
    """The check against the injected truth, with how wide the judged intervals are."""

    half_width_us: rates.Spread = NO_SPREAD

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON-serialisable data."""
        return {**super().as_dict(), "half_width_us": self.half_width_us.as_dict()}


@dataclass(frozen=True)
class PairSummary:
    """What the reference of one pair of nodes rests on, and how wide it is at instants evenly over its segments.

    ``rho_ppm`` is what its oscillators may differ in rate by. ``lost`` probes have no receipt, ``skipped`` ones lack a
    stamp; a step larger than ``hidden_step_us`` would show. ``own_probes`` is false for a pair that only the other
    pairs bound. Each spread is of the instants or probes at which the pair is known; ``known_share`` is their share of
    the time from its first bound to its last, None without any.
    """

    first: str
    second: str
    own_probes: bool
    joined: int
    lost: int
    skipped: int
    rho_ppm: float
    segments: int
    known_share: float | None
    half_width_us: rates.Spread
    support_age_ms: rates.Spread
    hidden_step_us: rates.Spread

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-serialisable data."""
        numbers = {name: value for name, value in vars(self).items() if name not in {"first", "second"}}
        return {name: value.as_dict() if isinstance(value, rates.Spread) else value for name, value in numbers.items()}
