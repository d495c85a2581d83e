"""An embedded cluster with paths: services behind relays, a relay per pair of nodes, and all of it ends as one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from harness.configuration.experiment import (
    COORDINATOR_CONFIG,
    WORKER_CONFIG,
    load_cluster,
    load_coordinator,
    load_worker,
)
from harness.localcluster import start
from harness.localcluster.paths import Paths
from harness.localcluster.relays.messages import Answer, Question
from harness.planning import RunSpec, node_plans
from node_agent.clocks.virtual import true_from_wall, wall_from_true
from node_agent.contract import json_objects
from node_agent.contract.plan import VirtualClock
from node_agent.contract.records import OK
from node_agent.exchange import ntp
from node_agent.local.instants import LocalClock

if TYPE_CHECKING:
    from harness.configuration.cluster import ClusterConfig

CONFIGS = Path(__file__).parents[2] / "configs"
MS = 1_000_000
PATHS = """\
paths:
  lan: {delay_ms: 3, asymmetry: 2.0}
  ntp: {delay_ms: 10, asymmetry: 3.0}
  chronotick: {delay_ms: 15}
"""


@pytest.fixture(scope="module")
def config(cluster_file, tmp_path_factory) -> ClusterConfig:
    path = tmp_path_factory.mktemp("clusters") / "paths.yaml"
    path.write_text(cluster_file.read_text() + PATHS)
    return load_cluster(path)


@pytest.fixture(scope="module")
def running(config):
    with start(config) as cluster:
        yield cluster


def test_ntp_through_a_path_is_accepted_and_bounded(running):
    """The agent's own exchange believes the relay's address; the asymmetry moves its estimate, inside its bound."""
    virtual = VirtualClock(time.time_ns(), 12.5, 18.0)
    (server,) = running.cluster.ntp_server
    assert server != running.services["ntp"].address
    for _ in range(5):
        sample = ntp.NtpServer(server, LocalClock(virtual), 100.0, 5.0).ask(lambda: "ntp1")[-1]
        assert sample.outcome == OK
        true_ns = true_from_wall(virtual, sample.wall_ns)
        error_ns = sample.offset_ns - (true_ns - wall_from_true(virtual, true_ns))
        assert sample.delay_ns >= 20 * MS
        assert abs(error_ns) <= sample.bound_ns
        assert abs(error_ns - 5 * MS) <= (sample.delay_ns - 20 * MS) / 2 + sample.bound_ns - sample.delay_ns / 2


def test_chronotick_through_a_path_answers_later(running):
    begun_s = time.monotonic()
    assert httpx.get(f"{running.cluster.chronotick_server}/health", timeout=10).json()["status"] == "healthy"
    assert time.monotonic() - begun_s >= 0.030
    assert running.path_counts()["chronotick"].passed >= 2


def plans_of(cluster):
    nodes = [node.model_copy(update={"virtual_clock": None}) for node in cluster.nodes]
    configs = load_coordinator(CONFIGS / COORDINATOR_CONFIG), load_worker(CONFIGS / WORKER_CONFIG)
    spec = RunSpec("paths", "ab" * 16, cluster.model_copy(update={"nodes": nodes}), *configs)
    return node_plans(spec, {node.id: node.host for node in nodes})


def test_every_node_has_a_relay_of_its_own_to_every_other(config):
    """No two ways share a relay; what a node binds is unchanged; the asymmetry is the coordinator's and the first's."""
    orders = []

    def ask(line):
        wanted = json_objects.read(Question, line, "question").lay
        first = 1000 + len(orders)
        orders.extend(wanted)
        return json_objects.write(Answer([("127.0.0.9", first + place) for place in range(len(wanted))]))

    paths, plain = Paths(config.paths, ask), plans_of(config)
    plans = paths.through(plain)
    ways = [(peer.host, peer.port) for plan in plans.values() for peer in plan.probes.peers]
    ways += [(worker.host, worker.port) for worker in plans["comp18"].broadcast.workers]
    assert len(set(ways)) == len(ways) == len(orders) == 8
    for name, plan in plans.items():
        assert (plan.listen_host, plan.listen_port, plan.probes.port) == (
            plain[name].listen_host, plain[name].listen_port, plain[name].probes.port,
        )  # fmt: skip
        for peer, old in zip(plan.probes.peers, plain[name].probes.peers, strict=True):
            order = orders[peer.port - 1000]
            first = name == "comp18" or (name, old.node_id) == ("comp11", "comp12")
            assert order.target == (old.host, old.port)
            assert (order.there_ns, order.back_ns) == ((4 * MS, 2 * MS) if first else (2 * MS, 4 * MS))
    assert paths.through(plain) == plans
    assert len(orders) == 8  # asked again, nothing is laid twice


def test_without_a_lan_path_plans_stay_as_they_are(config):
    services_alone = config.paths.model_copy(update={"lan": None})
    plain = plans_of(config)
    assert Paths(services_alone, lambda _: pytest.fail("nothing is to be laid")).through(plain) == plain


@pytest.mark.parametrize("killed", ["supervisor", "relays"])
def test_relays_end_with_the_supervisor_and_are_missed(config, until, lives, killed):
    """A killed supervisor takes its relays along; killed relays are said to be gone, and `close` still cleans up."""
    with start(config) as cluster:
        assert lives(cluster.relays_pid)
        os.kill(cluster.relays_pid if killed == "relays" else cluster.supervisor_pid, signal.SIGKILL)
        until(lambda: not lives(cluster.relays_pid), "the relays end")
        with pytest.raises(Exception, match="embedded cluster: relays: expected"):
            cluster.path_counts()
    assert not cluster.root.exists()
