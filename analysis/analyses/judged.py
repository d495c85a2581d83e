"""How every analysis shows what the judges say: rows of its table, and of its figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.figures import shares, style
from analysis.questions import ordering
from analysis.questions.judges import ORDER_OF_SENDING, OSCILLATOR, REFERENCE, TRUTH
from analysis.run.table import POINT
from analysis.stats import rates
from analysis.tables import Grid, share, share_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analysis.questions.answers import Answer, Judgement
    from analysis.questions.ordering import Ordering

WORDS: Final = {
    REFERENCE: "reference",
    TRUTH: "injected truth",
    OSCILLATOR: "own oscillator",
    ORDER_OF_SENDING: "order of sending",
}
NAMES: Final = {REFERENCE: "the reference", TRUTH: "the injected truth", OSCILLATOR: "own oscillators"}  # in titles
NO_JUDGE: Final = "not evaluable: no reference, and no truth was injected"
HEAD: Final = ("by", "the judge can tell", "right", "wrong", "unknown", "left open, but the judge can tell (at least)")
RATES: Final = ("decided_by_judge", "right", "wrong", "unknown", "left_open_but_decided_by_judge")
SHADES: Final = ("right", "unknown", "wrong")


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


def bars(answers: Iterable[Answer], judge: str) -> list[shares.Row]:
    """Return the bars of what a judge says of decisions: right, unknown, wrong."""
    rows = []
    for answer in answers:
        judgement = answer.judged_by(judge)
        if judgement is not None and not judgement.reason:
            right, unknown, wrong = (judgement.rates[name].numerator for name in SHADES)
            parts = ((right, shares.FULL), (unknown, shares.PALE), (wrong, shares.BLACK))
            label = f"{style.label(answer.source)} {answer.clock}"
            rows.append(shares.Row(label, answer.source, answer.clock == POINT, parts))
    return rows


def by(judge: str, what: str) -> str:
    """Return a title that says who judges, if anybody."""
    return f"{what}, by {NAMES[judge]}" if judge else what


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
