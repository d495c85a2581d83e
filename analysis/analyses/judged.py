"""How every analysis shows what the judges say: rows of its table, and of its figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from analysis.figures import dots
from analysis.questions import ordering
from analysis.questions.judges import ORDER_OF_SENDING, OSCILLATOR, REFERENCE, TRUTH
from analysis.stats import rates
from analysis.tables import Grid, share, share_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from analysis.figures.sheet import Panel
    from analysis.questions.answers import Answer, Judgement
    from analysis.questions.ordering import Ordering

_Any = TypeVar("_Any")
WORDS: Final = {
    REFERENCE: "reference",
    TRUTH: "injected truth",
    OSCILLATOR: "own oscillator",
    ORDER_OF_SENDING: "order of sending",
}
NAMES: Final = {REFERENCE: "the reference", TRUTH: "the injected truth", OSCILLATOR: "own oscillators"}  # in titles
MOST_ALONE: Final = 5  # workers, or pairs, that have a row each; of more, one row shows how they lie
WORST: Final = 5  # of many are named
NO_JUDGE: Final = "not evaluable: no reference, and no truth was injected"
HEAD: Final = ("by", "the judge can tell", "right", "wrong", "unknown", "left open, but the judge can tell (at least)")
RATES: Final = ("decided_by_judge", "right", "wrong", "unknown", "left_open_but_decided_by_judge")


def grid(head: Sequence[str], rows: Iterable[tuple[tuple[Any, ...], Iterable[Judgement]]]) -> Grid:
    """Return the table of judgements, each below the head of its own row.

    One row per judge that can judge; whoever cannot is named once, in the report's words on the judges.
    """
    judging = ((place, judgement) for place, judgements in rows for judgement in judgements if not judgement.reason)
    return Grid.of((*head, *HEAD), [(*place, *_cells(judgement)) for place, judgement in judging], "")


def _cells(judgement: Judgement) -> tuple[str, ...]:
    """Return the cells below ``HEAD``: right at least, and at most what is not wrong, and the other way round."""
    tellable, right, wrong, unknown, left_open = (judgement.rates[name] for name in RATES)
    ends = (share_between(right, rates.opposite(wrong)), share_between(wrong, rates.opposite(right)))
    return WORDS[judgement.judge], share(tellable), *ends, share(unknown), share(left_open)


def most_decisive(answers: Iterable[Answer]) -> str:
    """Return the judge to draw: who leaves least unknown, the reference before its equals; empty if none can judge."""
    unknown: dict[str, int] = {}
    for judgement in (judgement for answer in answers for judgement in answer.judgements if not judgement.reason):
        unknown[judgement.judge] = unknown.get(judgement.judge, 0) + judgement.rates["unknown"].numerator
    return min(unknown, key=lambda judge: (unknown[judge], judge != REFERENCE), default="")


def rows(answers: Iterable[Answer], judge: str, *, decided: bool = False) -> list[dots.Row]:
    """Return a row per clock of what a judge says of its decisions: right and wrong; also how many it ``decided``."""
    made = []
    for answer in answers:
        judgement = answer.judged_by(judge)
        if judgement is not None and not judgement.reason:
            right, wrong = judgement.rates["right"], judgement.rates["wrong"]
            marks = [dots.Mark("right", right), dots.Mark("wrong", wrong, dots.WRONG)]
            if decided:
                share_decided = answer.rates.get("decided", rates.rate(right.denominator, answer.evaluable))
                marks.insert(0, dots.Mark("decided", share_decided, dots.THIRD))
            made.append(dots.Row(answer.source, answer.clock, tuple(marks)))
    return made


def panel(title: str, answers: Sequence[Answer], of: str, *, decided: bool = False) -> Panel:
    """Return the panel of what the most decisive judge says of the clocks' decisions, each about one ``of``."""
    judge = most_decisive(answers)
    whole = f"{title}, by {NAMES[judge]}" if judge else title
    what = f"share of decided {of}" if not decided else f"share of {of}"
    note = "decided: of all with readings; right and wrong: of the decided" if decided else ""
    made = rows(answers, judge, decided=decided) if judge else []
    return dots.panel(whole, made, what, NO_JUDGE, note=note)


def each_or_all(
    answers: Sequence[Answer], everything: Answer | None, marks: Callable[[Answer], tuple[dots.Mark, ...]]
) -> list[dots.Row]:
    """Return a row per answer of one clock or, of many, one row of ``everything`` with a stroke for each answer."""
    if everything is None or len(answers) <= MOST_ALONE:
        several = len(answers) > 1
        return [dots.Row(a.source, a.clock, marks(a), a.subject if several else "") for a in answers]
    values = [marks(answer)[0].value for answer in answers]
    each = tuple(value for value in values if value is not None)
    return [dots.Row(everything.source, everything.clock, marks(everything), each=each)]


def worst(answers: Sequence[Answer], mark: Callable[[Answer], dots.Mark], *, most: bool, of: str) -> str:
    """Return, in words, of which of many answers a share is worst: where it is greatest (``most``), or least."""
    known = [answer for answer in answers if mark(answer).value is not None]
    if len(answers) <= MOST_ALONE or not known:
        return ""
    ordered = worst_of(known, lambda answer: mark(answer).value, most=most)
    said = ", ".join(f"{answer.subject} {mark(answer).counts}" for answer in ordered)
    clock = dots.name(answers[0].source, answers[0].clock)
    return f"{clock}: {'most' if most else 'least'} {mark(known[0]).word} of {len(known):,} {of}: {said}"


def worst_of(many: Sequence[_Any], share: Callable[[_Any], float | None], *, most: bool) -> list[_Any]:
    """Return the few of many of which a share is greatest (``most``), or least; the worst first."""
    known = [(value, each) for each in many if (value := share(each)) is not None]
    ordered = sorted(known, key=lambda pair: -pair[0] if most else pair[0])
    return [each for _, each in ordered[:WORST]]


def causes(total: int, differ: int, by_clocks: int) -> tuple[int, str, str, int]:
    """Return the cells of some disagreements by cause: to each known cause may belong what nobody knows."""
    unknown = total - differ - by_clocks
    most = f" to {differ + unknown}", f" to {by_clocks + unknown}"
    ends = most if unknown else ("", "")
    return total, f"{differ}{ends[0]}", f"{by_clocks}{ends[1]}", unknown


def order_disagreements(result: Ordering) -> list[tuple[Any, ...]]:
    """Return why workers disagree about the order of two events, by their own oscillators."""
    rows = []
    for answer in result.agreement:
        place = ("order of two events", answer.source, answer.clock, WORDS[OSCILLATOR])
        rows.append((*place, *causes(*ordering.disagreements(answer))))
    return rows
