"""The listener of a check counts each datagram of its own check once, and leaves the ports as it found them."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager, suppress

import pytest

from node_agent import listener
from node_agent.contract.arrivals import ANSWERS, DATAGRAMS, END, EVENTS, PROBES, SEND, Arrivals, listener_name
from node_agent.contract.plan import COORDINATOR, WORKER, BroadcastPlan, NodePlan, ProbePeer, ProbesPlan, WorkerAddress
from node_agent.datagrams.probe import ProbeWire
from node_agent.datagrams.wire import BAD_TAG, FOREIGN, HELLO, Wire
from node_agent.lifecycle import AgentError

RUN_ID, KEY, OTHER_KEY = "ab" * 16, bytes(range(32)), bytes(32)
NODES = ("comp18", "comp11", "comp12")
PATIENT_S = 20.0


def free_ports(host: str, count: int) -> list[int]:
    """Return some UDP ports that are free right now."""
    socks = [socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for sock in socks:
        sock.bind((host, 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def plans_of(host: str) -> dict[str, NodePlan]:
    """Return the plans of a coordinator and two workers on one address, each with ports of its own."""
    ports = free_ports(host, 2 * len(NODES))
    events, probes = dict(zip(NODES, ports)), dict(zip(NODES, ports[len(NODES) :]))
    plans = {}
    for index, node_id in enumerate(NODES):
        peers = tuple(ProbePeer(p, host, probes[p], i) for i, p in enumerate(NODES) if p != node_id)
        workers = tuple(WorkerAddress(w, host, events[w]) for w in NODES[1:])
        plans[node_id] = NodePlan(
            "check", RUN_ID, node_id, WORKER if index else COORDINATOR, "/nowhere", host, events[node_id],
            broadcast=None if index else BroadcastPlan(workers, 1, (0.0,)),
            probes=ProbesPlan(index, peers, probes[node_id]),
        )  # fmt: skip
    return plans


@contextmanager
def listening(*plans: NodePlan, key: bytes = KEY):
    """Have these nodes listen while the block lasts; yields once all have bound their ports."""
    threads = []
    for plan in plans:
        bound = threading.Event()

        def work(plan=plan, bound=bound):
            listener.listen(plan, key, lambda _report: bound.set())

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        assert bound.wait(PATIENT_S)
    yield
    for plan in plans:
        with suppress(ConnectionError):  # the test has ended it
            tell(plan.node_id, END)
    for thread in threads:
        thread.join(PATIENT_S)
        assert not thread.is_alive()


def tell(node_id: str, word: str) -> Arrivals:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(PATIENT_S)
        caller.connect("\0" + listener_name(RUN_ID, node_id))
        caller.sendall(word.encode())
        return Arrivals(**json.loads(caller.makefile().read()))


@pytest.mark.parametrize("host", ["127.0.91.1", "::1"])
def test_every_node_hears_everyone_who_sends_to_it_in_a_run(host):
    plans = plans_of(host)
    with listening(*plans.values()):
        for node_id in NODES:
            tell(node_id, SEND)
        heard = {node_id: tell(node_id, END) for node_id in NODES}
    for node_id in NODES:
        assert heard[node_id].arrived[PROBES] == {peer: DATAGRAMS for peer in NODES if peer != node_id}
        assert (heard[node_id].unsent, heard[node_id].refused) == ({}, {})
    assert heard["comp11"].arrived[EVENTS] == {"comp18": DATAGRAMS}
    assert heard["comp18"].arrived[ANSWERS] == {"comp11": DATAGRAMS, "comp12": DATAGRAMS}


def test_a_node_that_is_told_twice_counts_no_datagram_twice():
    plans = plans_of("127.0.91.1")
    with listening(*plans.values()):
        tell("comp18", SEND)
        tell("comp18", SEND)
        assert tell("comp11", END).arrived == {EVENTS: {"comp18": DATAGRAMS}, PROBES: {"comp18": DATAGRAMS}}


def test_forged_and_foreign_datagrams_do_not_count():
    """Nobody who does not have the key of this very check makes a closed way look open."""
    plan = plans_of("127.0.91.1")["comp11"]
    events, probes = ("127.0.91.1", plan.listen_port), ("127.0.91.1", plan.probes.port)
    with listening(plan), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for number in range(DATAGRAMS):
            stranger.sendto(Wire(RUN_ID, OTHER_KEY).control(HELLO, node_id="comp18", number=number), events)
            stranger.sendto(Wire("cd" * 16, KEY).control(HELLO, node_id="comp18", number=number), events)
            stranger.sendto(ProbeWire(RUN_ID, OTHER_KEY, 0).seal(1, number), probes)
            stranger.sendto(ProbeWire(RUN_ID, KEY, 0).seal(2, number), probes)  # for another node
        heard = tell("comp11", END)
    assert heard.arrived == {}
    assert heard.refused == {BAD_TAG: 2 * DATAGRAMS, FOREIGN: 2 * DATAGRAMS}


def test_the_ports_are_free_once_it_has_answered():
    plan = plans_of("127.0.91.1")["comp11"]
    with listening(plan):
        tell("comp11", END)
        for port in (plan.listen_port, plan.probes.port):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.91.1", port))


def test_a_port_that_is_taken_is_named():
    plan = plans_of("127.0.91.1")["comp11"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.91.1", plan.probes.port))
        with pytest.raises(AgentError, match=f"UDP port {plan.probes.port} on 127.0.91.1 is in use"):
            listener.listen(plan, KEY, lambda _report: None)


def test_one_that_is_started_again_is_there_once():
    """A controller that lost the answer asks again."""
    plan, reports = plans_of("127.0.91.1")["comp11"], []
    with listening(plan):
        assert listener.listen(plan, KEY, reports.append) == 0
    assert reports == [{"bound": True}]


def test_without_a_word_it_ends_by_itself(monkeypatch):
    monkeypatch.setattr(listener, "LISTEN_S", 0.05)
    assert listener.listen(plans_of("127.0.91.1")["comp11"], KEY, lambda _report: None) == 0


def test_programs_of_other_users_are_not_obeyed(monkeypatch):
    """Else anyone on the node could end it."""
    users = iter([4_000_000])
    real = listener._user_of
    monkeypatch.setattr(listener, "_user_of", lambda caller: next(users, None) or real(caller))
    with listening(plans_of("127.0.91.1")["comp11"]):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(PATIENT_S)
            stranger.connect("\0" + listener_name(RUN_ID, "comp11"))
            assert stranger.recv(1) == b""
        assert tell("comp11", SEND).arrived == {}


def test_a_way_on_which_nothing_can_be_sent_says_why():
    plans = plans_of("127.0.91.1")
    closed = ProbePeer("comp12", "255.255.255.255", 9, 2)  # without SO_BROADCAST the kernel refuses
    plan = plans["comp11"]
    changed = NodePlan(
        "check", RUN_ID, "comp11", WORKER, "/nowhere", "127.0.91.1", plan.listen_port,
        probes=ProbesPlan(1, (closed,), plan.probes.port),
    )  # fmt: skip
    with listening(changed):
        assert tell("comp11", SEND).unsent == {PROBES: {"comp12": "Permission denied"}}
