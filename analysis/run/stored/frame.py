"""A table that is on disk: its columns are read when asked for, as they would be from the file itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from analysis.run import csv_tables
from analysis.run.stored.partition import ROW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analysis.run.stored.partition import Store, StoredTable


class StoredFrame:
    """A table in parts, of which columns are taken as of a pandas frame; rows are in the file's order."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self._table: StoredTable = store.tables[name]

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
        return sum(self._table.rows)

    def __contains__(self, column: object) -> bool:
        """Tell whether there is a column of this name."""
        return column in self._table.types

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the columns, as a frame does."""
        return iter(self._table.types)

    @overload
    def __getitem__(self, wanted: str) -> pd.Series[Any]: ...
    @overload
    def __getitem__(self, wanted: list[str]) -> pd.DataFrame: ...
    def __getitem__(self, wanted: str | list[str]) -> pd.Series[Any] | pd.DataFrame:
        """Read a column, or some, of all parts. Raises KeyError where there is none."""
        if isinstance(wanted, list):
            return self.part(0, self._store.number_of_parts, wanted)
        return self.part(0, self._store.number_of_parts, [wanted])[wanted]

    def part(self, first: int, end: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read some consecutive parts; of columns those given, or all."""
        names = self.columns if columns is None else list(dict.fromkeys(columns))
        if missing := [name for name in names if name not in self]:
            raise KeyError(missing[0])
        ordered = self._table.in_order
        asked = names if ordered else [*names, ROW]
        parts = [parquet.read_table(self._store.file(self._name, part), columns=asked) for part in range(first, end)]
        order = None if ordered else np.argsort(np.concatenate([part.column(ROW).to_numpy() for part in parts]))
        by_name = {}
        for name in names:
            chunks = [chunk for part in parts for chunk in part.column(name).chunks]
            series = self._series(name, pa.chunked_array(chunks, type=parts[0].schema.field(name).type))
            by_name[name] = series if order is None else series.iloc[order].reset_index(drop=True)
            parts = [part.drop_columns([name]) for part in parts]
        return pd.DataFrame(by_name, copy=False)

    def _series(self, name: str, column: pa.ChunkedArray) -> pd.Series[Any]:
        """Return a column as it would be read from the file; texts have the words of the whole file."""
        if self._table.types[name] != csv_tables.TEXT:
            return csv_tables.series(column)
        words = self._table.words[name]
        place = {word: number for number, word in enumerate(words)}
        codes = [np.zeros(0, dtype=np.int32)]
        for chunk in column.chunks:
            known = np.array([place[word] for word in chunk.dictionary.to_pylist()] + [-1], dtype=np.int32)
            codes.append(known[chunk.indices.fill_null(len(known) - 1).to_numpy()])
        return pd.Series(pd.Categorical.from_codes(np.concatenate(codes), dtype=pd.CategoricalDtype(list(words))))
