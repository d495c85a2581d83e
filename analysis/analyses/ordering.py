"""Ordering as it is shown: agreement of all workers, who received first, and what the judges say of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import judged
from analysis.analyses.analysis import Analysis, Place
from analysis.by_event import verdicts
from analysis.figures import dots
from analysis.figures.sheet import Panel, Sheet
from analysis.questions import ordering, who_first
from analysis.questions.decisions import ALL
from analysis.tables import share, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from analysis.analyses.analysis import Context, Counted, Part
    from analysis.questions.answers import Answer
    from analysis.questions.ordering import Ordering
    from analysis.tables import Grid


def count(part: Part) -> Counted:
    """Count who received first, and the orders of nearby events."""
    return {
        **dict(who_first.count(part.table, part.judges)),
        **dict(ordering.count_pairs(part.around, part.nearby)),
    }


def compute(context: Context) -> Ordering:
    """Answer both questions."""
    counted = context.counted[ordering.QUESTION].items()
    first = [(key, counts) for key, counts in counted if key[0] == who_first.QUESTION]
    agreed = [(key, counts) for key, counts in counted if key[0] != who_first.QUESTION]
    return ordering.answer(context.table, context.nearby, agreed, first, context.judges)


def _not_evaluable(answer: Answer) -> int:
    return int(answer.counts.total.sum()) - answer.evaluable


AGREEMENT: Final[Mapping[str, Callable[[Answer], Any]]] = {
    "source": lambda answer: answer.source,
    "clock": lambda answer: answer.clock,
    "same label": lambda answer: share(answer.rates["agreement"]),
    "decided by all": lambda answer: share(answer.rates["decided"]),
    "same and decided": lambda answer: share(answer.rates["agreement_decided"]),
    "decided wrongly by any": lambda answer: share(answer.rates.get("wrong_decided")),
    "pairs not evaluable": _not_evaluable,
}
WHO_FIRST: Final[Mapping[str, Callable[[Answer], Any]]] = {
    "source": lambda answer: answer.source,
    "clock": lambda answer: answer.clock,
    "workers": lambda answer: answer.subject.replace("/", " / "),
    "first before": lambda answer: answer.labelled(verdicts.BEFORE),
    "second before": lambda answer: answer.labelled(verdicts.AFTER),
    "decided": lambda answer: share(answer.rates["decided"]),
    "not evaluable": _not_evaluable,
    "decided wrongly": lambda answer: share(answer.rates.get("wrong_decided")),
}


def texts(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    """Return agreement, who was first (all pairs together where they are many), and what the judges say."""
    result: Ordering = done[ANALYSIS.name]
    alone = [answer for answer in result.who_first if answer.subject != ALL]
    totals = result.who_first.of(subject=ALL)
    few = len({answer.subject for answer in alone}) <= who_first.MOST_PAIRS_ALONE
    rows = [(("who received first", answer.source, answer.clock), answer.judgements) for answer in totals]
    own = "own order of two events"
    rows += [((own, answer.source, answer.clock), answer.judgements) for answer in result.agreement]
    sample = "all of them" if result.pairs_judged == result.pairs_total else "a stratified sample with a fixed seed"
    return {
        "ordering_note": f"Pairs of events sent within 1 s of each other: {result.pairs_total:,}; judged: "
        f"{result.pairs_judged:,} ({sample}). "
        "Agreement counts equal labels, and *ambiguous* is a label; the decided share stands beside it.",
        "agreement": table(result.agreement, AGREEMENT, "Agreement is not evaluable: it needs two workers with data."),
        "who_first": table(
            alone if few else totals, WHO_FIRST, "Who received first is not evaluable: it needs two workers with data."
        ),
        "ordering_judged": judged.grid(("question", "source", "clock"), rows),
    }


def agreement_panel(result: Ordering) -> Panel:
    """Show the share of nearby pairs of events that all workers label alike, and the share they decide alike."""
    rows = []
    for answer in result.agreement:
        alike, decided = answer.rates["agreement"], answer.rates["agreement_decided"]
        marks = (dots.Mark("same label", alike, dots.THIRD), dots.Mark("same and decided", decided))
        rows.append(dots.Row(answer.source, answer.clock, marks))
    return dots.panel("Nearby events, ordered alike by all workers", rows, "pairs within 1 s", _too_few(result))


def _too_few(result: Ordering) -> str:
    return f"not evaluable: it needs two workers with data, this run has {len(result.workers)}"


def _decided(answer: Answer) -> tuple[dots.Mark, ...]:
    return (dots.Mark("decided", answer.rates["decided"]),)


def who_first_panel(result: Ordering) -> Panel:
    """Show, per clock, in which share of the cases it decides who received first, and of many pairs how they lie."""
    rows, said = [], []
    for total in result.who_first.of(subject=ALL):
        of_clock = result.who_first.of(source=total.source, clock=total.clock)
        pairs = [answer for answer in of_clock if answer.subject != ALL]
        rows += judged.each_or_all([total] if len(pairs) <= judged.MOST_ALONE else pairs, total, _decided)
        said.append(judged.worst(pairs, lambda answer: _decided(answer)[0], most=False, of="pairs"))
    title, note = "Who received first: decided", "; ".join(part for part in said if part)
    return dots.panel(title, rows, "pairs of receipts", _too_few(result), note=note)


def right_panel(result: Ordering) -> Panel:
    """Show what of these decisions is right, and what is wrong, by the most decisive judge."""
    totals = result.who_first.of(subject=ALL)
    if not totals:
        return Panel("Who received first: right, wrong", _too_few(result))
    return judged.panel("Who received first: right, wrong", totals, "pairs of receipts")


def draw(result: Ordering) -> Sheet:
    """Return the figure."""
    return Sheet(
        "Ordering: who received first, and do all workers order events alike?",
        (agreement_panel(result), who_first_panel(result), right_panel(result)),
        "Hollow: as points; full and ±: as intervals; dark diamonds: wrong; strokes: 95 % intervals",
    )


ANALYSIS: Final = Analysis(
    name=ordering.QUESTION,
    title="Ordering",
    count=count,
    compute=compute,
    statistics=ordering.Ordering.as_statistics,
    file=ordering.STATISTICS_FILE,
    texts=texts,
    figure="ordering_consensus",
    draw=draw,
    rates=(
        Place("sources/{source}/{clock}/who_first/{subject}/against/{ground_truth}/{metric}", question="who_first"),
        Place("sources/{source}/{clock}/who_first/{subject}/{metric}", question="who_first"),
        Place("sources/{source}/{clock}/against/{ground_truth}/{metric}"),
        Place("sources/{source}/{clock}/{metric}"),
        Place("differences/{source}/{clock}/{metric}"),
        Place("{metric=pair_span_ms|pairs_total|pairs_judged}"),
    ),
    cited=(
        "silent_workers",
        "sources/*/*/agreement",
        "sources/*/*/agreement_decided",
        "sources/*/*/who_first/all/against/*/wrong",
        "sources/*/*/who_first/all/against/*/left_open_but_decided_by_judge",
    ),
)
