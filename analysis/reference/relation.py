"""The reference of one run: what may be asked of it, for arrays of instants at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.reference.doubtful import NOTHING
from analysis.reference.envelope import Carried, Envelope
from analysis.reference.model import (
    ACROSS_SEGMENTS,
    ASSUMPTIONS,
    AT_A_STEP,
    NO_PATH,
    OUTSIDE,
    RHO_GIVEN,
    SHARED_CLOCK,
    Check,
    Lags,
    Offsets,
    PairSummary,
    Walls,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from analysis.reference.bounds import Joined
    from analysis.reference.doubtful import Doubtful

    Pair = tuple[str, str]
    Errors = NDArray[np.int64] | int

NO_WALL: Final = "no_clock_pairs"


class _Interval(NamedTuple):
    """An interval per instant, and the segment it was found in: -1 where it was not, for the reason beside it."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    segment: NDArray[np.int64]
    age: NDArray[np.int64]
    reason: NDArray[np.object_]


@dataclass(frozen=True)
class Reference:
    """The reference of a run. Where it is not ``evaluable``, ``reason`` says why and every answer is unknown.

    ``envelopes`` are the pairs' after the mesh, ``direct`` those before, ``joined`` what these rest on, all keyed by
    (first, second) in the order of ``nodes``; ``wall`` is what each node's wall clock is over its raw oscillator.
    ``twice`` is what each node's raw oscillator showed twice, ``doubtful`` what it may have for all its probes tell.
    ``rho_ppm`` is the greatest of the pairs' limits on the relative drift, ``rho_from`` says where they come from;
    ``rates`` are the pairs' own, in ppb.
    ``checks`` are those that gate every verdict; one that failed makes the reference not evaluable.
    """

    evaluable: bool
    reason: str
    rho_ppm: float
    nodes: tuple[str, ...]
    pairs: tuple[PairSummary, ...] = ()
    checks: tuple[Check, ...] = ()
    envelopes: Mapping[Pair, Envelope] = field(default_factory=dict, repr=False)
    direct: Mapping[Pair, Envelope] = field(default_factory=dict, repr=False)
    joined: Mapping[Pair, Joined] = field(default_factory=dict, repr=False)
    wall: Mapping[str, Envelope] = field(default_factory=dict, repr=False)
    shared: frozenset[Pair] = frozenset()
    mesh_instants: int = 0
    mesh_contradictions: int = 0
    twice: Mapping[str, Doubtful] = field(default_factory=dict, repr=False)
    doubtful: Mapping[str, Doubtful] = field(default_factory=dict, repr=False)
    rho_from: str = RHO_GIVEN
    rates: Mapping[Pair, int] = field(default_factory=dict, repr=False)

    def lag(
        self,
        a: str,
        raw_a_ns: NDArray[np.int64],
        b: str,
        raw_b_ns: NDArray[np.int64],
        error_a_ns: Errors = 0,
        error_b_ns: Errors = 0,
    ) -> Lags:
        """Return how much later b's instants are than a's, one by one, on a's raw oscillator.

        The errors are those of the stamps, +- ns. Of one node with itself it is the difference of the stamps.
        """
        error_a, error_b = _errors(error_a_ns, raw_a_ns), _errors(error_b_ns, raw_b_ns)
        shown = self._shown(a, b, raw_b_ns, error_b)
        at_a = self._place(a, b, raw_a_ns, error_a)
        known = (shown.segment >= 0) & (shown.segment == at_a.segment)
        reason = np.where(shown.reason == "", at_a.reason, shown.reason)
        reason = np.where((reason == "") & ~known, ACROSS_SEGMENTS, reason)
        low, high = shown.low - raw_a_ns - error_a, shown.high - raw_a_ns + error_a
        return _lags(low, high, known, np.maximum(shown.age, at_a.age), shown.segment, reason)

    def offsets(self, a: str, b: str, raw_a_ns: NDArray[np.int64]) -> Offsets:
        """Return theta = raw_b - raw_a at instants of a's raw oscillator."""
        shown = self._shown(b, a, raw_a_ns, np.zeros_like(raw_a_ns))
        found = _lags(
            shown.low - raw_a_ns, shown.high - raw_a_ns, shown.segment >= 0, shown.age, shown.segment, shown.reason
        )
        return Offsets(**{name: getattr(found, name) for name in Offsets.__dataclass_fields__})

    def walls(self, scale: str, node: str, raw_ns: NDArray[np.int64], error_ns: Errors = 0) -> Walls:
        """Return what the wall clock of ``scale`` showed at instants of another node's (or its own) raw oscillator.

        Known where ``scale`` has pairs of both its clocks on either side that agree within what a clock is slewed by.
        """
        shown = self._shown(scale, node, raw_ns, _errors(error_ns, raw_ns))
        clock = self.wall.get(scale)
        if clock is None:
            carried = _nothing(len(raw_ns))
        else:
            half = -(-(shown.high - shown.low) // 2)
            carried = clock.ahead(shown.low + half, half)
        known = (shown.segment >= 0) & (carried.segment >= 0)
        reason = np.where((shown.reason == "") & ~known, NO_WALL, shown.reason)
        return Walls(np.where(known, carried.low, 0), np.where(known, carried.high, 0), known, reason)

    def as_statistics(self) -> dict[str, Any]:
        """Return everything about the reference as JSON-serialisable data."""
        return {
            "evaluable": self.evaluable,
            "reason": self.reason,
            "rho_ppm": self.rho_ppm,
            "rho_from": self.rho_from,
            "assumptions": list(ASSUMPTIONS),
            "nodes": list(self.nodes),
            "pairs": {f"{one.first}/{one.second}": one.as_dict() for one in self.pairs},
            "wall_clocks": {node: {"segments": len(one.begins)} for node, one in self.wall.items()},
            "shared_clock": ["/".join(pair) for pair in sorted(self.shared)],
            "mesh": {"instants": self.mesh_instants, "contradictory": self.mesh_contradictions},
            "checks": {check.name: check.as_dict() for check in self.checks},
        }

    def _shown(self, target: str, node: str, raw_ns: NDArray[np.int64], error_ns: NDArray[np.int64]) -> _Interval:
        """Return what ``target``'s oscillator showed at instants of ``node``'s."""
        if target == node:
            low, high = raw_ns - error_ns, raw_ns + error_ns
            unclear = self.doubtful.get(node, NOTHING).touched(low, high)
            segment, why = np.where(unclear, -1, 0).astype(np.int64), np.where(unclear, AT_A_STEP, "").astype(object)
            return _Interval(low, high, segment, np.zeros_like(segment), why)
        pair, forward = self._pair(node, target)
        one = self.envelopes.get(pair)
        if not self.evaluable or one is None or not len(one.begins):
            return self._unknown(pair, len(raw_ns))
        carried = (one.ahead if forward else one.back)(raw_ns, error_ns)
        on_first = raw_ns if forward else np.where(carried.segment >= 0, carried.low, _roughly(one, raw_ns))
        return _Interval(
            carried.low, carried.high, carried.segment, one.support_age(on_first), _why(one, carried, on_first)
        )

    def _place(self, node: str, other: str, raw_ns: NDArray[np.int64], error_ns: NDArray[np.int64]) -> _Interval:
        """Return where in the pair's time a node's own instants lie."""
        if node == other:
            return self._shown(node, node, raw_ns, error_ns)
        return self._shown(other, node, raw_ns, error_ns)

    def _pair(self, node: str, other: str) -> tuple[Pair, bool]:
        """Return the key of a pair, and whether ``node`` is its first."""
        forward = node in self.nodes and other in self.nodes and self.nodes.index(node) < self.nodes.index(other)
        return ((node, other) if forward else (other, node)), forward

    def _unknown(self, pair: Pair, count: int) -> _Interval:
        why = self.reason if not self.evaluable else SHARED_CLOCK if pair in self.shared else NO_PATH
        nothing = _nothing(count)
        return _Interval(*nothing, np.zeros(count, dtype=np.int64), _reasons(count, why))


def _nothing(count: int) -> Carried:
    zeros = np.zeros(count, dtype=np.int64)
    return Carried(zeros, zeros, np.full(count, -1, dtype=np.int64))


def _errors(error_ns: Errors, like: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.broadcast_to(np.asarray(error_ns, dtype=np.int64), like.shape)


def _reasons(count: int, why: str) -> NDArray[np.object_]:
    return np.full(count, why, dtype=object)


def _roughly(one: Envelope, shown_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return about when, on the first node, the second one's oscillator showed an instant; only to say why not."""
    nearest = np.clip(np.searchsorted(one.at + one.low, shown_ns), 0, len(one.at) - 1)
    return shown_ns - one.low[nearest]


def _why(one: Envelope, carried: Carried, on_first: NDArray[np.int64]) -> NDArray[np.object_]:
    within = (on_first >= one.begins[0]) & (on_first <= one.ends[-1])
    why = np.where(within, AT_A_STEP, OUTSIDE).astype(object)
    why[carried.segment >= 0] = ""
    return why


def _lags(
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    known: NDArray[np.bool_],
    age: NDArray[np.int64],
    segment: NDArray[np.int64],
    reason: NDArray[np.object_],
) -> Lags:
    return Lags(
        low_ns=np.where(known, low, 0),
        high_ns=np.where(known, high, 0),
        mid_ns=np.where(known, low + (high - low) // 2, 0),
        known=known,
        support_age_ns=np.where(known, age, 0),
        segment=np.where(known, segment, -1).astype(np.int64),
        reason=reason,
    )
