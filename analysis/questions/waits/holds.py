"""Real commit-waits, as the looks at the clock during each of them tell: numbers, so that many can be kept."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.by_event.event_rows import Instants, Text
from analysis.run import csv_tables
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analysis.arrays import Floats, Ints


@dataclass(frozen=True)
class Held:
    """The commit-waits of one source on one node, one of an event, in the order of their last looks.

    ``status``, ``delay_s``, ``looked_raw_ns``: of the last look, how long after the first it was, and when.
    ``assigned``: the timestamp that the event was given. ``claim_ms``, ``asymmetry_ms``: what the clock claimed at the
    first look, NaN and 0 where nothing. ``first``, ``last``: the samples that served these looks. ``begun``: the
    first look that names a timestamp, ``begun_assigned``, from the sample ``begun_sample``; ``released``: the last such
    look, if it was a release, and its timestamp. Instants are of the node's raw oscillator.
    """

    event_ids: Ints
    status: Text
    delay_s: Floats
    looked_raw_ns: Ints
    assigned: Instants
    claim_ms: Floats
    asymmetry_ms: Floats
    first: Text
    last: Text
    begun: Instants
    begun_assigned: Instants
    begun_sample: Text
    released: Instants
    released_assigned: Instants


def asymmetry_ms(frame: pd.DataFrame) -> Floats:
    """Return the asymmetry that each row of a commit_wait.csv claims, 0 where none, as in those of earlier versions."""
    if "asymmetry_ms" not in frame:
        return no_asymmetry(len(frame))
    claimed: Floats = frame["asymmetry_ms"].to_numpy(dtype=np.float64)
    return no_asymmetry(len(frame)) if np.isnan(claimed).all() else np.nan_to_num(claimed)


def no_asymmetry(count: int) -> Floats:
    """Return as many zeros, in ms, which take the memory of one."""
    return np.broadcast_to(np.float64(0.0), (count,))


def looks(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a commit_wait.csv that real commit-waits left, one per look at the clock, with plain texts.

    A row that does not say whose it is, or when, belongs to no wait.
    """
    rows = frame[(frame["kind"] == records.COMMIT).fillna(value=False)]
    return csv_tables.plain(rows.dropna(subset=["event_id", "source", "done_raw_ns"]))


def of_looks(looks: pd.DataFrame) -> dict[str, Held]:
    """Return the commit-waits by source; ``looks``: a node's rows of real commit-waits (see ``looks``)."""
    return {str(source): _held(own) for source, own in looks.groupby("source", sort=True, observed=True)}


def _held(looks: pd.DataFrame) -> Held:
    last = looks.drop_duplicates("event_id", keep="last")
    events = last["event_id"]
    first = looks.drop_duplicates("event_id", keep="first").set_index("event_id").loc[events]
    timed = looks.dropna(subset=["assigned_ns", "done_raw_ns"])
    begun = timed.drop_duplicates("event_id", keep="first").set_index("event_id").reindex(events)
    released = timed[(timed["status"] == records.OK).fillna(value=False)]
    released = released.drop_duplicates("event_id", keep="last").set_index("event_id").reindex(events)
    return Held(
        event_ids=events.to_numpy(dtype=np.int64),
        status=_text(last["status"]),
        delay_s=last["delay_s"].to_numpy(dtype=np.float64, na_value=np.nan),
        looked_raw_ns=last["done_raw_ns"].to_numpy(dtype=np.int64),
        assigned=_instants(last["assigned_ns"]),
        claim_ms=first["uncertainty_ms"].to_numpy(dtype=np.float64, na_value=np.nan),
        asymmetry_ms=asymmetry_ms(first),
        first=_text(first["sample_id"]),
        last=_text(last["sample_id"]),
        begun=_instants(begun["done_raw_ns"]),
        begun_assigned=_instants(begun["assigned_ns"]),
        begun_sample=_text(begun["sample_id"]),
        released=_instants(released["done_raw_ns"]),
        released_assigned=_instants(released["assigned_ns"]),
    )


def _instants(column: pd.Series[Any]) -> Instants:
    return Instants(column.to_numpy(dtype=np.int64, na_value=0), column.notna().to_numpy(dtype=np.bool_))


def _text(column: pd.Series[Any]) -> Text:
    """Return texts as numbers of words; one without a letter is none."""
    codes, words = pd.factorize(column.astype("object").replace("", None))
    return Text(codes.astype(np.int64), tuple(map(str, words)))


def of_node(held: Held, node_id: str) -> Held:
    """Return the same commit-waits with the node's name before those of its samples."""

    def named(samples: Text) -> Text:
        return Text(samples.codes, tuple(f"{node_id}/{sample}" for sample in samples.words))

    return replace(held, first=named(held.first), last=named(held.last), begun_sample=named(held.begun_sample))


def together(parts: Sequence[Held]) -> Held:
    """Return the commit-waits of consecutive parts of a run."""
    if len(parts) == 1:
        return parts[0]
    return Held(**{spec.name: _strung([getattr(part, spec.name) for part in parts]) for spec in fields(Held)})


def _strung(columns: Sequence[Any]) -> Any:
    first = columns[0]
    if isinstance(first, Text):
        return in_one_vocabulary(columns)
    if isinstance(first, Instants):
        return Instants(np.concatenate([own.ns for own in columns]), np.concatenate([own.known for own in columns]))
    return np.concatenate(columns)


def in_one_vocabulary(texts: Sequence[Text]) -> Text:
    """Return texts one after another."""
    place: dict[str, int] = {}
    return Text(np.concatenate([np.zeros(0, dtype=np.int64), *numbered(texts, place)]), tuple(place))


def numbered(texts: Sequence[Text], place: dict[str, int]) -> Iterator[Ints]:
    """Yield the codes of texts in one vocabulary, to which their words are added."""
    for text in texts:
        known = [place.setdefault(word, len(place)) for word in text.words]
        yield np.array([*known, -1], dtype=np.int64)[text.codes]
