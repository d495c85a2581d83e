"""Open a run to be judged: in memory as a whole where it is short, else in parts that are on disk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from analysis.by_event import in_parts, readings
from analysis.processes import pieces
from analysis.run import load, memory
from analysis.run.stored import FOLDER, StoredFrame, opened
from analysis.storage.scratch import Scratch
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from analysis.by_event.table import Table
    from analysis.run.hashing import Seen
    from analysis.run.stored import Frame

MOST_OF_FREE: Final = 0.5  # what reading a run as a whole may take of the free memory
MOST_AS_A_WHOLE: Final = 1 << 30  # of long tables: in parts as little memory is taken of a longer run
PART_BYTES: Final = 176 << 20  # of tables, in a part
SHARE_OF_FREE: Final = 16  # a part takes about twice its tables' bytes while it is judged
FEWEST_AT_ONCE: Final = 1_000


def table_of(path: Path, at_once: int | None = None, scratch: Scratch | None = None, jobs: int | None = None) -> Table:
    """Return the readings of the run folder at ``path``; ``at_once``: cut into parts of so many events.

    ``scratch``: where to keep what of a run in parts does not fit into memory, None: beside its parts. ``jobs``: how
    many processes look at parts, None for one per processor, as far as there is memory for them.

    A log that was imported is always read as a whole. Raises AnalysisError where nothing can be judged.
    """
    manifest = load.read_manifest(path)
    names, free = long_tables(path, manifest), memory.available_bytes()
    fits = free is None or memory.needed_bytes(path, manifest) <= MOST_OF_FREE * free
    fits = fits and _size(path, names) <= MOST_AS_A_WHOLE
    if manifest.imported is not None or not names or (at_once is None and fits):
        return readings.table(load.load(path))
    memory.require(path, manifest, in_parts=True)
    parts: list[int] = []

    def keep(path: Path, _manifest: records.Manifest, seen: Seen) -> Mapping[str, Frame]:
        store = opened(path, names, at_once or _events_at_once(path, names, free), seen)
        parts.append(store.number_of_parts)
        return {name: StoredFrame(store, name) for name in names}

    run = load.load(path, keep)
    processes = jobs or memory.processes(path, manifest, pieces.processors(), in_parts=True)
    look = partial(pieces.results, processes=processes)
    return in_parts.table(run, parts[0], Scratch(path / FOLDER) if scratch is None else scratch, look)


def long_tables(path: Path, manifest: records.Manifest) -> list[str]:
    """Return the paths, in its folder, of the tables of a run that have a row or more per event, the sends' first."""
    raw = f"{records.RAW_DIR}/{{}}/{{}}"
    names = [records.COORDINATOR_FILE, *map(records.worker_file, manifest.worker_ids)]
    names.append(raw.format(manifest.coordinator_id, records.SENDS_FILE))
    names += [raw.format(node_id, records.COMMIT_WAIT_FILE) for node_id in manifest.nodes]
    there = [name for name in names if (path / name).is_file()]
    return there if records.COORDINATOR_FILE in there else []


def _size(path: Path, names: Sequence[str]) -> int:
    """Return how long some tables are in all, in bytes."""
    return sum((path / name).stat().st_size for name in names)


def _events_at_once(path: Path, names: Sequence[str], free: int | None) -> int:
    """Return how many events make a part, by how long the tables are in all, and how much memory is free."""
    size = _size(path, names)
    with (path / names[0]).open("rb") as file:
        events = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    part = PART_BYTES if free is None else min(PART_BYTES, free // SHARE_OF_FREE)
    return max(FEWEST_AT_ONCE, part * max(1, events) // max(1, size))
