"""Ordering: which worker received first, and whether all workers put two events in the same order.

Who first: per event and pair of workers, the relation of their two receipts; right or wrong only against a judge (the
reference, or the injected truth), and unknown where the judge cannot tell either.
Agreement: for events i, j sent within 1 s of each other, each worker labels its own two receipts (before, after,
ambiguous); agreement is the share of pairs on which all workers give the same label, with the decided share beside it.
Where labels differ, each worker's own oscillator says whether the workers did receive the two in different orders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.questions import judges, rounds, verdicts
from analysis.run.readings import POINT
from analysis.stats import rates
from analysis.stats.dependence import Dependence, Latent, centred, dependence, segments_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analysis.questions.judges import Judge, Judgement
    from analysis.questions.rounds import Rounds
    from analysis.run.readings import Readings, Table

STATISTICS_FILE = "ordering_stats.json"
FIGURE = "ordering_consensus"

PAIR_SPAN_NS: Final = 1_000_000_000
MAX_PAIRS: Final = 1_000_000  # beyond it a stratified sample is judged, and the report says how many of how many
SAMPLE_SEED: Final = 20251025

INTERVAL: Final = "interval"
ALL_PAIRS: Final = ("all", "all")
MOST_PAIRS_ALONE: Final = 45  # ten workers'; of more pairs, only all together get intervals from the block bootstrap


@dataclass(frozen=True)
class WhoFirst:
    """One source's labels of which of two workers received first (or of all pairs together: ``pair`` is ALL_PAIRS).

    ``decided`` and ``ambiguous`` are shares of what is evaluable; equal point estimates are ambiguous. ``against``:
    what each judge says. ``wrong``: of what is decided and the truth is known of, None where none is.
    ``rounds``, of all pairs together: of what both received, what is left open, has no reading, or was decided wrongly
    as the truth knows, or else the reference.
    """

    source: str
    clock: str  # POINT or INTERVAL
    pair: tuple[str, str]
    events: int
    evaluable: int
    first_before: int
    second_before: int
    decided: rates.Rate
    ambiguous_share: rates.Rate
    against: tuple[Judgement, ...]
    wrong: rates.Rate | None
    rounds: Rounds | None = None

    @property
    def ambiguous(self) -> int:
        """Return how many events the source leaves open."""
        return self.ambiguous_share.numerator

    @property
    def name(self) -> str:
        """Return the pair as it is written."""
        return "/".join(self.pair)

    def as_dict(self) -> dict[str, Any]:
        """Return the labels of the pair as JSON-serialisable data."""
        names = ("source", "clock", "pair", "events", "evaluable", "first_before", "second_before", "ambiguous")
        return {name: getattr(self, name) for name in names} | {
            "decided": self.decided.as_dict(),
            "against": judges.as_dict(self.against),
            "correctness": "not_evaluable" if self.wrong is None else self.wrong.as_dict(),
        }


@dataclass(frozen=True)
class Agreement:
    """One source's agreement of all workers on the order of pairs of events.

    ``received_share``: of the pairs sent, those that every worker received both of; ``evaluable_share``: of these,
    those it has labels of.
    ``same``: all labels equal (all ambiguous is equal, too); ``decided``: no label ambiguous; ``same_decided``: both.
    ``wrong``: of pairs that some worker decided, those that one decided against the true order of its own receipts,
    None without truth.
    Of the pairs whose labels differ, ``truly_differ``: the workers did receive the two in different orders by their own
    oscillators; ``by_clocks``: they received them in the same order, so the clocks caused it; the rest is unknown.
    ``against``: every worker's own labels against its own oscillator, (pair, worker) by (pair, worker).
    """

    source: str
    clock: str
    pairs: int
    received_share: rates.Rate
    evaluable_share: rates.Rate
    same: rates.Rate
    decided: rates.Rate
    same_decided: rates.Rate
    wrong: rates.Rate | None
    truly_differ: int
    by_clocks: int
    against: Judgement

    @property
    def evaluable(self) -> int:
        """Return how many pairs every worker has labels of."""
        return self.same.denominator

    def as_dict(self) -> dict[str, Any]:
        """Return the agreement as JSON-serialisable data."""
        differ = self.evaluable - self.same.numerator
        return {
            "agreement": self.same.as_dict(),
            "received": self.received_share.as_dict(),
            "evaluable": self.evaluable_share.as_dict(),
            "decided": self.decided.as_dict(),
            "agreement_decided": self.same_decided.as_dict(),
            "wrong_decided": None if self.wrong is None else self.wrong.as_dict(),
            "disagreements": {
                "pairs": differ,
                "true_orders_differ": self.truly_differ,
                "caused_by_clocks": self.by_clocks,
                "unknown": differ - self.truly_differ - self.by_clocks,
            },
            "against": judges.as_dict([self.against]),
            "not_evaluable_pairs": self.pairs - self.evaluable,
        }


@dataclass(frozen=True)
class Ordering:
    """Both questions' answers. ``pairs_judged`` of ``pairs_total`` pairs were judged (all, or a stratified sample).

    ``workers`` are those that left at least one row; the ``silent_workers`` left none and have no part in any number.
    """

    workers: tuple[str, ...]
    silent_workers: tuple[str, ...]
    pairs_total: int
    pairs_judged: int
    who_first: tuple[WhoFirst, ...]
    totals: tuple[WhoFirst, ...]
    agreement: tuple[Agreement, ...]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {clock: {agreement, decided, …, who_first}}}}`` and the differences."""
        sources: dict[str, dict[str, Any]] = {}
        for agreement in self.agreement:
            sources.setdefault(agreement.source, {})[agreement.clock] = agreement.as_dict() | {"who_first": {}}
        for first in (*self.totals, *self.who_first):
            name = ALL_PAIRS[0] if first.pair == ALL_PAIRS else first.name
            sources[first.source][first.clock]["who_first"][name] = first.as_dict()
        return {
            "workers": list(self.workers),
            "silent_workers": list(self.silent_workers),
            "pair_span_ms": PAIR_SPAN_NS // 1_000_000,
            "pairs_total": self.pairs_total,
            "pairs_judged": self.pairs_judged,
            "sampling": "all pairs" if self.pairs_judged == self.pairs_total else "stratified sample, fixed seed",
            "sources": sources,
            "differences": _differences(sources),
        }


def compute(table: Table, known: Sequence[Judge] | None = None) -> Ordering:
    """Judge who received first and whether the workers agree on the order of nearby events (judges: see ``judges``)."""
    first, second, total = nearby_pairs(table.sent.ns, table.sent.known)
    if len(table.heard) < 2:
        return Ordering(table.heard, table.silent, total, len(first), (), (), ())
    found = judges.of(table) if known is None else known
    own = [judges.own_order(table.raw_stamps[worker], first, second)[0] for worker in table.heard]
    agreement = tuple(_agreement(table, source, clock, first, second, own) for source, clock in clocks(table))
    who_first, totals = _who_first(table, found)
    return Ordering(table.heard, table.silent, total, len(first), who_first, totals, agreement)


def clocks(table: Table) -> list[tuple[str, str]]:
    """Return every (source, clock) to judge: each source as a point, and as an interval where it has any."""
    found = []
    for source in table.sources:
        found.append((source, POINT))
        if any(table.readings(node, source).bounded.any() for node in table.nodes):
            found.append((source, INTERVAL))
    return found


def nearby_pairs(
    sent_ns: NDArray[np.int64], known: NDArray[np.bool_], span_ns: int = PAIR_SPAN_NS, most: int = MAX_PAIRS
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return positions (i, j) of events sent within ``span_ns`` of each other, i before j, and how many there are.

    Beyond ``most`` pairs, one pair is drawn from each of ``most`` equal stretches of the list of all pairs (ordered by
    time, then by distance), with a fixed seed; time and memory then stay bounded.
    """
    positions = np.flatnonzero(known)
    positions = positions[np.argsort(sent_ns[positions], kind="stable")]
    times = sent_ns[positions]
    followers = np.searchsorted(times, times + span_ns, side="right") - np.arange(len(times)) - 1
    ends = np.cumsum(followers)
    total = int(ends[-1]) if len(ends) else 0
    if total <= most:
        numbers = np.arange(total)
    else:
        edges = np.arange(most + 1) * (total / most)
        low = np.floor(edges[:-1]).astype(np.int64)
        high = np.maximum(np.floor(edges[1:]).astype(np.int64), low + 1)
        numbers = np.random.default_rng(SAMPLE_SEED).integers(low, high)
    first = np.searchsorted(ends, numbers, side="right")
    second = first + 1 + numbers - (ends[first] - followers[first])
    return positions[first], positions[second], total


def _agreement(
    table: Table,
    source: str,
    clock: str,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    own: Sequence[NDArray[np.int8]],
) -> Agreement:
    """Judge one source's labels of the pairs; ``own`` are each worker's by its own oscillator."""
    blocks = [table.readings(worker, source) for worker in table.heard]
    labels = [_own_labels(block, clock, first, second) for block in blocks]
    judged = np.all([one != verdicts.NOT_EVALUABLE for one in labels], axis=0)
    came = [table.received[worker] for worker in table.heard]
    received = np.all([one[first] & one[second] for one in came], axis=0)
    same = judged & np.all([one == labels[0] for one in labels], axis=0)
    decided = judged & np.all([label != verdicts.AMBIGUOUS for label in labels], axis=0)
    segments = segments_of(*(block.sample[first] for block in blocks))
    shared = dependence(segments, *_pair_latents(blocks, clock, first, second, judged))
    known = np.all([verdicts.decided(one) for one in own], axis=0)
    alike = np.all([one == own[0] for one in own], axis=0)
    labels_all, own_all = (np.column_stack(columns).ravel() for columns in (labels, own))
    return Agreement(
        source=source,
        clock=clock,
        pairs=len(first),
        received_share=rates.rate_of(received, np.ones(len(first), dtype=np.bool_), dependence(segments)),
        evaluable_share=rates.rate_of(judged, received, dependence(segments)),
        same=rates.rate_of(same, judged, shared),
        decided=rates.rate_of(decided, judged, shared),
        same_decided=rates.rate_of(same & decided, judged, shared),
        wrong=_wrong(table, labels, judged, shared, first, second),
        truly_differ=int((judged & ~same & known & ~alike).sum()),
        by_clocks=int((judged & ~same & known & alike).sum()),
        against=judges.compare(judges.OSCILLATOR, labels_all, own_all, _repeated(shared, len(blocks))),
    )


def _pair_latents(
    blocks: Sequence[Readings],
    clock: str,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    judged: NDArray[np.bool_],
) -> tuple[Latent, ...]:
    """Return what is behind agreement on the order of two events: by how much the workers' lags between them differ.

    And, of intervals, how wide the widest pair of them is.
    """
    differ = np.ptp(np.array([block.est[second] - block.est[first] for block in blocks]), axis=0)
    if clock == POINT:
        return (Latent(differ.astype(np.float64), judged),)
    widths = [block.latest - block.earliest for block in blocks]
    widest = np.max(np.array([width[first] + width[second] for width in widths]), axis=0)
    return Latent(differ.astype(np.float64), judged), Latent(widest.astype(np.float64), judged)


def _repeated(shared: Dependence, times: int) -> Dependence:
    """Return what events share of which each stands so many times in a row."""
    return Dependence(np.repeat(shared.segments, times), shared.tau)


def _wrong(
    table: Table,
    labels: Sequence[NDArray[np.int8]],
    judged: NDArray[np.bool_],
    shared: Dependence,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> rates.Rate | None:
    """Return how many of the pairs some worker decided are against the injected truth, None where there is none."""
    wrong, decided, told = np.zeros(len(first), dtype=np.bool_), np.zeros(len(first), dtype=np.bool_), False
    for worker, own in zip(table.heard, labels, strict=True):
        true = table.truth(worker)
        if true is not None:
            told, lag = True, true.ns[second] - true.ns[first]
            truth = verdicts.order(lag, lag, true.known[first] & true.known[second])
            wrong |= verdicts.wrong(own, truth)
            decided |= verdicts.decided(own) & (truth != verdicts.NOT_EVALUABLE)
    return rates.rate_of(wrong, judged & decided, shared) if told else None


def _own_labels(own: Readings, clock: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return one worker's own labels of its two receipts, pair by pair."""
    relation = verdicts.points if clock == POINT else verdicts.intervals
    return relation(own.take(first), own.take(second))


def _who_first(table: Table, known: Sequence[Judge]) -> tuple[tuple[WhoFirst, ...], tuple[WhoFirst, ...]]:
    """Judge every pair of workers with every clock, and all pairs together; a lag is asked for once per pair."""
    pairs = list(combinations(table.heard, 2))
    told = {pair: {judge.name: judge.receipts(*pair).order for judge in known if not judge.reason} for pair in pairs}
    due = np.column_stack([table.received[one] & table.received[other] for one, other in pairs]).ravel()
    found: list[WhoFirst] = []
    totals: list[WhoFirst] = []
    for source, clock in clocks(table):
        columns, latents = [], []
        relation = verdicts.points if clock == POINT else verdicts.intervals
        behind = verdicts.point_latents if clock == POINT else verdicts.interval_latents
        for pair in pairs:
            one, other = (table.readings(worker, source) for worker in pair)
            labels = relation(one, other)
            latents.append(behind(one, other))
            shared = dependence(segments_of(one.sample, other.sample), *latents[-1])
            alone = len(pairs) <= MOST_PAIRS_ALONE
            found.append(_pair(source, clock, pair, labels, told[pair], shared, known, blocks=alone))
            columns.append(labels)
        segments = segments_of(*(table.readings(worker, source).sample for worker in table.heard))
        together = {
            one.name: np.column_stack([told[pair][one.name] for pair in pairs]).ravel()
            for one in known
            if not one.reason
        }
        labels = np.column_stack(columns).ravel()
        behind_all = (centred(columns) for columns in zip(*latents, strict=True))
        shared = dependence(np.repeat(segments, len(pairs)), *behind_all)
        total = _pair(source, clock, ALL_PAIRS, labels, together, shared, known, blocks=True)
        totals.append(replace(total, rounds=_rounds(labels, due, together, shared)))
    return tuple(found), tuple(totals)


def _rounds(
    labels: NDArray[np.int8], due: NDArray[np.bool_], told: dict[str, NDArray[np.int8]], shared: Dependence
) -> Rounds:
    judge = next((one for one in (judges.TRUTH, judges.REFERENCE) if one in told), "")
    by_judge = told.get(judge, np.full(len(labels), verdicts.AMBIGUOUS, dtype=np.int8))
    confident = verdicts.decided(labels)
    needed = ~confident | verdicts.wrong(labels, by_judge)
    return rounds.count(judge, due, needed, confident & ~verdicts.decided(by_judge), shared)


def _pair(
    source: str,
    clock: str,
    pair: tuple[str, str],
    labels: NDArray[np.int8],
    told: dict[str, NDArray[np.int8]],
    shared: Dependence,
    known: Sequence[Judge],
    *,
    blocks: bool,
) -> WhoFirst:
    evaluable = labels != verdicts.NOT_EVALUABLE

    def rate(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> rates.Rate:
        if blocks:
            return rates.rate_of(hits, of, shared)
        return rates.rate(int((hits & of).sum()), int(of.sum()))

    truth = told.get(judges.TRUTH)
    return WhoFirst(
        source=source,
        clock=clock,
        pair=pair,
        events=len(labels),
        evaluable=int(evaluable.sum()),
        first_before=verdicts.count(labels, verdicts.BEFORE),
        second_before=verdicts.count(labels, verdicts.AFTER),
        decided=rate(verdicts.decided(labels), evaluable),
        ambiguous_share=rate(labels == verdicts.AMBIGUOUS, evaluable),
        against=tuple(judges.judge(judge, labels, told.get(judge.name), shared, blocks=blocks) for judge in known),
        wrong=None
        if truth is None
        else rate(verdicts.wrong(labels, truth), verdicts.decided(labels) & (truth != verdicts.NOT_EVALUABLE)),
    )


def _differences(sources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return, per source but ntp, its agreement minus NTP's, like with like, in percentage points.

    Agreement that counts is the same label and a decided one: workers that all say *ambiguous* agree on nothing.
    ``same_label_minus_ntp_points`` counts that as well, as the share ``agreement`` does.
    """
    result: dict[str, Any] = {}
    for source, clocks_of in sources.items():
        for clock in (POINT, INTERVAL):
            same, theirs_same = clocks_of.get(clock, {}), sources.get("ntp", {}).get(clock, {})
            mine, theirs = (one.get("agreement_decided", {}) for one in (same, theirs_same))
            if source != "ntp" and mine.get("value") is not None and theirs.get("value") is not None:
                points = 100 * (mine["value"] - theirs["value"])
                own, ntp = (f"{one['numerator']} of {one['denominator']}" for one in (mine, theirs))
                remark = None
                if theirs["value"] == 1:
                    remark = f"no room to improve ({f'{own} with both' if own == ntp else f'NTP agrees on {ntp}'})"
                result.setdefault(source, {})[clock] = {
                    "agreement_minus_ntp_points": points,
                    "same_label_minus_ntp_points": 100
                    * (same["agreement"]["value"] - theirs_same["agreement"]["value"]),
                    "in_words": f"{points:+.2f} percentage points ({own} pairs of events; NTP {ntp})",
                    "remark": remark,
                }
    return result
