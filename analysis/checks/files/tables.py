"""Checks on the assembled tables: their columns, what their cells may be, and the order of their rows.

Every check goes on after what it found; a cell that is not there is found once, and never a crash later.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event.event_rows import integers
from analysis.checks.files import payload_stamps
from analysis.checks.finding import error, ids, warning
from analysis.run import load
from analysis.run.stored import consecutive, parts_of
from analysis.run.wall_clock import EARLIEST_NS, LATEST_NS
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd

    from analysis.arrays import Bools, Ints
    from analysis.checks.finding import Finding
    from analysis.checks.subject import Subject
    from analysis.run.stored import Frame

    Make = Callable[..., Finding]
    Rule = tuple[Make, str, str, pd.Series[Any], str]

ORIGINS: Final = (records.KERNEL_RX, records.KERNEL_TX, records.USER)
KINDS: Final = (records.GUARANTEED, records.PROBABILISTIC)
LAWS: Final = (records.DRIFT_LIMIT, records.AS_CLAIMED)
NUMBERS: Final = (
    "offset_ms", "uncertainty_ms", "timestamp_ns", "lower_bound_ns", "upper_bound_ns", "age_ms", "asymmetry_ms",
)  # fmt: skip


def find(subject: Subject) -> Iterator[Finding]:
    """Yield what is off in the columns, the cells and the order of every node's table."""
    imported = subject.manifest is not None and subject.manifest.imported is not None
    for node_id, role in subject.roles.items():
        table, file = subject.of_node(node_id), subject.file_of(node_id)
        if table is None:
            continue
        if not subject.has_events:
            yield from _without_events(file, table, node_id, imported=imported)
            continue
        yield from columns(file, table, _expected(role, table, subject.manifest), node_id)
        stamp = "send" if role == "coordinator" else "receive"
        if table.empty:
            yield error("cells", file, "no rows", node_id)
        yield from _cells(file, table, node_id, stamp, imported=imported)
        for of, text in _order(table, stamp, subject.pairs(node_id)):
            yield of("order", file, text, node_id)


def _cells(file: str, table: Frame, node_id: str, stamp: str, *, imported: bool) -> Iterator[Finding]:
    """Yield what is off in the cells of a node's table, which are looked at part by part."""
    strangers: set[str] = set()
    empty = Counter[str]()
    broken: list[_Broken] = []
    for (part,) in parts_of(table):
        strangers |= set(part["node_id"].dropna()) - {node_id} if "node_id" in part else set()
        empty.update({column: int(part[column].isna().sum()) for _, column in _required(stamp, imported=imported)
                      if column in part})  # fmt: skip
        rules = [*_stamps(part, stamp, imported=imported)]
        rules += [rule for prefix in load.prefixes([part]) for rule in _readings(part, prefix)]
        broken = broken or [_Broken(of, code, source, what) for of, code, source, _, what in rules]
        for rule, (_, _, _, hits, _) in zip(broken, rules, strict=True):
            rule.add(part, hits.astype("boolean").fillna(value=False).to_numpy(dtype=np.bool_))
    if strangers:
        text = f"expected node_id {node_id!r} in every row, got {min(strangers)!r}"
        yield error("cells", file, text, node_id)
    for of, column in _required(stamp, imported=imported):
        if rows := empty[column]:
            yield of("cells", file, f"{rows:,} rows without {column}", node_id, rows=rows)
    for rule in broken:
        if rule.rows:
            which = f" (event {ids(rule.events)})" if rule.events else ""
            text = f"{rule.what} in {rule.rows:,} of {len(table):,} rows{which}"
            yield rule.of(rule.code, file, text, node_id, rule.source, rows=rule.rows)


@dataclass
class _Broken:
    """A rule for cells, in how many rows it is broken, and of which events these are."""

    of: Make
    code: str
    source: str
    what: str
    rows: int = 0
    events: set[int] = field(default_factory=set)

    def add(self, table: Frame, hits: Bools) -> None:
        """Count the rows of a part that break it."""
        if rows := int(np.count_nonzero(hits)):
            self.rows += rows
            self.events |= set(table["event_id"][hits].dropna()) if "event_id" in table else set()


def _without_events(file: str, table: Frame, node_id: str, *, imported: bool) -> Iterator[Finding]:
    """Yield what is off in a node's readings; those of an imported log have no raw stamps."""
    prefixes = tuple(load.prefixes([table]))
    if not imported:
        yield from columns(file, table, records.readings_columns(prefixes), node_id)
    if table.empty:
        yield error("cells", file, "no rows", node_id)
    needed = [(error, "reading_id"), (error, "wall_ns"), *([] if imported else [(warning, "raw_ns")])]
    for of, column in needed:
        if column in table and (empty := int(table[column].isna().sum())):
            yield of("cells", file, f"{empty:,} rows without {column}", node_id, rows=empty)
    if "reading_id" in table and (twice := int(table["reading_id"].dropna().duplicated().sum())):
        yield error("cells", file, f"{twice:,} rows have a reading_id that another row has", node_id, rows=twice)
    if "node_id" in table and (strangers := sorted(set(table["node_id"].dropna()) - {node_id})):
        yield error("cells", file, f"expected node_id {node_id!r} in every row, got {strangers[0]!r}", node_id)
    for of, code, source, hits, what in [rule for prefix in prefixes for rule in _readings(table, prefix)]:
        if rows := int(np.count_nonzero(hits.astype("boolean").fillna(value=False).to_numpy(dtype=bool))):
            yield of(code, file, f"{what} in {rows:,} of {len(table):,} rows", node_id, source, rows=rows)
    if text := _backwards(table, "wall_ns" if imported else "raw_ns", "" if imported else "raw_error_ns"):
        yield warning("order", file, f"rows go back {text}", node_id)


# --- columns ----------------------------------------------------------------------------------------------------------


def columns(file: str, table: Frame, expected: Sequence[str], node_id: str) -> Iterator[Finding]:
    """Compare a table's columns with the contract's, in order."""
    got = [str(column) for column in table.columns]
    missing = [column for column in expected if column not in got]
    unknown = [column for column in got if column not in expected]
    if missing:
        yield error("columns", file, f"expected the columns {', '.join(missing)}, which are not there", node_id)
    if unknown:
        yield warning("columns", file, f"got columns that nobody defined: {', '.join(unknown)}", node_id)
    if not missing and not unknown and got != list(expected):
        place = next(place for place, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b)
        text = f"columns out of order: expected {expected[place]!r}, got {got[place]!r}"
        yield warning("columns", file, text, node_id)


def _expected(role: str, table: Frame, manifest: records.Manifest | None) -> tuple[str, ...]:
    prefixes = tuple(dict.fromkeys((*records.SOURCE_PREFIXES, *load.prefixes([table]))))
    names = (
        records.events_columns(role, prefixes)
        if role == "coordinator"
        else records.worker_columns(_delays_s(table, manifest), prefixes)
    )
    earlier = not any(records.is_later(str(column)) for column in table.columns)
    return tuple(name for name in names if not (earlier and records.is_later(name)))


def _delays_s(table: Frame, manifest: records.Manifest | None) -> list[float]:
    if manifest is not None and manifest.imported is None:
        try:
            return [float(delay) for delay in manifest.config["worker"]["timing"]["commit_wait_delays"]]
        except (KeyError, TypeError, ValueError):  # a hand-made manifest: the columns speak for themselves
            pass
    pattern = re.compile(re.escape(records.delay_column(0)).replace("0s", "([0-9.]+)s"))
    return [float(match[1]) for column in table.columns if (match := pattern.fullmatch(str(column)))]


# --- cells ------------------------------------------------------------------------------------------------------------


def _required(stamp: str, *, imported: bool) -> list[tuple[Make, str]]:
    """Return which columns have a cell in every row; an imported table has no raw stamps."""
    always = [(error, "event_id"), (error, "sequence_number"), (error, f"{stamp}_time_ns")]
    return always if imported else [*always, (warning, f"{stamp}_raw_ns"), (warning, f"{stamp}_origin")]


def _stamps(table: Frame, stamp: str, *, imported: bool) -> Iterator[Rule]:
    """Yield the rules for stamps: how bad, of which kind and source, the rows that break it, and what is wrong."""
    for name in (f"{stamp}_time_ns", "planned_send_time_ns", "coordinator_send_time_ns"):
        if name in table:
            inside = table[name].between(EARLIEST_NS, LATEST_NS).fillna(value=True)
            yield warning, "cells", "", ~inside, f"{name} is not in ns since 1970 between 2000 and 2100"
    if imported:
        return
    if (name := f"{stamp}_origin") in table:
        yield error, "cells", "", _none_of(table[name], ORIGINS), f"{name} is none of {', '.join(ORIGINS)}"
    for name in (f"{stamp}_raw_ns", f"{stamp}_raw_error_ns"):
        if name in table:
            yield error, "cells", "", table[name] < 0, f"{name} is negative"


def _readings(table: Frame, prefix: str) -> Iterator[Rule]:
    """Yield the rules for one source's cells, likewise."""
    source, cells = load.source_name(prefix), {name: table[f"{prefix}_{name}"] for name in records.SOURCE_FIELDS
                                               if f"{prefix}_{name}" in table}  # fmt: skip
    status, est = cells["status"], cells["timestamp_ns"]
    is_ok = (status == records.OK).fillna(value=False)
    numbers = ~np.logical_and.reduce([cells[name].isna().to_numpy() for name in NUMBERS if name in cells])
    yield error, "cells", source, status.isna(), f"no {prefix}_status"
    yield error, "cells", source, is_ok & est.isna(), f"{prefix}_status is ok and there is no {prefix}_timestamp_ns"
    yield error, "cells", source, ~is_ok & numbers, f"{prefix}_status is not ok and yet there are numbers"
    for name in ("uncertainty_ms", "asymmetry_ms", "age_ms"):
        if name in cells:
            yield error, "cells", source, cells[name] < 0, f"{prefix}_{name} is negative"
    if (level := cells.get("level")) is not None:
        yield error, "cells", source, (level <= 0) | (level > 1), f"{prefix}_level is not in (0, 1]"
    if (kind := cells.get("kind")) is not None:
        yield error, "cells", source, _none_of(kind, KINDS), f"{prefix}_kind is none of {', '.join(KINDS)}"
    if (law := cells.get("law")) is not None:
        yield error, "cells", source, _none_of(law, LAWS), f"{prefix}_law is none of {', '.join(LAWS)}"
    if {"lower_bound_ns", "upper_bound_ns"} <= set(cells):
        low, high = cells["lower_bound_ns"], cells["upper_bound_ns"]
        outside = f"{prefix}: the estimate is outside its bounds"
        yield error, "disordered-bounds", source, (low > est) | (est > high), outside
        yield error, "cells", source, is_ok & (low.isna() != high.isna()), f"{prefix}: one bound of two"


def _none_of(cells: pd.Series[Any], words: Sequence[str]) -> pd.Series[Any]:
    return cells.notna() & ~cells.isin(words)


# --- order ------------------------------------------------------------------------------------------------------------


def _order(table: Frame, stamp: str, pairs: pd.DataFrame | None) -> Iterator[tuple[Make, str]]:
    """Check the rows' order, which is the raw oscillator's: a wall clock may have been set back."""
    if stamp == "send":
        name = "sequence_number"
        if name in table and (times := sum(int(np.count_nonzero(steps < 0)) for steps in _steps(table, name))):
            yield error, f"{name} goes back {times:,} times; rows are in sending order"
        if text := _planned(table, pairs):
            yield error, f"planned_send_time_ns goes back {text} on the raw oscillator"
        elif text := _backwards(table, "planned_send_time_ns", ""):
            yield warning, f"planned_send_time_ns goes back {text}"
    for column in (f"{stamp}_raw_ns", f"{stamp}_time_ns"):
        if text := _backwards(table, column, f"{stamp}_raw_error_ns"):
            yield warning, f"{column} goes back {text}"


def _planned(table: Frame, pairs: pd.DataFrame | None) -> str:
    """Say how planned instants go back. They are wall instants, each of which is a range on the raw oscillator."""
    needed = ["planned_send_time_ns", "send_time_ns", "send_raw_ns"]
    if not set(needed) <= set(table.columns):
        return ""
    rows = payload_stamps.chosen(np.logical_and.reduce([integers(table, name)[1] for name in needed]))
    stamps = payload_stamps.Stamps.of(table, rows)
    if stamps.raw is None or not len(stamps.wall):
        return ""
    set_back, set_forward = payload_stamps.around_sends(stamps, pairs)
    slack = np.zeros_like(stamps.wall) if stamps.error is None else stamps.error.ns
    middle = integers(table, "planned_send_time_ns")[0][rows] - stamps.wall
    middle += stamps.raw.ns
    steps = middle[1:] - middle[:-1]  # from the earliest that one may be to the latest that the next may be
    for least, most in ((set_back, set_forward), (slack, slack)):
        steps += least[:-1]
        steps += most[1:]
    return _times([steps])


def _backwards(table: Frame, column: str, error_column: str) -> str:
    """Say how stamps are earlier than the row before by more than what the two stamps are unsure about."""
    if column not in table:
        return ""
    return _times(_steps(table, column, error_column))


def _steps(table: Frame, column: str, error_column: str = "") -> Iterator[Ints]:
    """Yield, some rows at a time, how much larger each number of a column may be than the one before it that is there.

    With a column of errors, what both may be off by counts.
    """
    last = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for rows in consecutive(table):
        numbers, known = integers(rows, column)
        slack = integers(rows, error_column)[0] if error_column in table else np.zeros_like(numbers)
        ends = np.concatenate([last[0], numbers[known]]), np.concatenate([last[1], slack[known]])
        yield np.diff(ends[0]) + ends[1][1:] + ends[1][:-1]
        last = ends[0][-1:], ends[1][-1:]


def _times(steps: Iterable[Ints]) -> str:
    """Count the steps back, in words; ns."""
    back = np.concatenate([some[some < 0] for some in steps])
    return f"{len(back):,} times, by up to {-int(back.min()) / 1e6:.3f} ms" if len(back) else ""
