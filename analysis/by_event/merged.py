"""The wide table for other people's tools: one row per (event, worker), both ends, all sources; loss stays visible.

Up to ``CSV_ROWS`` rows it is CSV, above that Parquet, which takes a tenth of the space and keeps the types; either can
be asked for. It is written a piece at a time: in memory a whole one is several times as large as the run itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from analysis import output
from analysis.by_event.event_rows import Rows, integers, sends_of
from analysis.run import csv_tables
from analysis.run.load import prefixes
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from analysis.by_event.table import Table

CSV: Final = "csv"
PARQUET: Final = "parquet"
FORMATS: Final = (CSV, PARQUET)
CSV_ROWS: Final = 200_000
PIECE_EVENTS: Final = 100_000


def merge(table: Table) -> pd.DataFrame:
    """Return every event of the run at every worker (outer join), the first copy where there are several.

    ``received_copies`` is 0 for a lost packet and more than 1 for duplicates. The columns of coordinator.csv and
    worker_<id>.csv keep their names, source columns get ``send_`` or ``receive_`` in front, the worker's own row of
    sends.csv ``own_``; ``true_send_ns`` and ``true_receive_ns`` are there where truth was injected.
    """
    return csv_tables.frame(_joined(pieces(table)))


def write(table: Table, folder: Path, form: str | None = None) -> Path:
    """Write the wide table of a run folder in a form of ``FORMATS``, None: by its length; return its path.

    What an earlier analysis wrote in the other form is removed, so that there is one wide table.
    """
    rows = len(table.event_ids) * len(table.workers)
    wanted = form or (CSV if rows <= CSV_ROWS else PARQUET)
    paths = {CSV: folder / records.MERGED_FILE, PARQUET: (folder / records.MERGED_FILE).with_suffix(".parquet")}
    path = paths.pop(wanted)
    with output.replacing(path) as partial:
        (_write_csv if wanted == CSV else _write_parquet)(table, partial)
    for other in paths.values():
        other.unlink(missing_ok=True)
    return path


def pieces(table: Table, events: int = PIECE_EVENTS) -> Iterator[pa.Table]:
    """Yield the wide table so many events at a time, in order of event and worker."""
    for part in table.parts():
        yield from _pieces(part, events)


def _pieces(table: Table, events: int) -> Iterator[pa.Table]:
    run = table.run
    known = prefixes([run.coordinator, *run.workers.values()])
    sources = {column for prefix in known for column in records.source_columns(prefix)}
    workers = sorted(table.workers)
    own = sends_of(run.sends, workers, table.event_ids)
    copies = {worker: _copies(table, worker) for worker in workers}
    for start in range(0, max(len(table.event_ids), 1), events):
        part = slice(start, start + events)
        blocks = [_block(table, worker, part, sources, own[worker], copies[worker]) for worker in workers]
        count = len(blocks[0])
        by_event = np.arange(count * len(blocks)).reshape(len(blocks), count).T.ravel()
        yield _joined(blocks).take(by_event)


def _joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Return the rows of some tables, with the columns of all of them."""
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def _block(
    table: Table, worker: str, part: slice, sources: set[str], own: Rows, copies: np.ndarray[Any, Any]
) -> pa.Table:
    """Return some events at one worker."""
    ids = table.event_ids[part]
    columns = {"event_id": ids, "worker_id": pa.array([worker] * len(ids)), "received_copies": copies[part]}
    sent = table.rows[table.coordinator_id].piece(part)
    columns |= _named(sent, _prefixed("send_", sources), ["event_id"])
    of_worker = {name: f"own_{name}" for name in own.columns}
    columns |= _named(own.piece(part), of_worker, ["event_id", "worker_id", "sequence_number"])
    if worker in table.rows:
        received = table.rows[worker].piece(part)
        columns |= _named(received, _prefixed("receive_", {*sources, "sequence_number"}), ["event_id", "node_id"])
    for name, true in (("true_send_ns", table.true_sends(worker)), ("true_receive_ns", table.truth(worker))):
        if true is not None:
            columns[name] = pa.array(true.ns[part], mask=~true.known[part])
    return pa.table(columns)


def _named(rows: pa.Table, names: Mapping[str, str], without: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Return the columns of some rows by other names, those without; text as such."""
    columns = {names.get(name, name): rows.column(name) for name in rows.column_names if name not in without}
    return {
        name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for name, column in columns.items()
    }


def _prefixed(prefix: str, columns: set[str]) -> dict[str, str]:
    return {column: f"{prefix}{column}" for column in columns}


def _copies(table: Table, worker: str) -> np.ndarray[Any, Any]:
    """Return how many rows of each event a worker has."""
    if worker not in table.rows:
        return np.zeros(len(table.event_ids), dtype=np.int64)
    ids, _ = integers(table.rows[worker].frame, "event_id")
    return np.bincount(np.searchsorted(table.event_ids, ids), minlength=len(table.event_ids))


def _write_csv(table: Table, path: Path) -> None:
    with path.open("wb") as file:
        for number, piece in enumerate(pieces(table)):
            if not number:
                file.write((",".join(piece.column_names) + "\n").encode())
            arrow_csv.write_csv(piece, file, arrow_csv.WriteOptions(include_header=False, quoting_style="needed"))


def _write_parquet(table: Table, path: Path) -> None:
    writer: parquet.ParquetWriter | None = None
    try:
        for piece in pieces(table):
            if writer is None:
                # Readers with pandas get the types that its frames have here.
                schema = piece.schema.with_metadata(pa.Schema.from_pandas(csv_tables.frame(piece[:0])).metadata)
                texts = [field.name for field in schema if field.type == pa.string()]
                writer = parquet.ParquetWriter(path, schema, use_dictionary=texts)  # numbers are hardly ever the same
            same = piece.schema.equals(schema)
            writer.write_table(piece if same else _joined([schema.empty_table(), piece]))
    finally:
        if writer is not None:
            writer.close()
