"""Stream windows: whether all workers put an event into the same window, and can prove it.

A window of width W has the index floor(t / W), aligned to the epoch, in integers. A node is certain of it iff
floor(earliest / W) = floor(latest / W). Per event received by at least two workers: they agree iff all that received it
have the same point index; they provably agree iff all are certain and equal; certain but unequal is a contradiction.
Where indices differ, a judge says whether the windows had differed with one clock for all, or the clocks caused it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event import utc, verdicts
from analysis.by_event.table import INTERVAL, POINT
from analysis.questions import answers, decisions, judges, true_windows
from analysis.questions.answers import Answer, Answers
from analysis.questions.decisions import MESSAGES_PER_ROUND, Decisions
from analysis.questions.true_windows import DIFFER, SAME, TRUE_WINDOWS
from analysis.stats.counts import first_served
from analysis.stats.dependence import Latent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analysis.arrays import Bools, Labels
    from analysis.by_event.table import Readings, Table
    from analysis.questions.decisions import Key
    from analysis.questions.judges import Judge
    from analysis.stats.counts import Counts

QUESTION: Final = "windows"
STATISTICS_FILE: Final = "window_stats.json"
WINDOW_SIZES_MS: Final = (50, 100, 500, 1000)
MS_NS: Final = 1_000_000
METRICS: Final = {
    POINT: {"agreement": answers.share_of(SAME)},
    INTERVAL: {"provable_agreement": answers.share_of(SAME), "contradictions": answers.share_of(DIFFER)},
}


@dataclass(frozen=True)
class Windows(Answers):
    """The answers by source, clock and width in ms (the subject). They count events that two workers received at least.

    ``workers`` are those that left at least one row; the ``silent_workers`` left none and have no part in any number.
    """

    workers: tuple[str, ...]
    silent_workers: tuple[str, ...]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {"50": {agreement, provable, contradictions, …}}}}``, widths in ms."""
        sources = {
            source: {width: self._of(source, width) for width in self.subjects} for source in self.sources
        }  # fmt: skip
        return {"workers": list(self.workers), "silent_workers": list(self.silent_workers), "sources": sources}

    def _of(self, source: str, width: str) -> dict[str, Any]:
        points, intervals = (self.at(source, clock, width) for clock in (POINT, INTERVAL))
        if points is None or intervals is None:
            return {}
        return {
            **{name: rate.as_dict() for answer in (points, intervals) for name, rate in answer.rates.items()},
            "not_evaluable_events": shared(points) - points.evaluable,
            "disagreements": {judgement.judge: _split(points, judgement.judge) for judgement in points.judgements},
            "points_against": points.against,
            "intervals_against": intervals.against,
            "truth": true_windows.as_dict(points.counts, intervals.counts),
        }


def compute(
    table: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS, known: Sequence[Judge] | None = None
) -> Windows:
    """Assign every receipt to windows of every width, by every source, and compare the workers and the judges."""
    found = judges.of(table) if known is None else known
    return answer(table, count(table, found, window_sizes_ms), found)


def count(table: Table, known: Sequence[Judge], window_sizes_ms: Sequence[int]) -> Iterator[tuple[Key, Counts]]:
    """Yield the counts of every source, width and clock."""
    for part in decide(table, known, window_sizes_ms):
        yield part.key, decisions.count([part])


def answer(table: Table, counts: Iterable[tuple[Key, Counts]], known: Sequence[Judge]) -> Windows:
    """Return the answers that are in the counts."""
    found = tuple(_answer(key, part, known) for key, part in counts)
    return Windows(found, table.heard, table.silent)


def windows_of(table: Table, judge: Judge, window_sizes_ms: Sequence[int]) -> dict[tuple[str, int], Labels]:
    """Say, per (source, width) and event, whether the windows had been the same with one clock for all: SAME, DIFFER.

    A judge knows how much later one worker received than another, not what time it was. So every worker that received
    is asked in turn: had all read this worker's clock, its reading plus the lag, had they got the same window? SAME if
    the answer is yes for every worker's clock, DIFFER if it is no for every one, else UNKNOWN: it depends on the clock,
    or the lag is not known well enough. Both answers hold for every lag in the judge's interval. Where the judge knows
    no lag at all it says nothing.
    """
    received = np.array([table.received[worker] for worker in table.heard])
    keys = [(source, width) for source in table.sources for width in window_sizes_ms]
    same = {key: np.ones(len(table.event_ids), dtype=np.bool_) for key in keys}
    differ = {key: np.ones(len(table.event_ids), dtype=np.bool_) for key in keys}
    known = np.zeros(len(table.event_ids), dtype=np.bool_)
    for anchor, worker in enumerate(table.heard):
        all_same = {key: np.ones(len(table.event_ids), dtype=np.bool_) for key in keys}
        any_differ = {key: np.zeros(len(table.event_ids), dtype=np.bool_) for key in keys}
        since = {(source, width): table.readings(worker, source).est % (width * MS_NS) for source, width in keys}
        for place, other in enumerate(table.heard):
            if place == anchor:
                continue
            lag, there = judge.receipts(worker, other), received[place]
            known |= received[anchor] & there & lag.known
            known_there, not_there = there & lag.known, ~there
            for key in keys:  # within its window an instant is ``begun`` after its start, and ``left`` before its end
                begun, left = since[key], key[1] * MS_NS - since[key]
                all_same[key] &= not_there | (lag.known & (lag.low >= -begun) & (lag.high < left))
                any_differ[key] |= known_there & ((lag.low >= left) | (lag.high < -begun))
        for key in keys:
            same[key] &= ~received[anchor] | all_same[key]
            differ[key] &= ~received[anchor] | any_differ[key]
    pairs = received.sum(axis=0) >= 2
    return {key: verdicts.labelled(pairs & known, pairs & same[key], pairs & differ[key]) for key in keys}


def decide(table: Table, known: Sequence[Judge], window_sizes_ms: Sequence[int]) -> Iterator[Decisions]:
    """Yield, per source, width and clock, whether the workers' windows are the same."""
    if not table.heard:
        return
    by_judge = {judge.name: windows_of(table, judge, window_sizes_ms) for judge in known if not judge.reason}
    for source in table.sources:
        roots = [utc.of(table, worker, source) for worker in table.heard]
        samples = tuple(first_served(table.readings(worker, source).sample) for worker in table.heard)
        for width_ms in window_sizes_ms:
            truths = {name: labels[source, width_ms] for name, labels in by_judge.items()}
            for part in _of_width(table, source, width_ms * MS_NS, roots):
                yield replace(
                    part,
                    subject=str(width_ms),
                    samples=samples,
                    by_ground_truth={**truths, **part.by_ground_truth},
                )


def _of_width(table: Table, source: str, width: int, roots: Sequence[utc.RootDistance]) -> Iterator[Decisions]:
    """Compare all workers' windows of one width (ns), as points and as intervals; lists hold one array per worker."""
    blocks = [table.readings(worker, source) for worker in table.heard]
    received = np.array([table.received[worker] for worker in table.heard])
    known, bounded = np.array([block.known for block in blocks]), np.array([block.bounded for block in blocks])
    shared = received.sum(axis=0) >= 2
    references = np.array([block.reference.codes for block in blocks], dtype=np.int64)
    one_reference = true_windows.all_equal(references, received & known)
    evaluable = shared & (known | ~received).all(axis=0) & one_reference
    provable = evaluable & (bounded | ~received).all(axis=0)
    index = np.array([block.est for block in blocks]) // width
    low = np.array([block.earliest for block in blocks]) // width
    high = np.array([block.latest for block in blocks]) // width
    certain = (low == high) & bounded
    same = true_windows.all_equal(index, received)
    all_certain = (certain | ~received).all(axis=0)
    proved = all_certain & true_windows.all_equal(low, received)
    contradiction = ~true_windows.all_equal(low, certain & received)
    true = true_windows.of(table, blocks, roots, width, received)
    reach = _reach(blocks, received, evaluable, POINT)
    common: dict[str, Any] = {
        "question": QUESTION,
        "source": source,
        "subject": "",
        "received": shared,
        "due": shared,
        "samples": (),
        "messages": MESSAGES_PER_ROUND * (received.sum(axis=0, dtype=np.int64) - 1),
    }
    yield Decisions(
        clock=POINT,
        labels=verdicts.labelled(evaluable, same, ~same),
        latents=(reach,),
        by_ground_truth=true_windows.right_points(true, evaluable, received, index),
        tallies=true_windows.count_points(true, evaluable, received, index),
        **common,
    )
    yield Decisions(
        clock=INTERVAL,
        labels=verdicts.labelled(provable, proved, contradiction),
        latents=(reach, _reach(blocks, received, provable, INTERVAL)),
        by_ground_truth=true_windows.right_intervals(true, received, certain),
        tallies=true_windows.count_certain(true, received, certain),
        **common,
    )


def _reach(blocks: Sequence[Readings], received: Bools, known: Bools, clock: str) -> Latent:
    """Return what is behind equal windows: how far the receipts' readings reach."""
    limits = np.iinfo(np.int64)
    highs, lows = (
        [block.est if clock == POINT else getattr(block, end) for block in blocks] for end in ("latest", "earliest")
    )
    highest = np.max(np.where(received, np.array(highs), limits.min), axis=0)
    lowest = np.min(np.where(received, np.array(lows), limits.max), axis=0)
    return Latent(np.where(known, highest - lowest, 0), known)


def _answer(key: Key, counts: Counts, known: Sequence[Judge]) -> Answer:
    clock = key[2]
    truth, judge = _who_knows(counts, known)
    found = answers.rounds(counts, truth, judge, kept=(SAME,))
    if judge == judges.TRUTH:  # windows of true time themselves, whether or not the workers agree
        wrong: int | None = true_windows.wrong(counts)
        if counts.tallies.get("bare"):
            rate = answers.judged(counts, judge).rates.get("wrong")  # none where the judge says nothing of them
            wrong = rate.numerator if rate else None
        found = replace(found, wrong=wrong)
    return Answer(
        *key,
        counts=counts.summary,
        rates={name: answers.rate(counts, metric) for name, metric in METRICS[clock].items()},
        judgements=tuple(answers.judged(counts, judge.name, judge.reason) for judge in known),
        rounds=found,
    )


def _who_knows(counts: Counts, known: Sequence[Judge]) -> tuple[str, str]:
    """Return whose labels say which windows are wrong: of true time, or had they been alike with one clock for all."""
    if TRUE_WINDOWS in counts.truths and true_windows.known(counts.tallies):
        return TRUE_WINDOWS, judges.TRUTH
    first = next((judge.name for judge in known if not judge.reason), "")
    return first, first


def wrong(answer: Answer) -> Bools:
    """Tell which outcomes the judge of the rounds knows to be wrong; by true time also where workers disagree."""
    outcomes, judge = answer.counts.outcomes, "" if answer.rounds is None else answer.rounds.judge
    if judge == judges.TRUTH and not answer.counts.tallies.get("bare"):
        return true_windows.wrong_outcomes(outcomes)
    return answers.wrong_by(outcomes, judge)


def shared(answer: Answer) -> int:
    """Return how many events at least two workers received."""
    return answer.counts.number(answer.counts.outcomes.received)


def disagreements(answer: Answer, judge: str) -> tuple[int, int, int]:
    """Return how many point indices differ and why, by one judge (see ``answers.disagreements``)."""
    return answers.disagreements(answer, judge, (DIFFER,))


def _split(answer: Answer, judge: str) -> dict[str, Any]:
    if judge not in answer.counts.truths:
        judgement = answer.judged_by(judge)
        return {"status": "not_evaluable", "reason": judgement.reason if judgement else ""}
    total, differ, by_clocks = disagreements(answer, judge)
    return {
        "status": "evaluated",
        "disagreements": total,
        "true_windows_differ": differ,
        "caused_by_clocks": by_clocks,
        "unknown": total - differ - by_clocks,
    }
