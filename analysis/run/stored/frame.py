"""A table that is on disk: its columns are read when asked for, as they would be from the file itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.run import csv_tables
from analysis.run.stored.partition import ROW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analysis.run.stored.partition import Store, StoredTable


class StoredFrame:
    """Some consecutive parts of a table, of which columns are taken as of a pandas frame; in the file's order."""

    def __init__(self, store: Store, name: str, first: int = 0, end: int | None = None) -> None:
        self._store, self._name = store, name
        self._table: StoredTable = store.tables[name]
        self._parts = range(first, store.number_of_parts if end is None else end)

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, in the file's order."""
        return list(self._table.types)

    @property
    def empty(self) -> bool:
        """Tell whether there is no row."""
        return not len(self)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return sum(self._table.rows[part] for part in self._parts)

    def __contains__(self, column: object) -> bool:
        """Tell whether there is a column of this name."""
        return column in self._table.types

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the columns, as a frame does."""
        return iter(self._table.types)

    @property
    def number_of_parts(self) -> int:
        """Return how many parts there are, at least one."""
        return len(self._parts)

    @property
    def in_order(self) -> bool:
        """Tell whether the parts' rows, one part after another, are in the file's order."""
        return self._table.in_order

    def part(self, first: int, end: int) -> StoredFrame:
        """Return some consecutive parts of these."""
        return StoredFrame(self._store, self._name, self._parts[0] + first, self._parts[0] + end)

    def words(self, column: str) -> tuple[str, ...]:
        """Return the words of a column of text, in the whole file."""
        return self._table.words[column]

    @overload
    def __getitem__(self, wanted: str) -> pd.Series[Any]: ...
    @overload
    def __getitem__(self, wanted: list[str]) -> pd.DataFrame: ...
    def __getitem__(self, wanted: str | list[str]) -> pd.Series[Any] | pd.DataFrame:
        """Read a column, or some. Raises KeyError where there is none."""
        frame = self._read(wanted if isinstance(wanted, list) else [wanted])
        return frame if isinstance(wanted, list) else frame[wanted]

    def integers(self, column: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return a column of whole numbers, 0 where there is none, and where there is one."""
        (name,), chunks, order = self._chunks([column])
        cells = chunks[name]
        known = np.ones(len(cells), dtype=np.bool_) if not cells.null_count else cells.is_valid().to_numpy()
        numbers = (cells.fill_null(0) if cells.null_count else cells).to_numpy()
        return (numbers, known) if order is None else (numbers[order], known[order])

    def floats(self, column: str) -> NDArray[np.float64]:
        """Return a column of numbers, NaN where there is none."""
        (name,), chunks, order = self._chunks([column])
        numbers: NDArray[np.float64] = chunks[name].to_numpy()
        return numbers if order is None else numbers[order]

    def codes(self, column: str) -> NDArray[np.int32]:
        """Return a column of text as the places of its ``words``, -1 where there is none."""
        (name,), chunks, order = self._chunks([column])
        codes = self._codes(name, chunks[name])
        return codes if order is None else codes[order]

    def arrow(self) -> pa.Table:
        """Return all columns as Arrow has them."""
        names, chunks, order = self._chunks(self.columns)
        rows = pa.table({name: chunks[name] for name in names})
        return rows if order is None else rows.take(order)

    def _read(self, names: list[str]) -> pd.DataFrame:
        names, chunks, order = self._chunks(names)
        by_name = {}
        for name in names:
            series = self._series(name, chunks.pop(name))
            by_name[name] = series if order is None else series.iloc[order].reset_index(drop=True)
        return pd.DataFrame(by_name, copy=False)

    def _chunks(self, names: list[str]) -> tuple[list[str], dict[str, pa.ChunkedArray], NDArray[np.intp] | None]:
        """Read columns as they lie on disk, and how their rows are put in order, None where they are."""
        if missing := [name for name in names if name not in self]:
            raise KeyError(missing[0])
        asked = names if self.in_order else [*names, ROW]
        parts = [self._store.read(self._name, part, asked) for part in self._parts]
        order = None if self.in_order else np.argsort(np.concatenate([part.column(ROW).to_numpy() for part in parts]))
        columns = {}
        for name in names:
            chunks = [chunk for part in parts for chunk in part.column(name).chunks]
            columns[name] = pa.chunked_array(chunks, type=parts[0].schema.field(name).type)
        return names, columns, order

    def _series(self, name: str, column: pa.ChunkedArray) -> pd.Series[Any]:
        """Return a column as it would be read from the file; texts have the words of the whole file."""
        if self._table.types[name] != csv_tables.TEXT:
            return csv_tables.series(column)
        words = pd.CategoricalDtype(list(self._table.words[name]))
        return pd.Series(pd.Categorical.from_codes(self._codes(name, column), dtype=words))

    def _codes(self, name: str, column: pa.ChunkedArray) -> NDArray[np.int32]:
        place = self._table.place(name)
        codes = [np.zeros(0, dtype=np.int32)]
        for chunk in column.chunks:
            known = np.array([place[word] for word in chunk.dictionary.to_pylist()] + [-1], dtype=np.int32)
            codes.append(known[chunk.indices.fill_null(len(known) - 1).to_numpy()])
        return np.concatenate(codes)


Frame = pd.DataFrame | StoredFrame


def in_memory(frame: Frame) -> pd.DataFrame:
    """Return all columns of a table, of one on disk too."""
    return frame[frame.columns] if isinstance(frame, StoredFrame) else frame


def parts_of(*frames: Frame) -> Iterator[tuple[Frame, ...]]:
    """Yield some tables of a run part by part, each part with all rows of its events; those in memory as a whole."""
    for part in range(max((frame.number_of_parts for frame in frames if isinstance(frame, StoredFrame)), default=1)):
        yield tuple(frame.part(part, part + 1) if isinstance(frame, StoredFrame) else frame for frame in frames)


def consecutive(frame: Frame) -> Iterator[Frame]:
    """Yield the rows of a table in the file's order: part by part, where it is in parts that lie in it."""
    if isinstance(frame, StoredFrame) and frame.in_order:
        yield from (part for (part,) in parts_of(frame))
    else:
        yield frame
