"""The last words of a simulated agent: status.json and agent.log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.simulation.world import EPOCH_NS, EVENT_PORT, READY_NS, START_NS
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.simulation.readings import Source
    from analysis.simulation.world import World
    from node_agent.contract.records import Sample

MACHINE: Final = "simulated"


def node_status(
    world: World, place: int, counts: Mapping[str, int], samples: Sequence[Sample], asked: Mapping[str, Source]
) -> records.NodeStatus:
    """Return what the agent would have written last."""
    end = np.array([world.end_ns])
    clock = world.oscillators[place]
    wall, raw = clock.wall(end), clock.raw(end)
    found = {}
    for name, source in asked.items():
        mine = [sample for sample in samples if sample.source == name]
        failures = sum(sample.outcome != records.OK for sample in mine)
        said = source.at(raw, np.zeros(1, dtype=np.int64))
        tally = (len(mine), failures, mine[-1].outcome if mine else "")
        if said.ok[0]:
            offset_ms, bound_ms = float(said.est[0] - wall[0]) / 1e6, float(said.latest[0] - said.earliest[0]) / 2e6
            found[name] = records.SourceStatus(records.OK, offset_ms, bound_ms, float(said.age[0]) / 1e6, *tally)
        else:
            found[name] = records.SourceStatus(str(said.status[0]), None, None, None, *tally)
    role = "worker" if place else "coordinator"
    detail = "every event and every re-measurement is journaled" if place else f"{counts['sent']} events sent"
    return records.NodeStatus(
        run_id=world.run_id,
        node_id=world.node_ids[place],
        role=role,
        pid=1000 + place,
        start_ticks=0,
        boot_id=f"{MACHINE}-{world.node_ids[place]}",
        hostname=world.node_ids[place],
        kernel=MACHINE,
        python=MACHINE,
        clock_source=MACHINE,
        agent_sha256=MACHINE,
        phase=records.FINISHED,
        outcome=records.FINISHED_OK,
        updated_wall_ns=int(wall[0]),
        listen=f"{world.address(place)}:{EVENT_PORT}",
        counts=dict(counts),
        sources=found,
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
