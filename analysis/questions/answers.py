"""The answers to a question, made of its counts: rates, what each judge says, and the rounds that are needed.

A round is needed where a decision is left open, has no reading, or is wrong as far as a judge can tell. Where no judge
can tell whether a confident decision is right, nobody knows whether it needs one: rounds are then between two counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event import verdicts
from analysis.questions.decisions import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from analysis.arrays import Bools
    from analysis.questions.decisions import Decisions, Key
    from analysis.stats.counts import Counts, Outcomes
    from analysis.stats.rates import Rate, Spread

    Metric = Callable[[Outcomes], tuple[Bools, Bools]]  # outcomes that are hits, and among which

KNOWS_NOTHING: Final = "this judge knows nothing of these events"


@dataclass(frozen=True)
class Judgement:
    """What one judge says of a source's decisions, or the ``reason`` why it says nothing.

    ``decided_by_judge``: of what the source was asked and had readings for, what the judge can tell. ``right``,
    ``wrong`` and ``unknown`` share out what the source decided; ``left_open_but_decided_by_judge``: of what it left
    open.
    """

    judge: str
    reason: str = ""
    rates: Mapping[str, Rate] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the judgement as JSON-serialisable data: what the judge cannot tell may be right or wrong."""
        if self.reason:
            return {"status": "not_evaluable", "reason": self.reason}
        right, wrong = self.rates["right"].value, self.rates["wrong"].value
        bounds = {}
        if right is not None and wrong is not None:
            bounds = {"right_bounds": [right, 1.0 - wrong], "wrong_bounds": [wrong, 1.0 - right]}
        return {"status": "evaluated"} | {name: rate.as_dict() for name, rate in self.rates.items()} | bounds


@dataclass(frozen=True)
class Rounds:
    """The rounds per decision due, and their messages. ``judge``: who tells right from wrong, if anybody.

    ``evaluable``: how many decisions due have a reading; ``undecided``: how many of them the clock leaves open;
    ``wrong``: how many it decides wrongly as the judge knows, None where there is none.
    """

    judge: str
    at_least: Rate
    at_most: Rate
    messages_at_least: int
    messages_at_most: int
    evaluable: int
    undecided: int
    wrong: int | None

    @property
    def decisions(self) -> int:
        """Return how many decisions were due."""
        return self.at_least.denominator

    @property
    def unknown(self) -> int:
        """Return how many decisions may need a round for all that a judge can tell."""
        return self.at_most.numerator - self.at_least.numerator


@dataclass(frozen=True)
class Answer:
    """What is answered about one source's clock and one subject: a node, a pair, a window's width.

    ``counts`` are summaries; ``spreads``: of the quantities beside the labels.
    """

    question: str
    source: str
    clock: str
    subject: str
    counts: Counts
    rates: Mapping[str, Rate]
    judgements: tuple[Judgement, ...] = ()
    rounds: Rounds | None = None
    spreads: Mapping[str, Spread] = field(default_factory=dict)

    @property
    def against(self) -> dict[str, dict[str, Any]]:
        """Return what every judge says, by its name, as JSON-serialisable data."""
        return {judgement.judge: judgement.as_dict() for judgement in self.judgements}

    @property
    def reasons(self) -> Mapping[str, int]:
        """Return why decisions are not evaluable, counted."""
        return self.counts.reasons

    @property
    def evaluable(self) -> int:
        """Return how many decisions have readings."""
        return self.counts.number(evaluable(self.counts.outcomes))

    def judged_by(self, judge: str) -> Judgement | None:
        """Return what a judge says, None where it was not asked."""
        return next((judgement for judgement in self.judgements if judgement.judge == judge), None)

    def labelled(self, label: int) -> int:
        """Return how many decisions carry a label."""
        return self.counts.number(self.counts.outcomes.label == label)


@dataclass(frozen=True)
class Answers:
    """The answers to one question."""

    answers: tuple[Answer, ...]

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    @property
    def sources(self) -> list[str]:
        """Return the sources, in order."""
        return list(dict.fromkeys(answer.source for answer in self.answers))

    @property
    def clocks(self) -> list[tuple[str, str]]:
        """Return every (source, clock), in order."""
        return list(dict.fromkeys((answer.source, answer.clock) for answer in self.answers))

    @property
    def subjects(self) -> list[str]:
        """Return the subjects, in order."""
        return list(dict.fromkeys(answer.subject for answer in self.answers))

    def of(self, *, source: str | None = None, clock: str | None = None, subject: str | None = None) -> list[Answer]:
        """Return the answers of a source, a clock, a subject; None: of any."""
        return [
            answer
            for answer in self.answers
            if source in {None, answer.source} and clock in {None, answer.clock} and subject in {None, answer.subject}
        ]

    def at(self, source: str, clock: str, subject: str) -> Answer | None:
        """Return one answer, None where there is none."""
        return next(iter(self.of(source=source, clock=clock, subject=subject)), None)


def counted(parts: Sequence[Decisions], all_together: str) -> Iterator[tuple[Key, Counts]]:
    """Yield the counts of every decisions, by what they are about; and of all together under this subject."""
    for part in parts:
        yield part.key, count([part])
    yield (*parts[0].key[:-1], all_together), count(parts)


def counted_together(parts: Sequence[Decisions], all_together: str) -> Iterator[tuple[Key, Counts]]:
    """Yield what ``counted`` does, but of each alone mere counts: only all together can be asked for intervals."""
    for part in parts:
        yield part.key, count([replace(part, samples=(), latents=())])
    yield (*parts[0].key[:-1], all_together), count(parts)


def added(first: Mapping[Key, Counts], second: Mapping[Key, Counts]) -> dict[Key, Counts]:
    """Return the counts of two consecutive parts of a run, of the same questions."""
    return {key: counts + second[key] for key, counts in first.items()}


def rate(counts: Counts, metric: Metric, *, latent: bool = True, interval: bool = True) -> Rate:
    """Return a rate of a metric; ``latent`` as in ``Counts.rate``; without ``interval`` a mere count."""
    hits, of = metric(counts.outcomes)
    return counts.rate(hits, of, latent=latent) if interval else counts.count(hits, of)


def evaluable(outcomes: Outcomes) -> Bools:
    """Tell which outcomes have a label."""
    labelled: Bools = outcomes.label != verdicts.NOT_EVALUABLE
    return labelled


def decided(outcomes: Outcomes) -> Bools:
    """Tell which outcomes say before or after."""
    return verdicts.decided(outcomes.label)


def share_of(*labels: int) -> Metric:
    """Return the metric of some labels among all that are evaluable."""
    return lambda outcomes: (np.isin(outcomes.label, labels), evaluable(outcomes))


def read(outcomes: Outcomes) -> tuple[Bools, Bools]:
    """Return the metric of what is evaluable among what was received."""
    return evaluable(outcomes), outcomes.received


def wrongly_decided(truth: str) -> Metric:
    """Return the metric of what contradicts a truth, among what is decided and the truth knows of."""

    def metric(outcomes: Outcomes) -> tuple[Bools, Bools]:
        true = outcomes.by_truth[truth]
        return verdicts.wrong(outcomes.label, true), decided(outcomes) & (true != verdicts.NOT_EVALUABLE)

    return metric


def judged(counts: Counts, judge: str, reason: str = "", *, interval: bool = True) -> Judgement:
    """Compare decisions with a judge's, which share their two decided labels; a judge with a reason says nothing."""
    if reason or judge not in counts.truths:
        return Judgement(judge, reason or "nothing to judge")
    outcomes = counts.outcomes
    true = outcomes.by_truth[judge]
    if counts.number(evaluable(outcomes)) and not counts.number(evaluable(outcomes) & (true != verdicts.NOT_EVALUABLE)):
        return Judgement(judge, KNOWS_NOTHING)
    clear, same = verdicts.decided(true), outcomes.label == true
    metrics = {
        "decided_by_judge": (clear, evaluable(outcomes)),
        "right": (clear & same, decided(outcomes)),
        "wrong": (clear & ~same, decided(outcomes)),
        "unknown": (~clear, decided(outcomes)),
        "left_open_but_decided_by_judge": (clear, outcomes.label == verdicts.AMBIGUOUS),
    }
    take = counts.rate if interval else counts.count
    return Judgement(judge, "", {name: take(hits, of) for name, (hits, of) in metrics.items()})


def disagreements(answer: Answer, judge: str, unequal: Sequence[int]) -> tuple[int, int, int]:
    """Return how many decisions have unequal labels; of them, how many a judge says truly differ, and how many do not.

    In the latter it is the clocks that caused it; the rest is unknown to the judge.
    """
    outcomes = answer.counts.outcomes
    chosen, true = np.isin(outcomes.label, unequal), outcomes.by_truth[judge]
    differ, same = chosen & (true == verdicts.AFTER), chosen & (true == verdicts.BEFORE)
    return answer.counts.number(chosen), answer.counts.number(differ), answer.counts.number(same)


def wrong_by(outcomes: Outcomes, judge: str) -> Bools:
    """Tell which outcomes contradict what a judge decides; none of a judge who says nothing."""
    nobody = np.full(len(outcomes.label), verdicts.NOT_EVALUABLE)
    return verdicts.wrong(outcomes.label, outcomes.by_truth.get(judge, nobody))


def rounds(counts: Counts, truth: str, judge: str, *, kept: Sequence[int]) -> Rounds:
    """Count the decisions due that need a round, and those that may.

    ``truth``: whose labels say which decisions are wrong ("": nobody's), called ``judge``. ``kept``: the labels that
    need no round where they are right.
    """
    outcomes = counts.outcomes
    keep = np.isin(outcomes.label, kept)
    nobody = np.full(len(counts.codes), verdicts.NOT_EVALUABLE)
    true = outcomes.by_truth.get(truth, nobody)
    wrong = verdicts.wrong(outcomes.label, true)
    least = outcomes.due & (~keep | wrong)
    most = outcomes.due & (~keep | wrong | ~verdicts.decided(true))
    at_least = counts.rate(least, outcomes.due)
    at_most = counts.rate(most, outcomes.due) if counts.number(most & ~least) else at_least
    read = outcomes.due & evaluable(outcomes)
    known = counts.number(read & (true != verdicts.NOT_EVALUABLE)) if counts.number(read) else truth
    return Rounds(
        judge=judge,
        at_least=at_least,
        at_most=at_most,
        messages_at_least=int(counts.messages[least].sum()),
        messages_at_most=int(counts.messages[most].sum()),
        evaluable=counts.number(read),
        undecided=counts.number(outcomes.due & (outcomes.label == verdicts.AMBIGUOUS)),
        wrong=counts.number(outcomes.due & wrong) if known else None,
    )
