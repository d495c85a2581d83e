"""The sample that served each reading: what ``samples.csv`` says of it, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from analysis.run.event_rows import Instants, Text, nothing
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analysis.arrays import Bools
    from analysis.run.event_rows import Rows

ASKED: Final = ("sample_id", "scope", "root_delay_ns", "root_dispersion_ns")


def sample_ids(rows: Rows | None, source: str, count: int) -> Text:
    """Return the id of the sample that served each of ``count`` events; without rows, or without the column, none."""
    name = f"{records.COLUMN_PREFIX.get(source, source)}_sample_id"
    return Text(np.full(count, -1), ()) if rows is None or name not in rows else rows.text(name)


def different(ids: pd.Series[Any]) -> Text:
    """Return the ids of samples as the few words that they are."""
    codes, words = pd.factorize(ids.astype("object"))
    return Text(codes, tuple(str(word) for word in words))


def named(samples: pd.DataFrame | None, source: str, ids: Sequence[str]) -> pd.DataFrame:
    """Return the rows of ``samples.csv`` of some sample ids, in their order; a sample that is not there has no cell.

    Of the columns those of ``ASKED`` are in it, as far as the file has them.
    """
    if samples is None:
        return pd.DataFrame(index=list(ids))
    columns = [name for name in ASKED if name in samples]
    own = samples.loc[samples["source"] == source, columns].drop_duplicates("sample_id")
    return own.set_index(own["sample_id"].astype("object")).reindex(list(ids))


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
    return np.append(of_samples, np.zeros(1, dtype=of_samples.dtype))[ids.codes]
