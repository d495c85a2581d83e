"""The sample that served each reading: what ``samples.csv`` says of it, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.by_event.event_rows import Instants, Text, nothing
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analysis.arrays import Bools, Ints
    from analysis.by_event.event_rows import Rows


def sample_ids(rows: Rows | None, source: str, count: int) -> Text:
    """Return the id of the sample that served each of ``count`` events; without rows, or without the column, none."""
    name = f"{records.COLUMN_PREFIX.get(source, source)}_sample_id"
    return Text(np.full(count, -1), ()) if rows is None or name not in rows else rows.text(name)


def different(ids: pd.Series[Any]) -> Text:
    """Return the ids of samples as the few words that they are."""
    codes, words = pd.factorize(ids.astype("object"))
    return Text(codes, tuple(str(word) for word in words))


def rows_of(samples: pd.DataFrame, source: str, ids: Sequence[str]) -> Ints:
    """Return which row of ``samples.csv`` is about each of some sample ids of a source, the first of several.

    A sample that is not there has row -1, for ``by_sample``.
    """
    own = np.flatnonzero((samples["source"] == source).fillna(value=False).to_numpy(dtype=np.bool_))
    names = samples["sample_id"].to_numpy(dtype=object)[own]
    rows = dict(zip(names[::-1].tolist(), own[::-1].tolist(), strict=True))  # of one id the last one put in stays
    return np.array([rows.get(name, -1) for name in ids], dtype=np.int64)


def by_sample(of_rows: NDArray[Any], rows: Ints) -> NDArray[Any]:
    """Return what is known of each row of ``samples.csv`` for samples, by ``rows_of``; 0 or False for row -1."""
    return np.append(of_rows, np.zeros(1, dtype=of_rows.dtype))[rows]


def numbers(samples: pd.DataFrame, column: str) -> Instants:
    """Return a column of integers of some samples; of a file without that column, none is known."""
    if column not in samples:
        return nothing(len(samples))
    cells: pd.Series[Any] = samples[column]
    known = np.asarray(cells.notna().to_numpy(dtype=np.bool_))
    return Instants(np.asarray(cells.fillna(0).to_numpy(dtype=np.int64)), known)


def says(samples: pd.DataFrame, column: str, word: str) -> Bools:
    """Tell which samples have a word in a column of text; of a file without that column, none has."""
    if column not in samples:
        return np.zeros(len(samples), dtype=np.bool_)
    equal: Bools = (samples[column] == word).fillna(value=False).to_numpy(dtype=np.bool_)
    return equal


def by_event(of_samples: NDArray[Any], ids: Text) -> NDArray[Any]:
    """Spread what is known of each sample over the events it served; events without a sample get 0 or False."""
    return by_sample(of_samples, ids.codes)
