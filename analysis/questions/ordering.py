"""Ordering: which worker received first (``who_first``), and whether all workers put two events in the same order.

Agreement: for events i, j sent within 1 s of each other, each worker labels its own two receipts (before, after,
ambiguous); agreement is the share of pairs on which all workers give the same label, with the decided share beside it.
Where labels differ, each worker's own oscillator says whether the workers did receive the two in different orders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event import verdicts
from analysis.by_event.table import INTERVAL, POINT
from analysis.questions import answers, decisions, judges, pairs, who_first
from analysis.questions.answers import Answer, Answers
from analysis.questions.decisions import ALL, Decisions
from analysis.stats.counts import first_served
from analysis.stats.dependence import Latent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analysis.arrays import Bools, Labels
    from analysis.by_event.table import Readings, Table
    from analysis.questions.decisions import Key
    from analysis.questions.judges import Judge
    from analysis.questions.pairs import Pairs
    from analysis.stats.counts import Counts, Outcomes
    from analysis.stats.rates import Rate

QUESTION: Final = "ordering"
OWN_ORDER: Final = "own_order"  # every worker's own labels, judged by its own oscillator
STATISTICS_FILE: Final = "ordering_stats.json"

# labels of agreement: all workers say the same and decide, all decide and differ, or not all decide
SAME: Final = verdicts.BEFORE
DIFFER: Final = verdicts.AFTER
OPEN: Final = verdicts.AMBIGUOUS
ALIKE_OPEN: Final = 4  # all workers say ambiguous: the same label, and no decision

METRICS: Final = {
    "agreement": answers.share_of(SAME, ALIKE_OPEN),
    "decided": answers.share_of(SAME, DIFFER),
    "agreement_decided": answers.share_of(SAME),
}


@dataclass(frozen=True)
class Ordering:
    """The answers to both questions. ``pairs_judged`` of ``pairs_total`` pairs were judged (all, or a sample).

    ``workers`` are those that left at least one row; the ``silent_workers`` left none and have no part in any number.
    """

    workers: tuple[str, ...]
    silent_workers: tuple[str, ...]
    pairs_total: int
    pairs_judged: int
    who_first: Answers
    agreement: Answers

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {clock: {agreement, decided, …, who_first}}}}`` and the differences."""
        sources: dict[str, dict[str, Any]] = {}
        for agreed in self.agreement:
            found = self.who_first.of(source=agreed.source, clock=agreed.clock)
            first = {answer.subject: who_first.as_dict(answer) for answer in (*found[-1:], *found[:-1])}
            sources.setdefault(agreed.source, {})[agreed.clock] = _as_dict(agreed) | {"who_first": first}
        return {
            "workers": list(self.workers),
            "silent_workers": list(self.silent_workers),
            "pair_span_ms": pairs.SPAN_NS // 1_000_000,
            "pairs_total": self.pairs_total,
            "pairs_judged": self.pairs_judged,
            "sampling": "all pairs" if self.pairs_judged == self.pairs_total else "stratified sample, fixed seed",
            "sources": sources,
            "differences": _differences(self.agreement),
        }


def compute(table: Table, known: Sequence[Judge] | None = None) -> Ordering:
    """Judge who received first and whether the workers agree on the order of nearby events (judges: see ``judges``)."""
    found = judges.of(table) if known is None else known
    nearby = pairs.nearby(table.sent.ns, table.sent.known)
    return answer(table, nearby, count_pairs(table, nearby), who_first.count(table, found), found)


def count_pairs(table: Table, nearby: Pairs) -> Iterator[tuple[Key, Counts]]:
    """Yield the counts of agreement on these pairs of events, each before those of every worker's own order of them."""
    for agreed, own in decide(table, nearby):
        yield agreed.key, decisions.count([agreed])
        yield (OWN_ORDER, agreed.source, agreed.clock, ALL), decisions.count(own)


def answer(
    table: Table,
    nearby: Pairs,
    counts: Iterable[tuple[Key, Counts]],
    first: Iterable[tuple[Key, Counts]],
    known: Sequence[Judge],
) -> Ordering:
    """Return the answers that are in the counts, of both questions, in the order they are counted."""
    rest = iter(counts)
    agreed = tuple(_answer(key, part, next(rest)[1]) for key, part in rest)
    found = tuple(who_first.answer(table, first, known))
    return Ordering(table.heard, table.silent, nearby.total, len(nearby), Answers(found), Answers(agreed))


def decide(table: Table, nearby: Pairs) -> Iterator[tuple[Decisions, list[Decisions]]]:
    """Yield, per source and clock, the decisions of all workers together, and each one's own."""
    workers, first, second = table.heard, nearby.first, nearby.second
    if len(workers) < 2:
        return
    own_true = [judges.own_order(table.raw_stamps[worker], first, second)[0] for worker in workers]
    came = np.all([table.received[worker][first] & table.received[worker][second] for worker in workers], axis=0)
    lags = {worker: _true_order(table, worker, nearby) for worker in workers}
    for source, clock in table.clocks:
        blocks = [table.readings(worker, source) for worker in workers]
        labels = [verdicts.labels(clock, block.take(first), block.take(second)) for block in blocks]
        judged = np.all([label != verdicts.NOT_EVALUABLE for label in labels], axis=0)
        truths = {judges.OSCILLATOR: _agreement(own_true)}
        if any(true is not None for true in lags.values()):
            truths[judges.TRUTH] = _right(labels, lags.values())
        agreed = Decisions(
            question=QUESTION,
            source=source,
            clock=clock,
            subject=ALL,
            labels=verdicts.among(judged, _agreement(labels)),
            received=came,
            due=came,
            samples=tuple(first_served(block.sample[first]) for block in blocks),
            latents=_latents(blocks, clock, nearby, judged),
            by_ground_truth=truths,
        )
        own = [
            Decisions(
                question=OWN_ORDER,
                source=source,
                clock=clock,
                subject=worker,
                labels=label,
                received=came,
                due=came,
                samples=agreed.samples,
                by_ground_truth={judges.OSCILLATOR: true},
            )
            for worker, label, true in zip(workers, labels, own_true, strict=True)
        ]
        yield agreed, own


def _agreement(labels: Sequence[Labels]) -> Labels:
    """Label whether all workers say the same; of what one of them has no label of, nothing."""
    same = np.all([label == labels[0] for label in labels], axis=0)
    decided = np.all([verdicts.decided(label) for label in labels], axis=0)
    closed = np.where(same, SAME, DIFFER)
    return np.where(decided, closed, np.where(same, ALIKE_OPEN, OPEN)).astype(np.int8)


def _true_order(table: Table, worker: str, nearby: Pairs) -> Labels | None:
    true = table.truth(worker)
    if true is None:
        return None
    lag = true.ns[nearby.second] - true.ns[nearby.first]
    return verdicts.order(lag, lag, true.known[nearby.first] & true.known[nearby.second])


def _right(labels: Sequence[Labels], truths: Iterable[Labels | None]) -> Labels:
    """Label whether what workers decided is in the true order of their receipts; nothing where none is known of."""
    wrong, decided = np.zeros(len(labels[0]), dtype=np.bool_), np.zeros(len(labels[0]), dtype=np.bool_)
    for label, true in zip(labels, truths, strict=True):
        if true is not None:
            wrong |= verdicts.wrong(label, true)
            decided |= verdicts.decided(label) & (true != verdicts.NOT_EVALUABLE)
    return verdicts.labelled(decided, ~wrong, wrong)


def _latents(blocks: Sequence[Readings], clock: str, nearby: Pairs, judged: Bools) -> tuple[Latent, ...]:
    """Return what is behind agreement: how much the workers' lags differ and, of intervals, how wide the widest are."""
    first, second = nearby.first, nearby.second  # node by node, for of all workers at once it is a lot of memory
    lags = (block.est[second] - block.est[first] for block in blocks)
    least = most = next(lags)
    for lag in lags:
        least, most = np.minimum(least, lag), np.maximum(most, lag)
    differ = Latent(most - least, judged)
    if clock == POINT:
        return (differ,)
    widths = (block.latest - block.earliest for block in blocks)
    widest = reduce(np.maximum, (width[first] + width[second] for width in widths))
    return differ, Latent(widest, judged)


def _wrong(outcomes: Outcomes) -> tuple[Bools, Bools]:
    """Return the metric of pairs that some worker decided wrongly, among those some worker decided."""
    true = outcomes.by_truth[judges.TRUTH]
    return true == DIFFER, answers.evaluable(outcomes) & (true != verdicts.NOT_EVALUABLE)


def _answer(key: Key, counts: Counts, own: Counts) -> Answer:
    rates = {name: answers.rate(counts, metric) for name, metric in METRICS.items()}
    rates["received"] = answers.rate(counts, lambda found: (found.received, found.label >= 0), latent=False)
    rates["evaluable"] = answers.rate(counts, answers.read, latent=False)
    if judges.TRUTH in counts.truths:
        rates["wrong_decided"] = answers.rate(counts, _wrong)
    own = replace(own, latents=counts.latents)  # what wanders is behind the workers' own labels too
    return Answer(*key, counts=counts.summary, rates=rates, judgements=(answers.judged(own, judges.OSCILLATOR),))


def disagreements(answer: Answer) -> tuple[int, int, int]:
    """Return on how many pairs the labels differ and why, by the workers' own oscillators.

    See ``answers.disagreements``; what is unknown not all the oscillators can tell.
    """
    return answers.disagreements(answer, judges.OSCILLATOR, (DIFFER, OPEN))


def _as_dict(answer: Answer) -> dict[str, Any]:
    rates = {name: rate.as_dict() for name, rate in answer.rates.items()}
    differ, truly, by_clocks = disagreements(answer)
    return {
        **{name: rates[name] for name in ("agreement", "received", "evaluable", "decided", "agreement_decided")},
        "wrong_decided": rates.get("wrong_decided"),
        "disagreements": {
            "pairs": differ,
            "true_orders_differ": truly,
            "caused_by_clocks": by_clocks,
            "unknown": differ - truly - by_clocks,
        },
        "against": answer.against,
        "not_evaluable_pairs": int(answer.counts.total.sum()) - answer.evaluable,
    }


def _differences(agreement: Answers) -> dict[str, Any]:
    """Return, per source but ntp, its agreement minus NTP's in percentage points: decided, and of any label."""
    result: dict[str, Any] = {}
    for source in agreement.sources:
        for clock in (POINT, INTERVAL):
            own, ntp = agreement.at(source, clock, ALL), agreement.at("ntp", clock, ALL)
            if source == "ntp" or own is None or ntp is None:
                continue
            decided, same = ((own.rates[name], ntp.rates[name]) for name in ("agreement_decided", "agreement"))
            points, alike = (_points(*rates) for rates in (decided, same))
            if points is None:
                continue
            words, ntp_words = (f"{rate.numerator:,} of {rate.denominator:,}" for rate in decided)
            with_both = f"{words} with both" if words == ntp_words else f"NTP agrees on {ntp_words}"
            result.setdefault(source, {})[clock] = {
                "agreement_minus_ntp_points": points,
                "same_label_minus_ntp_points": alike,
                "in_words": f"{points:+.2f} percentage points ({words} pairs of events; NTP {ntp_words})",
                "remark": f"no room to improve ({with_both})" if decided[1].value == 1 else None,
            }
    return result


def _points(own: Rate, other: Rate) -> float | None:
    return None if own.value is None or other.value is None else 100 * (own.value - other.value)
