"""Checks on one table of a run folder: its columns, its events, its stamps, their order and their ranges.

Every check yields problems and goes on; a cell that is not there is a problem once, and never a crash later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from analysis.checks.finding import ids
from analysis.errors import AnalysisError
from analysis.run import load, payload_stamps, wall_clock
from analysis.run.wall_clock import EARLIEST_NS, LATEST_NS
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ERROR: Final = "error"
WARNING: Final = "warning"

ORIGINS: Final = {records.KERNEL_TX, records.KERNEL_RX, records.USER}
KINDS: Final = {records.GUARANTEED, records.PROBABILISTIC}
NUMBERS: Final = ("offset_ms", "uncertainty_ms", "timestamp_ns", "lower_bound_ns", "upper_bound_ns", "age_ms")


@dataclass(frozen=True)
class Problem:
    """One thing that is off in a run folder. ``where`` is a file or node; errors make ``invoke validate`` exit 7."""

    severity: Literal["error", "warning"]
    where: str
    message: str

    @property
    def line(self) -> str:
        """Return the problem as one line, whatever is in the names that it tells of."""
        return " ".join(f"{self.severity}: {self.where}: {self.message}".split())


def read(path: Path, name: str, problems: list[Problem]) -> pd.DataFrame | None:
    """Read a table of the run, or note why that cannot be done and return None."""
    if not (path / name).is_file():
        problems.append(Problem(ERROR, name, "expected the file, found none"))
        return None
    try:
        return load.read_table(path / name)
    except AnalysisError as error:
        problems.append(Problem(ERROR, name, str(error).removeprefix(f"{path / name}: ")))
        return None


def check_columns(where: str, frame: pd.DataFrame, expected: Sequence[str]) -> Iterator[Problem]:
    """Compare a table's columns with the contract's, in order."""
    got = [str(column) for column in frame.columns]
    missing = [column for column in expected if column not in got]
    unknown = [column for column in got if column not in expected]
    if missing:
        yield Problem(ERROR, where, f"expected the columns {', '.join(missing)}, which are not there")
    if unknown:
        yield Problem(WARNING, where, f"got columns that nobody defined: {', '.join(unknown)}")
    if not missing and not unknown and got != list(expected):
        place = next(place for place, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b)
        yield Problem(WARNING, where, f"columns out of order: expected {expected[place]!r}, got {got[place]!r}")


def check_table(
    where: str, frame: pd.DataFrame, role: str, *, imported: bool, pairs: pd.DataFrame | None = None
) -> Iterator[Problem]:
    """Check one assembled table of a worker or coordinator; an imported one has no raw stamps to check.

    ``pairs`` are the node's clock pairs, which show where its wall clock was set.
    """
    stamp = "send" if role == "coordinator" else "receive"
    yield from _events(where, frame)
    yield from _stamps(where, frame, stamp, imported=imported)
    yield from _order(where, frame, stamp, pairs)
    for prefix in load.prefixes([frame]):
        yield from _readings(where, frame, prefix)


def _events(where: str, frame: pd.DataFrame) -> Iterator[Problem]:
    if frame.empty:
        yield Problem(ERROR, where, "no rows")
    for column in ("event_id", "sequence_number"):
        if column not in frame:
            continue
        empty = int(frame[column].isna().sum())
        if empty:
            yield Problem(ERROR, where, f"{empty:,} rows without {column}")
        known = frame[column].dropna()
        copies = sorted(set(known[known.duplicated()]))
        if copies:
            yield Problem(ERROR, where, f"duplicate {column}: {len(copies):,} come more than once ({ids(copies)})")


def _stamps(where: str, frame: pd.DataFrame, stamp: str, *, imported: bool) -> Iterator[Problem]:
    wall = f"{stamp}_time_ns"
    if wall in frame and (empty := int(frame[wall].isna().sum())):
        yield Problem(ERROR, where, f"{empty:,} rows without {wall}")
    for column in (wall, "planned_send_time_ns", "coordinator_send_time_ns"):
        if column in frame:
            yield from _rows(
                WARNING, where, ~frame[column].between(EARLIEST_NS, LATEST_NS).fillna(value=True), frame,
                f"{column} is not in ns since 1970 between 2000 and 2100",
            )  # fmt: skip
    if imported:
        return
    for column in (f"{stamp}_raw_ns", f"{stamp}_origin"):
        if column in frame and (empty := int(frame[column].isna().sum())):
            yield Problem(WARNING, where, f"{empty:,} rows without {column}")
    if f"{stamp}_origin" in frame:
        strange = frame[f"{stamp}_origin"].notna() & ~frame[f"{stamp}_origin"].isin(ORIGINS)
        yield from _rows(ERROR, where, strange, frame, f"{stamp}_origin is none of {', '.join(sorted(ORIGINS))}")
    for column in (f"{stamp}_raw_ns", f"{stamp}_raw_error_ns"):
        if column in frame:
            yield from _rows(ERROR, where, frame[column] < 0, frame, f"{column} is negative")


def _order(where: str, frame: pd.DataFrame, stamp: str, pairs: pd.DataFrame | None) -> Iterator[Problem]:
    """Check the rows' order, which is the raw oscillator's: a wall clock may have been set back."""
    if stamp == "send":
        if "sequence_number" in frame:
            backwards = int((frame["sequence_number"].dropna().astype("int64").diff() < 0).sum())
            if backwards:
                yield Problem(ERROR, where, f"sequence_number goes back {backwards:,} times; rows are in sending order")
        yield from _planned(where, frame, pairs)
    yield from _backwards(WARNING, where, frame, f"{stamp}_raw_ns", f"{stamp}_raw_error_ns")
    yield from _backwards(WARNING, where, frame, f"{stamp}_time_ns", f"{stamp}_raw_error_ns")


def _planned(where: str, frame: pd.DataFrame, pairs: pd.DataFrame | None) -> Iterator[Problem]:
    """Find planned instants before those of the row before. They are wall instants, on the raw oscillator a range."""
    if "planned_send_time_ns" not in frame:
        return
    by_wall = list(_backwards(WARNING, where, frame, "planned_send_time_ns", None))
    needed = ["planned_send_time_ns", "send_time_ns", "send_raw_ns"]
    known = frame.dropna(subset=needed) if set(needed) <= set(frame.columns) else frame[:0]
    back = np.zeros(0, dtype=np.int64)
    if len(known):
        planned, wall, raw = (known[name].to_numpy(dtype=np.int64) for name in needed)
        set_back, set_forward = payload_stamps.around_sends(known, wall_clock.of_sends(pairs, known))
        error = known["send_raw_error_ns"].fillna(0).to_numpy(dtype=np.int64) if "send_raw_error_ns" in known else 0
        middle = planned - (wall - raw)
        earliest, latest = middle - set_back - error, middle + set_forward + error
        back = earliest[:-1] - latest[1:]
    if (back > 0).any():
        count, most = int((back > 0).sum()), int(back.max()) / 1e6
        text = f"planned_send_time_ns goes back {count:,} times, by up to {most:.3f} ms on the raw oscillator"
        yield Problem(ERROR, where, text)
    else:
        yield from by_wall


def _backwards(
    severity: Literal["error", "warning"], where: str, frame: pd.DataFrame, column: str, error: str | None
) -> Iterator[Problem]:
    """Find stamps earlier than the row before by more than what the two stamps are unsure about."""
    if column not in frame:
        return
    columns = [column] if error is None or error not in frame else [column, error]
    known = frame[columns].dropna(subset=[column]).fillna(0).astype("int64")
    slack = known[error] + known[error].shift(fill_value=0) if error in known else 0
    steps = known[column].diff().fillna(0) + slack
    if int((steps < 0).sum()):
        most = -int(steps.min()) / 1e6
        yield Problem(severity, where, f"{column} goes back {int((steps < 0).sum()):,} times, by up to {most:.3f} ms")


def _readings(where: str, frame: pd.DataFrame, prefix: str) -> Iterator[Problem]:
    status = frame[f"{prefix}_status"]
    yield from _rows(ERROR, where, status.isna(), frame, f"no {prefix}_status")
    is_ok = (status == records.OK).fillna(value=False)
    numbers = [f"{prefix}_{name}" for name in NUMBERS if f"{prefix}_{name}" in frame]
    without = is_ok & frame[f"{prefix}_timestamp_ns"].isna()
    yield from _rows(ERROR, where, without, frame, f"{prefix}_status is ok and there is no {prefix}_timestamp_ns")
    with_numbers = ~is_ok & frame[numbers].notna().any(axis=1)
    yield from _rows(ERROR, where, with_numbers, frame, f"{prefix}_status is not ok and yet there are numbers")
    for name in ("uncertainty_ms", "age_ms"):
        if f"{prefix}_{name}" in frame:
            yield from _rows(ERROR, where, frame[f"{prefix}_{name}"] < 0, frame, f"{prefix}_{name} is negative")
    if f"{prefix}_level" in frame:
        level = frame[f"{prefix}_level"]
        yield from _rows(ERROR, where, (level <= 0) | (level > 1), frame, f"{prefix}_level is not in (0, 1]")
    if f"{prefix}_kind" in frame:
        strange = frame[f"{prefix}_kind"].notna() & ~frame[f"{prefix}_kind"].isin(KINDS)
        yield from _rows(ERROR, where, strange, frame, f"{prefix}_kind is none of {', '.join(sorted(KINDS))}")
    bounds = [f"{prefix}_{name}" for name in ("lower_bound_ns", "timestamp_ns", "upper_bound_ns")]
    if all(column in frame for column in bounds):
        low, est, high = (frame[column] for column in bounds)
        yield from _rows(
            ERROR, where, (low > est) | (est > high), frame, f"{prefix}: the estimate is outside its bounds"
        )
        half = is_ok & (low.isna() != high.isna())
        yield from _rows(ERROR, where, half, frame, f"{prefix}: one bound of two")


def _rows(
    severity: Literal["error", "warning"], where: str, hits: pd.Series[Any], frame: pd.DataFrame, what: str
) -> Iterator[Problem]:
    """Yield one problem naming how many rows, and which events, a condition is true of."""
    wrong = hits.astype("boolean").fillna(value=False).to_numpy(dtype=bool)
    if wrong.any():
        events = frame.loc[wrong, "event_id"].dropna() if "event_id" in frame else pd.Series(dtype="Int64")
        which = f" (event {ids(set(events))})" if len(events) else ""
        yield Problem(severity, where, f"{what} in {int(wrong.sum()):,} of {len(frame):,} rows{which}")
