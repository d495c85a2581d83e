"""Tighten all pairs by each other: what is known of a to c and of c to b bounds a to b.

At one true instant let r_i be what node i's oscillator shows. Each pair bounds r_j - r_i from above and from below: a
system of difference constraints, edge i -> j of weight U_ij, edge j -> i of weight -L_ij. The tightest bounds are the
shortest paths; a negative cycle says that no set of clocks satisfies all of them, and nothing is known of that instant.
(R. Bellman, Quart. Appl. Math. 16 (1958) 87; for drifting clocks: Ostrovsky and Patt-Shamir, PODC 1999.)

A pair's envelope is told in its first node's own time. The instant is fixed on one node, the hub (of most probes); what
another node's oscillator showed at it is known to +- h by the way of probes to it; reading an envelope in the middle of
that adds rho h to its bounds, going in and coming out. The grid is at most 4096 instants, 10 ms apart or more; between
them bounds are carried at rho as any others are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.reference import drift
from analysis.reference.bounds import Bounds
from analysis.reference.doubtful import NOTHING
from analysis.reference.envelope import Envelope, Group, apart, envelope, tightened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.arrays import Bools, Floats, Ints
    from analysis.reference.doubtful import Doubtful

    Pair = tuple[str, str]

MAX_INSTANTS: Final = 4096
MIN_SPACING_NS: Final = 10_000_000
_AT_ONCE: Final = 1 << 18  # paths whose lengths fit a processor's cache


@dataclass(frozen=True)
class Position:
    """What one node's oscillator shows at the grid's instants, +- ``half``; ``key`` is -1 where it is not known.

    Instants of equal key have no step on the way of pairs from the hub to this node between them.
    """

    middle: Ints
    half: Ints
    key: Ints


@dataclass(frozen=True)
class Mesh:
    """All pairs' envelopes, tightened; those of pairs without probes of their own follow from the others'.

    The bounds that they rest on, some thousand from the grid for each, are not kept with them.
    """

    envelopes: dict[Pair, Envelope]
    instants: int
    contradictions: int


def tighten(
    nodes: Sequence[str],
    direct: Mapping[Pair, Envelope],
    ppb: int,
    twice: Mapping[str, Doubtful] | None = None,
    rates: Mapping[Pair, int] | None = None,
) -> Mesh:
    """Return the mesh of the nodes; pairs (first, second) are in the order of ``nodes``.

    ``ppb`` is the greatest relative drift of all pairs, ``rates`` each pair's own where they differ.
    ``twice`` is what each node's oscillator showed twice: of pairs without probes of their own nothing else tells it.
    """
    shown_twice = twice or {}
    there = {pair: envelope for pair, envelope in direct.items() if len(envelope.begins)}
    if len(there) < 2:
        return Mesh(dict(direct), 0, 0)
    grid, positions = _positions(nodes, there)
    paths, consistent = shortest(nodes, there, positions, ppb)
    tight: dict[Pair, Envelope] = {}
    for (place, first), (other, second) in combinations(enumerate(nodes), 2):
        if first not in positions or second not in positions:
            if (first, second) in direct:
                tight[first, second] = direct[first, second]
            continue
        here = positions[first]
        high, low = paths[:, place, other], -paths[:, other, place]
        usable = np.isfinite(high) & np.isfinite(low) & consistent & (here.key >= 0)
        bounds = _bounds(here, high, low, usable, positions[second].middle - here.middle, ppb)
        dead = _stretches(here, ~consistent & (here.key >= 0))
        if (first, second) in direct:
            tight[first, second] = replace(tightened(direct[first, second], bounds, dead), groups=())
        elif usable.any():
            own = (rates or {}).get((first, second), ppb)
            alone = _derived(bounds, usable, here, positions[second], shown_twice.get(first, NOTHING), own)
            tight[first, second] = replace(alone, groups=(), doubtful=shown_twice.get(second, NOTHING))
    return Mesh(tight, len(grid), int((~consistent).sum()))


def _positions(nodes: Sequence[str], there: Mapping[Pair, Envelope]) -> tuple[Ints, dict[str, Position]]:
    """Choose the grid on the hub and carry it to every node that has a way of pairs to the hub."""
    probes = {node: sum(len(there[pair].support) for pair in there if node in pair) for node in nodes}
    hub = max(nodes, key=lambda node: probes[node])
    spans = []
    for (first, _second), pair_envelope in there.items():
        if hub in {first, _second}:
            ends = np.array([pair_envelope.begins[0], pair_envelope.ends[-1]], dtype=np.int64)
            spans.append(ends if first == hub else _shown_by_second(pair_envelope, ends))
    start, stop = int(min(span[0] for span in spans)), int(max(span[-1] for span in spans))
    spacing = max(MIN_SPACING_NS, -(-(stop - start) // (MAX_INSTANTS - 1)))
    grid = np.arange(start, stop + 1, spacing, dtype=np.int64)
    nothing = np.zeros(len(grid), dtype=np.int64)
    positions = {hub: Position(grid, nothing, nothing)}
    waiting = [hub]
    while waiting:
        node = waiting.pop(0)
        for (first, second), pair_envelope in there.items():
            if node not in {first, second}:
                continue
            other = second if node == first else first
            if other not in positions:
                positions[other] = _carried(positions[node], pair_envelope, forward=node == first)
                waiting.append(other)
    return grid, positions


def _shown_by_second(pair_envelope: Envelope, at: Ints) -> Ints:
    theta = pair_envelope.bounded(at)
    return at + theta.low + (theta.high - theta.low) // 2


def _carried(here: Position, pair_envelope: Envelope, *, forward: bool) -> Position:
    carried = (pair_envelope.ahead if forward else pair_envelope.back)(here.middle, here.half)
    known = (carried.segment >= 0) & (here.key >= 0)
    half = -(-(carried.high - carried.low) // 2)
    key = np.where(known, here.key * (len(pair_envelope.begins) + 1) + carried.segment + 1, -1)
    _, key_small = np.unique(key, return_inverse=True)
    return Position(
        np.where(known, carried.low + half, 0),
        np.where(known, half, 0),
        np.where(known, key_small, -1).astype(np.int64),
    )


def shortest(
    nodes: Sequence[str], there: Mapping[Pair, Envelope], positions: Mapping[str, Position], ppb: int
) -> tuple[Floats, Bools]:
    """Return, per instant, the shortest path between all nodes, relative to their middles, and where there are any.

    Weights are relative to the positions' middles: small integers, which floats add without rounding (below 2^53).
    """
    instants = len(next(iter(positions.values())).middle)
    weights = np.full((len(nodes), len(nodes), instants), np.inf)
    weights[np.arange(len(nodes)), np.arange(len(nodes))] = 0.0
    for (first, second), pair_envelope in there.items():
        if first not in positions or second not in positions:
            continue
        here, far = positions[first], positions[second]
        theta = pair_envelope.theta(here.middle)
        known = (theta.segment >= 0) & (here.key >= 0) & (far.key >= 0)
        apart, grown = far.middle - here.middle, drift.up(here.half, ppb)
        i, j = nodes.index(first), nodes.index(second)
        weights[i, j, known] = (theta.high + grown - apart)[known]
        weights[j, i, known] = (apart - theta.low + grown)[known]
    consistent = np.ones(instants, dtype=np.bool_)
    at_once = max(1, _AT_ONCE // len(nodes) ** 2)
    for start in range(0, instants, at_once):
        part = slice(start, start + at_once)
        paths = weights[:, :, part].copy()
        consistent[part] = _shorten(paths)
        weights[:, :, part] = np.where(consistent[part], paths, np.inf)
    return weights.transpose(2, 0, 1), consistent


def _shorten(paths: Floats) -> Bools:
    """Make weights (node, node, instant) the shortest paths; tell at which instants there is no negative cycle.

    By R. W. Floyd, Commun. ACM 5 (1962) 345, at many instants at a time.
    """
    consistent = np.ones(paths.shape[2], dtype=np.bool_)
    for through in range(len(paths)):
        way_there, way_on = paths[:, through], paths[through]
        for row, first_half in zip(paths, way_there.copy(), strict=True):
            np.minimum(row, first_half + way_on, out=row)
        cycle = np.diagonal(paths).min(axis=1) < 0
        consistent &= ~cycle
        paths[:, :, cycle] = np.inf  # or its length would double with every node on it
    return consistent


def _bounds(here: Position, high: Floats, low: Floats, usable: Bools, apart: Ints, ppb: int) -> Bounds:
    """Return shortest paths as bounds on theta at the first node's middles."""
    grown = drift.up(here.half[usable], ppb)
    upper = high[usable].astype(np.int64) + apart[usable] + grown
    lower = low[usable].astype(np.int64) + apart[usable] - grown
    count = int(usable.sum())
    both = np.repeat(here.middle[usable], 2)
    values = np.stack([upper, lower], axis=1).reshape(-1)
    kinds = np.tile(np.array([True, False]), count)
    order = np.argsort(both, kind="stable")
    return Bounds(both[order], values[order], kinds[order], np.zeros(2 * count, dtype=np.bool_))


def _stretches(here: Position, bad: Bools) -> list[tuple[int, int]]:
    """Return the stretches from the last good instant before to the first good one after each bad run."""
    stretches = []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        before, after = max(start - 1, 0), min(stop, len(bad) - 1)
        known = [int(here.middle[place]) for place in range(before, after + 1) if here.key[place] >= 0]
        stretches.append((min(known), max(known)))
    return stretches


def _derived(bounds: Bounds, usable: Bools, first: Position, second: Position, twice: Doubtful, ppb: int) -> Envelope:
    """Return the envelope of two nodes without probes to each other, closed wherever a pair on their way steps."""
    key = np.where(usable, first.key * (int(second.key.max()) + 2) + second.key, -1)
    changes = np.flatnonzero(np.diff(key)) + 1
    groups = []
    for run in np.split(np.arange(len(key)), changes):
        if usable[run[0]]:
            low, high = int(first.middle[run].min()), int(first.middle[run].max())
            groups.append(Group(bounds.take((bounds.at >= low) & (bounds.at <= high)), low, high))
    return envelope(apart(groups, twice.pairs()), ppb, np.unique(bounds.at))
