"""The last words of a simulated agent: status.json and agent.log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.simulation.world import EPOCH_NS, EVENT_PORT, READY_NS, START_NS
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.simulation.asked import Asked
    from analysis.simulation.world import World

MACHINE: Final = "simulated"


def node_status(world: World, place: int, counts: Mapping[str, int], asked: Mapping[str, Asked]) -> records.NodeStatus:
    """Return what the agent would have written last."""
    end = np.array([world.end_ns])
    clock = world.oscillators[place]
    (wall,), (raw,) = clock.wall(end).tolist(), clock.raw(end).tolist()
    stamp = records.Stamp(wall, raw, 0, records.USER)
    role = "worker" if place else "coordinator"
    detail = "every event and every re-measurement is journaled" if place else f"{counts['sent']} events sent"
    machine = dict.fromkeys(("kernel", "python", "clock_source", "agent_sha256"), MACHINE)
    return records.NodeStatus(
        run_id=world.run_id,
        node_id=world.node_ids[place],
        role=role,
        pid=1000 + place,
        start_ticks=0,
        boot_id=f"{MACHINE}-{world.node_ids[place]}",
        hostname=world.node_ids[place],
        **machine,
        phase=records.FINISHED,
        outcome=records.FINISHED_OK,
        updated_wall_ns=wall,
        listen=f"{world.address(place)}:{EVENT_PORT}",
        counts=dict(counts),
        sources={name: source.status(stamp) for name, source in asked.items()},
        waiting_for=[],
        detail=detail,
    )


def agent_log(world: World, place: int) -> str:
    """Return the agent's log, saying first of all that there was no agent."""
    role = "worker" if place else "coordinator"
    ready = EPOCH_NS + START_NS + READY_NS
    lines = [
        (EPOCH_NS + START_NS, f"simulated scenario={world.scenario.name} seed={world.size.seed} role={role}"),
        (EPOCH_NS + START_NS, f"bound role={role} run_id={world.run_id}"),
        (ready, f"phase phase={records.READY}"),
        (world.first_ns, f"phase phase={records.RUNNING if place else records.BROADCASTING}"),
        (world.last_ns, f"phase phase={records.TAIL}"),
        (world.end_ns, f"phase phase={records.FINISHED}"),
    ]
    return "".join(f"{_utc(at)} INFO analysis.simulation {text}\n" for at, text in lines)


def _utc(true_ns: int) -> str:
    return datetime.fromtimestamp(true_ns / 1e9, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
