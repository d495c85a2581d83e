"""The probes.csv of a simulated node: what it sent to each peer and what reached it, by its own kernel stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.simulation.files import table
from node_agent.contract import records
from node_agent.contract.cells import stamp_cells

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.arrays import Bools, Ints
    from analysis.simulation.world import World


_PIECE_NS: Final = 600_000_000_000  # probes made at a time


def write(world: World, place: int, path: Path) -> None:
    """Write one node's probes, in the order of their raw instants."""
    begin = world.first_ns - round(world.scenario.probes.lead_s * 1e9)
    end = world.last_ns + round(world.scenario.probes.trail_s * 1e9)
    with table(path, records.PROBES_COLUMNS) as append:
        for start in range(begin, end, _PIECE_NS):
            append(_rows(world, place, start, min(start + _PIECE_NS, end)))


def _rows(world: World, place: int, start: int, end: int) -> list[str]:
    """Return the rows of the probes that leave between two true instants; both ends play the same exchanges."""
    texts: list[str] = []
    instants: list[Ints] = []
    clock = world.oscillators[place]
    for peer in world.peers(place):
        name = world.node_ids[peer]
        for source, target in ((place, peer), (peer, place)):
            sent = source == place
            direction, origin = ("tx", records.KERNEL_TX) if sent else ("rx", records.KERNEL_RX)
            sequence, left, arrived, kept = _exchange(world, source, target, start, end)
            at, numbers = (left, sequence) if sent else (arrived[kept], sequence[kept])
            stamps = clock.stamps(at, world.dice("probes", source, target, start, 1 + (not sent)))
            rows = zip(numbers.tolist(), stamps.each(origin), strict=True)
            texts.extend(f"{name},{number},{direction},{stamp_cells(stamp)}" for number, stamp in rows)
            instants.append(at)
    order = np.argsort(np.concatenate(instants), kind="stable") if instants else np.zeros(0, dtype=np.intp)
    return [texts[row] for row in order.tolist()]


def _exchange(world: World, source: int, target: int, start: int, end: int) -> tuple[Ints, Ints, Ints, Bools]:
    """Return one direction's probes: sequence, departure and arrival (true ns), and which of them arrived."""
    dice, network = world.dice("probes", source, target, start), world.scenario.network
    gap = round(1e9 / world.scenario.probes.rate_hz)
    begin = world.first_ns - round(world.scenario.probes.lead_s * 1e9)
    sequence = np.arange(-(-(start - begin) // gap), -(-(end - begin) // gap), dtype=np.int64)
    left = begin + sequence * gap + dice.integers(0, max(gap - 1, 1), len(sequence))
    arrived = left + world.delays(source, target, len(sequence), dice)
    arrived = arrived + np.where(dice.random(len(sequence)) < network.reordered, round(network.late_ms * 1e6), 0)
    return sequence, left, arrived, dice.random(len(sequence)) >= network.loss
