"""Counts of decisions that add up: those of consecutive parts of a run are those of the whole, to the last digit.

A decision has an *outcome*: its label, whether it was received, whether it was due, and the label of each ground truth.
There are few different outcomes, so how often each occurs says everything that a rate counts. For the intervals the
same is kept per segment of shared samples, with the sums of the latent quantities (see ``dependence``).

A segment begins with a decision that one of the samples serves for the first time. A part of a run cannot know what
was served before it, so it keeps which samples it saw first, and where; where two parts are added, what begins in the
second with samples of the first joins the segment before it. All sums are of integers, and so exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.stats import rates
from analysis.stats.dependence import autocorrelation_time, bins_of
from analysis.stats.rates import narrow
from analysis.storage.scratch import loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from analysis.arrays import Bools, Floats, Ints
    from analysis.stats.rates import Rate
    from analysis.storage.scratch import Stored

Pieces = tuple["Stored", ...]  # values, piece by piece
FirstServed = tuple["Ints", "Ints"]  # samples, and the event, or segment, each served first
LABELS: Final = 8  # a label is a number below it
_LOW_BITS: Final = 32
_LOW: Final = (1 << _LOW_BITS) - 1
_EXACT: Final = 1 << 52  # sums below it leave room for as many parts as a run can be cut into


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of decisions, one per place of the arrays: different ones of ``Counts``, or one per decision."""

    label: NDArray[np.integer[Any]]
    received: Bools
    due: Bools
    by_truth: Mapping[str, NDArray[np.integer[Any]]]

    @property
    def codes(self) -> NDArray[np.int32]:
        """Return one number per outcome, from which ``decoded`` gets it back."""
        codes = self.label.astype(np.int32)
        codes += self.received * np.int32(LABELS)
        codes += self.due * np.int32(2 * LABELS)
        scale = 4 * LABELS
        for labels in self.by_truth.values():
            codes += labels.astype(np.int32) * np.int32(scale)
            scale *= LABELS
        return codes


def decoded(codes: Ints, truths: Sequence[str]) -> Outcomes:
    """Return the outcomes of their numbers, given the names of the ground truths in their order."""
    rest, by_truth = codes // (4 * LABELS), {}
    for truth in truths:
        by_truth[truth] = rest % LABELS
        rest //= LABELS
    return Outcomes(codes % LABELS, (codes // LABELS) % 2 == 1, (codes // (2 * LABELS)) % 2 == 1, by_truth)


@dataclass(frozen=True)
class Sums:
    """Sums of a latent integer quantity per segment, exact in two halves, and of how many values each is."""

    high: Ints
    low: Ints
    count: Ints

    @classmethod
    def of(cls, values: Ints, known: Bools, begins: Ints) -> Sums:
        """Add up the known values from each beginning to the next."""
        some, count = np.where(known, values, 0), _added(known, begins)
        largest = max(int(some.max(initial=0)), -int(some.min(initial=0)))
        if largest * max(len(some), 1) < _EXACT:  # then one sum is as exact, and quicker
            high, low = np.zeros_like(count), _added(some, begins)
        else:
            high, low = _added(some >> _LOW_BITS, begins), _added(some & _LOW, begins)
        return cls(narrow(high), narrow(low), narrow(count))

    def joined(self, other: Sums, begins: Bools) -> Sums:
        """Add sums of a following part, of which these segments begin anew."""
        pairs = ((self.high, other.high), (self.low, other.low), (self.count, other.count))
        high, low, count = (narrow(_joined(first, second, begins)) for first, second in pairs)
        return Sums(high, low, count)

    @property
    def total(self) -> Floats:
        """Return the sums."""
        low = self.low.astype(np.int64)  # kept in as few bytes as hold it
        total: Floats = (self.high + (low >> _LOW_BITS)) * float(1 << _LOW_BITS) + (low & _LOW)
        return total

    @property
    def centred(self) -> Floats:
        """Return the sums of the values less what they usually are: the median of the segments' means."""
        total, some = self.total, self.count > 0
        usual = float(np.median(total[some] / self.count[some])) if some.any() else 0.0
        return total - self.count * usual


@dataclass(frozen=True)
class Counts:
    """How often which outcome occurred, per segment, of decisions in order of time.

    ``codes`` names the outcomes, ``table`` counts them: one row per code, one column per segment. ``begins`` tells
    which segments begin with a sample served for the first time (all but a first one, before any sample served).
    ``first_seen``: per stream of samples, those that served and the segment each of them began in.
    ``latents``: per latent quantity its sums, one per node that has it. ``messages``: per code, what the rounds about
    these decisions would send. ``values``: what is summarised by quantiles, piece by piece. ``reasons``, ``tallies``:
    plain counts.
    """

    truths: tuple[str, ...]
    codes: Ints
    table: Ints
    begins: Bools
    first_seen: tuple[FirstServed, ...]
    latents: tuple[tuple[Sums, ...], ...]
    messages: Ints
    values: Mapping[str, Pieces]
    reasons: Mapping[str, int]
    tallies: Mapping[str, int]

    @cached_property
    def outcomes(self) -> Outcomes:
        """Return the different outcomes, in the order of ``codes``."""
        return decoded(self.codes, self.truths)

    @cached_property
    def total(self) -> Ints:
        """Return how often each outcome occurred."""
        total: Ints = self.table.sum(axis=1)
        return total

    def number(self, chosen: Bools) -> int:
        """Return how many decisions have one of the chosen outcomes."""
        return int(self.total[chosen].sum())

    def rate(self, hits: Bools, of: Bools, *, latent: bool = True) -> Rate:
        """Return the rate of the outcomes that are ``hits`` among those it is ``of``, with its interval.

        ``latent``: what is behind the labels decides whether it is a hit; else only the hits themselves tell how long
        they last.
        """
        lengths, sums = self.table[of].sum(axis=0), self.table[of & hits].sum(axis=0)
        some = self._whole(lengths) > 0
        series = bins_of(*(self._whole(part)[some].astype(np.float64) for part in (sums, lengths)))
        worth = rates.worth(series, self.tau if latent else None)
        return rates.rate(int(sums.sum()), int(lengths.sum()), worth)

    def count(self, hits: Bools, of: Bools) -> Rate:
        """Return the same rate as a mere count, which is quicker."""
        return rates.rate(self.number(of & hits), self.number(of))

    @property
    def summary(self) -> Counts:
        """Return the same counts without what only rates with intervals and further parts need."""
        return replace(
            self,
            table=self.total[:, None],
            begins=np.ones(1, dtype=np.bool_),
            first_seen=(),
            latents=(),
            values={},
        )

    @cached_property
    def tau(self) -> float | None:
        """Return the autocorrelation time, in segments, of the latent quantity that forgets most slowly."""
        taus = []
        for parts in self.latents:
            alone = len(parts) == 1  # of several nodes, of which some may have no value, each is held against its own
            sums = self._whole(np.sum([part.total if alone else part.centred for part in parts], axis=0))
            lengths = self._whole(np.sum([part.count for part in parts], axis=0))
            some = lengths > 0
            taus.append(autocorrelation_time(sums[some] / lengths[some]))
        known = [tau for tau in taus if tau is not None]
        return max(known) if known else None

    def _whole(self, sums: NDArray[Any]) -> NDArray[Any]:
        """Return sums by segment: what no sample served yet joins the first."""
        if len(sums) < 2 or self.begins[0]:
            return sums
        return np.concatenate([sums[:1] + sums[1:2], sums[2:]])

    def kept(self, keep: Callable[[NDArray[Any]], Stored]) -> Counts:
        """Return the same counts with their values where ``keep`` puts them."""
        return replace(self, values={name: tuple(map(keep, loaded(pieces))) for name, pieces in self.values.items()})

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of both, ``other`` those of decisions that follow."""
        if not len(other.begins) or not len(self.begins):
            first, second = (self, other) if len(self.begins) else (other, self)
            return replace(first, **_plain(first, second))
        seen = [np.isin(new[0], old[0]) for old, new in zip(self.first_seen, other.first_seen, strict=True)]
        begins = np.zeros(len(other.begins), dtype=np.bool_)
        for known, (_, places) in zip(seen, other.first_seen, strict=True):
            begins[places[~known]] = True
        segments = len(self.begins) - 1 + np.cumsum(begins)
        codes = np.union1d(self.codes, other.codes)
        tables, messages = [], np.zeros(len(codes), dtype=np.int64)
        for part in (self, other):
            rows = np.searchsorted(codes, part.codes)
            table = np.zeros((len(codes), len(part.begins)), dtype=np.int64)
            table[rows] = part.table
            tables.append(table)
            messages[rows] += part.messages
        return Counts(
            truths=self.truths,
            codes=codes,
            table=narrow(_joined(tables[0], tables[1], begins)),
            begins=np.concatenate([self.begins, begins[begins]]),
            first_seen=tuple(
                (
                    narrow(np.concatenate([old[0], new[0][~known]])),
                    narrow(np.concatenate([old[1], segments[new[1][~known]]])),
                )
                for known, old, new in zip(seen, self.first_seen, other.first_seen, strict=True)
            ),
            latents=tuple(
                tuple(sums.joined(following, begins) for sums, following in zip(*nodes, strict=True))
                for nodes in zip(self.latents, other.latents, strict=True)
            ),
            messages=messages,
            **_plain(self, other),
        )


def counts(
    parts: Sequence[Outcomes],
    samples: Sequence[FirstServed],
    latents: Sequence[Sequence[tuple[Ints, Bools]]],
    *,
    messages: Sequence[Ints] | int,
    values: Mapping[str, Pieces],
    reasons: Mapping[str, int],
    tallies: Mapping[str, int],
) -> Counts:
    """Count the outcomes of several nodes' decisions about the same events, in order of time.

    ``parts``: one per node. ``samples``: per clock that has a part in any of them, see ``first_served``. ``latents``:
    per quantity, one (values, known) per node. ``messages``: what a round about each decision sends, per part, or
    about any.
    """
    events = len(parts[0].label)
    begins, first_seen = _segments(samples, events)
    codes = [part.codes for part in parts]
    most = max((int(code.max()) for code in codes if len(code)), default=0)
    names = np.flatnonzero(np.sum([np.bincount(code, minlength=most + 1) for code in codes], axis=0))
    column = np.zeros(most + 1, dtype=np.int64)
    column[names] = np.arange(len(names))
    segment = np.repeat(np.arange(len(begins)), np.diff(begins, append=events))
    table = np.zeros(len(begins) * len(names), dtype=np.int64)
    sent = np.zeros(len(names), dtype=np.int64)
    for place, code in enumerate(codes):
        cell = column[code]
        if isinstance(messages, int):
            sent += messages * np.bincount(cell, minlength=len(names))
        else:
            sent += np.bincount(cell, messages[place], len(names)).astype(np.int64)
        cell *= len(begins)
        cell += segment
        table += np.bincount(cell, minlength=len(table))
    began = np.zeros(len(begins), dtype=np.bool_)
    for _, places in first_seen:
        began[places] = True
    return Counts(
        truths=tuple(parts[0].by_truth),
        codes=names,
        table=narrow(table).reshape(len(names), len(begins)),
        begins=began,
        first_seen=first_seen,
        latents=tuple(tuple(Sums.of(value, known, begins) for value, known in nodes) for nodes in latents),
        messages=sent,
        values=dict(values),
        reasons=dict(sorted(reasons.items())),
        tallies=dict(tallies),
    )


def first_served(served: Ints) -> FirstServed:
    """Return which samples served, and the event that each served first; ``served``: by event, negative for none."""
    events = np.flatnonzero(served >= 0)
    samples = served[events]
    low = int(samples.min(initial=0 if not len(samples) else int(samples[0])))
    if not len(samples) or int(samples.max()) - low > 4 * len(served):
        names, first = np.unique(samples, return_index=True)
        return names, events[first]
    first = np.full(int(samples.max()) - low + 1, -1)
    first[samples[::-1] - low] = events[::-1]  # of several events the last one written stays: the first
    names = np.flatnonzero(first >= 0)
    return names + low, first[names]


def _segments(first: Sequence[FirstServed], events: int) -> tuple[Ints, tuple[FirstServed, ...]]:
    """Return the events that begin a segment, and per stream its samples with the segment that each began."""
    begins = np.zeros(events, dtype=np.bool_)
    begins[:1] = True
    for _, at in first:
        begins[at] = True
    segment = np.cumsum(begins) - 1
    return np.flatnonzero(begins), tuple((narrow(names), narrow(segment[at])) for names, at in first)


def _added(values: NDArray[Any], begins: Ints) -> Ints:
    if not len(begins):
        return np.zeros(0, dtype=np.int64)
    sums: Ints = np.add.reduceat(values, begins, dtype=np.int64)
    return sums


def _joined(first: Ints, second: Ints, begins: Bools) -> Ints:
    """Append sums by segment, each that does not begin a segment added to the one before it."""
    starts = np.flatnonzero(np.concatenate([[True], begins[1:]]))
    sums: Ints = np.add.reduceat(second, starts, axis=-1)
    if begins[0]:
        return np.concatenate([first, sums], axis=-1)
    joint = first[..., -1:] + sums[..., :1]
    return np.concatenate([first[..., :-1], joint, sums[..., 1:]], axis=-1)


def _plain(first: Counts, second: Counts) -> dict[str, Any]:
    """Return what needs no segments of both."""
    reasons, tallies = Counter(first.reasons), Counter(first.tallies)
    reasons.update(second.reasons)
    tallies.update(second.tallies)
    return {
        "values": {name: (*first.values[name], *second.values[name]) for name in first.values},
        "reasons": dict(sorted(reasons.items())),
        "tallies": dict(tallies),
    }
