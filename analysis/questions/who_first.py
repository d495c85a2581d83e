"""Who received first: per event and pair of workers, the relation of their two receipts.

It is right or wrong only against a judge (the reference, or the injected truth), and unknown where the judge cannot
tell either. Equal point estimates are ambiguous.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from analysis.by_event import verdicts
from analysis.questions import answers, judges
from analysis.questions.answers import Answer
from analysis.questions.decisions import ALL, Decisions
from analysis.stats.counts import first_served

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analysis.by_event.table import Table
    from analysis.questions.decisions import Key
    from analysis.questions.judges import Judge
    from analysis.stats.counts import Counts

QUESTION: Final = "who_first"
MOST_PAIRS_ALONE: Final = 45  # ten workers'; of more pairs, only all together get intervals from the block bootstrap


def count(table: Table, known: Sequence[Judge]) -> Iterator[tuple[Key, Counts]]:
    """Yield the counts of every pair of workers, and of all pairs together."""
    alone = _few(table)
    for parts in decide(table, known):
        if alone:
            yield from answers.counted(parts, ALL)
        else:
            yield from answers.counted_together(parts, ALL)
        del parts  # before the next source's are made


def decide(table: Table, known: Sequence[Judge]) -> Iterator[list[Decisions]]:
    """Yield, per source and clock, the decisions about all pairs of workers; a lag is asked for once per pair."""
    pairs = list(combinations(table.heard, 2))
    if not pairs:
        return
    telling = [judge for judge in known if not judge.reason]
    by_judge = {pair: {judge.name: judge.receipts(*pair).order for judge in telling} for pair in pairs}
    for source, clock in table.clocks:
        blocks = {worker: table.readings(worker, source) for worker in table.heard}
        samples = {worker: first_served(block.sample) for worker, block in blocks.items()}
        yield [
            Decisions(
                question=QUESTION,
                source=source,
                clock=clock,
                subject="/".join(pair),
                labels=verdicts.labels(clock, blocks[pair[0]], blocks[pair[1]]),
                received=(both := table.received[pair[0]] & table.received[pair[1]]),
                due=both,
                samples=(samples[pair[0]], samples[pair[1]]),
                latents=verdicts.latents(clock, blocks[pair[0]], blocks[pair[1]]),
                by_ground_truth=by_judge[pair],
            )
            for pair in pairs
        ]


def answer(table: Table, counts: Iterable[tuple[Key, Counts]], known: Sequence[Judge]) -> list[Answer]:
    """Return the answers that are in the counts."""
    few = _few(table)
    return [_answer(key, part, known, interval=few or key[3] == ALL) for key, part in counts]


def _few(table: Table) -> bool:
    """Tell whether there are so few pairs of workers that each gets intervals of its own."""
    return len(table.heard) * (len(table.heard) - 1) // 2 <= MOST_PAIRS_ALONE


def _answer(key: Key, counts: Counts, known: Sequence[Judge], *, interval: bool) -> Answer:
    metrics = {
        "decided": answers.share_of(verdicts.BEFORE, verdicts.AFTER),
        "ambiguous": answers.share_of(verdicts.AMBIGUOUS),
    }
    if judges.TRUTH in counts.truths:
        metrics["wrong_decided"] = answers.wrongly_decided(judges.TRUTH)
    judge = next((name for name in (judges.TRUTH, judges.REFERENCE) if name in counts.truths), "")
    kept = (verdicts.BEFORE, verdicts.AFTER)
    return Answer(
        *key,
        counts=counts.summary,
        rates={name: answers.rate(counts, metric, interval=interval) for name, metric in metrics.items()},
        judgements=tuple(answers.judged(counts, judge.name, judge.reason, interval=interval) for judge in known),
        rounds=answers.rounds(counts, judge, judge, kept=kept) if key[3] == ALL else None,
    )


def as_dict(answer: Answer) -> dict[str, Any]:
    """Return the answer about one pair as JSON-serialisable data."""
    wrong = answer.rates.get("wrong_decided")
    return {
        "source": answer.source,
        "clock": answer.clock,
        "pair": [ALL, ALL] if answer.subject == ALL else answer.subject.split("/"),
        "events": int(answer.counts.total.sum()),
        "evaluable": answer.evaluable,
        "not_evaluable": int(answer.counts.total.sum()) - answer.evaluable,
        "first_before": answer.labelled(verdicts.BEFORE),
        "second_before": answer.labelled(verdicts.AFTER),
        "ambiguous": answer.labelled(verdicts.AMBIGUOUS),
        "decided": answer.rates["decided"].as_dict(),
        "against": answer.against,
        "wrong_decided": "not_evaluable" if wrong is None else wrong.as_dict(),
    }
