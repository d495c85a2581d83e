"""The ways between the nodes: whether datagrams arrive from everyone who will send some in the run.

Every node listens as in the run, then every node sends, then every node says what came: each step on all nodes at once.
What does not arrive is told in one line per direction and port, or in one per node if it hears, or reaches, nobody.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from harness.planning import new_run_id, new_run_key
from node_agent.contract.arrivals import ANSWERS, DATAGRAMS, END, EVENTS, PROBES, SEND, WAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.agent import Agent
    from harness.cluster import Cluster
    from harness.errors import HarnessError
    from harness.remote import Remote
    from node_agent.contract.arrivals import Arrivals
    from node_agent.contract.plan import NodePlan

_TRIES: Final = 2  # a connection that breaks takes an answer with it that nobody can give again


class Direction(NamedTuple):
    """One node sends to another: its events, the answers to them, or probes; ``port`` is the one that listens."""

    way: str
    sender: str
    receiver: str
    port: int

    @property
    def where(self) -> str:
        """Return the port, as a line names it."""
        return f"{'answers from ' if self.way == ANSWERS else ''}UDP port {self.port}"


@dataclass(frozen=True)
class Ways:
    """How many directions were tried, what forbids a run, and what is odd and does not; a line each."""

    directions: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def try_ways(cluster: Cluster, agent: Agent, plans: Mapping[str, NodePlan]) -> Ways:
    """Let every node send to every other that it will send to in the run. Never raises for a node."""
    if not directions(plans):  # a watch without probes
        return Ways()
    failed: Mapping[str, HarnessError] = {}
    for _ in range(_TRIES):
        arrivals, failed = _exchange(cluster, agent, plans)
        if not failed:
            return judged(directions(plans), arrivals)
    return Ways(problems=tuple(map(str, failed.values())))


def _exchange(
    cluster: Cluster, agent: Agent, plans: Mapping[str, NodePlan]
) -> tuple[Mapping[str, Arrivals], Mapping[str, HarnessError]]:
    """Return what came to each node, and which could not be asked; no listener is left that can be told to end."""
    run_id, key = new_run_id(), new_run_key()

    def listen(remote: Remote) -> None:
        agent.listen(remote, dataclasses.replace(plans[remote.id], run_id=run_id), key)

    def tell(word: str, nodes: Iterable[str]) -> tuple[Mapping[str, Arrivals], dict[str, HarnessError]]:
        answers = cluster.each(lambda remote: agent.tell_listener(remote, run_id, word), nodes)
        return answers.ok, answers.failed

    listening = cluster.each(listen, plans)
    failed = dict(listening.failed)
    if not failed:
        failed |= tell(SEND, plans)[1]
    arrivals, not_ended = tell(END, listening.ok)
    return arrivals, not_ended | failed


def directions(plans: Mapping[str, NodePlan]) -> list[Direction]:
    """Return who will send to whom in the run of these plans."""
    found = []
    for node_id, plan in plans.items():
        for worker in plan.broadcast.workers if plan.broadcast else ():
            found.append(Direction(EVENTS, node_id, worker.node_id, worker.port))
            found.append(Direction(ANSWERS, worker.node_id, node_id, worker.port))
        peers = plan.probes.peers if plan.probes else ()
        found += [Direction(PROBES, node_id, peer.node_id, peer.port) for peer in peers]
    return found


def judged(tried: Iterable[Direction], arrivals: Mapping[str, Arrivals]) -> Ways:
    """Return what the nodes' answers say about the directions that were tried."""
    tried = list(tried)
    silent, notes = [], []
    for direction in tried:
        way, sender, receiver, _port = direction
        expected = arrivals[sender].count(EVENTS, receiver) if way == ANSWERS else DATAGRAMS
        got = arrivals[receiver].count(way, sender)
        if not got and expected:
            silent.append(direction)
        elif got < expected:
            arrow = f"{sender} -> {receiver}: {direction.where}"
            notes.append(f"{arrow}: {got} of {expected} datagrams arrived; the network loses some")
    problems = []
    for way in WAYS:
        of_way = [direction for direction in tried if direction.way == way]
        problems += _lines(of_way, [direction for direction in silent if direction.way == way], arrivals)
    return Ways(len(tried), tuple(problems), tuple(notes))


def _lines(tried: list[Direction], silent: list[Direction], arrivals: Mapping[str, Arrivals]) -> list[str]:
    """Return the lines about what did not arrive on one way: by receiver or sender where none of its peers differs."""
    lines = []
    for role, words in (("receiver", "nothing arrives from"), ("sender", "nothing from it arrives at")):
        other = "sender" if role == "receiver" else "receiver"
        for node_id in dict.fromkeys(getattr(direction, role) for direction in silent):
            own = [direction for direction in tried if getattr(direction, role) == node_id]
            if len(own) > 1 and all(direction in silent for direction in own):
                peers = ", ".join(getattr(direction, other) for direction in own)
                reasons = {_why(direction, arrivals) for direction in own}
                why = reasons.pop() if len(reasons) == 1 else ""
                lines.append(f"{node_id}: {own[0].where}: {words} {peers}{why}; is a firewall in between?")
                silent = [direction for direction in silent if direction not in own]
    for direction in silent:
        told = f"expected {DATAGRAMS} datagrams to arrive, got 0{_why(direction, arrivals)}"
        lines.append(
            f"{direction.sender} -> {direction.receiver}: {direction.where}: {told}; is a firewall in between?"
        )
    return lines


def _why(direction: Direction, arrivals: Mapping[str, Arrivals]) -> str:
    """Return why the sender could not send, in brackets; empty if it could."""
    refused = arrivals[direction.sender].unsent.get(direction.way, {}).get(direction.receiver)
    return f" ({direction.sender} cannot send: {refused})" if refused else ""
