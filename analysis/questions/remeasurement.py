"""The uncertainties re-measured some time after each event: what sources claim then, and how wide readings become."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from analysis.questions import held_events
from analysis.run.readings import NO_STATUS
from analysis.stats import rates
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from analysis.run.event_rows import Rows
    from analysis.run.readings import Readings, Table

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

    uncertainty_ms: NDArray[np.float64]
    asymmetry_ms: NDArray[np.float64]

    def take(self, which: NDArray[Any] | slice) -> _Claims:
        """Return some of the claims."""
        return _Claims(self.uncertainty_ms[which], self.asymmetry_ms[which])

    def known(self) -> _Claims:
        """Return the claims that there are."""
        return self.take(~np.isnan(self.uncertainty_ms))

    def half_ms(self, factor: float) -> NDArray[np.float64]:
        """Return the half-widths, of ``factor`` uncertainties and the asymmetry."""
        return factor * self.uncertainty_ms + self.asymmetry_ms


def _joined(claims: Sequence[_Claims]) -> _Claims:
    return _Claims(*(np.concatenate([getattr(part, spec.name) for part in claims]) for spec in fields(_Claims)))


@dataclass(frozen=True)
class _Rows:
    """One node's rows of one source and delay, the first of each event. ``claimed``: event by event, NaN for none.

    ``good`` are the claims of the rows whose status is ok; ``statuses`` counts all rows.
    """

    claimed: _Claims
    good: _Claims
    late_ns: NDArray[np.int64]
    statuses: dict[str, int]


class Remeasured:
    """The re-measured rows of all nodes, looked up by (node, source, delay).

    A long run has millions of them; they are kept as the arrays that are asked for, one node's table at a time.
    ``looks`` are the rows of real commit-waits, by node, which are in the same file.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._groups: dict[tuple[str, str, float], _Rows] = {}
        self.looks: dict[str, pd.DataFrame] = {}
        for node_id, frame in table.run.commit_wait.items():
            if len(looks := held_events.looks(frame)):
                self.looks[node_id] = looks
            for (source, delay), rows in _groups(frame, table.event_ids):
                self._groups[node_id, source, delay] = rows

    def delays(self, source: str) -> list[float]:
        """Return the delays at which a source was re-measured on any worker, in s."""
        present = self._table.present
        return sorted({delay for node, name, delay in self._groups if name == source and node in present})

    def growth_ns(self, node_id: str, source: str, delay: float, factor: float) -> NDArray[np.float64] | None:
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

    def widths(self, source: str) -> list[Width]:
        """Return what the workers' source claimed at the events and at every delay; none if it never measured again."""
        delays = self.delays(source)
        return [self._first_width(source), *(self._width_at(source, delay) for delay in delays)] if delays else []

    def part(self, table: Table, begin: int, end: int) -> Remeasured:
        """Return the claims about some consecutive events, whose ``table`` is given; without looks."""
        some = copy(self)
        some._table, some.looks = table, {}  # noqa: SLF001 - its own class
        some._groups = {  # noqa: SLF001
            key: replace(rows, claimed=rows.claimed.take(slice(begin, end))) for key, rows in self._groups.items()
        }
        return some

    def _width_at(self, source: str, delay: float) -> Width:
        """Return what the workers' source claimed at one delay."""
        all_groups = [self._groups.get((worker, source, delay)) for worker in self._table.present]
        groups = [group for group in all_groups if group is not None]
        return self._width(
            source,
            delay,
            [group.statuses for group in groups],
            _joined([group.good for group in groups]),
            np.concatenate([group.late_ns for group in groups]),
        )

    def _first_width(self, source: str) -> Width:
        """Return what the workers' source claimed at the events themselves (delay 0), and how wide it read."""
        statuses, claims, half_widths_ms = [], [], []
        for worker in self._table.present:
            readings, rows = self._table.readings(worker, source), self._table.rows[worker]
            statuses.append(readings.statuses(rows.there))
            claims.append(_claims_at_events(rows, source).take(rows.there & (readings.status == records.OK)).known())
            half_widths_ms.append((readings.latest - readings.earliest)[rows.there & readings.bounded] / (2 * MS_NS))
        claimed = self._width(source, 0.0, statuses, _joined(claims), np.zeros(0, dtype=np.int64))
        return replace(claimed, read_half_width_ms=rates.spread(np.concatenate(half_widths_ms)))

    def _width(
        self,
        source: str,
        delay: float,
        statuses: Sequence[Mapping[str, int]],
        claimed: _Claims,
        late_ns: NDArray[np.int64],
    ) -> Width:
        counts: Counter[str] = Counter()
        for status in statuses:
            counts.update(status)
        return Width(
            source=source,
            delay_s=delay,
            due=counts.total(),
            available=counts[records.OK],
            reasons={reason: counts[reason] for reason in sorted(counts) if reason != records.OK},
            uncertainty_ms=rates.spread(claimed.uncertainty_ms),
            half_width_ms=self._half_width(source, claimed),
            read_half_width_ms=rates.spread(claimed.uncertainty_ms[:0]),
            claim=held_events.claim(self._table.run, source),
            late_ms=rates.spread(late_ns, MS_NS),
        )

    def _half_width(self, source: str, claimed: _Claims) -> rates.Spread:
        """Return the claims as half-widths; of none, where nobody says how many sigmas they are."""
        factor = held_events.half_width_per_uncertainty(self._table.run, source)
        return rates.spread(claimed.uncertainty_ms[:0] if factor is None else claimed.half_ms(factor))


def _claims_at_events(rows: Rows, source: str) -> _Claims:
    prefix = records.COLUMN_PREFIX.get(source, source)
    asymmetry = f"{prefix}_asymmetry_ms"  # which an earlier version did not know of
    uncertainty_ms = rows.floats(f"{prefix}_uncertainty_ms")
    return _Claims(
        uncertainty_ms, np.nan_to_num(rows.floats(asymmetry)) if asymmetry in rows else np.zeros(len(uncertainty_ms))
    )


def again_as_wide(readings: Readings, growth_ns: NDArray[np.float64] | None) -> Readings:
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


def _groups(frame: pd.DataFrame, events: NDArray[np.int64]) -> Iterator[tuple[tuple[str, float], _Rows]]:
    """Yield a commit_wait.csv's re-measurements by source and delay."""
    complete = (
        frame["event_id"].notna() & frame["delay_s"].notna()
    )  # the last row of a file that was cut off may not say
    wanted = ((frame["kind"] == records.REMEASURE) & complete).to_numpy(dtype=np.bool_)
    ids: NDArray[np.int64] = frame["event_id"].to_numpy(dtype=np.int64, na_value=0)
    delays, uncertainty_ms = frame["delay_s"].to_numpy(), frame["uncertainty_ms"].to_numpy(dtype=np.float64)
    asymmetry_ms = held_events.asymmetry_ms(frame)
    claims = _Claims(uncertainty_ms, asymmetry_ms)
    late = frame["done_raw_ns"] - frame["due_raw_ns"]
    sources, names = pd.factorize(frame["source"])
    codes, distinct = pd.factorize(frame["status"])
    words = np.array([*distinct, NO_STATUS], dtype=object)
    statuses = np.where(codes < 0, len(distinct), codes)
    for code, name in enumerate(names):
        own = np.flatnonzero(wanted & (sources == code))
        for delay in np.unique(delays[own]):
            rows = own[delays[own] == delay]
            named, first = np.unique(ids[rows], return_index=True)
            rows = rows[first]
            counts = np.bincount(statuses[rows], minlength=len(words))
            good = claims.take(rows[np.isin(statuses[rows], np.flatnonzero(words == records.OK))]).known()
            at = np.searchsorted(events, named)
            known = np.flatnonzero((at < len(events)) & (events[np.minimum(at, len(events) - 1)] == named))
            by_event = _Claims(np.full(len(events), np.nan), np.zeros(len(events)))
            by_event.uncertainty_ms[at[known]] = uncertainty_ms[rows[known]]
            by_event.asymmetry_ms[at[known]] = asymmetry_ms[rows[known]]
            yield (
                (str(name), float(delay)),
                _Rows(
                    claimed=by_event,
                    good=good,
                    late_ns=late.iloc[rows].dropna().to_numpy(dtype=np.int64),
                    statuses={str(word): int(count) for word, count in zip(words, counts, strict=True) if count},
                ),
            )
