"""From a run's journals to its figures: jitter, lateness, errors against the injected truth."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from node_agent.clocks.virtual import true_from_wall, wall_from_true
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from node_agent.contract.plan import VirtualClock


@dataclass(frozen=True)
class Distribution:
    """Some quantiles of a number of values; each is one of the values (nearest rank)."""

    p50: float
    p99: float
    p999: float
    max: float
    count: int

    def as_dict(self) -> dict[str, float]:
        """Return what bench.json keeps of it."""
        return {"p50": self.p50, "p99": self.p99, "max": self.max}


def distribution(values: Iterable[float]) -> Distribution | None:
    """Return the quantiles of some values, to three decimals; None if there are no values."""
    ordered = sorted(values)
    if not ordered:
        return None

    def rank(share: float) -> float:
        return round(ordered[max(0, ceil(share * len(ordered)) - 1)], 3)

    return Distribution(rank(0.5), rank(0.99), rank(0.999), rank(1.0), len(ordered))


def send_jitter_us(coordinator: Path) -> Iterator[float]:
    """Yield, per event, how much later than planned it left, in us; events without a kernel stamp are left out."""
    columns = ("planned_send_time_ns", "send_time_ns", "send_origin")
    for planned, sent, origin in cells(coordinator / records.EVENTS_FILE, columns):
        if origin == records.KERNEL_TX:
            yield (int(sent) - int(planned)) / 1e3


def achieved_hz(coordinator: Path) -> float | None:
    """Return the rate at which the events left, in events/s; None for fewer than two events."""
    sent = [int(sent) for (sent,) in cells(coordinator / records.EVENTS_FILE, ("send_time_ns",))]
    return (len(sent) - 1) * 1e9 / (sent[-1] - sent[0]) if len(sent) > 1 and sent[-1] > sent[0] else None


def lateness_ms(node: Path) -> Iterator[float]:
    """Yield, per re-measurement, how late it was made, in ms."""
    for kind, due, done in cells(node / records.COMMIT_WAIT_FILE, ("kind", "due_raw_ns", "done_raw_ns")):
        if kind == records.REMEASURE:
            yield (int(done) - int(due)) / 1e6


@dataclass(frozen=True)
class NtpError:
    """|offset - true offset| of one good NTP sample in us, as the agent estimates it and as T3 - T4 would."""

    agent_us: float
    naive_us: float


def ntp_errors(node: Path, clock: VirtualClock) -> Iterator[NtpError]:
    """Yield the errors of a node's good NTP samples against the clock that was injected into it."""
    columns = ("source", "outcome", "wall_ns", "offset_ns", "t3_ns", "t4_ns")
    for source, outcome, wall, offset, t3, t4 in cells(node / records.SAMPLES_FILE, columns):
        if (source, outcome) == (records.NTP, records.OK):
            true_ns = true_from_wall(clock, int(wall))
            truth_ns = true_ns - wall_from_true(clock, true_ns)
            yield NtpError(abs(int(offset) - truth_ns) / 1e3, abs(int(t3) - int(t4) - truth_ns) / 1e3)


def row_errors_us(worker: Path, clock: VirtualClock) -> tuple[list[float], int]:
    """Return |error| of every NTP reading of a worker's rows in us, and how many of their intervals hold the truth."""
    errors, contained = [], 0
    columns = ("receive_time_ns", "ntp_status", "ntp_timestamp_ns", "ntp_lower_bound_ns", "ntp_upper_bound_ns")
    for wall, status, estimate, lower, upper in cells(worker / records.EVENTS_FILE, columns):
        if status == records.OK:
            true_ns = true_from_wall(clock, int(wall))
            errors.append(abs(int(estimate) - true_ns) / 1e3)
            contained += int(lower) <= true_ns <= int(upper)
    return errors, contained


def cells(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yield some columns of every row; a million rows take seconds, so no cell may need CSV quotes before the last one.

    Raises ValueError for a column that is not there.
    """
    with path.open(encoding="utf-8") as stream:
        header = stream.readline().rstrip("\n").split(",")
        places = [header.index(column) for column in columns]
        splits = max(places) + 1
        for line in stream:
            found = line.rstrip("\n").split(",", splits)
            yield [found[place] for place in places]
