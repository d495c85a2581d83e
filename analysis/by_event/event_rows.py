"""One node's rows seen event by event: where its row of every event of the run is, and the columns in that order.

A table is never joined, copied or sorted as a whole: a column is taken to the events when somebody asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.errors import AnalysisError
from analysis.run.stored import Frame, StoredFrame

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analysis.arrays import Bools, Floats, Ints, Places


@dataclass(frozen=True)
class Instants:
    """Instants or times in ns, with a mask of those known; ``ns`` is 0 elsewhere and means nothing there."""

    ns: Ints
    known: Bools

    def nullable(self) -> pd.arrays.IntegerArray:
        """Return them as a column of a table."""
        return pd.arrays.IntegerArray(self.ns.copy(), ~self.known)


@dataclass(frozen=True)
class RawStamps:
    """Raw-oscillator stamps in ns, each within ``error_ns`` of its instant, with a mask of those that are known."""

    ns: Ints
    error_ns: Ints
    known: Bools

    def take(self, positions: Ints) -> RawStamps:
        """Return the stamps of some events, in the order given."""
        return RawStamps(self.ns[positions], self.error_ns[positions], self.known[positions])


@dataclass(frozen=True)
class Text:
    """A column of text, event by event: ``codes`` index ``words``, -1 where there is none."""

    codes: Ints
    words: tuple[str, ...]

    def within(self, words: pd.CategoricalDtype, absent: str) -> pd.Categorical:
        """Return the same text with the categories given, ``absent`` where there is none."""
        place = {word: number for number, word in enumerate(words.categories)}
        known = np.array([place[word] for word in (*self.words, absent)], dtype=np.int64)
        return pd.Categorical.from_codes(known[self.codes], dtype=words)  # -1 is the last of them: absent


@dataclass(frozen=True)
class Rows:
    """A node's rows by event. ``place``: the row of each event (None: row i is event i); ``there``: it has one."""

    frame: Frame
    place: Places | None
    there: Bools

    def __contains__(self, column: str) -> bool:
        return column in self.frame

    @property
    def columns(self) -> list[str]:
        """Return the names of all columns."""
        return list(self.frame.columns)

    def piece(self, events: slice) -> pa.Table:
        """Return the rows of some consecutive events, whole; an event without one has nothing in any column."""
        if self.place is None:
            return _whole_rows(self.frame, events)
        there = self.there[events]
        rows = _whole_rows(self.frame, self.place[events][there])
        return rows.take(pa.array(np.cumsum(there) - 1, mask=~there))

    def instants(self, column: str) -> Instants:
        """Return a column of 64-bit integers, event by event."""
        ns, known = integers(self.frame, column)
        if self.place is None:
            return Instants(ns, known)
        if not len(ns):
            return nothing(len(self.there))
        known = known[self.place] & self.there
        return Instants(np.where(known, ns[self.place], 0), known)

    def floats(self, column: str) -> Floats:
        """Return a column of numbers, event by event; NaN where there is none."""
        values = floats(self.frame, column)
        if self.place is None:
            return values
        return np.where(self.there, values[self.place] if len(values) else np.nan, np.nan)

    def raw(self, prefix: str) -> RawStamps:
        """Return the raw stamps ``<prefix>_raw_ns``; one without its error is of no use and not known."""
        if f"{prefix}_raw_ns" not in self or f"{prefix}_raw_error_ns" not in self:
            return no_raw(len(self.there))
        raw, error = self.instants(f"{prefix}_raw_ns"), self.instants(f"{prefix}_raw_error_ns")
        return RawStamps(raw.ns, error.ns, raw.known & error.known)

    def text(self, column: str) -> Text:
        """Return a column of text, event by event."""
        codes, words = self._text(column)
        if self.place is not None:
            codes = np.where(self.there, codes[self.place] if len(codes) else -1, -1)
        return Text(codes, words)

    def _text(self, column: str) -> tuple[Ints, tuple[str, ...]]:
        """Return a column of text row by row; of a part of a file the words are those of all of it."""
        if isinstance(self.frame, StoredFrame):
            return self.frame.codes(column).astype(np.int64), self.frame.words(column)
        cells = self.frame[column]
        if isinstance(cells.dtype, pd.CategoricalDtype):
            codes, words = cells.cat.codes.to_numpy().astype(np.int64), cells.cat.categories
        else:
            codes, words = pd.factorize(cells)
        return codes, tuple(str(word) for word in words)

    def words(self, column: str) -> Sequence[str]:
        """Return the words of a column of text, of which some may be in no row."""
        if isinstance(self.frame, StoredFrame):
            return self.frame.words(column)
        cells = self.frame[column]
        if isinstance(cells.dtype, pd.CategoricalDtype):
            return [str(word) for word in cells.cat.categories]
        return [str(word) for word in cells.dropna().unique()]

    def distinct(self, column: str) -> list[Any]:
        """Return the different values of a column, of the rows that count."""
        values = self.frame[column] if self.place is None else self.frame[column].iloc[self.place[self.there]]
        return list(values.dropna().unique())


def _whole_rows(frame: Frame, rows: slice | Places) -> pa.Table:
    """Return all columns of some rows."""
    if isinstance(frame, StoredFrame):
        whole = pa.table(
            {name: _without_nan(column) for name, column in zip(frame.columns, frame.arrow(), strict=True)}
        )
        return whole[rows] if isinstance(rows, slice) else whole.take(rows)
    return pa.Table.from_pandas(frame.iloc[rows], preserve_index=False)


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose cells "nan" are absent, as pandas has them."""
    if not pa.types.is_floating(column.type) or not pc.any(pc.is_nan(column)).as_py():
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def integers(frame: Frame, column: str) -> tuple[Ints, Bools]:
    """Return a column of whole numbers row by row, 0 where there is none, and where there is one."""
    if isinstance(frame, StoredFrame):
        return frame.integers(column)
    array = frame[column].array
    return array.to_numpy(dtype=np.int64, na_value=0), ~np.asarray(array.isna())


def floats(frame: Frame, column: str) -> Floats:
    """Return a column of numbers row by row, NaN where there is none."""
    return frame.floats(column) if isinstance(frame, StoredFrame) else frame[column].to_numpy(dtype=np.float64)


def different(numbers: Ints) -> Ints:
    """Return the different numbers, in order, by sorting: np.unique hashes them, a second per million ids."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), dtype=np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def nothing(count: int) -> Instants:
    """Return as many instants that nobody knows."""
    return Instants(np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_))


def no_raw(count: int) -> RawStamps:
    """Return as many raw stamps that nobody knows."""
    none = nothing(count)
    return RawStamps(none.ns, none.ns, none.known)


def event_ids(node_id: str, frame: Frame) -> Ints:
    """Return the event of every row. Raises AnalysisError if a row has none."""
    ids, known = integers(frame, "event_id")
    if not known.all():
        raise AnalysisError(f"{node_id}: expected an event_id in every row, got an empty cell; collect the run again")
    return ids


def align(frame: Frame, ids: Ints, events: Ints) -> Rows:
    """Find the row of every event, the first of several; ``ids`` are the rows' events, ``events`` is sorted."""
    return _rows(frame, ids, np.arange(len(ids)), events)


def sends_of(sends: Frame, workers: Iterable[str], events: Ints, *, stamped: bool = False) -> dict[str, Rows]:
    """Return, per worker, its own rows of sends.csv: the first of each event (``stamped``: that has a send stamp)."""
    ids, usable = integers(sends, "event_id")
    if stamped:
        usable = usable & integers(sends, "send_time_ns")[1]
    to = pd.Categorical(sends["worker_id"])
    chosen = {worker: np.flatnonzero(usable & np.asarray(to == worker, dtype=np.bool_)) for worker in workers}
    return {worker: _rows(sends, ids[rows], rows, events) for worker, rows in chosen.items()}


def _rows(frame: Frame, ids: Ints, rows: Places, events: Ints) -> Rows:
    if len(frame) == len(rows) and np.array_equal(ids, events):
        return Rows(frame, None, np.ones(len(events), dtype=np.bool_))
    known, first = np.unique(ids, return_index=True)
    at = np.searchsorted(events, known)
    asked = np.flatnonzero((at < len(events)) & (events[np.minimum(at, len(events) - 1)] == known))
    place, there = np.zeros(len(events), dtype=np.intp), np.zeros(len(events), dtype=np.bool_)
    place[at[asked]], there[at[asked]] = rows[first[asked]], True
    return Rows(frame, place, there)


def shared(texts: Iterable[Iterable[str]], more: Iterable[str]) -> pd.CategoricalDtype:
    """Return one set of categories for the words of many texts, so that they can be held against each other."""
    words = {word for of_text in texts for word in of_text}
    return pd.CategoricalDtype(sorted(words.union(more)))
