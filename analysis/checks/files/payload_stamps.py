"""The payload's send stamp against the stamp of the send: it was read before, by a wall clock that may have been set.

Only the wall half of the payload's stamp travels. Where the coordinator's wall clock stepped around the send, as its
clock pairs and its other sends show by the raw oscillator, the payload may be off by as much as that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd

from analysis.by_event.event_rows import Instants, integers
from analysis.run import wall_clock

if TYPE_CHECKING:
    from analysis.arrays import Bools, Ints, Places
    from analysis.run.stored import Frame


AT_A_TIME: Final = 100_000  # sends
BESIDE: Final = 1_000  # before and after them: in between some have a stamp of the raw oscillator
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


class Stamps(NamedTuple):
    """Stamps of sends in a table's order: wall clock, raw oscillator and its error, in ns; absent without a column."""

    wall: Ints
    raw: Instants | None
    error: Instants | None

    @classmethod
    def of(cls, sent: Frame, rows: Places | slice) -> Stamps:
        """Return the stamps in some rows of a table, all of which have one of the wall clock."""

        def column(name: str) -> Instants | None:
            if name not in sent:
                return None
            ns, known = integers(sent, name)
            return Instants(ns[rows], known[rows])

        return cls(integers(sent, "send_time_ns")[0][rows], column("send_raw_ns"), column("send_raw_error_ns"))

    def frame(self, first: int, end: int) -> pd.DataFrame:
        """Return some of them as a table."""
        rows = slice(first, end)
        columns: dict[str, Any] = {"send_time_ns": self.wall[rows]}
        for name, cells in (("send_raw_ns", self.raw), ("send_raw_error_ns", self.error)):
            if cells is not None:
                columns[name] = Instants(cells.ns[rows], cells.known[rows]).nullable()
        return pd.DataFrame(columns)


def of(sent: Frame, pairs: pd.DataFrame | None) -> Sends:
    """Return what a coordinator's table and its clock pairs say about its sends."""
    events, there = integers(sent, "event_id")
    rows = chosen(there & integers(sent, "send_time_ns")[1])
    if not (np.diff(events[rows]) > 0).all():
        first = np.unique(events[rows], return_index=True)[1]
        rows = (np.arange(len(events)) if isinstance(rows, slice) else rows)[first]
    in_file_order = rows if isinstance(rows, slice) else np.sort(rows)
    stamps = Stamps.of(sent, in_file_order)
    columns = (events[in_file_order], stamps.wall, *around_sends(stamps, pairs))
    if isinstance(rows, slice):
        return Sends(*columns)
    order = np.argsort(columns[0], kind="stable")
    return Sends(*(column[order] for column in columns))


def chosen(rows: Bools) -> Places | slice:
    """Return which rows are chosen: where all are, as a slice, of which nothing is copied."""
    return slice(None) if rows.all() else np.flatnonzero(rows)


def positions(ordered: Ints, wanted: Ints) -> tuple[Places, Bools]:
    """Return where those of the wanted numbers that are among some ordered ones are, and which of them are."""
    place = np.searchsorted(ordered, wanted)
    among = np.append(ordered, -1)[place] == wanted if len(ordered) else np.zeros(len(wanted), dtype=np.bool_)
    among &= place < len(ordered)
    return place[among], among


def around_sends(sent: Stamps, pairs: pd.DataFrame | None) -> tuple[Ints, Ints]:
    """Return by how much, at most, the wall clock was set back and forward around each send, in ns; 0 for no step.

    Around a send is from the last instant known before the send before it to the first one known after it. Many sends
    are looked at some at a time, with those around them.
    """
    set_back, set_forward = np.zeros((2, len(sent.wall)), dtype=np.int64)
    from_pairs = wall_clock.of_pairs(pairs)
    for begin in range(0, len(sent.wall), AT_A_TIME):
        first, end = max(0, begin - BESIDE), min(begin + AT_A_TIME, len(sent.wall))
        back, forward = _around(sent.frame(first, end + BESIDE), from_pairs)
        for whole, some in ((set_back, back), (set_forward, forward)):
            if some.any():  # what is never written to takes no memory
                whole[begin:end] = some[begin - first : end - first]
    return set_back, set_forward


def _around(sent: pd.DataFrame, from_pairs: wall_clock.WallClock) -> tuple[Ints, Ints]:
    clock = wall_clock.of_sends(from_pairs, sent)
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
