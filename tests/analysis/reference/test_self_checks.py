"""What the reference says of itself: what it rests on, whether it contradicts anything, and why there is none."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from clusters import MS, SECOND, Cluster, Oscillator, random_cluster

from analysis import reference
from analysis.reference import checks
from node_agent.contract.plan import VirtualClock


def as_in_a_manifest(clock):
    return json.loads(json.dumps(asdict(clock)))


def by_name(built):
    return {check.name: check for check in built.checks}


def test_an_honest_cluster_passes_every_check_and_says_how_much_was_checked():
    built = reference.build(random_cluster(4, count=4, loss=0.05).run())
    found = by_name(built)
    for name in (checks.ORDERED, checks.HALVES, checks.EVENTS, checks.LOOPS):
        assert found[name].passed is True, name
        assert found[name].checked > 50
    assert found[checks.TRUTH].passed is None
    assert found[checks.TRUTH].reason == checks.NO_TRUTH


def test_an_event_that_provably_arrived_before_it_was_sent_silences_the_reference_and_says_why():
    run = random_cluster(4, count=3, loss=0.0).run()
    received = run.workers["n1"]
    received.loc[30, "receive_raw_ns"] = received["receive_raw_ns"][30] - 10 * MS
    built = reference.build(run)
    assert by_name(built)[checks.EVENTS].passed is False
    assert not built.evaluable
    assert f"{checks.EVENTS}: 1 of " in built.reason
    lag = built.lag("n0", np.array([1]), "n1", np.array([2]))
    assert (lag.known.any(), lag.reason[0]) == (False, built.reason)


def test_a_run_without_probes_has_no_reference_and_says_so():
    run = replace(random_cluster(4, count=2).run(), probes={})
    built = reference.build(run)
    assert (built.evaluable, built.reason) == (False, reference.NO_PROBES)
    assert built.offsets("n0", "n1", np.array([5])).reason[0] == reference.NO_PROBES


def test_nodes_of_one_boot_without_clocks_of_their_own_share_a_clock():
    cluster = random_cluster(4, count=2)
    run = replace(cluster.run(), manifest=cluster.manifest(boot_id="one"))
    built = reference.build(run)
    assert (built.evaluable, built.reason) == (False, "shared clock: synchronisation not evaluable")
    for node in run.manifest.nodes.values():
        node.virtual_clock = as_in_a_manifest(VirtualClock(epoch_ns=0))
    assert reference.build(run).reason != reference.SHARED_CLOCK


def virtual_cluster(drift_ppm):
    """Return a cluster of nodes on one host with virtual clocks, and its run with the clocks in the manifest."""
    clocks = {
        name: Oscillator(boot=10**13, slopes_ppb=[round(ppm * 1000)] * 6)
        for name, ppm in zip("ab", drift_ppm, strict=True)
    }
    cluster = Cluster(clocks, {("a", "b"): (20_000, 5_000), ("b", "a"): (90_000, 5_000)}, seconds=3.0)
    for clock in clocks.values():  # both domains bend, and the wall clock begins at the epoch
        clock.wall = lambda true, clock=clock: clock.raw(true) - clock.boot + 1_795_000_000 * SECOND
    run = cluster.run()
    for name, ppm in zip("ab", drift_ppm, strict=True):
        clock = VirtualClock(epoch_ns=1_795_000_000 * SECOND, drift_ppm=ppm)
        run.manifest.nodes[name].virtual_clock = as_in_a_manifest(clock)
    return cluster, run


def test_the_injected_truth_lies_inside_and_the_widths_are_told():
    _, run = virtual_cluster((18.0, -30.0))
    check = by_name(reference.build(run))[checks.TRUTH]
    assert check.passed is True
    assert check.checked > 150
    assert 40 < check.half_width_us.median < 90  # half of the round trip of 120 us, the stamps' errors on top


def test_a_truth_that_is_another_is_not_found_inside():
    _, run = virtual_cluster((18.0, -30.0))
    run.manifest.nodes["b"].virtual_clock["error_ms"] = 0.3
    built = reference.build(run)
    assert by_name(built)[checks.TRUTH].passed is False
    assert not built.evaluable


def test_probes_without_a_raw_stamp_are_skipped_and_counted():
    run = random_cluster(4, count=2, loss=0.0).run()
    whole = reference.build(run).pairs[0]
    frame = run.probes["n0"]
    frame.loc[frame.index[:7], "raw_ns"] = None
    fewer = reference.build(run).pairs[0]
    assert (whole.skipped, fewer.skipped, whole.joined - fewer.joined) == (0, 7, 7)


def test_lost_probes_are_counted():
    cluster = random_cluster(4, count=2, loss=0.25)
    lost = sum(int((~arrives).sum()) for _, _, arrives in cluster.probes.values())
    assert lost > 0
    assert reference.build(cluster.run()).pairs[0].lost == lost


def test_a_lag_is_the_same_seen_from_either_node_and_exact_on_one():
    cluster = random_cluster(8, count=3, loss=0.0, stamp_error=0)
    built = reference.build(cluster.run())
    true = np.arange(SECOND, 2 * SECOND, 10 * MS)
    raw_a, raw_b = (cluster.oscillators[name].raw(true) for name in ("n0", "n2"))
    there, back = built.lag("n0", raw_a, "n2", raw_b), built.lag("n2", raw_b, "n0", raw_a)
    assert there.known.all()
    middles = (there.low_ns + there.high_ns + back.low_ns + back.high_ns) / 2
    assert (np.abs(middles) <= 200).all()  # each on its own oscillator: 200 ppm of the width
    own = built.lag("n0", raw_a, "n0", raw_a + 7)
    assert (own.low_ns == 7).all()
    assert (own.high_ns == 7).all()


def test_why_an_instant_is_not_known_is_said():
    cluster = random_cluster(8, count=2, loss=0.0)
    cluster.oscillators["n1"].steps.append((int(1.5 * SECOND), 40 * MS))
    built = reference.build(cluster.run())
    clock = cluster.oscillators["n0"]
    asked = clock.raw(np.array([-SECOND, int(0.7 * SECOND), int(1.5 * SECOND), int(2.2 * SECOND)]))
    found = built.offsets("n0", "n1", asked)
    assert found.reason.tolist() == ["outside_probed_time", "", "at_a_contradiction", ""]
    assert found.segment.tolist() == [-1, 0, -1, 1]
    across = built.lag("n0", asked[1:2], "n1", cluster.oscillators["n1"].raw(np.array([int(2.2 * SECOND)])))
    assert across.reason.tolist() == ["across_segments"]
    assert built.offsets("n0", "elsewhere", asked).reason.tolist() == ["no_probes_between_nodes"] * 4


@pytest.mark.parametrize("count", [2, 4])
def test_the_statistics_are_json_and_name_every_pair_and_check(count):
    built = reference.build(random_cluster(4, count=count).run())
    told = json.loads(json.dumps(built.as_statistics()))
    assert len(told["pairs"]) == count * (count - 1) // 2
    assert set(told["checks"]) == {checks.ORDERED, checks.HALVES, checks.EVENTS, checks.LOOPS, checks.TRUTH}
    assert len(told["assumptions"]) == 3
