"""The mesh: shortest paths are what all ways together prove, and clocks that cannot be are nobody's."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from clusters import APART, BACK, CLOSE, ENDS, MS, US, Cluster, Oscillator, random_cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import NegativeCycleError, floyd_warshall
from test_fuzz import outside

from analysis import reference
from analysis.reference import building, drift, mesh
from analysis.reference.envelope import envelope_of


def direct_of(cluster):
    return building.with_evidence(cluster.run()).direct


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 9), missing=st.sampled_from([0.0, 0.4, 0.9]))
def test_shortest_paths_at_all_instants_are_those_of_scipy_at_each(seed, count, missing):
    """Also through edges that are not there, and where a cycle is negative: of these there are none."""
    generator = np.random.default_rng(seed)
    instants = 20
    weights = generator.integers(-50, 1_000, (count, count, instants)).astype(np.float64)
    weights[generator.random(weights.shape) < missing] = np.inf
    weights[np.arange(count), np.arange(count)] = 0.0
    paths = weights.copy()
    consistent = mesh._shorten(paths)
    for instant in range(instants):
        rows, columns = np.nonzero(np.isfinite(weights[..., instant]))
        edges = csr_array((weights[rows, columns, instant], (rows, columns)), shape=(count, count))
        try:
            expected = floyd_warshall(edges, directed=True)
        except NegativeCycleError:
            assert not consistent[instant]
        else:
            assert consistent[instant]
            assert np.array_equal(paths[..., instant], expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(3, 5))
def test_shortest_paths_are_the_least_over_all_ways(seed, count):
    cluster = random_cluster(seed, count=count, loss=0.0)
    ppb = drift.parts_per_billion(200.0)
    direct = direct_of(cluster)
    nodes = cluster.nodes
    _, positions = mesh._positions(nodes, direct)
    paths, consistent = mesh.shortest(nodes, direct, positions, ppb)
    assert consistent.all()
    instant = len(paths) // 2
    weights = {}
    for (a, b), one in direct.items():
        here, far = positions[a], positions[b]
        theta = one.theta(here.middle[instant : instant + 1])
        if theta.segment[0] < 0:
            continue
        apart = int(far.middle[instant] - here.middle[instant])
        grown = int(drift.up(here.half[instant : instant + 1], ppb)[0])
        weights[a, b] = int(theta.high[0]) + grown - apart
        weights[b, a] = apart - int(theta.low[0]) + grown
    for a, b in permutations(nodes, 2):
        between = [node for node in nodes if node not in {a, b}]
        ways = [
            sum(weights[step] for step in zip((a, *way), (*way, b), strict=True))
            for length in range(len(between) + 1)
            for way in permutations(between, length)
            if all(step in weights for step in zip((a, *way), (*way, b), strict=True))
        ]
        assert paths[instant, nodes.index(a), nodes.index(b)] == (min(ways) if ways else np.inf)


def asymmetric(seconds=3.0, pairs=None):
    """Return three nodes where two are far from each other but both near the third."""
    clocks = {
        name: Oscillator(boot=number * 10**12, slopes_ppb=[number * 20_000] * 6) for number, name in enumerate("abc")
    }
    near, far = (10 * US, 1), (900 * US, 1)
    delays = dict.fromkeys(permutations("abc", 2), near)
    delays |= {("a", "c"): far, ("c", "a"): far}
    return Cluster(clocks, delays, seconds=seconds, stamp_error=50, pairs=pairs)


def test_a_pair_with_slow_paths_is_tightened_by_a_third_node():
    cluster = asymmetric()
    built = reference.build(cluster.run())
    pair = next(one for one in built.pairs if (one.first, one.second) == ("a", "c"))
    assert pair.half_width_us.median < 40  # its own paths take 900 us
    assert outside(cluster, built) == (0, outside(cluster, built)[1])


def test_a_star_bounds_pairs_that_never_exchanged_a_probe():
    cluster = asymmetric(pairs=[("a", "b"), ("b", "c")])
    built = reference.build(cluster.run())
    pair = next(one for one in built.pairs if (one.first, one.second) == ("a", "c"))
    assert (pair.own_probes, pair.joined, pair.segments) == (False, 0, 1)
    assert pair.half_width_us.median < 40
    missed, asked = outside(cluster, built)
    assert missed == 0
    assert asked > 1000


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 2), where=st.sampled_from([APART, CLOSE, ENDS, BACK]))
def test_no_answer_of_a_random_star_misses_the_truth(seed, steps, where):
    star = [("n0", other) for other in ("n1", "n2", "n3")]
    cluster = random_cluster(seed, count=4, steps=steps, where=where, pairs=star)
    built = reference.build(cluster.run())
    missed, asked = outside(cluster, built, seed=seed)
    assert (missed, asked > 0) == (0, True)


def test_clocks_that_cannot_be_are_nobodys_while_they_cannot():
    cluster = asymmetric()
    direct = dict(direct_of(cluster))
    one = direct["a", "c"]
    middle = (one.begins[0] + one.ends[0]) // 2
    bounds = one.groups[0]
    # for a fifth of a second a and c claim to be 5 ms from where the way by b says: consistent between the two alone
    wrong = np.where(np.abs(bounds.at - middle) < 100 * MS, 5 * MS, 0)
    direct["a", "c"] = envelope_of(
        type(bounds)(bounds.at, bounds.value + wrong, bounds.upper, bounds.even), [], one.ppb
    )
    found = mesh.tighten(cluster.nodes, direct, one.ppb)
    assert found.contradictions > 0
    for pair in (("a", "b"), ("a", "c")):
        envelope = found.envelopes[pair]
        assert envelope.segment_at(np.array([middle])).tolist() == [-1]
        assert (envelope.segment_at(np.array([middle - 500 * MS, middle + 500 * MS])) >= 0).all()
