"""What does not arrive between two nodes is one line that names them, the port and the direction."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from unsteady_remote import Unsteady

from harness import bundle, retry
from harness.agent import Agent
from harness.check import ways
from harness.check.ways import Direction, directions, judged, try_ways
from harness.cluster import Cluster
from harness.configuration.experiment import CoordinatorConfig, load_cluster, load_coordinator, load_worker
from harness.local import LocalRemote
from harness.planning import RunSpec, new_run_id, node_plans
from node_agent.contract.arrivals import ANSWERS, DATAGRAMS, EVENTS, PROBES, Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.remote import Remote
    from node_agent.contract.plan import NodePlan

ROOT = Path(__file__).parents[2]
NODES = ("comp18", "comp11", "comp12")
WORKERS = NODES[1:]
EVENT_PORT, PROBE_PORT = 9000, 9001
TRIED = [
    *(Direction(EVENTS, "comp18", worker, EVENT_PORT) for worker in WORKERS),
    *(Direction(ANSWERS, worker, "comp18", EVENT_PORT) for worker in WORKERS),
    *(Direction(PROBES, a, b, PROBE_PORT) for a in NODES for b in NODES if a != b),
]
ADVICE = "is a firewall in between?"


def arrivals(lost: Callable[[Direction], int], unsent: dict[str, dict[str, str]] | None = None) -> dict[str, Arrivals]:
    """Return what each node says where ``lost`` datagrams of a direction do not arrive."""
    found = {node_id: Arrivals(unsent=unsent or {}) for node_id in NODES}
    for direction in TRIED:
        hellos = DATAGRAMS - lost(Direction(EVENTS, direction.receiver, direction.sender, EVENT_PORT))
        sent = hellos if direction.way == ANSWERS else DATAGRAMS
        came = max(0, sent - lost(direction))
        if came:
            found[direction.receiver].arrived.setdefault(direction.way, {})[direction.sender] = came
    return found


def problems(*blocked: tuple[str, str, str]) -> tuple[str, ...]:
    """Return the lines where nothing passes on these ways, from sender to receiver."""
    return judged(TRIED, arrivals(lambda d: DATAGRAMS if d[:3] in blocked else 0)).problems


def test_where_all_arrives_there_is_nothing_to_say():
    assert judged(TRIED, arrivals(lambda _: 0)) == ways.Ways(len(TRIED))


@pytest.mark.parametrize(
    ("blocked", "line"),
    [
        ((PROBES, "comp11", "comp12"), "comp11 -> comp12: UDP port 9001: expected 3 datagrams to arrive, got 0"),
        ((EVENTS, "comp18", "comp12"), "comp18 -> comp12: UDP port 9000: expected 3 datagrams to arrive, got 0"),
        (
            (ANSWERS, "comp12", "comp18"),
            "comp12 -> comp18: answers from UDP port 9000: expected 3 datagrams to arrive, got 0",
        ),
    ],
)
def test_a_way_blocked_in_one_direction_is_one_line(blocked, line):
    """An event that did not arrive cannot be answered, so that its answer is missing says nothing more."""
    assert problems(blocked) == (f"{line}; {ADVICE}",)


def test_a_node_that_hears_nobody_is_one_line():
    deaf = [(PROBES, peer, "comp12") for peer in ("comp18", "comp11")]
    assert problems(*deaf) == (f"comp12: UDP port 9001: nothing arrives from comp18, comp11; {ADVICE}",)


def test_a_node_that_reaches_nobody_is_one_line():
    mute = [(PROBES, "comp12", peer) for peer in ("comp18", "comp11")]
    assert problems(*mute) == (f"comp12: UDP port 9001: nothing from it arrives at comp18, comp11; {ADVICE}",)


def test_some_of_three_are_a_note_and_no_problem():
    lossy = Direction(PROBES, "comp11", "comp12", PROBE_PORT)
    told = judged(TRIED, arrivals(lambda d: 1 if d == lossy else 0))
    assert told.problems == ()
    assert told.notes == ("comp11 -> comp12: UDP port 9001: 2 of 3 datagrams arrived; the network loses some",)


def test_the_senders_own_reason_is_told():
    closed = (PROBES, "comp11", "comp12")
    heard = arrivals(lambda d: DATAGRAMS if d[:3] == closed else 0)
    heard["comp11"].unsent[PROBES] = {"comp12": "Operation not permitted"}
    (line,) = judged(TRIED, heard).problems
    assert line.startswith("comp11 -> comp12: UDP port 9001: expected 3 datagrams to arrive, got 0 (comp11 cannot send")
    assert "Operation not permitted" in line


def free_udp_port() -> int:
    """Return a UDP port that is free on every loopback address right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))  # noqa: S104 - on all of them, to know it is free on all of them
        return int(sock.getsockname()[1])


def three_plans() -> dict[str, NodePlan]:
    """Return the plans of three nodes on loopback."""
    cluster = load_cluster(ROOT / "configs/clusters/local.yaml")
    nodes = [node.model_copy(update={"virtual_clock": None}) for node in cluster.nodes]
    cluster = cluster.model_copy(update={"nodes": nodes, "ntp_server": ["127.0.0.1:123"], "chronotick_server": None})
    coordinator = load_coordinator(ROOT / "configs/coordinator_config.yaml").model_dump()
    coordinator["probes"]["port"] = free_udp_port()
    worker = load_worker(ROOT / "configs/worker_config.yaml")
    network = worker.network.model_copy(update={"listen_port": free_udp_port()})
    clocks = worker.clocks.model_copy(update={"required": []})
    worker = worker.model_copy(update={"network": network, "clocks": clocks})
    spec = RunSpec("check", new_run_id(), cluster, CoordinatorConfig.model_validate(coordinator), worker)
    return node_plans(spec, {node.id: f"127.0.92.{index + 1}" for index, node in enumerate(cluster.nodes)})


def tried(tmp_path: Path, plans: dict[str, NodePlan], change: Callable[[Remote], Remote]) -> ways.Ways:
    """Return what a check says of three folders as nodes, whose remotes are changed so."""
    config = load_cluster(ROOT / "configs/clusters/local.yaml").model_copy(
        update={"remote_base": "~/base", "remote_python": "python3"}
    )
    remotes = []
    for node_id in plans:
        (tmp_path / node_id).mkdir()
        remotes.append(LocalRemote(node_id, tmp_path / node_id))
    agent = Agent(config, bundle.build(ROOT))
    for remote in remotes:
        agent.install(remote)
    with Cluster(config, map(change, remotes)) as cluster:
        return try_ways(cluster, agent, plans)


def test_nodes_that_hear_each_other_are_fit(tmp_path):
    plans = three_plans()
    assert tried(tmp_path, plans, lambda remote: remote) == ways.Ways(len(directions(plans)))


@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_connection_that_breaks_meanwhile_costs_nothing(tmp_path, monkeypatch, breaks):
    monkeypatch.setattr(retry, "PAUSE_S", 0)
    plans = three_plans()
    told = tried(tmp_path, plans, lambda remote: Unsteady(remote, breaks))
    assert told == ways.Ways(len(directions(plans)))
