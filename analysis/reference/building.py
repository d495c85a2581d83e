"""Build the reference of a run from its probes: join, envelope, mesh, wall clocks."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.reference import drift, mesh, model
from analysis.reference.bounds import RAW_NS, WALL_NS, Bounds, join, merged, set_backs, stamps, within
from analysis.reference.checks import checked
from analysis.reference.doubtful import NOTHING, doubtful, longest_pause
from analysis.reference.envelope import Envelope, envelope_of, even_instants, left_out, pair_envelope
from analysis.reference.relation import Reference
from analysis.run import drift_limits
from analysis.stats.rates import spread
from node_agent.clocks.base import SLEW_PPM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from analysis.arrays import Ints
    from analysis.reference.bounds import Joined, NodeStamps
    from analysis.reference.doubtful import Doubtful
    from analysis.run.load import Run
    from node_agent.contract.records import NodeManifest

SLEW_PPB: Final = 1_000 * SLEW_PPM  # a wall clock that is slewed faster is known in short pieces, as if stepped
_SUMMARY_INSTANTS: Final = 2_000
_PPB: Final = 1_000  # of a ppm
_US: Final = 1_000.0
_MS: Final = 1_000_000.0


def build(
    run: Run, *, rho_ppm: float | None = None, processes: int = 1, put_away: Callable[[], None] | None = None
) -> Reference:
    """Build the reference of a run from its probes and check it; what a run lacks is a reason in the result.

    ``rho_ppm`` bounds how much faster any of the oscillators runs than any other; None: what the nodes' own drift
    limits leave possible, pair by pair (``rates``). Raises AnalysisError where a drift limit is none. ``processes``:
    how many check it at a time. ``put_away`` is called when the run's probes are needed no more, before it is checked.
    What only the checks of it needed is not kept: ``direct``, and the probes' wall instants.
    """
    built = with_evidence(run, rho_ppm=rho_ppm, processes=processes, put_away=put_away)
    joined = {
        pair: replace(of_pair, forward=of_pair.forward.without_walls(), backward=of_pair.backward.without_walls())
        for pair, of_pair in built.joined.items()
    }
    return replace(built, direct={}, joined=joined)


def with_evidence(
    run: Run, *, rho_ppm: float | None = None, processes: int = 1, put_away: Callable[[], None] | None = None
) -> Reference:
    """Build the reference of a run and check it, as ``build`` does, and keep all that it rests on."""
    nodes = tuple(run.manifest.nodes)
    shared = frozenset(pair for pair in combinations(nodes, 2) if _shared_clock(*(run.manifest.nodes[n] for n in pair)))
    own = {node: stamps(frame) for node, frame in run.probes.items()}
    ppb, rho_from = rates(run, rho_ppm)
    greatest = max(ppb.values(), default=drift.parts_per_billion(model.DEFAULT_RHO_PPM))
    joined: dict[tuple[str, str], Joined] = {}
    for first, second in combinations(nodes, 2):
        if first in own and second in own and (first, second) not in shared:
            pair = join(first, own[first], second, own[second], ppb[first, second])
            if pair.joined or pair.lost or pair.skipped:
                joined[first, second] = pair
    if not any(pair.joined for pair in joined.values()):
        why = model.SHARED_CLOCK if shared and not joined and len(nodes) > 1 else model.NO_PROBES
        return Reference(False, why, greatest / _PPB, nodes, shared=shared, joined=joined, rho_from=rho_from, rates=ppb)
    twice = {node: _shown_twice(own[node], run.clock_pairs.get(node)) for node in own}
    own.clear()  # all of them are in ``joined``
    direct = {
        (first, second): pair_envelope(pair.bounds, (twice[first], twice[second]), ppb[first, second])
        for (first, second), pair in joined.items()
    }
    tight = mesh.tighten(nodes, direct, greatest, twice, ppb)
    pairs = []
    envelopes = {}
    for key in list(tight.envelopes):
        envelope = tight.envelopes.pop(key)  # each is let go of when its summary is made
        if key not in shared:
            pairs.append(_summary(key, envelope, joined.get(key)))
            envelopes[key] = envelope.bare()
    built = Reference(
        evaluable=True,
        reason="",
        rho_ppm=greatest / _PPB,
        rho_from=rho_from,
        rates=ppb,
        nodes=nodes,
        pairs=tuple(pairs),
        envelopes=envelopes,
        direct=direct,
        joined=joined,
        wall=_wall_clocks(run, twice),
        shared=shared,
        mesh_instants=tight.instants,
        mesh_contradictions=tight.contradictions,
        twice=twice,
        doubtful=_left_out(twice, direct, joined),
    )
    if put_away is not None:
        put_away()
    return checked(built, run, processes)


def rates(run: Run, rho_ppm: float | None = None) -> tuple[dict[tuple[str, str], int], str]:
    """Return by how much the oscillators of every pair of nodes may differ in rate (ppb of either), and by whose word.

    Pairs are in the order of the manifest's nodes. Raises AnalysisError where a node's drift limit is none.
    """
    nodes = list(run.manifest.nodes)
    pairs = list(combinations(nodes, 2))
    if rho_ppm is not None:
        return dict.fromkeys(pairs, drift.parts_per_billion(rho_ppm)), model.RHO_GIVEN
    default = drift.parts_per_billion(model.DEFAULT_RHO_PPM)
    limits = {node: drift_limits.of_node(run, node) for node in nodes}
    if all(limit is None for limit in limits.values()):
        return dict.fromkeys(pairs, default), model.RHO_DEFAULT
    ppb = {node: default // 2 if ppm is None else drift.parts_per_billion(ppm) for node, ppm in limits.items()}
    whose = model.RHO_PARTLY if None in limits.values() else model.RHO_OF_NODES
    return {(first, second): drift.relative(ppb[first], ppb[second]) for first, second in pairs}, whose


def _shared_clock(first: NodeManifest, second: NodeManifest) -> bool:
    """Tell whether two nodes are programs on one host, without clocks of their own."""
    if first.virtual_clock is not None or second.virtual_clock is not None:
        return False
    boots = [None if node.status is None else node.status.get("boot_id") for node in (first, second)]
    return bool(boots[0]) and boots[0] == boots[1]


def _summary(pair: tuple[str, str], envelope: Envelope, joined: Joined | None) -> model.PairSummary:
    at = even_instants(envelope, _SUMMARY_INSTANTS)
    theta = envelope.theta(at)
    known = theta.segment >= 0
    valid = envelope.segment_at(envelope.at) == envelope.segment
    counts = {name: 0 if joined is None else getattr(joined, name) for name in ("joined", "lost", "skipped")}
    return model.PairSummary(
        first=pair[0],
        second=pair[1],
        own_probes=counts["joined"] > 0,
        **counts,
        rho_ppm=envelope.ppb / _PPB,
        segments=len(envelope.begins),
        known_share=_known_share(envelope),
        half_width_us=spread((theta.high - theta.low)[known] / 2, _US),
        support_age_ms=spread(envelope.support_age(at[known]), _MS),
        hidden_step_us=spread(envelope.hidden[valid], _US),
    )


def _known_share(envelope: Envelope) -> float | None:
    """Return in which share of the time from a pair's first bound to its last its envelope knows theta."""
    if not len(envelope.support):
        return None
    begin, length = int(envelope.support[0]), int(envelope.support[-1] - envelope.support[0])
    at = begin + np.arange(_SUMMARY_INSTANTS, dtype=np.int64) * length // (_SUMMARY_INSTANTS - 1)
    return float((envelope.theta(at).segment >= 0).mean())


def _shown_twice(own: NodeStamps, pairs: pd.DataFrame | None) -> Doubtful:
    """Return what an oscillator showed twice; what it showed in the pauses around is not among the node's stamps."""
    peers = {peer for peer, _ in own}
    at = [[stamps.raw[stamps.known] for (peer, _), stamps in own.items() if peer == name] for name in peers]
    pause = max((longest_pause(np.concatenate(raw)) for raw in at), default=0)
    return doubtful(set_backs(own, pairs), pause)


def _left_out(
    twice: Mapping[str, Doubtful], direct: Mapping[tuple[str, str], Envelope], joined: Mapping[tuple[str, str], Joined]
) -> dict[str, Doubtful]:
    """Return what each node's oscillator showed twice, or may have: what any of its pairs leaves out near a step."""
    doubts = {node: stretches.pairs() for node, stretches in twice.items()}
    for pair, envelope in direct.items():
        for node, stretches in zip(pair, left_out(envelope, joined[pair].bounds), strict=True):
            doubts[node] += stretches.pairs()
    return {node: doubtful(stretches) for node, stretches in doubts.items()}


def _wall_clocks(run: Run, twice: Mapping[str, Doubtful]) -> Mapping[str, Envelope]:
    """Return each node's wall clock over its raw oscillator: an envelope of wall - raw, cut where the wall stepped.

    It is only asked what the clock showed: what it rests on, a bound or two per probe, is not kept.
    """
    clocks = {}
    for node in run.manifest.nodes:
        parts = []
        if (pairs := run.clock_pairs.get(node)) is not None:
            rows = pairs.dropna()
            rows = rows[_of_use(rows["wall_ns"], rows["raw_before_ns"], rows["raw_after_ns"] - rows["raw_before_ns"])]
            before, wall, after = (_int64(rows[name]) for name in ("raw_before_ns", "wall_ns", "raw_after_ns"))
            middle = before + (after - before) // 2
            parts += _wall_bounds(middle, wall, -(-(after - before) // 2))
        if (probes := run.probes.get(node)) is not None:
            rows = probes[_of_use(probes["wall_ns"], probes["raw_ns"], probes["raw_error_ns"])]
            parts += _wall_bounds(_int64(rows["raw_ns"]), _int64(rows["wall_ns"]), _int64(rows["raw_error_ns"]))
        if parts:
            clock = envelope_of(merged(parts), twice.get(node, NOTHING).pairs(), SLEW_PPB)
            clocks[node] = clock.bare()
    return clocks


def _of_use(wall: pd.Series[int], raw: pd.Series[int], error: pd.Series[int]) -> pd.Series[bool]:
    return within(wall, WALL_NS) & within(raw, RAW_NS) & within(error, RAW_NS, 0)


def _wall_bounds(raw: Ints, wall: Ints, error: Ints) -> list[Bounds]:
    wide = error + drift.up(error, SLEW_PPB)
    both = np.zeros(len(raw), dtype=np.bool_)
    return [Bounds(raw, wall - raw + wide, ~both, both), Bounds(raw, wall - raw - wide, both, both)]


def _int64(column: pd.Series[int]) -> Ints:
    return column.to_numpy(dtype=np.int64).astype(np.int64)
