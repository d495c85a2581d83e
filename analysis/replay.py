"""Recompute every reading of a run from its journals alone, and say where the node said something else.

Samples are chosen by the eligibility rule (published at or before the stamp's raw instant), never by the recorded
``_sample_id``, which is output to compare. A run that replays without a difference had no look-ahead and no hidden
state.
"""

from __future__ import annotations

import csv
import json
from bisect import bisect_right
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from analysis.errors import AnalysisError
from node_agent import plan as plans
from node_agent import records
from node_agent.clocks.base import KEEP, evaluate, good
from node_agent.clocks.sources import configured
from node_agent.records import COLUMN_PREFIX, Sample, Stamp, reading_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from node_agent.clocks.base import ClockSource

_TEXT = {"sample_id", "source", "server", "address", "outcome", "scope", "payload"}


@dataclass(frozen=True)
class Difference:
    """One cell that the node wrote otherwise than the journals say."""

    node_id: str
    event_id: str
    column: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        where = f"{self.node_id} event {self.event_id} {self.column}"
        return f"{where}: recorded {self.recorded!r}, replayed {self.replayed!r}"


@dataclass(frozen=True)
class Replay:
    """What a replay found: how many readings were recomputed, and every difference."""

    readings: int
    differences: tuple[Difference, ...]


class Published:
    """One source's good samples in the order of their publication, as the node kept them."""

    def __init__(self, samples: Sequence[Sample], source: ClockSource) -> None:
        self._samples = samples
        self._instants = [sample.published_raw_ns for sample in samples]
        self._keep = KEEP * len(getattr(source, "servers", ("",)))

    def before(self, stamp: Stamp) -> Sequence[Sample]:
        """Return the samples that may serve a stamp, oldest first."""
        end = bisect_right(self._instants, stamp.raw_ns) if stamp.raw_ns is not None else 0
        return self._samples[max(0, end - self._keep) : end]


def replay(experiment_dir: Path) -> Replay:
    """Recompute every reading of every row of a run. Raises AnalysisError where the run has not what that takes."""
    manifest = records.Manifest.from_json((experiment_dir / records.MANIFEST_FILE).read_text(encoding="utf-8"))
    if manifest.imported is not None:
        raise AnalysisError(f"{experiment_dir}: an imported run has no samples, so there is nothing to replay")
    count = 0
    differences: list[Difference] = []
    for node_id, node in manifest.nodes.items():
        if node.plan is None:
            raise AnalysisError(
                f"{experiment_dir}: manifest.json holds no plan of {node_id}; expected one to replay from"
            )
        sources = configured(plans.from_json(json.dumps(node.plan)).clocks)
        raw = experiment_dir / records.RAW_DIR / node_id
        journal = read_samples(raw / records.SAMPLES_FILE)
        samples = {name: Published(journal.get(name, []), sources[name]) for name in sources}
        kind = "send" if node.role == plans.COORDINATOR else "receive"
        for row in _rows(raw / records.EVENTS_FILE):
            count += len(sources)
            differences.extend(_compare(node_id, row, _stamp(row, kind), sources, samples))
    return Replay(count, tuple(differences))


def read_samples(path: Path) -> dict[str, list[Sample]]:
    """Return the good samples of a samples.csv by source, in the order they were published."""
    found: dict[str, list[Sample]] = {}
    for row in _rows(path):
        values: dict[str, Any] = {
            spec.name: row[spec.name] if spec.name in _TEXT else _integer(row[spec.name]) for spec in fields(Sample)
        }
        sample = Sample(**values)
        if good(sample):
            found.setdefault(sample.source, []).append(sample)
    for samples in found.values():
        samples.sort(key=lambda sample: sample.published_raw_ns)
    return found


def _compare(
    node_id: str,
    row: Mapping[str, str],
    stamp: Stamp,
    sources: Mapping[str, ClockSource],
    samples: Mapping[str, Published],
) -> Iterator[Difference]:
    for name, source in sources.items():
        prefix = COLUMN_PREFIX[name]
        replayed = reading_cells(evaluate(source, samples[name].before(stamp), stamp), stamp.wall_ns).split(",")
        for column, value in zip(records.source_columns(prefix), replayed, strict=True):
            recorded = row[column]
            if (
                stamp.raw_ns is None
                and column == f"{prefix}_status"
                and recorded in {records.CLOCK_STEP, records.STAMP_GAP}
            ):
                continue  # which of the two it was is not in the row
            if recorded != value:
                yield Difference(node_id, row["event_id"], column, recorded, value)


def _stamp(row: Mapping[str, str], kind: str) -> Stamp:
    raw_ns = _integer(row[f"{kind}_raw_ns"])
    problem = records.CLOCK_STEP if raw_ns is None else ""
    return Stamp(int(row[f"{kind}_time_ns"]), raw_ns, int(row[f"{kind}_raw_error_ns"]), row[f"{kind}_origin"], problem)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)
    except FileNotFoundError as error:
        raise AnalysisError(f"{path}: expected the node's journal, got nothing; collect the run first") from error


def _integer(text: str) -> int | None:
    return int(text) if text else None
