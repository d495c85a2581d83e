"""What the server knows of each node, and whose knowledge is forgotten first when there is too much of it.

*Who is who.* A node of a run with a run key names itself by a tag that nobody without the key can make: run id, node id
and tag are its key here. A node without a tag is known by run id, node id and its address. Whoever does not know a tag,
or asks from elsewhere, gets a state of his own, and can neither read nor restart another's.

*Who is forgotten.* States with and without a tag are kept apart, ``limit`` of each: however many come without one, they
push out none with one. In each, the address that holds most of them loses one: first one that has not ``PROVEN_AFTER``
good requests behind it, the least recently asking of those. So invented names push out each other, and not the nodes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from time_services.chronotick.request import TimeRequest
    from time_services.models import Model, NtpSample

MAX_NODES = 1024  # with a tag, and as many without
PROVEN_AFTER = 8  # good requests
MAX_EARLY = 64  # samples kept of a node that was not answered yet
RESTART_BEHIND_NS = 10_000_000_000  # requests of one node may overtake each other by less

Key = tuple[str, str, str, str]  # run id, node id, tag (or the address of one without), model


@dataclass(slots=True)
class NodeState:
    """One node's model, where it last asked from, and how many good requests it made."""

    key: Key
    address: str
    model: Model
    make: Callable[[], Model]
    newest_raw_ns: int = -1
    requests: int = 0
    begun_anew: int = 0
    answered: bool = False  # with a prediction, so that its samples are confirmed
    early: dict[tuple[str, int], NtpSample] = field(default_factory=dict)  # those before that, by server and instant

    @property
    def proven(self) -> bool:
        """Return whether it has asked well so often that it is no invented name."""
        return self.requests >= PROVEN_AFTER

    @property
    def restarts(self) -> int:
        """Return how often what was known had to be forgotten."""
        return self.begun_anew + self.model.restarts

    def learn(self, asked: TimeRequest) -> int:
        """Take a request's samples; return how many were new.

        Samples much later than the request's own instant mean that the oscillator started anew: its node was booted.
        """
        if asked.raw_ns < self.newest_raw_ns - RESTART_BEHIND_NS:
            self.begun_anew = self.restarts + 1
            self.model = self.make()
            self.newest_raw_ns = -1
            self.answered = False
            self.early.clear()
        new = self.model.feed(asked.instant_ns, asked.raw_ns, asked.samples)
        if not self.answered:
            new += self._learn_earlier(asked, new)
        self.newest_raw_ns = max((self.newest_raw_ns, *(sample.raw_ns for sample in asked.samples)))
        self.requests += 1
        return new

    def _learn_earlier(self, asked: TimeRequest, new: int) -> int:
        """Take samples older than those learnt so far, as of a node that this server, started again, confirms nothing.

        A model learns in order of time, so that it learns all of them again. Returns how many more were new.
        """
        known = len(self.early)
        self.early |= {(sample.server, sample.raw_ns): sample for sample in asked.samples}
        more = len(self.early) - known - new
        if more <= 0 or self.model.restarts:
            return 0
        self.early = dict(sorted(self.early.items(), key=lambda item: item[1].raw_ns)[-MAX_EARLY:])
        self.model = self.make()
        self.model.feed(asked.instant_ns, asked.raw_ns, tuple(self.early.values()))
        return more

    def confirm(self) -> int:
        """Say that a prediction was answered; return the raw instant (ns) up to which samples are confirmed."""
        self.answered = True
        self.early.clear()
        return self.newest_raw_ns


class Holders:
    """States by address, never more than ``limit``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.forgotten = 0
        self._states: dict[Key, NodeState] = {}
        self._held: dict[str, tuple[OrderedDict[Key, None], OrderedDict[Key, None]]] = {}  # not proven, proven

    def __len__(self) -> int:
        return len(self._states)

    def known(self, key: Key) -> NodeState | None:
        """Return a state that is there already."""
        return self._states.get(key)

    def proven_of(self, address: str) -> int:
        """Return how many proven states an address holds."""
        return len(self._held[address][1]) if address in self._held else 0

    def use(self, key: Key, address: str, make: Callable[[], Model]) -> NodeState:
        """Return the state of ``key``, a new one if it never asked (or was forgotten); it is now the newest."""
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = NodeState(key, address, make(), make)
        else:
            self._release(state)
            state.address = address
        held = self._held.setdefault(address, (OrderedDict(), OrderedDict()))
        held[state.proven][key] = None
        if len(self._states) > self.limit:
            self._forget_one()
        return state

    def _release(self, state: NodeState) -> None:
        held = self._held[state.address]
        for part in held:
            part.pop(state.key, None)
        if not any(held):
            del self._held[state.address]

    def _forget_one(self) -> None:
        unproven, proven = max(self._held.values(), key=lambda held: len(held[0]) + len(held[1]))
        victim = self._states.pop(next(iter(unproven or proven)))
        self._release(victim)
        self.forgotten += 1


class Nodes:
    """The states of all nodes, those with a tag apart from those without."""

    def __init__(self, limit: int = MAX_NODES) -> None:
        self.tagged, self.untagged = Holders(limit), Holders(limit)

    def __len__(self) -> int:
        return len(self.tagged) + len(self.untagged)

    def known(self, asked: TimeRequest, address: str, model: str) -> NodeState | None:
        """Return the state of the asking node if there is one."""
        return self._holders(asked).known(_key(asked, address, model))

    def of(self, asked: TimeRequest, address: str, model: str, make: Callable[[], Model]) -> NodeState:
        """Return the state of the asking node, a new one where there is none."""
        return self._holders(asked).use(_key(asked, address, model), address, make)

    def _holders(self, asked: TimeRequest) -> Holders:
        return self.tagged if asked.tag else self.untagged


def _key(asked: TimeRequest, address: str, model: str) -> Key:
    return asked.run_id, asked.node_id, asked.tag or address, model
