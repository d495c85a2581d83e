"""Read one CSV table of a run, as written: nothing joined, nothing dropped, nothing filled in.

Every ``_ns`` column is read as a nullable 64-bit integer and never passes through a float, which would round an instant
to 256 ns. Text is categorical, as a million rows say the same few words (an absent cell is ``NA``); everything else is
a float with ``NaN`` for an absent cell.

pyarrow reads the files, ten times as fast as pandas; a file it refuses (a torn last line, an integer written as a
float) is read by pandas, which bears with more and says more clearly what is wrong.
"""

from __future__ import annotations

import csv
import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from analysis.errors import AnalysisError, cause
from analysis.run.hashing import Seen, sha256
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

INTEGER_COLUMNS: Final = {
    "event_id", "reading_id", "sequence_number", "stratum", "spins", "sequence", "drift_fs_per_s",
    "drift_sigma_fs_per_s", "max_drift_ppb", "question_bytes",
}  # fmt: skip
FLOAT_SUFFIXES: Final = ("_ms", "_s", "_level")


TEXT: Final = "category"
WHOLE: Final = "Int64"
AGAIN: Final = "collect the run again"
_ARROW: Final = {WHOLE: pa.int64(), "float64": pa.float64(), TEXT: pa.dictionary(pa.int32(), pa.string())}
_PANDAS: Final = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype()}
PARSING: Final = arrow_csv.ParseOptions(newlines_in_values=True)


TABLE: Final = "expected a table: a line of column names, then rows"
OTHER_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_table(path: Path, needed: Sequence[str] = (), *, only: bool = False, seen: Seen | None = None) -> pd.DataFrame:
    """Read one CSV file of a run by the house's column names; raises AnalysisError if a needed column is missing.

    ``only``: the needed columns and no others. ``seen`` is told the file's digest, and of whole numbers that are
    written as fractions.
    """
    types = types_of(header(path, needed), needed, only=only)
    try:
        with ThreadPoolExecutor(1) as beside, pa.OSFile(os.fsencode(path)) as file:
            digest = beside.submit(sha256, path) if seen is not None else None
            # A file of Arrow's own: its threads let the pieces of a file of Python's go when they come to it, and
            # one that comes to it while the interpreter ends, as after a replay, ends the process with an abort.
            rows = arrow_csv.read_csv(file, parse_options=PARSING, convert_options=conversion(types))
            if seen is not None and digest is not None:
                seen.digests[path] = digest.result()
        by_name = {}
        for name in types:  # one after another, each let go once it is made: a long file is not there twice
            by_name[name] = series(rows.column(name))
            rows = rows.drop_columns([name])
            pa.default_memory_pool().release_unused()
        return pd.DataFrame(by_name, copy=False)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        pass  # pandas bears with it, or says what is wrong
    try:
        with np.errstate(invalid="ignore"):  # an infinity among whole numbers: pandas then finds that it does not fit
            columns = list(types) if only else None
            frame: pd.DataFrame = pd.read_csv(path, dtype=types, usecols=columns, keep_default_na=False, na_values=[""])
        if seen is not None:
            _note(path, [column for column, kind in types.items() if kind == WHOLE], seen)
    except (OSError, ValueError, TypeError, OverflowError) as error:  # the last two: fractions, or more than 64 bits
        raise _odd_cell(path, types) or _unreadable(path, error) from error
    return frame


def types_of(columns: Iterable[str], needed: Sequence[str], *, only: bool = False) -> dict[str, str]:
    """Return the pandas types of a table's columns; ``only``: of those needed."""
    return {column: column_type(column) for column in columns if column in needed or not only}


def arrow_schema(types: Mapping[str, str]) -> pa.Schema:
    """Return the types of columns as Arrow has them."""
    return pa.schema([(column, _ARROW[kind]) for column, kind in types.items()])


def conversion(types: Mapping[str, str], *, plain_text: bool = False) -> arrow_csv.ConvertOptions:
    """Return how Arrow reads columns of these types, and no others, from CSV; ``plain_text``: text not as words."""
    schema = arrow_schema(types)
    if plain_text:
        schema = pa.schema([(name, pa.string() if types[name] == TEXT else schema.field(name).type) for name in types])
    return arrow_csv.ConvertOptions(
        column_types=schema,
        include_columns=list(types),
        null_values=[""],
        strings_can_be_null=True,
    )


def series(column: pa.ChunkedArray) -> pd.Series[Any]:
    """Return a column that Arrow read as pandas has it: whole numbers that may be absent as such."""
    made: pd.Series[Any] = column.to_pandas(types_mapper=_PANDAS.get)
    return made


def frame(table: pa.Table) -> pd.DataFrame:
    """Return a table of Arrow's as pandas has it, its columns as ``series`` has them."""
    made: pd.DataFrame = table.to_pandas(types_mapper=_PANDAS.get)
    return made


def release_memory() -> None:
    """Give back to the system what was freed; the allocators keep it for later, arrays of up to 32 MB and all texts."""
    pa.default_memory_pool().release_unused()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc's
        trim(0)


def _note(path: Path, whole: Sequence[str], seen: Seen) -> None:
    """Note the digest of a file that only pandas could read, and which cells of whole numbers are written as none."""
    seen.digests[path] = sha256(path)
    cells = pd.read_csv(path, dtype="string", usecols=list(whole), keep_default_na=False)
    odd = {column: int((~cells[column].str.fullmatch(r"-?[0-9]*").fillna(value=True)).sum()) for column in whole}
    if fractions := {column: count for column, count in odd.items() if count}:
        seen.odd_cells[path] = fractions


def header(path: Path, needed: Sequence[str]) -> list[str]:
    """Return a table's columns; raises AnalysisError if there are none or a needed one is missing."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            columns = next(csv.reader(stream), [])
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error) from error
    if not columns:
        got = "an empty file" if path.stat().st_size == 0 else "an empty first line"
        raise AnalysisError(f"{path}: {TABLE}, got {got}; {AGAIN}")
    if len(columns) == 1 and (other := next((mark for mark in OTHER_SEPARATORS if mark in columns[0]), "")):
        got = f"{OTHER_SEPARATORS[other]} between columns instead of commas"
        raise AnalysisError(f"{path}: {TABLE}, got {got}: another program has written it; {AGAIN}")
    if "" in columns or len(set(columns)) < len(columns):  # which of two a reader gets is anyone's guess
        wrong = next(column for column in columns if not column or columns.count(column) > 1)
        raise AnalysisError(f"{path}: expected every column named once, got {wrong!r}; {AGAIN}")
    missing = [column for column in needed if column not in columns and not records.is_later(column)]
    if missing:
        got = " ".join(", ".join(columns[:8]).split())
        raise AnalysisError(f"{path}: expected the column {missing[0]!r}, got {got} ...; is it a file of this version?")
    return columns


def _unreadable(path: Path, error: Exception) -> AnalysisError:
    got = "bytes that are no text in UTF-8" if isinstance(error, UnicodeDecodeError) else cause(error)
    return AnalysisError(f"{path}: {TABLE}, got {got}; {AGAIN}")


def _odd_cell(path: Path, types: Mapping[str, str]) -> AnalysisError | None:
    """Return what is wrong with the first cell that is not of its column's type; None where every cell is."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            for row in rows:
                for column, kind in types.items():
                    if (cell := row.get(column)) and not _fits(cell, kind):
                        wanted = "a whole number of 64 bits" if kind == WHOLE else "a number"
                        where = f"as {column} in line {rows.line_num}"
                        return AnalysisError(f"{path}: expected {wanted} {where}, got {cell[:40]!r}; {AGAIN}")
    except (OSError, ValueError, csv.Error):
        return None
    return None


def _fits(cell: str, kind: str) -> bool:
    """Tell whether a cell can be read as a value of a type."""
    if kind == TEXT:
        return True
    try:
        value = float(cell)
    except ValueError:
        return False
    return kind != WHOLE or (value.is_integer() and abs(value) < 2.0**63)


def column_type(column: str) -> str:
    """Return the pandas type of a column, by its name."""
    if column.endswith("_ns") or column in INTEGER_COLUMNS:
        return WHOLE
    return "float64" if column.endswith(FLOAT_SUFFIXES) else TEXT


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its categorical columns as plain texts, which can be filled and joined."""
    return frame.astype({name: "string" for name, kind in frame.dtypes.items() if kind == TEXT})
