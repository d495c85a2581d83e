"""The reference of one run: what may be asked of it, for arrays of instants at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.reference import model
from analysis.reference.doubtful import NOTHING
from analysis.reference.envelope import At, Envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from analysis.arrays import Bools, Ints, Texts
    from analysis.reference.bounds import Joined
    from analysis.reference.doubtful import Doubtful

    Pair = tuple[str, str]
    Errors = Ints | int

NO_WALL: Final = "no_clock_pairs"


class Shown(NamedTuple):
    """What one node's oscillator showed at instants of another's, and in which segment: -1 where nobody knows, and why.

    ``low`` and ``high`` enclose it, in ns of the one's oscillator.
    """

    low: Ints
    high: Ints
    segment: Ints
    why: Callable[[], Texts]


@dataclass(frozen=True)
class Reference:
    """The reference of a run. Where it is not ``evaluable``, ``reason`` says why and every answer is unknown.

    ``envelopes`` are the pairs' after the mesh, ``direct`` those before, ``joined`` what these rest on, all keyed by
    (first, second) in the order of ``nodes``; ``wall`` is what each node's wall clock is over its raw oscillator.
    ``twice`` is what each node's raw oscillator showed twice, ``doubtful`` what it may have for all its probes tell.
    ``rho_ppm`` is the greatest of the pairs' limits on the relative drift, ``rho_from`` says where they come from;
    ``rates`` are the pairs' own, in ppb.
    ``checks`` are those that gate every verdict; one that failed makes the reference not evaluable.
    After these checks nobody needs ``direct`` and the wall instants of ``joined``, and ``build`` does not keep them.
    """

    evaluable: bool
    reason: str
    rho_ppm: float
    nodes: tuple[str, ...]
    pairs: tuple[model.PairSummary, ...] = ()
    checks: tuple[model.Check, ...] = ()
    envelopes: Mapping[Pair, Envelope] = field(default_factory=dict, repr=False)
    direct: Mapping[Pair, Envelope] = field(default_factory=dict, repr=False)
    joined: Mapping[Pair, Joined] = field(default_factory=dict, repr=False)
    wall: Mapping[str, Envelope] = field(default_factory=dict, repr=False)
    shared: frozenset[Pair] = frozenset()
    mesh_instants: int = 0
    mesh_contradictions: int = 0
    twice: Mapping[str, Doubtful] = field(default_factory=dict, repr=False)
    doubtful: Mapping[str, Doubtful] = field(default_factory=dict, repr=False)
    rho_from: str = model.RHO_GIVEN
    rates: Mapping[Pair, int] = field(default_factory=dict, repr=False)

    def lag(
        self, a: str, raw_a_ns: Ints, b: str, raw_b_ns: Ints, error_a_ns: Errors = 0, error_b_ns: Errors = 0
    ) -> model.Lags:
        """Return how much later b's instants are than a's, one by one, on a's raw oscillator.

        The errors are those of the stamps, +- ns. Of one node with itself it is the difference of the stamps.
        """
        return self.lag_from(a, raw_a_ns, b, self.shown(a, b, raw_b_ns, error_b_ns), error_a_ns)

    def lag_from(self, a: str, raw_a_ns: Ints, b: str, shown: Shown, error_a_ns: Errors = 0) -> model.Lags:
        """Return how much later b's instants are than a's, given what a's oscillator has ``shown`` at these of b's.

        That takes as long as all the rest of it, and is the same for whatever instants of a.
        """
        error_a = _errors(error_a_ns, raw_a_ns)
        known = (shown.segment >= 0) & (shown.segment == self._segment(b, a, raw_a_ns, error_a))

        def why() -> Texts:
            of_b = shown.why()
            reason = np.where(of_b == "", self.shown(b, a, raw_a_ns, error_a).why(), of_b)
            return np.where((reason == "") & ~known, model.ACROSS_SEGMENTS, reason)

        low, high = shown.low - raw_a_ns - error_a, shown.high - raw_a_ns + error_a
        return _lags(low, high, known, shown.segment, why)

    def offsets(self, a: str, b: str, raw_a_ns: Ints) -> model.Lags:
        """Return theta = raw_b - raw_a at instants of a's raw oscillator, masked as lags are."""
        shown = self.shown(b, a, raw_a_ns)
        return _lags(shown.low - raw_a_ns, shown.high - raw_a_ns, shown.segment >= 0, shown.segment, shown.why)

    def walls(self, scale: str, node: str, raw_ns: Ints, error_ns: Errors = 0) -> model.Walls:
        """Return what the wall clock of ``scale`` showed at instants of another node's (or its own) raw oscillator.

        Known where ``scale`` has pairs of both its clocks on either side that agree within what a clock is slewed by.
        """
        shown = self.shown(scale, node, raw_ns, error_ns)
        clock = self.wall.get(scale)
        half = -(-(shown.high - shown.low) // 2)
        carried = At.nowhere(len(raw_ns)) if clock is None else clock.ahead(shown.low + half, half)
        known = (shown.segment >= 0) & (carried.segment >= 0)

        def why() -> Texts:
            reason = shown.why()
            return np.where((reason == "") & ~known, NO_WALL, reason)

        return model.Walls(np.where(known, carried.low, 0), np.where(known, carried.high, 0), known, why)

    def as_statistics(self) -> dict[str, Any]:
        """Return everything about the reference as JSON-serialisable data."""
        return {
            **{name: getattr(self, name) for name in ("evaluable", "reason", "rho_ppm", "rho_from")},
            "assumptions": list(model.ASSUMPTIONS),
            "nodes": list(self.nodes),
            "pairs": {f"{pair.first}/{pair.second}": pair.as_dict() for pair in self.pairs},
            "wall_clocks": {node: {"segments": len(clock.begins)} for node, clock in self.wall.items()},
            "shared_clock": ["/".join(pair) for pair in sorted(self.shared)],
            "mesh": {"instants": self.mesh_instants, "contradictory": self.mesh_contradictions},
            "checks": {check.name: check.as_dict() for check in self.checks},
        }

    def shown(self, target: str, node: str, raw_ns: Ints, error_ns: Errors = 0) -> Shown:
        """Return what ``target``'s oscillator showed at instants of ``node``'s, these +- ``error_ns``."""
        error = _errors(error_ns, raw_ns)
        if target == node:
            low, high = raw_ns - error, raw_ns + error
            unclear = self.doubtful.get(node, NOTHING).touched(low, high)
            segment = np.where(unclear, -1, 0).astype(np.int64)
            return Shown(low, high, segment, lambda: np.where(unclear, model.AT_A_STEP, "").astype(object))
        pair, forward = self._pair(node, target)
        envelope = self.envelopes.get(pair)
        if not self.evaluable or envelope is None or not len(envelope.begins):
            reason = self.reason if not self.evaluable else model.SHARED_CLOCK if pair in self.shared else model.NO_PATH
            return Shown(*At.nowhere(len(raw_ns)), lambda: np.full(len(raw_ns), reason, dtype=object))
        carried = (envelope.ahead if forward else envelope.back)(raw_ns, error)
        return Shown(*carried, lambda: _why(envelope, carried, raw_ns, forward=forward))

    def _segment(self, target: str, node: str, raw_ns: Ints, error_ns: Ints) -> Ints:
        """Return the segments alone of what is ``shown``."""
        pair, forward = self._pair(node, target)
        envelope = self.envelopes.get(pair)
        if forward and self.evaluable and envelope is not None:
            return envelope.segment_ahead(raw_ns, error_ns)
        return self.shown(target, node, raw_ns, error_ns).segment

    def _pair(self, node: str, other: str) -> tuple[Pair, bool]:
        """Return the key of a pair, and whether ``node`` is its first."""
        forward = node in self.nodes and other in self.nodes and self.nodes.index(node) < self.nodes.index(other)
        return ((node, other) if forward else (other, node)), forward


def _errors(error_ns: Errors, like: Ints) -> Ints:
    return np.broadcast_to(np.asarray(error_ns, dtype=np.int64), like.shape)


def _roughly(envelope: Envelope, shown_ns: Ints) -> Ints:
    """Return about when, on the first node, the second one's oscillator showed an instant; only to say why not."""
    nearest = np.clip(np.searchsorted(envelope.at + envelope.low, shown_ns), 0, len(envelope.at) - 1)
    return shown_ns - envelope.low[nearest]


def _why(envelope: Envelope, carried: At, raw_ns: Ints, *, forward: bool) -> Texts:
    on_first = raw_ns if forward else np.where(carried.segment >= 0, carried.low, _roughly(envelope, raw_ns))
    within = (on_first >= envelope.begins[0]) & (on_first <= envelope.ends[-1])
    why = np.where(within, model.AT_A_STEP, model.OUTSIDE).astype(object)
    why[carried.segment >= 0] = ""
    return why


def _lags(low: Ints, high: Ints, known: Bools, segment: Ints, why: Callable[[], Texts]) -> model.Lags:
    there = At(low, high, segment).where(known)
    return model.Lags(there.low, there.high, known, there.segment, why)
