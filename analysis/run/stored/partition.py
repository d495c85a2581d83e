"""Cut the long tables of a run by event id and keep the pieces as Parquet, below ``parts/`` in the run folder.

``parts/<table>/<number>.parquet`` holds the rows of some consecutive events, in the file's own order, all columns as
they are read here, and beside them ``row``, the row's number in the file. Every table is cut at the same event ids.
``parts/index.json`` says where, and what the parts were made of: a table that changed since is partitioned anew, and a
partition that was interrupted goes on with the next table.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from analysis import output
from analysis.errors import AnalysisError, cause
from analysis.run import csv_tables
from analysis.run.hashing import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from analysis.arrays import Ints
    from analysis.run.hashing import Seen

FOLDER: Final = "parts"
INDEX_FILE: Final = "index.json"
VERSION: Final = 1
ROW: Final = "row"
AT_A_TIME: Final = 2  # tables that are partitioned; Arrow reads and writes without Python's lock
ALIKE: Final = 1.5  # parts of up to so many times the size that is wanted, or less by as much, are taken as they are
OPEN_BESIDE: Final = 8  # files of other parts than the one that is read, a MB of memory each
OPEN_AT_ONCE: Final = 200  # files of a table's parts that are written to; rows come in the order of time
BLOCK_BYTES: Final = 4 << 20  # of a table, read at a time; Arrow reads 32 of them ahead
BLOCKS_TOGETHER: Final = 4  # are written as one piece, which is read in less time than its parts would be

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class StoredTable:
    """One table in parts. ``types``: of its columns (see ``csv_tables.column_type``); ``words``: of columns of text.

    ``rows``: how many each part has. ``in_order``: the parts' rows, one part after another, are in the file's order.
    ``size`` and ``changed_ns`` are the file's when it was partitioned, ``sha256`` its digest.
    """

    rows: tuple[int, ...]
    types: dict[str, str]
    words: dict[str, tuple[str, ...]]
    in_order: bool
    size: int
    changed_ns: int
    sha256: str
    odd_cells: dict[str, int] = field(default_factory=dict)

    def place(self, column: str) -> dict[str, int]:
        """Return the place of every word of a column of text."""
        if column not in self._places:
            self._places[column] = {word: place for place, word in enumerate(self.words[column])}
        return self._places[column]

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        return {}


@dataclass(frozen=True)
class Store:
    """The parts of a run's long tables. ``borders``: the first event id of every part but the first, growing."""

    folder: Path
    at_once: int
    borders: tuple[int, ...]
    tables: dict[str, StoredTable]
    _opened: dict[tuple[str, int], parquet.ParquetFile] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process begins with: it opens files itself."""
        return self.__dict__ | {"_opened": {}}

    @property
    def number_of_parts(self) -> int:
        """Return how many parts there are."""
        return len(self.borders) + 1

    def file(self, table: str, part: int) -> Path:
        """Return where a part of a table is kept."""
        return self.folder / table.removesuffix(".csv").replace("/", ".") / f"{part:05}.parquet"

    def read(self, table: str, part: int, columns: list[str]) -> pa.Table:
        """Read some columns of a part of a table. Raises AnalysisError where the part is not what was written."""
        try:
            return self._part(table, part).read(columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            advice = f"remove {self.folder} and analyse the run again"
            raise AnalysisError(
                f"{self.file(table, part)}: expected a part of {table} as it was written, got {cause(error)}; {advice}"
            ) from error

    def _part(self, table: str, part: int) -> parquet.ParquetFile:
        """Return a part of a table, opened, and kept so: its columns are asked for one by one."""
        key = table, part
        if key not in self._opened:
            if len(self._opened) >= len(self.tables) + OPEN_BESIDE:
                self._opened.pop(next(iter(self._opened))).close()
            self._opened[key] = parquet.ParquetFile(self.file(table, part), pre_buffer=False)
        return self._opened[key]


def opened(run_folder: Path, tables: Sequence[str], at_once: int, seen: Seen) -> Store:
    """Return the parts of some tables of a run, named by their paths in its folder; make those that are not there.

    The first table is that of the events sent. ``at_once``: about so many events to a part. Raises AnalysisError where
    a table cannot be read.
    """
    folder, sent = run_folder / FOLDER, tables[0]
    known = _read_index(folder, at_once)
    if known is None or not _unchanged(run_folder / sent, known.tables.get(sent)):
        shutil.rmtree(folder, ignore_errors=True)
        known = Store(folder, at_once, _borders(run_folder / sent, at_once, seen), {})
    stale = [name for name in tables if not _unchanged(run_folder / name, known.tables.get(name))]
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        made = threads.map(lambda name: _partitioned(run_folder / name, known, name, seen), stale)
        for name, table in zip(stale, made, strict=True):
            known.tables[name] = table
            output.write_json(folder / INDEX_FILE, {"version": VERSION} | _as_json(known))
    for name in tables:
        path = run_folder / name
        seen.digests[path] = known.tables[name].sha256
        if odd := known.tables[name].odd_cells:
            seen.odd_cells[path] = dict(odd)
    return known


def _as_json(store: Store) -> dict[str, Any]:
    return {
        "at_once": store.at_once,
        "borders": list(store.borders),
        "tables": {name: asdict(table) for name, table in store.tables.items()},
    }


def _read_index(folder: Path, at_once: int) -> Store | None:
    """Return the parts that an earlier analysis made, None where there are none of use, or of another size by far.

    The size that is wanted follows the free memory, which is never twice the same.
    """
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        if index["version"] != VERSION or not at_once / ALIKE <= index["at_once"] <= at_once * ALIKE:
            return None
        tables = {}
        for name, table in index["tables"].items():
            words = {column: tuple(of_column) for column, of_column in table["words"].items()}
            tables[name] = StoredTable(**table | {"rows": tuple(table["rows"]), "words": words})
        return Store(folder, index["at_once"], tuple(index["borders"]), tables)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # none, or not one of ours: cut anew
        return None


def _unchanged(path: Path, table: StoredTable | None) -> bool:
    state = path.stat()
    return table is not None and (table.size, table.changed_ns) == (state.st_size, state.st_mtime_ns)


def _borders(path: Path, at_once: int, seen: Seen) -> tuple[int, ...]:
    """Return the event ids at which the run is cut: those of the events sent, every so many."""

    def events(batches: Iterator[pa.RecordBatch]) -> Ints:
        ids = [batch.column("event_id").drop_null().to_numpy() for batch in batches]
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *ids]))

    ids = _read(path, ("event_id",), seen, events)
    return tuple(int(event) for event in ids[::at_once][1:])


def _read(path: Path, needed: Sequence[str], seen: Seen, use: Callable[[Iterator[pa.RecordBatch]], _Made]) -> _Made:
    """Return what is made of a table's rows, some megabytes of its file at a time; of columns those needed, or all.

    Where it cannot be read so, pandas reads it whole: it bears with more, and says more clearly what is wrong.
    """
    columns = csv_tables.header(path, needed)
    try:
        with arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=csv_tables.PARSING,
            convert_options=csv_tables.conversion(
                csv_tables.types_of(columns, needed, only=bool(needed)), plain_text=True
            ),
        ) as reader:
            return use(iter(reader))
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        frame = csv_tables.read_table(path, needed, only=bool(needed), seen=seen)
        return use(iter(pa.Table.from_pandas(frame, preserve_index=False).to_batches()))


class _Parts:
    """The parts of one table while they are written."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self._writers: dict[int, parquet.ParquetWriter] = {}
        self._begun: set[int] = set()
        self._borders = np.array(store.borders, dtype=np.int64)
        self._last = 0
        self._rows = 0
        self.rows = [0] * store.number_of_parts
        self.in_order = True
        self.words: dict[str, dict[str, None]] = {}

    def add(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Write the next rows of the table, each to its part."""
        piece = pa.Table.from_batches(batches)
        columns = {name: piece.column(name).combine_chunks() for name in piece.column_names}
        for name, column in columns.items():
            if pa.types.is_string(column.type):
                columns[name] = column.dictionary_encode()  # in less time than if the reader did it
            if pa.types.is_dictionary(columns[name].type):
                words = columns[name].unique().dictionary.drop_null().to_pylist()
                self.words.setdefault(name, {}).update(dict.fromkeys(words))
        table = pa.table(columns)
        numbers = np.arange(self._rows, self._rows + len(table), dtype=np.int64)
        table = table.append_column(ROW, pa.array(numbers))
        self._rows += len(table)
        parts = self._parts_of(table)
        if len(parts):
            self.in_order &= bool(self._last <= parts[0]) and bool((np.diff(parts) >= 0).all())
            self._last = int(parts[-1])
        for part in np.unique(parts):
            rows = table if (parts == part).all() else table.filter(pa.array(parts == part))
            self._write(int(part), rows)

    def _parts_of(self, table: pa.Table) -> NDArray[np.intp]:
        """Return the part of every row; one without an event is in the first."""
        ids: Ints = table.column("event_id").fill_null(np.iinfo(np.int64).min).to_numpy()
        return np.searchsorted(self._borders, ids, side="right")

    def _write(self, part: int, rows: pa.Table) -> None:
        writer = self._writers.pop(part, None) or self._opened(part, rows.schema)
        self._writers[part] = writer  # the last one used is the last in this
        writer.write_table(rows)
        self.rows[part] += len(rows)

    def _opened(self, part: int, schema: pa.Schema) -> parquet.ParquetWriter:
        """Open the file of a part; one that was closed is written anew, for nothing can be added to it."""
        if len(self._writers) >= OPEN_AT_ONCE:
            self._writers.pop(next(iter(self._writers))).close()
        path = self._store.file(self._name, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        earlier = parquet.read_table(path) if part in self._begun else None
        self._begun.add(part)
        texts = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        writer = parquet.ParquetWriter(path, schema, compression="lz4", use_dictionary=texts)
        if earlier is not None:
            writer.write_table(earlier)
        return writer

    def fill(self, schema: pa.Schema) -> None:
        """Write parts for those without a row: they have the columns all the same."""
        for part in range(self._store.number_of_parts):
            if part not in self._begun:
                self._write(part, schema.append(pa.field(ROW, pa.int64())).empty_table())

    def close(self) -> None:
        """Close the files, of a table that is written to its end or not."""
        for writer in self._writers.values():
            writer.close()


def _partitioned(path: Path, store: Store, name: str, seen: Seen) -> StoredTable:
    """Write the parts of one table."""
    state = path.stat()
    types = csv_tables.types_of(csv_tables.header(path, ()), ())
    if ROW in types:
        raise AnalysisError(f"{path}: expected no column {ROW!r}, which parts of a table have; rename it")

    def written(batches: Iterator[pa.RecordBatch]) -> _Parts:
        shutil.rmtree(store.file(name, 0).parent, ignore_errors=True)
        parts = _Parts(store, name)
        with contextlib.closing(parts):
            while some := list(islice(batches, BLOCKS_TOGETHER)):
                parts.add(some)
            parts.fill(csv_tables.arrow_schema(types))
        return parts

    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(sha256, path)
        parts = _read(path, (), seen, written)
    words = {column: tuple(words) for column, words in parts.words.items()}
    return StoredTable(
        rows=tuple(parts.rows),
        types=types,
        words={column: words.get(column, ()) for column, kind in types.items() if kind == csv_tables.TEXT},
        in_order=parts.in_order,
        size=state.st_size,
        changed_ns=state.st_mtime_ns,
        sha256=digest.result(),
        odd_cells=seen.odd_cells.get(path, {}),
    )
