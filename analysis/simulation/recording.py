"""What one simulated node writes, a piece of the run at a time: the files of ``raw/<node>/`` and its own table."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.run.hashing import sha256
from analysis.simulation import commit_waits, probing
from analysis.simulation.asked import Asked, asked_sources
from analysis.simulation.files import table
from analysis.simulation.samples import samples
from analysis.simulation.status import agent_log, node_status
from analysis.simulation.world import EPOCH_NS, START_NS, World
from node_agent.contract import records
from node_agent.contract.cells import reading_cells, sample_row, stamp_cells

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from analysis.arrays import Ints
    from analysis.simulation.oscillator import Stamps
    from node_agent.contract.records import Stamp


PAIR_EVERY_NS: Final = 100_000_000
_WIRE_COUNTS: Final = ("received", "duplicate", "malformed", "foreign", "bad_tag", "oversized", "kernel_dropped",
                       "user_stamps", "unusable_stamps")  # fmt: skip


@dataclass(frozen=True)
class Receipts:
    """Some events as one worker received them, in the order of their arrival; ``lost`` and ``copies`` are counts."""

    sequence: Ints
    payload: Ints
    stamps: Stamps
    lost: int
    copies: int


def record(world: World, place: int, run_dir: Path) -> dict[str, Any]:
    """Write everything node number ``place`` leaves, and return its status as the manifest holds it."""
    folder = run_dir / records.RAW_DIR / world.node_ids[place]
    folder.mkdir(parents=True)
    taken = samples(world, place)
    asked = asked_sources(taken, world.clocks_plan)
    with table(folder / records.SAMPLES_FILE, records.SAMPLES_COLUMNS) as write:
        write(map(sample_row, taken))
    counts = (_record_receipts if place else _record_broadcast)(world, place, asked, run_dir)
    _write_pairs(world, place, folder / records.CLOCK_PAIRS_FILE)
    if world.peers(place):
        probing.write(world, place, folder / records.PROBES_FILE)
    status = node_status(world, place, counts, asked)
    (folder / records.LOG_FILE).write_text(agent_log(world, place), encoding="utf-8")
    (folder / records.STATUS_FILE).write_text(status.to_json(), encoding="utf-8")
    order = (
        records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE, records.CLOCK_PAIRS_FILE,
        records.PROBES_FILE, records.SENDS_FILE, records.LOG_FILE, records.STATUS_FILE,
    )  # fmt: skip
    lines = "".join(f"{sha256(folder / name)}  {name}\n" for name in order if (folder / name).is_file())
    (folder / records.CHECKSUMS_FILE).write_text(lines, encoding="ascii")
    return asdict(status)


def _record_broadcast(world: World, place: int, asked: dict[str, Asked], run_dir: Path) -> dict[str, int]:
    """Write the coordinator's events.csv, sends.csv, commit_wait.csv and its assembled table; return its counts."""
    clock = world.oscillators[place]
    folder = run_dir / records.RAW_DIR / world.node_ids[place]
    everyone = ";".join(name for _number, name in world.workers)
    delay = f"{world.broadcast.delays_ms[0]:g}"
    counts = {"planned": world.size.events, "sent": 0, "send_errors": 0, "user_stamps": 0}
    gone = dict.fromkeys(records.SOURCE_PREFIXES, 0)
    with (
        table(folder / records.EVENTS_FILE, records.events_columns("coordinator")) as events,
        table(folder / records.SENDS_FILE, records.SENDS_COLUMNS) as sends,
        table(folder / records.COMMIT_WAIT_FILE, records.COMMIT_WAIT_COLUMNS) as later,
    ):
        waits = commit_waits.Waits(world, place, asked, later)
        for first, end in world.chunks():
            sent = world.sends(first, end)
            dice = world.dice("sends", first, 1)
            stamps = [clock.stamps(left, dice) for left in sent.left]
            stamped = [list(map(stamp_cells, column.each(records.KERNEL_TX))) for column in stamps]
            begun = clock.wall(sent.begun)
            planned = begun - (sent.begun - sent.planned)
            ids = (sent.sequence + 1).tolist()
            events(
                f"{event},{event - 1},{plan},{cells},{delay},{_source_cells(asked, stamp, gone)},{everyone},"
                for event, plan, cells, stamp in zip(
                    ids, planned.tolist(), stamped[0], stamps[0].each(records.KERNEL_TX), strict=True
                )
            )
            sends(
                f"{event},{event - 1},{name},{column[row]},"
                for row, event in enumerate(ids)
                for (_number, name), column in zip(world.workers, stamped, strict=True)
            )
            waits.write(sent.sequence + 1, stamps[0])
            counts["sent"] += len(ids)
        counts["remeasured"] = waits.done
    shutil.copyfile(folder / records.EVENTS_FILE, run_dir / records.COORDINATOR_FILE)
    return counts | {f"{prefix}_unavailable": count for prefix, count in gone.items()}


def _record_receipts(world: World, place: int, asked: dict[str, Asked], run_dir: Path) -> dict[str, int]:
    """Write a worker's events.csv, commit_wait.csv and its assembled table; return its counts."""
    node_id = world.node_ids[place]
    folder = run_dir / records.RAW_DIR / node_id
    delays_s = world.scenario.timing.commit_wait_delays
    counts = dict.fromkeys(_WIRE_COUNTS, 0)
    gone = dict.fromkeys(records.SOURCE_PREFIXES, 0)
    counts["lost"] = 0
    with (
        table(folder / records.EVENTS_FILE, records.events_columns("worker")) as events,
        table(run_dir / records.worker_file(node_id), records.worker_columns(delays_s)) as assembled,
        table(folder / records.COMMIT_WAIT_FILE, records.COMMIT_WAIT_COLUMNS) as later,
    ):
        waits = commit_waits.Waits(world, place, asked, later)
        for received in receipts(world, place):
            columns = (received.sequence.tolist(), received.payload.tolist(), received.stamps.each(records.KERNEL_RX))
            rows = [
                f"{number + 1},{node_id},{number},{payload},{stamp_cells(stamp)},{_source_cells(asked, stamp, gone)}"
                for number, payload, stamp in zip(*columns, strict=True)
            ]
            events(rows)
            claimed = waits.write(received.sequence + 1, received.stamps)
            assembled(",".join(parts) for parts in zip(rows, *claimed, strict=True))
            counts["received"] += len(rows)
            counts["lost"] += received.lost
            counts["duplicate"] += received.copies
            counts["unusable_stamps"] += int((~received.stamps.usable).sum())
        counts["remeasured"] = waits.done
    other = world.scenario.second_coordinator
    if other is not None:
        dice = world.dice("receipts", place, world.size.events)
        strangers = round(other.share * world.size.events)
        arrived = strangers - dice.binomial(strangers, world.scenario.network.loss)
        counts["foreign" if other.same_key else "bad_tag"] = int(arrived)
    return counts | {f"{prefix}_unavailable": count for prefix, count in gone.items()}


def receipts(world: World, place: int) -> Iterator[Receipts]:
    """Yield the events one worker received, in the order of their arrival.

    A path keeps the order but for the datagrams it delays on purpose. What arrives after the next piece's first
    departure waits for that piece, so that the order holds across pieces.
    """
    clock, network = world.oscillators[place], world.scenario.network
    carried = np.zeros((3, 0), dtype=np.int64)
    last = 0
    pieces = world.chunks()
    for number, (first, end) in enumerate(pieces):
        dice = world.dice("receipts", place, first)
        sent = world.sends(first, end)
        count = end - first
        arrived = sent.left[place - 1] + world.delays(0, place, count, dice)
        arrived = np.maximum.accumulate(np.maximum(arrived, last + 1))
        last = int(arrived[-1])
        late = dice.random(count) < network.reordered
        arrived = arrived + np.where(late, round(network.late_ms * 1e6), 0)
        kept = dice.random(count) >= network.loss
        copies = int((dice.random(count) < network.duplicates)[kept].sum())
        payload = world.oscillators[0].wall(sent.begun)
        held = np.concatenate([carried, np.array([arrived, sent.sequence, payload])[:, kept]], axis=1)
        held = held[:, np.argsort(held[0], kind="stable")]
        until = held.shape[1]
        if number + 1 < len(pieces):
            until = int(np.searchsorted(held[0], world.first_ns + end * world.gap_ns))
        now, carried = held[:, :until], held[:, until:]
        yield Receipts(now[1], now[2], clock.stamps(now[0], dice), int(count - kept.sum()), copies)


def _source_cells(asked: dict[str, Asked], stamp: Stamp, gone: dict[str, int]) -> str:
    """Return the cells of all sources of a row, counting in ``gone`` the readings that are not there."""
    parts = []
    for name, source in asked.items():
        reading = source.reading(stamp)
        if isinstance(reading, records.Unavailable):
            gone[records.COLUMN_PREFIX[name]] += 1
        parts.append(reading_cells(reading, stamp.wall_ns))
    return ",".join(parts)


def _write_pairs(world: World, place: int, path: Path) -> None:
    """Write the bracketed readings of both clocks that an agent takes every 100 ms."""
    clock, dice = world.oscillators[place], world.dice("pairs", place)
    with table(path, records.CLOCK_PAIRS_COLUMNS) as write:
        starts = np.arange(EPOCH_NS + START_NS, world.end_ns, PAIR_EVERY_NS, dtype=np.int64)
        for first in range(0, len(starts), 100_000):
            at = starts[first : first + 100_000]
            at = at + dice.integers(0, 4_000_000, len(at))
            before, after = dice.integers(100, 900, len(at)), dice.integers(100, 900, len(at))
            columns = (clock.raw(at - before), clock.wall(at), clock.raw(at + after))
            rows = zip(*(column.tolist() for column in columns), strict=True)
            write(f"{raw1},{wall},{raw2}" for raw1, wall, raw2 in rows)
