"""What every exchange makes: askers, each of which asks one server again and again, in a thread of its own.

``node_agent.exchange`` has one module per kind, named like it. Its ``askers(plan, setting)`` returns one per server.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from node_agent.contract.records import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node_agent.clocks.kind import SourceKind
    from node_agent.contract.plan import ClocksPlan
    from node_agent.local.instants import ClockPair, LocalClock


def askers(kind: SourceKind[Any], plan: Any, setting: Setting) -> Sequence[Asker]:
    """Return the askers of one kind, one per server of its plan."""
    module = importlib.import_module(f"node_agent.exchange.{kind.name}")
    servers: Sequence[Asker] = module.askers(plan, setting)
    return servers


@dataclass(frozen=True)
class Setting:
    """Where an asker works: the node, its clocks, the names of its samples, and the samples that feed its kind.

    ``tag`` is what only a node of the run ``run_id`` can say, "" where there is no run key.
    """

    node_id: str
    clocks: ClocksPlan
    clock: LocalClock
    new_id: Callable[[], str]
    fed: Callable[[], Sequence[Sample]]
    run_id: str = ""
    tag: str = ""

    def sample(self, source: str, server: str, before: ClockPair, after: ClockPair, **cells: Any) -> Sample:
        """Return the sample of an exchange between two clock pairs; ``cells`` are what came of it."""
        return Sample(
            sample_id=self.new_id(), source=source, server=server, address="", raw_before_ns=before.raw_ns,
            raw_after_ns=after.raw_ns, wall_ns=before.wall_ns, **cells,
        )  # fmt: skip


@dataclass(frozen=True)
class Health:
    """What a server says of its own health."""

    ok: bool
    detail: str


class Pace:
    """How often a server wants to be asked: ``slower`` times less often, or not at all any more (``ended``)."""

    slower = 1
    ended = False


@dataclass(frozen=True)
class Asker:
    """Asks one server. ``ask`` has a deadline and never raises for what a network does: a failure is a sample too.

    Of the samples of one asking the last says whether it was good. A check asks up to ``tries`` times, until ``enough``
    answers were good.
    """

    server: str
    ask: Callable[[], Sequence[Sample]]
    pace: Pace = field(default_factory=Pace)
    health: Callable[[], Health | None] = lambda: None
    close: Callable[[], None] = lambda: None
    tries: int = 1
    enough: int = 1
