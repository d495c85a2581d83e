"""The payload's send stamp against the stamp of the send: it was read before, by a wall clock that may have been set.

Only the wall half of the payload's stamp travels. Where the coordinator's wall clock stepped around the send, as its
clock pairs and its other sends show by the raw oscillator, the payload may be off by as much as that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.run import wall_clock

if TYPE_CHECKING:
    import pandas as pd

    from analysis.arrays import Bools, Ints, Places


FOREIGN_NS: Final = 1_000_000_000  # a payload stamp further from the send stamp is of another run


@dataclass(frozen=True)
class Sends:
    """A coordinator's events in order, each once: when sent (wall), and how far off a payload's stamp may be. All ns.

    It may be later by ``set_back`` and earlier by ``set_forward``, 0 where no step of the wall clock was seen.
    """

    events: Ints
    sent: Ints
    set_back: Ints
    set_forward: Ints

    def judge(self, events: pd.Series[int], payload: pd.Series[int]) -> Payloads:
        """Judge the payload stamps of a worker's rows; rows of events that were not sent say nothing."""
        there = (events.notna() & payload.notna()).to_numpy(dtype=np.bool_)
        ids, stamps = (np.asarray(column.to_numpy(na_value=0)[there], dtype=np.int64) for column in (events, payload))
        place, sent_here = positions(self.events, ids)
        late = stamps[sent_here] - self.sent[place]
        set_back, set_forward = self.set_back[place], self.set_forward[place]
        return Payloads(late, late > set_back, late < -FOREIGN_NS - set_forward, (late > 0) & (late <= set_back))


@dataclass(frozen=True)
class Payloads:
    """How much later than its send each payload stamp is (ns), and what that is: impossible, or by a clock set back."""

    late_ns: Ints
    after_send: Bools
    long_before: Bools
    set_back: Bools


def of(sent: pd.DataFrame, pairs: pd.DataFrame | None) -> Sends:
    """Return what a coordinator's table and its clock pairs say about its sends."""
    first = sent.dropna(subset=["event_id", "send_time_ns"]).drop_duplicates("event_id")
    columns = (first["event_id"], first["send_time_ns"], *around_sends(first, wall_clock.of_sends(pairs, first)))
    events, *others = (np.asarray(column, dtype=np.int64) for column in columns)
    order = np.argsort(events)
    return Sends(events[order], *(column[order] for column in others))


def positions(ordered: Ints, wanted: Ints) -> tuple[Places, Bools]:
    """Return where those of the wanted numbers that are among some ordered ones are, and which of them are."""
    place = np.searchsorted(ordered, wanted)
    among = np.append(ordered, -1)[place] == wanted if len(ordered) else np.zeros(len(wanted), dtype=np.bool_)
    among &= place < len(ordered)
    return place[among], among


def around_sends(sent: pd.DataFrame, clock: wall_clock.WallClock) -> tuple[Ints, Ints]:
    """Return by how much, at most, the wall clock was set back and forward around each send, in ns; 0 for no step.

    Around a send is from the last instant known before the send before it to the first one known after it.
    """
    nothing = np.zeros(len(sent), dtype=np.int64)
    if not len(clock) or "send_raw_ns" not in sent:
        return nothing, nothing
    raw = sent["send_raw_ns"].astype("Int64")
    known = raw.notna().to_numpy(dtype=np.bool_)
    if not known.any():
        return nothing, nothing
    before = raw.shift().ffill().fillna(int(clock.raw[0])).to_numpy(dtype=np.int64)
    after = raw.bfill().fillna(int(clock.raw[-1])).to_numpy(dtype=np.int64)
    seen = clock.around(np.minimum(before, after), np.maximum(before, after))
    offset = sent["send_time_ns"].to_numpy(dtype=np.int64) - raw.fillna(0).to_numpy(dtype=np.int64)
    own = np.where(known, offset, seen.low)
    highest = np.where(known, own, seen.high)
    return np.where(seen.stepped, seen.high - own, 0), np.where(seen.stepped, highest - seen.low, 0)
