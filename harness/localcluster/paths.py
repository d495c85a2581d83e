"""The paths of an embedded cluster: a relay before each time service, and one for each node that sends to another."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from harness.errors import PreflightError
from harness.localcluster.relays.messages import DATAGRAMS, STREAM, Answer, Counts, Question, RelayOrder
from harness.localcluster.services import CHRONOTICK, NTP, kind_of
from node_agent.contract import json_objects
from node_agent.contract.paths import LAN, NetworkPath
from node_agent.contract.plan import COORDINATOR, NodePlan, ProbePeer, WorkerAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harness.configuration.cluster import PathsConfig

Peer = TypeVar("Peer", WorkerAddress, ProbePeer)
KINDS = {NTP: DATAGRAMS, CHRONOTICK: STREAM}


class _Hop(NamedTuple):
    """One node's way to a port of another; ``is_there``: it counts as the way there, its answers take the way back."""

    sender: str
    target: tuple[str, int]
    is_there: bool


class Paths:
    """What lies between the parts of one embedded cluster. ``ask`` hands the relays a line and returns their answer."""

    def __init__(self, config: PathsConfig, ask: Callable[[str], str]) -> None:
        self._paths = config.given
        self._ask = ask
        self._laid: dict[_Hop, tuple[str, int]] = {}

    def to_services(self, places: Mapping[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
        """Return where the nodes find each time service (by name): behind a relay where its path is given."""
        behind = [name for name in places if kind_of(name) in self._paths]
        orders = ((kind_of(name), places[name]) for name in behind)
        found = self._lay(_order(kind, KINDS[kind], self._paths[kind], place, is_there=True) for kind, place in orders)
        return {**places, **dict(zip(behind, found, strict=True))}

    def through(self, plans: Mapping[str, NodePlan]) -> dict[str, NodePlan]:
        """Return plans in which each node reaches the others through a relay of its own, if there is a path ``lan``.

        From the coordinator to a worker is the way there, from one worker to another if it has the lower number.
        """
        path = self._paths.get(LAN)
        if path is None:
            return dict(plans)
        ranks = {name: (plan.role != COORDINATOR, place) for place, (name, plan) in enumerate(plans.items())}

        def hop(sender: str, peer: WorkerAddress | ProbePeer) -> _Hop:
            return _Hop(sender, (peer.host, peer.port), ranks[sender] < ranks[peer.node_id])

        hops = {hop(name, peer) for name, plan in plans.items() for peer in _peers(plan)} - self._laid.keys()
        missing = sorted(hops)
        orders = (_order(LAN, DATAGRAMS, path, way.target, is_there=way.is_there) for way in missing)
        self._laid |= zip(missing, self._lay(orders), strict=True)

        def moved(sender: str, peers: Sequence[Peer]) -> tuple[Peer, ...]:
            placed = ((peer, self._laid[hop(sender, peer)]) for peer in peers)
            return tuple(dataclasses.replace(peer, host=host, port=port) for peer, (host, port) in placed)

        def changed(name: str, plan: NodePlan) -> NodePlan:
            sends, probes = plan.broadcast, plan.probes
            return dataclasses.replace(
                plan,
                broadcast=sends and dataclasses.replace(sends, workers=moved(name, sends.workers)),
                probes=probes and dataclasses.replace(probes, peers=moved(name, probes.peers)),
            )

        return {name: changed(name, plan) for name, plan in plans.items()}

    def counts(self) -> dict[str, Counts]:
        """Return what became of the packets so far, by path. Raises PreflightError where the relays do not answer."""
        return self._answer(Question()).counts

    def _lay(self, orders: Iterable[RelayOrder]) -> list[tuple[str, int]]:
        wanted = list(orders)
        return self._answer(Question(wanted)).laid if wanted else []

    def _answer(self, question: Question) -> Answer:
        answer = json_objects.read(Answer, self._ask(json_objects.write(question)), "relays")
        if answer.problem:
            raise PreflightError(f"embedded cluster: relays: expected an answer, got {answer.problem!r}")
        return answer


def _peers(plan: NodePlan) -> list[WorkerAddress | ProbePeer]:
    """Return everyone that a node sends to."""
    workers = plan.broadcast.workers if plan.broadcast else ()
    return [*workers, *(plan.probes.peers if plan.probes else ())]


def _order(name: str, kind: str, path: NetworkPath, target: tuple[str, int], *, is_there: bool) -> RelayOrder:
    fixed_ns = [round(delay_ms * 1e6) for delay_ms in path.fixed_ms]
    there_ns, back_ns = fixed_ns if is_there else reversed(fixed_ns)
    return RelayOrder(name, kind, target[0], target, there_ns, back_ns, round(path.tail_ms * 1e6))
