"""What a clock may be judged by, and the error that comes of it.

Two standards are independent of every source: the injected truth of a virtual clock, and the probe reference. Anything
else is refused, with the reason: a source judged by itself is always right, one judged by what it was fed is nearly so,
and an uncorrected clock says nothing about a corrected one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.by_event import scopes, utc
from analysis.by_event.verdicts import Lag
from analysis.errors import AnalysisError
from node_agent.clocks.sources import KINDS
from node_agent.contract import records

if TYPE_CHECKING:
    from analysis.arrays import Bools, Floats, Ints
    from analysis.by_event.event_rows import Instants
    from analysis.by_event.table import Readings, Table

IN_WORDS: Final = {utc.NO_ROOT_DISTANCE: utc.IN_WORDS, scopes.ABOUT_THE_SERVER: scopes.IN_WORDS}  # why left out
FED_BY: Final[Mapping[str, frozenset[str]]] = {kind.name: frozenset({kind.fed_by}) for kind in KINDS if kind.fed_by}


@dataclass(frozen=True)
class Standard:
    """What sources are judged by: its name in every output, and the sources whose samples went into it."""

    name: str
    made_from: frozenset[str] = frozenset()


INJECTED: Final = Standard("injected truth")
PROBES: Final = Standard("probe reference")
NOTHING: Final = Standard("none: this node has no virtual clock, and no reference knows of it")
ORIGIN: Final = Standard("none: errors of the other nodes are relative to this one")


Flights = Callable[[str], Lag]  # how much later a worker received each event than it was sent to it
FlightsOf = Callable[["Table"], Flights]  # of the events of a part of a run


@dataclass(frozen=True)
class Errors:
    """The error of one source on one node, event by event: estimate - truth lies in [``low``, ``high``], in ns.

    ``judged``: there is an error. ``bounded``: the source gave an interval too, which reaches ``below`` under the
    estimate and ``above`` over it. ``level``: what the interval claims, None for a point clock. Unused numbers are 0.
    ``independent``: the half-width of as sure an interval if the errors of the readings that it is made of are
    independent: of one reading its own, of a difference the root of the sum of both squares.
    ``widened``: how many intervals were judged as wider than the reading is, by what was added; ``left_out``: readings,
    or intervals, that could not be judged for what they are about, by reason.
    """

    standard: Standard
    level: float | None
    judged: Bools
    bounded: Bools
    low: Ints
    high: Ints
    below: Ints
    above: Ints
    independent: Floats
    widened: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def latent(self) -> Floats:
        """Return what is behind coverage: the error as a share of the half-width, or the error where there is none."""
        half = (self.below + self.above) / 2
        scaled: Floats = np.where(half > 0, self.middle / np.where(half > 0, half, 1.0), self.middle)
        return scaled

    @property
    def exact(self) -> bool:
        """Tell whether the standard has no width."""
        return self.low is self.high

    @property
    def relative(self) -> bool:
        """Tell whether the errors are of the difference of two nodes' readings."""
        return self.standard == PROBES

    @property
    def middle(self) -> Floats:
        """Return the middle of the error's bounds: the error itself where the truth is known exactly."""
        middle: Floats = (self.low + self.high) / 2
        return middle


def may_judge(source: str, standard: Standard) -> None:
    """Do nothing if ``standard`` may judge ``source``; raise AnalysisError with the reason if it may not."""
    if not standard.made_from:
        return
    shared = standard.made_from & ({source} | FED_BY.get(source, frozenset()))
    if source in shared:
        why = f"samples of {source}, and a clock measured by its own samples is always right"
    elif shared:
        why = f"samples of {', '.join(sorted(shared))}, which {source} is fed with, so both are wrong together"
    elif records.SYSTEM in standard.made_from:
        why = (
            "the uncorrected system clock, and between a corrected and an uncorrected clock lies the very offset that "
            "is in question"
        )
    else:
        why = f"{', '.join(sorted(standard.made_from))}, a source under test, whose own error nobody knows"
    advice = "judge it by the injected truth of a virtual clock or by the probe reference"
    raise AnalysisError(f"{source} cannot be judged by {standard.name}: it is made from {why}; {advice}")


def against_truth(readings: Readings, true: Instants, standard: Standard = INJECTED) -> Errors:
    """Return the errors of a node's readings against the true instants of its stamps, which are exact."""
    may_judge(readings.source, standard)
    judged = readings.known & true.known
    error = np.where(judged, readings.est - true.ns, 0)
    bounded = judged & readings.bounded
    below = np.where(bounded, readings.est - readings.earliest, 0)
    above = np.where(bounded, readings.latest - readings.est, 0)
    return Errors(standard, readings.level, judged, bounded, error, error, below, above, (below + above) / 2)


def against_true_time(readings: Readings, true: Instants, root: utc.RootDistance) -> Errors:
    """Return the errors against true time of readings as what they say of UTC (see ``utc``).

    Estimates stay as they are. Intervals that cannot be judged to UTC are left out, and counted.
    """
    errors = against_truth(utc.absolute(readings, root), true)
    silent = int((readings.bounded & true.known & ~root.known).sum())
    return replace(
        errors,
        widened={utc.WITH_ROOT_DISTANCE: int((errors.bounded & root.added).sum())},
        left_out={utc.NO_ROOT_DISTANCE: silent} if silent else {},
    )


def against_lag(there: Readings, here: Readings, lag: Lag, standard: Standard = PROBES) -> Errors:
    """Return the errors of one node's readings relative to another's: (est - est here) - lag, for the same events.

    ``lag`` is the true time from the event here to the event there. The interval is that of the difference,
    [earliest - latest here, latest - earliest here]: it is wrong if it misses, whichever of the two readings is to
    blame. Each claiming its level p, both hold together with at least 2 p - 1 (Boole's inequality), which is what
    the difference claims.
    """
    if there.source != here.source:
        raise AnalysisError(
            f"{there.node_id} and {here.node_id}: expected readings of one source, got {there.source!r} and "
            f"{here.source!r}; the difference of a corrected and an uncorrected clock is the offset between them, "
            "not an error"
        )
    may_judge(there.source, standard)
    judged = there.known & here.known & lag.known & (there.reference == here.reference)
    apart = there.est - here.est
    low, high = (np.where(judged, apart - bound, 0) for bound in (lag.high, lag.low))
    bounded = judged & there.bounded & here.bounded
    below = np.where(bounded, (there.est - there.earliest) + (here.latest - here.est), 0)
    above = np.where(bounded, (there.latest - there.est) + (here.est - here.earliest), 0)
    level = None if there.level is None else max(0.0, 2.0 * there.level - 1.0)
    halves = ((readings.latest - readings.earliest) / 2 for readings in (there, here))
    independent = np.where(bounded, np.hypot(*halves), 0.0)
    return Errors(standard, level, judged, bounded, low, high, below, above, independent)


def without(errors: Errors, events: Bools, reason: str) -> Errors:
    """Return the errors without those of some events, counted under a reason."""
    out = int((errors.judged & events).sum())
    if not out:
        return errors
    judged, bounded = errors.judged & ~events, errors.bounded & ~events
    return replace(errors, judged=judged, bounded=bounded, left_out={**errors.left_out, reason: out})


def nothing_left(left_out: int, reason: str) -> Standard:
    """Return the standard of a clock of which all that could be judged was left out."""
    return Standard(f"none: all {left_out} readings that could be judged {IN_WORDS[reason]}")


def judged_as(widened: Mapping[str, int]) -> str:
    """Return what was judged, where that is not the reading as it is; ``widened``: as in ``Errors``."""
    return "".join(f"reading, {by}" for by, count in widened.items() if count)


def unjudged(count: int, level: float | None, standard: Standard) -> Errors:
    """Return the errors of readings nobody can judge: none."""
    none = np.zeros(count, dtype=np.bool_)
    zero = np.zeros(count, dtype=np.int64)
    return Errors(standard, level, none, none, zero, zero, zero, zero, zero.astype(np.float64))
