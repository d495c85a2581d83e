"""What commit-wait is for: whoever begins after another's release gets the later timestamp (external consistency).

J. C. Corbett et al., Spanner, OSDI 2012, section 4.1.2. No absolute time is needed to see it broken: if the reference
proves that a wait on one node began after a release on another, its timestamp must be the greater. Each wait is held
against the greatest timestamp of all waits of another node that were provably released before it began.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.run.event_rows import RawStamps
from analysis.stats import rates
from analysis.stats.dependence import Latent, dependence, segments_of_named
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from analysis.arrays import Bools, Floats, Ints, Texts
    from analysis.questions.judges import Probed


@dataclass(frozen=True)
class Consistency:
    """One source's waits: of those that provably began after a release elsewhere, how many got no later timestamp."""

    source: str
    reason: str
    violated: rates.Rate | None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serialisable data."""
        if self.violated is None:
            return {"status": "not_evaluable", "reason": self.reason}
        return {"status": "evaluated", "violated": self.violated.as_dict()}


@dataclass(frozen=True)
class _Held:
    """One node's waits, by the instant they began and by the instant they were released, on its raw oscillator.

    ``samples`` and ``greatest_samples`` name the samples that the timestamps beside them were taken from.
    """

    begun_raw: Ints
    event_ids: Ints
    assigned: Ints
    samples: Texts
    released_raw: Ints
    greatest: Ints  # of the timestamps released until then
    greatest_samples: Texts


def judge(rows: Mapping[str, pd.DataFrame], reference: Probed | None, source: str) -> Consistency:
    """Judge one source's waits, given as each node's looks at its clock, by the reference of the probe mesh."""
    if reference is None or reference.reason:
        return Consistency(source, reference.reason if reference else "no reference", None)
    held = {node: found for node, frame in rows.items() if (found := _held(node, frame, source)) is not None}
    parts: list[tuple[NDArray[Any], ...]] = []
    for released, began in permutations(held, 2):
        first, second = held[released], held[began]
        earlier = _released_before(reference, released, first, began, second)
        judged, before = earlier >= 0, np.maximum(earlier, 0)
        violated = judged & (second.assigned <= first.greatest[before])
        later_ns = (second.assigned - first.greatest[before]).astype(np.float64)
        parts.append((second.event_ids, judged, violated, later_ns, second.samples, first.greatest_samples[before]))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if not columns or not columns[1].any():
        return Consistency(source, "no wait provably began after a release on another node", None)
    event_ids, judged, violated, later_ns, *samples = (column[columns[1]] for column in columns)
    order = np.argsort(event_ids, kind="stable")
    return Consistency(source, "", rate(violated[order], later_ns[order], *(column[order] for column in samples)))


def rate(hits: Bools, margins_ns: Floats, *samples: Texts) -> rates.Rate:
    """Return a rate of waits in order of time, each with the samples it rests on, and by how much it was no hit.

    Where no sample is named nobody knows what the waits share, and they are a mere count.
    """
    if not any(column.any() for column in samples):
        return rates.rate(int(hits.sum()), len(hits))
    judged = np.ones(len(hits), dtype=np.bool_)
    shared = dependence(segments_of_named(*samples), Latent(margins_ns, judged))
    return rates.rate_of(hits, judged, shared)


def named(node_id: str, samples: pd.Series[Any]) -> Texts:
    """Return sample ids that tell nodes apart; empty where there is none."""
    codes, words = pd.factorize(samples.astype("object"))
    names = np.array([*(f"{node_id}/{sample}" if sample else "" for sample in words), ""], dtype=object)
    return names[codes]  # -1, of none, is the last


def _held(node_id: str, frame: pd.DataFrame, source: str) -> _Held | None:
    rows = frame[frame["source"] == source].dropna(subset=["assigned_ns", "done_raw_ns"])
    first = rows.drop_duplicates("event_id", keep="first").sort_values("done_raw_ns", kind="stable")
    last = rows[rows["status"] == records.OK].drop_duplicates("event_id", keep="last")
    last = last.sort_values("done_raw_ns", kind="stable")
    taken = last["event_id"].map(first.set_index("event_id")["sample_id"])
    if not len(first) or not len(last):
        return None
    assigned = last["assigned_ns"].to_numpy(dtype=np.int64)
    greatest = np.maximum.accumulate(assigned)
    holder = np.maximum.accumulate(np.where(assigned == greatest, np.arange(len(assigned)), 0))
    return _Held(
        first["done_raw_ns"].to_numpy(dtype=np.int64),
        first["event_id"].to_numpy(dtype=np.int64),
        first["assigned_ns"].to_numpy(dtype=np.int64),
        named(node_id, first["sample_id"]),
        last["done_raw_ns"].to_numpy(dtype=np.int64),
        greatest,
        named(node_id, taken.iloc[holder]),
    )


def _released_before(reference: Probed, node: str, held: _Held, other: str, began: _Held) -> Ints:
    """Return, per wait of the other node, a release that provably came before it began, the last; -1 if there is none.

    A wait's start less what the lag is at least is the latest that counts on the first node's oscillator: looked for
    twice from the release of the same rank, then proved. What is not proved is not judged. Releases of one node are
    in order, so that with one of them all earlier ones are proved too.
    """
    shown = reference.shown(node, other, _exact(began.begun_raw))
    releases = held.released_raw
    latest = releases[np.minimum(np.arange(len(began.begun_raw)), len(releases) - 1)]
    for _ in range(2):
        latest = latest + reference.lag_from(node, _exact(latest), other, shown).low
    place = np.searchsorted(releases, latest) - 1
    proved = np.full(len(place), -1, dtype=np.int64)
    for candidate in (place, place - 1):
        unproved = (proved < 0) & (candidate >= 0)
        if not unproved.any():
            break
        lag = reference.lag_from(node, _exact(releases[np.maximum(candidate, 0)]), other, shown)
        proved = np.where(unproved & lag.known & (lag.low > 0), candidate, proved)
    return proved


def _exact(raw: Ints) -> RawStamps:
    return RawStamps(raw, np.zeros(len(raw), dtype=np.int64), np.ones(len(raw), dtype=np.bool_))
