"""The table clock x question: what every clock got wrong, could prove and left open, and what nobody could have known.

Per question and clock, of the decisions due (of all workers, or of all pairs of them):

- *wrong as points*: decided wrongly by the best estimates, as far as a judge can tell;
- *proved*, *ambiguous*, *wrong*, *no reading*: every decision is one of these. What the intervals decide, as far as
  nobody knows better; what they leave open; what they decide and a judge knows to be wrong (where no judge can tell,
  nobody knows); and what they had no reading for;
- *rounds saved*: those that need no round of messages: decided, and not known to be wrong. Two numbers where no judge
  can tell of all.

Last comes the reference itself, to which no clock under test contributed: what the best clock could have known on this
network. It has no windows of its own: of them it is what it knows by the borders of a corrected clock, that by which it
knows most.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.by_event import verdicts
from analysis.by_event.table import INTERVAL, POINT
from analysis.figures import style
from analysis.questions import answers as answers_
from analysis.questions import judges, windows
from analysis.questions.causality import QUESTION as CAUSALITY
from analysis.questions.coordination import WHO_FIRST, window_task
from analysis.questions.decisions import ALL
from analysis.questions.ordering import QUESTION as ORDERING
from analysis.questions.windows import QUESTION as WINDOWS
from analysis.tables import NONE, NOT_EVALUABLE, POINT_CLOCK, Grid, between
from node_agent.contract.records import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from analysis.analyses.analysis import Results
    from analysis.arrays import Bools
    from analysis.questions.answers import Answer
    from analysis.stats.counts import Counts

HEADS: Final = (
    "question", "clock", "decisions", "wrong as points", "proved", "ambiguous", "wrong", "no reading",
    "half-width (µs)", "coverage", "rounds saved",
)  # fmt: skip
THE_REFERENCE: Final = "the reference"
ASKED: Final[Mapping[str, str]] = {CAUSALITY: "received after sent", WHO_FIRST: "who received first"}
PROVING: Final[Mapping[str, Sequence[int]]] = {
    CAUSALITY: (verdicts.BEFORE,),
    WHO_FIRST: (verdicts.BEFORE, verdicts.AFTER),
    WINDOWS: (verdicts.BEFORE,),  # all in one window
}
_ROUNDING: Final = 1e-12  # of a share in percent
Range = tuple[float, float]  # from the least to the greatest


@dataclass(frozen=True)
class Share:
    """Some of some decisions; what a judge cannot tell makes it two numbers, ``least`` and ``most``."""

    least: int
    most: int
    of: int

    @property
    def words(self) -> str:
        """Return it as "97.5 % (195)", or as "90.0 to 97.5 % (180 to 195)"."""
        if not self.of:
            return NOT_EVALUABLE
        ends = [_percent(number / self.of) for number in (self.least, self.most)]
        counts = between(self.least, self.most, 0)
        return f"{ends[0] if ends[0] == ends[1] else ' to '.join(ends)} % ({counts})"

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data, the shares as numbers."""
        shares = {} if not self.of else {"share_least": self.least / self.of, "share_most": self.most / self.of}
        return asdict(self) | shares


@dataclass(frozen=True)
class Row:
    """What one clock could say of one question. None: nobody can tell, or the clock has no interval (``bounded``)."""

    question: str
    clock: str
    decisions: int
    points_wrong: Share | None
    proved: Share | None
    ambiguous: Share | None
    wrong: Share | None
    no_reading: Share | None
    half_width_us: Range | None
    coverage: Share | None
    rounds_saved: Share | None
    bounded: bool = True

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the cells below ``HEADS``."""
        label = THE_REFERENCE if self.clock == judges.REFERENCE else style.label(self.clock)
        intervals = [self.proved, self.ambiguous, self.wrong]
        shares = [_words(share) if self.bounded else POINT_CLOCK for share in intervals]
        shares.append(_words(self.no_reading) if self.bounded else NONE)
        width = NONE if self.half_width_us is None else between(*self.half_width_us)
        last = [NONE if share is None else share.words for share in (self.coverage, self.rounds_saved)]
        first = NONE if self.clock == judges.REFERENCE else _words(self.points_wrong)
        return self.question, label, f"{self.decisions:,}", first, *shares, width, *last

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        shares = ("points_wrong", "proved", "ambiguous", "wrong", "no_reading", "coverage", "rounds_saved")
        own = {name: None if (share := getattr(self, name)) is None else share.as_dict() for name in shares}
        width = None if self.half_width_us is None else list(self.half_width_us)
        plain = {"question": self.question, "clock": self.clock, "decisions": self.decisions}
        return plain | own | {"half_width_us": width}


class _Split(NamedTuple):
    """The decisions due, each in one of these; ``wrong`` is None where no judge can tell, ``proved`` then has them."""

    proved: Share
    ambiguous: Share
    wrong: Share | None
    no_reading: Share


def of(results: Results) -> tuple[Row, ...]:
    """Return the rows of every question, clock by clock, the reference last."""
    return tuple(row for question in _questions(results) for row in _rows(results, *question))


def grid(rows: Sequence[Row]) -> Grid:
    """Return the table."""
    return Grid.of(HEADS, [row.cells for row in rows])


def _questions(results: Results) -> Iterator[tuple[str, str, list[Answer]]]:
    """Yield every question that came up: its key, its words, and the answers of all clocks."""
    yield CAUSALITY, ASKED[CAUSALITY], results.done[CAUSALITY].of(subject=ALL)
    if pairs := results.done[ORDERING].who_first.of(subject=ALL):
        yield WHO_FIRST, ASKED[WHO_FIRST], pairs
    by_width = results.done[WINDOWS]
    tasks = results.done["coordination"].total_tasks
    width = next((width for width in by_width.subjects if window_task(width) in tasks), None)
    if width is not None:
        yield WINDOWS, f"one window of {width} ms", by_width.of(subject=width)


def _rows(results: Results, question: str, words: str, answers: Sequence[Answer]) -> Iterator[Row]:
    for source in dict.fromkeys(answer.source for answer in answers):
        points, intervals = (
            next((answer for answer in answers if (answer.source, answer.clock) == (source, clock)), None)
            for clock in (POINT, INTERVAL)
        )
        if points is not None:
            yield _row(results, question, words, source, points, intervals)
    yield _of_reference(results, question, words, answers)


def _row(results: Results, question: str, words: str, source: str, points: Answer, intervals: Answer | None) -> Row:
    due = 0 if points.rounds is None else points.rounds.decisions
    own = (words, source, due, _known_wrong(points))
    if source == SYSTEM:
        return Row(*own, None, None, None, None, None, None, None, bounded=False)
    width, coverage = _half_width(results, source), _coverage(results, source)
    if intervals is None or intervals.rounds is None or not intervals.rounds.evaluable:
        return Row(*own, None, None, None, None, width, coverage, None)
    outcomes, rounds = intervals.counts.outcomes, intervals.rounds
    wrong = np.zeros(len(outcomes.label), dtype=np.bool_)
    if rounds.wrong is not None:
        wrong = windows.wrong(intervals) if question == WINDOWS else answers_.wrong_by(outcomes, rounds.judge)
    shares = _split(intervals.counts, outcomes.label, PROVING[question], wrong)
    if rounds.wrong is None:  # no judge can tell
        shares = shares._replace(wrong=None)
    saved = Share(due - rounds.at_most.numerator, due - rounds.at_least.numerator, due)
    return Row(*own, *shares, width, coverage, saved)


def _split(counts: Counts, labels: NDArray[np.integer[Any]], proving: Sequence[int], wrong: Bools) -> _Split:
    """Return how many of the decisions due are of each kind, by some labels of the outcomes."""
    unread = (labels == verdicts.NOT_EVALUABLE) & ~wrong
    proved = np.isin(labels, proving) & ~wrong
    due = counts.number(counts.outcomes.due)
    numbers = [
        counts.number(counts.outcomes.due & part) for part in (proved, ~(proved | wrong | unread), wrong, unread)
    ]
    return _Split(*(Share(number, number, due) for number in numbers))


def _known_wrong(answer: Answer) -> Share | None:
    """Return the decisions due that a judge knows to be wrong; None where none knows."""
    rounds = answer.rounds
    if rounds is None or rounds.wrong is None or not rounds.evaluable:
        return None
    return Share(rounds.wrong, rounds.wrong, rounds.decisions)


def _of_reference(results: Results, question: str, words: str, answers: Sequence[Answer]) -> Row:
    """Return what the reference knows of the same decisions.

    It has no windows of its own, but tells whether an event is in one by the borders of a clock: those of the clock by
    which it can tell most, the uncorrected one's only where there is no other. Its borders are no border of UTC, where
    events of an even schedule lie, and so tell more than any clock that keeps to UTC could.
    """
    reference = results.done["reference"]
    best: Row | None = None
    tested = [answer for answer in answers if answer.source != SYSTEM] or answers
    for answer in tested:
        if not reference.evaluable or judges.REFERENCE not in answer.counts.truths:
            continue
        outcomes = answer.counts.outcomes
        own, true = outcomes.by_truth[judges.REFERENCE], outcomes.by_truth.get(judges.TRUTH)
        wrong = np.zeros(len(own), dtype=np.bool_) if true is None else verdicts.wrong(own, true)
        shares = _split(answer.counts, own, PROVING[question], wrong)
        saved = shares.proved
        if true is None:
            shares = shares._replace(wrong=None)
        due = saved.of
        row = Row(words, judges.REFERENCE, due, None, *shares, _reference_width(results), None, saved)
        if best is None or best.proved is None or saved.least > best.proved.least:
            best = row
    if best is not None:
        return best
    due = next((answer.rounds.decisions for answer in answers if answer.rounds is not None), 0)
    return Row(words, judges.REFERENCE, due, None, None, None, None, None, None, None, None)


def _half_width(results: Results, source: str) -> Range | None:
    """Return the median half-width of the readings at the best and at the worst node, in us."""
    medians = [clock.width_us.median for clock in results.done["clock_quality"].clocks if clock.source == source]
    halves = [median / 2 for median in medians if median is not None]
    return (min(halves), max(halves)) if halves else None


def _reference_width(results: Results) -> Range | None:
    """Return the median half-width of the reference of the narrowest and of the widest pair of nodes, in us."""
    medians = [pair.half_width_us.median for pair in results.done["reference"].pairs]
    known = [median for median in medians if median is not None]
    return (min(known), max(known)) if known else None


def _coverage(results: Results, source: str) -> Share | None:
    """Return how many intervals of all nodes hold the truth: for certain, and at most."""
    clocks = [clock.coverage for clock in results.done["clock_quality"].clocks if clock.source == source]
    judged = sum(coverage.contained.denominator for coverage in clocks)
    held, most = (sum(getattr(coverage, name).numerator for coverage in clocks) for name in ("contained", "not_missed"))
    return Share(held, most, judged) if judged else None


def _words(share: Share | None) -> str:
    return NOT_EVALUABLE if share is None else share.words


def _percent(share: float) -> str:
    """Return a share in percent, with as many digits as keep what is left to 0 or to 100 % true to a tenth of it."""
    texts = (f"{100 * share:.{digits}f}" for digits in count(1))
    return next(text for text in texts if abs(float(text) - 100 * share) <= 10 * min(share, 1 - share) + _ROUNDING)
