"""What of a sweep is done, from the manifests of its runs and nothing else. Pure but for reading them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness import results
from node_agent.contract.records import COLLECTED, DEPLOYED, RUN_DEGRADED, RUN_OK, SWEEP_RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness.configuration.sweep import Cell
    from harness.results import RunFolder
    from node_agent.contract.records import Manifest

BESIDE_S: Final = 120.0  # of a job, for a run beside its events, probes and tail
PASSES: Final = 2  # a run that failed is repeated once, after the others; the next call goes on
FIRST_OVERHEAD_S: Final = 7.0  # of a run beside its events, probes and tail, before one was measured: embedded cluster


@dataclass(frozen=True)
class Slot:
    """One repeat of one cell, with all attempts at it that were ever made, in their order."""

    sweep: str
    cell: Cell
    repeat: int
    attempts: tuple[RunFolder, ...]

    @property
    def name(self) -> str:
        """Return the name of the first attempt: ``night.c003.r02``."""
        return f"{self.sweep}.{self.cell.name}.r{self.repeat:02d}"

    @property
    def next_name(self) -> str:
        """Return the name of the next attempt: ``night.c003.r02``, then ``.a2``."""
        if not self.attempts:
            return self.name
        return f"{self.name}.a{_number(self.attempts[-1].name, self.name) + 1}"

    def done(self, *, accept_degraded: bool) -> bool:
        """Return whether an attempt is collected and good."""
        return any(is_good(attempt.manifest, accept_degraded=accept_degraded) for attempt in self.attempts)

    @property
    def uncollected(self) -> RunFolder | None:
        """Return the last attempt if it was begun and not all of it is at home."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.manifest.phase not in {DEPLOYED, COLLECTED} else None


def is_good(manifest: Manifest, *, accept_degraded: bool) -> bool:
    """Return whether a run counts: collected, and ok (or degraded, where that is accepted)."""
    good = {RUN_OK, RUN_DEGRADED} if accept_degraded else {RUN_OK}
    return manifest.phase == COLLECTED and manifest.outcome in good


def slots(place: Path, sweep: str, order: Iterable[tuple[Cell, int]]) -> list[Slot]:
    """Return every repeat of every cell in its order, with the attempts below the results folder ``place``."""
    return [_slot(place, sweep, cell, repeat) for cell, repeat in order]


def told_changed(slot: Slot, attempt: RunFolder) -> str:
    """Return in one line that a run has another configuration than its cell."""
    told = f"expected the configuration of cell {slot.cell.name} ({slot.cell.in_words}), got another"
    return f"{attempt.path}: {told}; the files were changed since: name a new sweep"


def overhead_s(done: Sequence[tuple[Manifest, float]]) -> float:
    """Return how long a run takes beside what was planned, in s: the median of the runs with their planned times."""
    measured = [sum(manifest.phase_seconds.values()) - planned_s for manifest, planned_s in done]
    return max(0.0, statistics.median(measured)) if measured else FIRST_OVERHEAD_S


def left_s(slots: Iterable[Slot], planned_s: Mapping[str, float], overhead_s: float) -> float:
    """Return how long these runs take, in s; ``planned_s`` is by cell."""
    return sum(planned_s[slot.cell.name] + overhead_s for slot in slots)


def _slot(place: Path, sweep: str, cell: Cell, repeat: int) -> Slot:
    first = Slot(sweep, cell, repeat, ()).name
    names = [path.name for path in place.glob(f"{first}*") if path.is_dir() and _number(path.name, first)]
    found = sorted(names, key=lambda name: _number(name, first))
    return Slot(sweep, cell, repeat, tuple(results.find(place, name) for name in found))


def _number(name: str, first: str) -> int:
    """Return which attempt a folder is, 0 if it is none of this repeat."""
    match = SWEEP_RUN.fullmatch(name)
    return int(match["attempt"] or 1) if match and match["first"] == first else 0
