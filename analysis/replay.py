"""Recompute every reading of a run from its journals alone, and say where the node said something else.

Samples are chosen by the eligibility rule (published at or before the stamp's raw instant), never by the recorded
``_sample_id``, which is output to compare. A run that replays without a difference had no look-ahead and no hidden
state. Re-measurements and commit-waits are replayed too, as far as their rows go (they do not hold a wall stamp), and
every sample must agree with itself: a reading rests on few of its cells, but a reader on all of them.
"""

from __future__ import annotations

import csv
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from analysis import load, raw_checks, sample_checks
from analysis.errors import AnalysisError
from node_agent import plan as plans
from node_agent import records
from node_agent.clocks.base import KEEP, evaluate, good
from node_agent.clocks.sources import configured
from node_agent.records import CHRONOTICK, COLUMN_PREFIX, OK, Available, Sample, Stamp, per_event_row, reading_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from node_agent.clocks.base import ClockSource

_FILES = (records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE, records.SENDS_FILE)
_LOOKS = {OK, "waiting", "gave_up"}  # what a commit-wait says of a look at a clock that has a reading
_TEXT = {"sample_id", "source", "server", "address", "outcome", "scope", "payload"}


@dataclass(frozen=True)
class Difference:
    """One cell that the node wrote otherwise than the journals say, of a row of an event or (``what``) of a sample."""

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

    def before(self, stamp: Stamp) -> Sequence[Sample]:
        """Return the samples that may serve a stamp, oldest first: those the node kept, and every fresh one."""
        if stamp.raw_ns is None:
            return ()
        end = bisect_right(self._instants, stamp.raw_ns)
        fresh = bisect_left(self._instants, stamp.raw_ns - self._valid_for_ns)
        return self._samples[max(0, min(fresh, end - self._keep)) : end]


def replay(experiment_dir: Path) -> Replay:
    """Recompute every reading of every row of a run. Raises AnalysisError where the run has not what that takes."""
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
            readings, found = _replay_node(node_id, plans.from_json(json.dumps(node.plan)), raw)
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            got = " ".join(f"{type(error).__name__}: {error}".split())
            told = f"expected the plan and journals of an agent, got {got}; collect the run again"
            raise AnalysisError(f"{raw}: {told}") from error
        count += readings
        differences += found
    return Replay(count, tuple(differences))


def _replay_node(node_id: str, plan: plans.NodePlan, raw: Path) -> tuple[int, list[Difference]]:
    """Return how many readings of a node were recomputed, and what differs."""
    sources = configured(plan.clocks)
    journal = read_samples(raw / records.SAMPLES_FILE)
    differences = [
        Difference(node_id, name, "sha256", _short(got), _short(expected), "file")
        for name, expected, got in raw_checks.altered(raw, _FILES)
    ]
    differences += [
        Difference(node_id, sample_id, column, str(recorded), str(value), "sample")
        for sample_id, column, recorded, value in sample_checks.check(journal, plan)
    ]
    samples = {name: Published(_published(journal, name), sources[name]) for name in sources}
    kind = "send" if plan.role == plans.COORDINATOR else "receive"
    count = 0
    taken: dict[str, int | None] = {}
    for row in _rows(raw / records.EVENTS_FILE):
        count += len(sources)
        stamp = _stamp(row, kind)
        taken[row["event_id"]] = stamp.raw_ns
        differences.extend(_compare(node_id, row, stamp, sources, samples))
    by_id = {sample.sample_id: sample for sample in journal}
    delays_ns = {f"{delay_s:g}": round(delay_s * 1e9) for delay_s in plan.commit_wait_delays_s}
    for row in _rows(raw / records.COMMIT_WAIT_FILE):
        if row["kind"] == records.PER_EVENT:
            differences.extend(_compare_query(node_id, row, by_id.get(row["sample_id"]), taken))
            continue
        count += 1
        if row["kind"] == records.REMEASURE:
            differences.extend(_compare_due(node_id, row, taken, delays_ns))
        differences.extend(_compare_later(node_id, row, sources, samples))
    return count, differences


def read_samples(path: Path) -> list[Sample]:
    """Return all samples of a samples.csv, good and failed, in the order of the file."""
    samples = []
    for row in _rows(path):
        values: dict[str, Any] = {
            spec.name: row[spec.name] if spec.name in _TEXT else _integer(row[spec.name]) for spec in fields(Sample)
        }
        samples.append(Sample(**values))
    return samples


def _published(samples: Sequence[Sample], source: str) -> list[Sample]:
    """Return the good samples of one source in the order they were published."""
    return sorted(
        (sample for sample in samples if sample.source == source and good(sample)),
        key=lambda sample: sample.published_raw_ns,
    )


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


def _compare_later(
    node_id: str, row: Mapping[str, str], sources: Mapping[str, ClockSource], samples: Mapping[str, Published]
) -> Iterator[Difference]:
    """Compare a row of commit_wait.csv: whether there was a reading, of which sample, and how sure it was."""
    source, where = row["source"], f"{row['event_id']} {row['kind']} {row['source']} at {row['done_raw_ns']}"
    if source not in sources:
        yield Difference(node_id, where, "source", source, "a configured source")
        return
    stamp = Stamp(0, int(row["done_raw_ns"]), 0, records.USER)
    reading = evaluate(sources[source], samples[source].before(stamp), stamp)
    status = OK if row["kind"] == records.COMMIT and row["status"] in _LOOKS else row["status"]
    if not isinstance(reading, Available):
        if (status, row["sample_id"]) != (reading.reason, ""):
            yield Difference(node_id, where, "status", row["status"], reading.reason)
        return
    if (status, row["sample_id"]) != (OK, reading.sample_id):
        yield Difference(node_id, where, "sample_id", f"{row['status']} {row['sample_id']}", reading.sample_id)
        return
    least = f"{reading.uncertainty_ns / 1e6:.6f}"  # a half-width also holds the error of the stamp, not in the row
    claimed = row["uncertainty_ms"]
    if claimed != least and (source == CHRONOTICK or float(claimed) < float(least)):
        yield Difference(node_id, where, "uncertainty_ms", claimed, least)


def _compare_due(
    node_id: str, row: Mapping[str, str], taken: Mapping[str, int | None], delays_ns: Mapping[str, int]
) -> Iterator[Difference]:
    """Compare when a re-measurement was due with its event's stamp; a killed agent's event may be lost."""
    where = f"{row['event_id']} {row['kind']} {row['source']} after {row['delay_s']} s"
    begun_ns, delay_ns = taken.get(row["event_id"]), delays_ns.get(row["delay_s"])
    if delay_ns is None:
        yield Difference(node_id, where, "delay_s", row["delay_s"], f"one of {', '.join(delays_ns)}")
    elif begun_ns is not None and (due := str(begun_ns + delay_ns)) != row["due_raw_ns"]:
        yield Difference(node_id, where, "due_raw_ns", row["due_raw_ns"], due)


def _compare_query(
    node_id: str, row: Mapping[str, str], sample: Sample | None, taken: Mapping[str, int | None]
) -> Iterator[Difference]:
    """Compare the row of an event's own query with its event's stamp and with the sample it names."""
    where = f"{row['event_id']} {row['kind']} {row['source']}"
    if sample is None:
        yield Difference(node_id, where, "sample_id", row["sample_id"], "a sample of samples.csv")
        return
    begun_ns = taken.get(row["event_id"])
    raw_ns = int(row["due_raw_ns"]) if begun_ns is None else begun_ns
    cells = per_event_row(int(row["event_id"]), raw_ns, sample).split(",")
    for column, value in zip(records.COMMIT_WAIT_COLUMNS, cells, strict=True):
        if row[column] != value:
            yield Difference(node_id, where, column, row[column], value)


def _short(digest: str) -> str:
    return digest if " " in digest else digest[:12]


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
