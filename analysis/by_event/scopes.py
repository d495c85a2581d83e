"""Whose clock an answer is about: the node's that asked, or the server's own (``scope`` in ``samples.csv``).

ChronoTick predicts the clock it measured. An answer that does not echo the ``node_id`` of the question was made for
whoever asks, and so predicts the server's clock (scope ``server``). Added to the node's stamp it is a reading of
neither clock; only where both are one clock would it be the node's. No run says so: a loopback address may be the near
end of a tunnel, and a node of a test cluster has a clock of its own. So such readings are never judged as the node's.
An older ``samples.csv`` without the column, or with an empty cell, says nothing about scope and is taken as the node's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.by_event import serving_samples
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from analysis.arrays import Bools
    from analysis.by_event.event_rows import Text
    from analysis.by_event.table import Table

NODE: Final = "node"
SERVER: Final = "server"
ABOUT_THE_SERVER: Final = "about_the_server"
IN_WORDS: Final = "are about the server's own clock (scope server), not the node's"


def about_the_server(table: Table, node_id: str, source: str) -> Bools:
    """Tell, event by event, which readings of a node rest on an answer about the server's clock."""
    ids = serving_samples.sample_ids(table.rows.get(node_id), source, len(table.event_ids))
    strange: Bools = serving_samples.by_event(_about(table.run.samples.get(node_id), source, ids.words), ids)
    return strange


def of_samples(samples: pd.DataFrame | None, source: str, ids: Text) -> Bools:
    """Tell which of some samples, named by their ids, are about the server's clock."""
    strange: Bools = serving_samples.by_event(_about(samples, source, ids.words), ids)
    return strange


def _about(samples: pd.DataFrame | None, source: str, ids: Sequence[str]) -> Bools:
    """Tell which samples of some ids are about the server's clock; one that is not there says nothing."""
    if samples is None:
        return np.zeros(len(ids), dtype=np.bool_)
    rows = serving_samples.rows_of(samples, source, ids)
    about: Bools = serving_samples.by_sample(serving_samples.says(samples, "scope", SERVER), rows)
    return about


def counts(samples: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Return, by source, how many of its good samples are about the server's clock, and of how many; only if any is."""
    good = samples[samples["outcome"] == records.OK]
    about_server: dict[str, tuple[int, int]] = {}
    for source in good["source"].dropna().unique():
        own = good[good["source"] == source]
        if about := int(serving_samples.says(own, "scope", SERVER).sum()):
            about_server[str(source)] = (about, len(own))
    return about_server
