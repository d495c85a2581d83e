"""Recompute every reading of a run from its journals alone, and say where the node said something else.

Samples are chosen by the eligibility rule (published at or before the stamp's raw instant), never by the recorded
``_sample_id``, which is output to compare. A run that replays without a difference had no look-ahead and no hidden
state. Re-measurements and commit-waits are replayed too, as far as their rows go (``wait_checks``), assembled tables
are put together again, and every sample must agree with itself: a reading rests on few of its cells, but a reader on
all of them. Files that name another run are a difference as well.
"""

from __future__ import annotations

import csv
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from analysis.checks import replayed_samples, replayed_waits
from analysis.checks.files import identity, integrity
from analysis.checks.finding import error, one_line, warning
from analysis.checks.subject import UNFIT
from analysis.errors import AnalysisError
from analysis.run import csv_tables, load, wall_clock
from node_agent.clocks.base import KEEP, counts, evaluate
from node_agent.clocks.sources import configured
from node_agent.contract import plan as plans
from node_agent.contract import records
from node_agent.contract.cells import per_event_row, reading_cells
from node_agent.contract.records import COLUMN_PREFIX, Sample, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from analysis.checks.finding import Finding
    from analysis.checks.subject import Subject
    from node_agent.clocks.base import ClockSource

REPLAY_LIMIT: Final = 100_000  # rows; of a longer run so many are replayed, as all of them take minutes
_FILES = (
    records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE, records.SENDS_FILE, records.READINGS_FILE,
)  # fmt: skip
_TEXT = {"sample_id", "source", "server", "address", "outcome", "scope", "payload"}


@dataclass(frozen=True)
class Difference:
    """One cell that the node wrote otherwise than the journals say, of the row of an event or of something else.

    ``what`` says of what else, ``event_id`` is its number.
    """

    node_id: str
    event_id: str
    column: str
    recorded: str
    replayed: str
    what: str = "event"

    def __str__(self) -> str:
        where = f"{self.node_id} {self.what} {self.event_id} {self.column}"
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
        self._valid_for_ns = source.valid_for_ns
        self._end, self._before = 0, samples[:0]

    def before(self, stamp: Stamp) -> Sequence[Sample]:
        """Return the samples that may serve a stamp, oldest first: those the node kept, and every fresh one.

        They are the same object for stamps between two publications, for which a reader need not choose anew.
        """
        if stamp.raw_ns is None:
            return ()
        end = bisect_right(self._instants, stamp.raw_ns)
        if end != self._end:
            fresh = bisect_left(self._instants, self._instants[end - 1] - self._valid_for_ns) if end else 0
            self._end, self._before = end, self._samples[max(0, min(fresh, end - self._keep)) : end]
        return self._before


def replay(experiment_dir: Path, every: int = 1) -> Replay:
    """Recompute every reading of every row of a run, or of each ``every``-th event's rows; of a watch all.

    Raises AnalysisError where the run has not what that takes.
    """
    manifest = load.read_manifest(experiment_dir)
    if manifest.imported is not None:
        raise AnalysisError(f"{experiment_dir}: an imported run has no samples, so there is nothing to replay")
    count = 0
    differences: list[Difference] = []
    for node_id, node in manifest.nodes.items():
        if node.plan is None:
            raise AnalysisError(
                f"{experiment_dir}: manifest.json holds no plan of {node_id}; expected one to replay from"
            )
        raw = experiment_dir / records.RAW_DIR / node_id
        try:
            plan = plans.from_json(json.dumps(node.plan))
            readings, differing = _replay_node(node_id, plan, raw, every)
            differing += _not_assembled_of(experiment_dir, node_id, plan, raw, every)
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as failure:
            wanted = "expected the plan and journals of an agent"
            raise AnalysisError(f"{raw}: {wanted}, got {one_line(failure)}; collect the run again") from failure
        count += readings
        differences += [
            Difference(node_id, name, key, got, expected, "file")
            for name, key, expected, got in identity.strangers(raw, node_id, manifest)
        ]
        differences += differing
    return Replay(count, tuple(differences))


def check(subject: Subject) -> Iterator[Finding]:
    """Yield that readings are not what the journals say, where the run has what it takes to recompute them."""
    raw, nodes = subject.path / records.RAW_DIR, subject.recorded
    if not (subject.whole and nodes and all(node.plan is not None for node in nodes.values())):
        return
    needed = (records.EVENTS_FILE if subject.has_events else records.READINGS_FILE, records.SAMPLES_FILE)
    if not all((raw / node_id / name).is_file() for node_id in nodes for name in needed):
        return
    rows = sum(len(table) for node_id in nodes if (table := subject.of_node(node_id)) is not None)
    every = max(1, -(-rows // REPLAY_LIMIT))
    if every > 1:
        text = f"all but every {every}th event's readings were not recomputed here, {rows:,} rows being more than"
        yield warning("replay", records.RAW_DIR, f"{text} {REPLAY_LIMIT:,}; invoke replay does it")
    try:
        differences = replay(subject.path, every).differences
    except UNFIT as failure:
        text = f"the readings cannot be recomputed from the journals: {one_line(failure)}"
        yield error("replay", records.RAW_DIR, text)
        return
    if differences:
        text = f"{len(differences):,} cells are not what the journals say, first: {differences[0]}"
        yield error("replay", records.RAW_DIR, text, cells=len(differences))


def _replay_node(node_id: str, plan: plans.NodePlan, raw: Path, every: int) -> tuple[int, list[Difference]]:
    """Return how many readings of a node were recomputed, and what differs."""
    sources = configured(plan.clocks)
    journal, kept = read_samples(raw / records.SAMPLES_FILE), _columns(raw / records.SAMPLES_FILE)
    differences = [
        Difference(node_id, name, "sha256", _short(got), _short(expected), "file")
        for name, expected, got in integrity.altered(raw, _FILES)
    ]
    differences += [
        Difference(node_id, sample_id, column, str(recorded), str(value), "sample")
        for sample_id, column, recorded, value in replayed_samples.check(journal, plan)
        if column in kept
    ]
    samples = {name: Published(_published(journal, name), sources[name]) for name in sources}
    if plan.watch is not None:
        rows = list(_rows(raw / records.READINGS_FILE))
        for row in rows:
            differences.extend(_compare(node_id, row, _instant(row), sources, samples, "reading"))
        return len(rows) * len(sources), differences
    kind = "send" if plan.role == plans.COORDINATOR else "receive"
    count = 0
    taken: dict[str, Stamp] = {}
    for row in _rows(raw / records.EVENTS_FILE, every):
        count += len(sources)
        stamp = taken[row["event_id"]] = _stamp(row, kind)
        differences.extend(_compare(node_id, row, stamp, sources, samples))
    by_id = {sample.sample_id: sample for sample in journal}
    looks = replayed_waits.Looks(plan, sources, samples, taken, _clock(raw))
    wrong: list[replayed_waits.Wrong] = []
    for row in _rows(raw / records.COMMIT_WAIT_FILE, every):
        if row["kind"] == records.PER_EVENT:
            differences.extend(_compare_query(node_id, row, by_id.get(row["sample_id"]), taken))
            continue
        count += 1
        wrong.extend(looks.check(row))
    wrong.extend(looks.misplaced())
    differences += [Difference(node_id, where, column, got, expected) for where, column, got, expected in wrong]
    return count, differences


def _clock(raw: Path) -> wall_clock.WallClock:
    file = raw / records.CLOCK_PAIRS_FILE
    return wall_clock.of_pairs(csv_tables.read_table(file, records.CLOCK_PAIRS_COLUMNS) if file.is_file() else None)


def _not_assembled_of(path: Path, node_id: str, plan: plans.NodePlan, raw: Path, every: int) -> list[Difference]:
    """Put a node's table together again, re-measured uncertainties and all, and compare it cell by cell."""
    name = records.table_file(node_id, plan.role)
    if not (path / name).is_file():
        return []
    rows: Iterable[dict[str, str]] = _rows(raw / records.EVENTS_FILE, every)
    if plan.role != plans.COORDINATOR:
        waits = _rows(raw / records.COMMIT_WAIT_FILE, every)
        rows = records.join_commit_wait(rows, waits, plan.commit_wait_delays_s)
    differences: list[Difference] = []
    for expected, got in zip_longest(rows, _rows(path / name, every)):
        if expected is None or got is None:
            event = (expected or got or {}).get("event_id", "")
            words = ("a row", "no row") if expected is None else ("no row", "a row")
            differences.append(Difference(node_id, name, f"row of event {event}", *words, "file"))
            return differences
        differences += _unlike(node_id, expected["event_id"], got, expected.items(), f"row of {name}, event")
    return differences


def read_samples(path: Path) -> list[Sample]:
    """Return all samples of a samples.csv, good and failed, in the order of the file."""
    samples = []
    for row in _rows(path):
        values: dict[str, Any] = {
            spec.name: row[spec.name] if spec.name in _TEXT else _integer(row[spec.name])
            for spec in fields(Sample)
            if spec.name in row or spec.name not in records.LATER_SAMPLES_COLUMNS
        }
        samples.append(Sample(**values))
    return samples


def _published(samples: Sequence[Sample], source: str) -> list[Sample]:
    """Return the samples of one source that count, in the order they were published."""
    return sorted(
        (sample for sample in samples if sample.source == source and counts(sample)),
        key=lambda sample: sample.published_raw_ns,
    )


def _compare(
    node_id: str,
    row: Mapping[str, str],
    stamp: Stamp,
    sources: Mapping[str, ClockSource],
    samples: Mapping[str, Published],
    what: str = "event",
) -> Iterator[Difference]:
    number = row[f"{what}_id"]
    for name, source in sources.items():
        prefix, known = COLUMN_PREFIX[name], stamp
        if stamp.raw_ns is None and row[f"{prefix}_status"] == records.STAMP_GAP:
            known = stamp._replace(problem=records.STAMP_GAP)  # or a step: its cells do not say
        cells = reading_cells(evaluate(source, samples[name].before(stamp), known), stamp.wall_ns).split(",")
        yield from _unlike(node_id, number, row, zip(records.source_columns(prefix), cells, strict=True), what)


def _compare_query(
    node_id: str, row: Mapping[str, str], sample: Sample | None, taken: Mapping[str, Stamp]
) -> Iterator[Difference]:
    """Compare the row of an event's own query with its event's stamp and with the sample it names."""
    where = f"{row['event_id']} {row['kind']} {row['source']}"
    if sample is None:
        yield Difference(node_id, where, "sample_id", row["sample_id"], "a sample of samples.csv")
        return
    stamp = taken.get(row["event_id"])
    raw_ns = int(row["due_raw_ns"]) if stamp is None or stamp.raw_ns is None else stamp.raw_ns
    cells = per_event_row(int(row["event_id"]), raw_ns, sample).split(",")
    yield from _unlike(node_id, where, row, zip(records.COMMIT_WAIT_COLUMNS, cells, strict=True))


def _unlike(
    node_id: str, where: str, row: Mapping[str, str], cells: Iterable[tuple[str, str]], what: str = "event"
) -> Iterator[Difference]:
    """Yield the columns in which a row has not the cells that were recomputed."""
    for column, cell in cells:
        if row.get(column) != cell and (column in row or not records.is_later(column)):
            yield Difference(node_id, where, column, str(row.get(column)), cell, what)


def _short(digest: str) -> str:
    return digest if " " in digest else digest[:12]


def _stamp(row: Mapping[str, str], kind: str) -> Stamp:
    raw_ns = _integer(row[f"{kind}_raw_ns"])
    problem = records.CLOCK_STEP if raw_ns is None else ""
    return Stamp(int(row[f"{kind}_time_ns"]), raw_ns, int(row[f"{kind}_raw_error_ns"]), row[f"{kind}_origin"], problem)


def _instant(row: Mapping[str, str]) -> Stamp:
    """Return the stamp of a row of readings.csv."""
    return Stamp(int(row["wall_ns"]), int(row["raw_ns"]), int(row["raw_error_ns"]), records.USER)


def _rows(path: Path, every: int = 1) -> Iterator[dict[str, str]]:
    """Yield a table's rows, or those of each ``every``-th event."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if every == 1 or int(row["event_id"]) % every == 0:
                    yield row
    except FileNotFoundError as error:
        raise AnalysisError(f"{path}: expected the node's journal, got nothing; collect the run first") from error


def _columns(path: Path) -> set[str]:
    with path.open(encoding="utf-8", newline="") as stream:
        return set(next(csv.reader(stream), ()))


def _integer(text: str) -> int | None:
    return int(text) if text else None
