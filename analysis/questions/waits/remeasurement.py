"""The uncertainties re-measured some time after each event: what sources claim then, and how wide readings become."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd

from analysis.by_event.joining import joined
from analysis.by_event.table import NO_STATUS
from analysis.questions.waits import held_events, holds
from analysis.run import csv_tables, load
from analysis.stats import rates
from analysis.stats.ordered import Ordered
from analysis.storage.scratch import in_memory, loaded
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from analysis.arrays import Bools, Floats, Ints
    from analysis.by_event.event_rows import Rows
    from analysis.by_event.table import Readings, Table
    from analysis.questions.waits.holds import Held
    from analysis.run.load import Run
    from analysis.stats.ordered import Numbers
    from analysis.storage.scratch import Stored

MS_NS: Final = 1_000_000


@dataclass(frozen=True)
class Width:
    """What a source claimed as its uncertainty (as claimed) over the events: at the event and at each delay.

    ``half_width_ms`` is the same times what the configuration multiplies it by, plus the asymmetry that the source
    claims, and ``claim`` says what that is. ``read_half_width_ms`` is that of the readings at the events: the claim,
    aged, and the stamp's error besides. At a delay only the claim was taken.
    """

    source: str
    delay_s: float
    due: int
    available: int
    reasons: dict[str, int]
    uncertainty_ms: rates.Spread
    half_width_ms: rates.Spread
    read_half_width_ms: rates.Spread
    claim: str
    late_ms: rates.Spread


@dataclass(frozen=True)
class _Claims:
    """What a source claimed, in ms: its uncertainty, and the asymmetry beside it, 0 where it claimed none."""

    uncertainty_ms: Floats
    asymmetry_ms: Floats

    def take(self, which: NDArray[Any] | slice) -> _Claims:
        """Return some of the claims."""
        return _Claims(self.uncertainty_ms[which], self.asymmetry_ms[which])

    def known(self) -> _Claims:
        """Return the claims that there are."""
        return self.take(~np.isnan(self.uncertainty_ms))

    @property
    def different(self) -> _Different:
        """Return the different ones among the claims, all of which there are."""
        (of_uncertainty, uncertainties_ms), (of_asymmetry, asymmetries_ms) = (
            pd.factorize(claims_ms) for claims_ms in (self.uncertainty_ms, self.asymmetry_ms)
        )
        pairs, times = np.unique(of_uncertainty * max(len(asymmetries_ms), 1) + of_asymmetry, return_counts=True)
        which, other = np.divmod(pairs, max(len(asymmetries_ms), 1))
        return _Different(uncertainties_ms[which], asymmetries_ms[other], rates.narrow(times))


class _Different(NamedTuple):
    """Different claims, and how many ``times`` each was made: they are few, for a sample serves many events."""

    uncertainty_ms: Stored
    asymmetry_ms: Stored
    times: Stored

    def uncertainties_ms(self) -> Floats:
        """Return the uncertainties, each as often as it was claimed."""
        return np.repeat(in_memory(self.uncertainty_ms), in_memory(self.times))

    def half_widths_ms(self, factor: float) -> Floats:
        """Return the half-widths, of ``factor`` uncertainties and the asymmetry, each as often as it was claimed."""
        return np.repeat(factor * in_memory(self.uncertainty_ms) + in_memory(self.asymmetry_ms), in_memory(self.times))


@dataclass(frozen=True)
class Claimed:
    """What a source claimed of some events: the statuses of all rows, and the claims of those that are ok.

    ``late_ns``: by how much later than due it was asked; ``read_widths_ns``: how wide the readings at the events are.
    Numbers are in pieces, of nodes and of parts of a run.
    """

    statuses: Mapping[str, int]
    claims: tuple[_Different, ...] = ()
    late_ns: tuple[Stored, ...] = ()
    read_widths_ns: tuple[Stored, ...] = ()

    def __add__(self, other: Claimed) -> Claimed:
        """Return what was claimed of both's events."""
        return Claimed(
            Counter(self.statuses) + Counter(other.statuses),
            self.claims + other.claims,
            self.late_ns + other.late_ns,
            self.read_widths_ns + other.read_widths_ns,
        )

    def kept(self, keep: Callable[[NDArray[Any]], Stored]) -> Claimed:
        """Return the same with its numbers where ``keep`` puts them."""
        claims = (_Different(*(keep(in_memory(numbers)) for numbers in own)) for own in self.claims)
        late_ns, widths_ns = (tuple(map(keep, loaded(own))) for own in (self.late_ns, self.read_widths_ns))
        return Claimed(self.statuses, tuple(claims), late_ns, widths_ns)


@dataclass(frozen=True)
class _Rows:
    """One node's rows of one source and delay, the first of each event. ``claimed``: event by event, NaN for none.

    ``ok``: the events whose row has the status ok. ``elsewhere``: the claims of such rows about events that no table
    has. ``statuses`` counts all rows.
    """

    claimed: _Claims
    ok: Bools
    elsewhere: _Claims
    late_ns: Ints
    statuses: dict[str, int]

    @property
    def good(self) -> _Claims:
        """Return the claims of the rows whose status is ok."""
        return joined([self.claimed.take(self.ok).known(), self.elsewhere])


class Remeasured:
    """The re-measured rows of all nodes, looked up by (node, source, delay).

    A long run has millions of them, and it is here that most memory is taken: a node's table is read, made into the
    arrays that are asked for, and let go before the next one is read.
    ``waits`` are the real commit-waits, by node and source, which are in the same file.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._groups: dict[tuple[str, str, float], _Rows] = {}
        self.waits: dict[str, dict[str, Held]] = {}
        for node_id in table.run.commit_wait:
            self._read(node_id)
            csv_tables.release_memory()

    def _read(self, node_id: str) -> None:
        stored = self._table.run.commit_wait[node_id]
        frame = stored[[name for name in load.COMMIT_WAIT if name in stored]]
        if len(looks := holds.looks(frame)):
            self.waits[node_id] = holds.of_looks(looks)
        for (source, delay), rows in _groups(frame, self._table.event_ids):
            self._groups[node_id, source, delay] = rows

    def delays(self, source: str) -> list[float]:
        """Return the delays at which a source was re-measured on any worker, in s."""
        present = self._table.present
        return sorted({delay for node, name, delay in self._groups if name == source and node in present})

    def growth_ns(self, node_id: str, source: str, delay: float, factor: float) -> Floats | None:
        """Return how much wider the claimed half-width is than at the event, in ns; negative where it is narrower.

        NaN where either claim is missing, None if the node never measured again. Only the change of the claim counts:
        what else widens a reading (ageing, the stamp's error) is the same before and after, so like stands with like.
        """
        group, rows = self._groups.get((node_id, source, delay)), self._table.rows.get(node_id)
        if group is None or rows is None:
            return None
        first, again = _claims_at_events(rows, source), group.claimed
        wider_ms = (again.uncertainty_ms - first.uncertainty_ms) * factor + (again.asymmetry_ms - first.asymmetry_ms)
        return np.asarray(np.ceil(wider_ms * 1e6))

    @property
    def claimed(self) -> Mapping[tuple[str, float], Claimed]:
        """Return what the workers' sources claimed, by source and delay; 0 is at the events themselves."""
        claimed: dict[tuple[str, float], Claimed] = {}
        for source in self._table.sources:
            for delay in self.delays(source):
                groups = [self._groups.get((worker, source, delay)) for worker in self._table.present]
                parts = [
                    Claimed(group.statuses, (group.good.different,), (group.late_ns,))
                    for group in groups
                    if group is not None
                ]
                claimed[source, delay] = reduce(add, parts)
            column = f"{records.COLUMN_PREFIX.get(source, source)}_uncertainty_ms"
            claiming = [worker for worker in self._table.present if column in self._table.rows[worker]]
            if claiming:
                claimed[source, 0.0] = reduce(add, (self._at_events(worker, source) for worker in claiming))
        return claimed

    def _at_events(self, worker: str, source: str) -> Claimed:
        """Return what a worker's source claimed at the events themselves, and how wide it read."""
        readings, rows = self._table.readings(worker, source), self._table.rows[worker]
        claims = _claims_at_events(rows, source).take(rows.there & (readings.status == records.OK)).known()
        widths_ns = rates.narrow((readings.latest - readings.earliest)[rows.there & readings.bounded])
        return Claimed(readings.statuses(rows.there), (claims.different,), read_widths_ns=(widths_ns,))


def widths(run: Run, claimed: Mapping[tuple[str, float], Claimed], source: str) -> list[Width]:
    """Return what the workers' source claimed at the events and at every delay; none if it never measured again."""
    delays = sorted(delay for name, delay in claimed if name == source)
    return [_width(run, source, delay, claimed[source, delay]) for delay in delays] if any(delays) else []


def _width(run: Run, source: str, delay_s: float, claimed: Claimed) -> Width:
    counts, factor = Counter(claimed.statuses), held_events.half_width_per_uncertainty(run, source)
    claims = claimed.claims
    return Width(
        source=source,
        delay_s=delay_s,
        due=counts.total(),
        available=counts[records.OK],
        reasons={reason: counts[reason] for reason in sorted(counts) if reason != records.OK},
        uncertainty_ms=_spread(lambda: (own.uncertainties_ms() for own in claims)),
        # of none, where nobody says how many sigmas they are
        half_width_ms=_spread(lambda: () if factor is None else (own.half_widths_ms(factor) for own in claims)),
        read_half_width_ms=_spread(lambda: (widths / (2 * MS_NS) for widths in loaded(claimed.read_widths_ns))),
        claim=held_events.claim(run, source),
        late_ms=_spread(lambda: (late / MS_NS for late in loaded(claimed.late_ns))),
    )


def _spread(pieces: Numbers) -> rates.Spread:
    return rates.spread_of(Ordered(pieces))


def _claims_at_events(rows: Rows, source: str) -> _Claims:
    prefix = records.COLUMN_PREFIX.get(source, source)
    asymmetry = f"{prefix}_asymmetry_ms"  # which an earlier version did not know of
    uncertainty_ms = rows.floats(f"{prefix}_uncertainty_ms")
    claimed = np.nan_to_num(rows.floats(asymmetry)) if asymmetry in rows else holds.no_asymmetry(len(rows.there))
    return _Claims(uncertainty_ms, claimed)


def again_as_wide(readings: Readings, growth_ns: Floats | None) -> Readings:
    """Return the readings as wide as the re-measured claim makes them; unmeasured ones lose their interval."""
    if growth_ns is None:
        return readings
    measured = ~np.isnan(growth_ns)
    growth = np.where(measured, growth_ns, 0.0).astype(np.int64)
    return replace(
        readings,
        bounded=readings.bounded & measured,
        earliest=np.minimum(readings.earliest - growth, readings.est),
        latest=np.maximum(readings.latest + growth, readings.est),
    )


def _groups(frame: pd.DataFrame, events: Ints) -> Iterator[tuple[tuple[str, float], _Rows]]:
    """Yield a commit_wait.csv's re-measurements by source and delay."""
    # the last row of a file that was cut off may not say
    complete = frame["event_id"].notna() & frame["delay_s"].notna()
    wanted = ((frame["kind"] == records.REMEASURE) & complete).to_numpy(dtype=np.bool_)
    ids: Ints = frame["event_id"].to_numpy(dtype=np.int64, na_value=0)
    delays, uncertainty_ms = frame["delay_s"].to_numpy(), frame["uncertainty_ms"].to_numpy(dtype=np.float64)
    asymmetry_ms = holds.asymmetry_ms(frame)
    claims = _Claims(uncertainty_ms, asymmetry_ms)
    status, source = pd.Categorical(frame["status"]), pd.Categorical(frame["source"])
    words = np.array([*status.categories, NO_STATUS], dtype=object)
    statuses = status.codes  # -1, of a row without one, is the last word
    for code, name in enumerate(source.categories):
        own = np.flatnonzero(wanted & (source.codes == code))
        for delay in np.unique(delays[own]):
            rows = own[delays[own] == delay]
            named, first = np.unique(ids[rows], return_index=True)
            rows = rows[first]
            counts = np.bincount(statuses[rows] % len(words), minlength=len(words))
            good = (words == records.OK)[statuses[rows]]
            at = np.searchsorted(events, named)
            known = (at < len(events)) & (events[np.minimum(at, len(events) - 1)] == named)
            at = at[known]
            by_event = _Claims(np.full(len(events), np.nan), holds.no_asymmetry(len(events)))
            by_event.uncertainty_ms[at] = uncertainty_ms[rows[known]]
            if asymmetry_ms[rows].any():
                by_event = replace(by_event, asymmetry_ms=np.zeros(len(events)))
                by_event.asymmetry_ms[at] = asymmetry_ms[rows[known]]
            ok = np.zeros(len(events), dtype=np.bool_)
            ok[at] = good[known]
            done, due = (frame[column].iloc[rows] for column in ("done_raw_ns", "due_raw_ns"))
            late_ns = (done - due).dropna().to_numpy(dtype=np.int64)
            yield (
                (str(name), float(delay)),
                _Rows(
                    claimed=by_event,
                    ok=ok,
                    elsewhere=claims.take(rows[good & ~known]).known(),
                    late_ns=rates.narrow(late_ns),
                    statuses={str(word): int(count) for word, count in zip(words, counts, strict=True) if count},
                ),
            )
