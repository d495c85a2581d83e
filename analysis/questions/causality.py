"""Causality: an event is received after it was sent; which clocks see it, cannot tell, or see the opposite.

Per (event, worker, source), S the send reading and R the receive reading: proved iff S.latest < R.earliest; violated
iff R.latest < S.earliest; else ambiguous; not evaluable if either is missing. As a point: violated iff R.est < S.est.
A violation is a wrong decision whatever the truth, since no packet arrives before it left. Beside it stands what the
reference (and the injected truth, where there is one) can tell of the same flight: its least duration above 0, or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event import verdicts
from analysis.by_event.table import INTERVAL, LOST, NO_DATA, NOT_SENT, POINT
from analysis.questions import answers, decisions, judges
from analysis.questions.answers import Answer, Answers
from analysis.questions.decisions import ALL, Decisions
from analysis.stats.counts import first_served
from analysis.stats.ordered import Ordered
from analysis.stats.rates import narrow, spread_of
from analysis.storage.scratch import loaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from analysis.arrays import Bools, Labels
    from analysis.by_event.table import Readings, Table
    from analysis.questions.decisions import Key
    from analysis.questions.judges import Judge
    from analysis.stats.counts import Counts, Pieces
    from analysis.stats.rates import Rate, Spread

QUESTION: Final = "causality"
STATISTICS_FILE: Final = "causality_stats.json"
US: Final = 1_000.0
ADVANCE: Final = "receive_minus_send_us"
RECEIVED: Final = ("received", "", "", ALL)
METRICS: Final = {
    INTERVAL: {
        "proved": answers.share_of(verdicts.BEFORE),
        "ambiguous": answers.share_of(verdicts.AMBIGUOUS),
        "violated": answers.share_of(verdicts.AFTER),
        "decided": answers.share_of(verdicts.BEFORE, verdicts.AFTER),
    },
    POINT: {"violated": answers.share_of(verdicts.AFTER), "equal": answers.share_of(verdicts.AMBIGUOUS)},
}


@dataclass(frozen=True)
class Causality(Answers):
    """The answers by source, clock and worker, or ``ALL`` of them together.

    ``received``: of all (event, worker) pairs sent, to every configured worker, those that arrived. ``claims``: per
    (source, worker), the kind and the level of its intervals.
    """

    received: Rate
    workers: tuple[str, ...]
    claims: Mapping[tuple[str, str], tuple[str, float | None]]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{received: …, sources: {source: {all: …, workers: {worker: …}}}}``; rates with denominators."""
        return {
            "received": self.received.as_dict(),
            "sources": {
                source: {
                    ALL: self._of(source, ALL),
                    "workers": {worker: self._of(source, worker) for worker in self.workers},
                }
                for source in self.sources
            },
        }

    def _of(self, source: str, worker: str) -> dict[str, Any]:
        points, intervals = (self.at(source, clock, worker) for clock in (POINT, INTERVAL))
        if points is None or intervals is None:
            return {}
        kind, level = self.claims[source, worker]
        return {
            "kind": kind,
            "level": level,
            "events": int(points.counts.total.sum()),
            "intervals": _as_dict(intervals),
            "points": _as_dict(points) | {ADVANCE: points.spreads[ADVANCE].as_dict()},
        }


def compute(table: Table, known: Sequence[Judge] | None = None) -> Causality:
    """Judge every (event, worker, source) of a run, beside the judges (None: all there are for this run)."""
    found = judges.of(table) if known is None else known
    return answer(table, count(table, found), found)


def count(table: Table, known: Sequence[Judge]) -> Iterator[tuple[Key, Counts]]:
    """Yield the counts of what arrived, of every worker's decisions, and of all workers' together."""
    yield RECEIVED, decisions.count(list(_receipts(table)))
    for parts in decide(table, known):
        yield from answers.counted(parts, ALL)


def answer(table: Table, counts: Iterable[tuple[Key, Counts]], known: Sequence[Judge]) -> Causality:
    """Return the answers that are in the counts."""
    rest = iter(counts)
    _, receipts = next(rest)
    arrived = answers.rate(receipts, lambda outcomes: (outcomes.received, outcomes.due), latent=False)
    del receipts
    return Causality(tuple(_answer(key, part, known) for key, part in rest), arrived, table.workers, _claims(table))


def decide(table: Table, known: Sequence[Judge]) -> Iterator[list[Decisions]]:
    """Yield, per source and clock, the decisions of all workers."""
    nothing = np.zeros(len(table.event_ids), dtype=np.int8)
    by_judge = {
        worker: {
            judge.name: judge.flights(worker).order if worker in table.present else nothing
            for judge in known
            if not judge.reason
        }
        | {judges.ORDER_OF_SENDING: np.full(len(nothing), verdicts.BEFORE, dtype=np.int8)}
        for worker in table.workers
    }
    for source in table.sources:
        for clock in (POINT, INTERVAL):
            yield [_decisions(table, source, clock, worker, by_judge[worker]) for worker in table.workers]


def _decisions(table: Table, source: str, clock: str, worker: str, by_judge: Mapping[str, Labels]) -> Decisions:
    send, receive = table.sends(worker, source), table.readings(worker, source)
    labels, latents = verdicts.labels(clock, send, receive), verdicts.latents(clock, send, receive)
    point = clock == POINT
    advance = (receive.est - send.est)[labels != verdicts.NOT_EVALUABLE] if point else labels[:0].astype(np.int64)
    advance = narrow(advance)  # of every event, so that a long run has many
    return Decisions(
        question=QUESTION,
        source=source,
        clock=clock,
        subject=worker,
        labels=labels,
        received=table.received.get(worker, np.zeros(len(labels), dtype=np.bool_)),
        due=_there(send) & _there(receive),
        samples=(first_served(send.sample), first_served(receive.sample)),
        latents=latents,
        by_ground_truth=by_judge,
        reasons=verdicts.reasons(send, receive, labels) if point or source != "system" else {},
        values={ADVANCE: advance},
    )


def _receipts(table: Table) -> Iterator[Decisions]:
    """Yield what arrived, of all configured workers. An event may be lost to all, so that it counts as a sample."""
    nothing = np.zeros(len(table.event_ids), dtype=np.bool_)
    for number, worker in enumerate(table.workers):
        yield Decisions(
            *RECEIVED,
            labels=nothing.astype(np.int8),
            received=table.received.get(worker, nothing),
            due=table.sent.known,
            samples=(first_served(table.event_ids),) if number == 0 else (),
        )


def _there(block: Readings) -> Bools:
    """Tell which events left a row at all."""
    there: Bools = ~block.status.isin([LOST, NO_DATA, NOT_SENT])
    return there


def _answer(key: Key, counts: Counts, known: Sequence[Judge]) -> Answer:
    clock = key[2]
    rates = {name: answers.rate(counts, metric) for name, metric in METRICS[clock].items()}
    return Answer(
        *key,
        counts=counts.summary,
        spreads={name: _spread(pieces) for name, pieces in counts.values.items()},
        rates=rates | {"evaluable": answers.rate(counts, answers.read, latent=False)},
        judgements=tuple(answers.judged(counts, judge.name, judge.reason) for judge in known),
        rounds=answers.rounds(
            counts, judges.ORDER_OF_SENDING, judges.ORDER_OF_SENDING, kept=(verdicts.BEFORE, verdicts.AFTER)
        ),
    )


def _spread(pieces: Pieces) -> Spread:
    """Return the spread of values in ns, in us."""
    return spread_of(Ordered(lambda: (values / US for values in loaded(pieces))))


def _claims(table: Table) -> dict[tuple[str, str], tuple[str, float | None]]:
    """Return the kind and the level of every source's intervals at every worker, and at all where it is the same."""
    claims: dict[tuple[str, str], tuple[str, float | None]] = {}
    for source in table.sources:
        of_workers = {worker: table.facts.claim(worker, source) for worker in table.workers}
        claims |= {(source, worker): claim for worker, claim in of_workers.items()}
        kinds, levels = {claim.kind for claim in of_workers.values()}, {claim.level for claim in of_workers.values()}
        kind = kinds.pop() if len(kinds) == 1 else "mixed"
        claims[source, ALL] = kind, levels.pop() if len(levels) == 1 else None
    return claims


def _as_dict(answer: Answer) -> dict[str, Any]:
    return {name: rate.as_dict() for name, rate in answer.rates.items()} | {
        "not_evaluable": dict(answer.reasons),
        "against": answer.against,
    }
