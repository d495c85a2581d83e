"""Ordering as it is shown: agreement of all workers, who received first, and what the judges say of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import judged
from analysis.analyses.analysis import Analysis, Place
from analysis.figures import shares, style
from analysis.figures.bars import clock_handles, grouped, legend, percent_axis
from analysis.questions import ordering, who_first
from analysis.questions.decisions import ALL
from analysis.run import verdicts
from analysis.run.table import POINT
from analysis.tables import share, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.questions.answers import Answer
    from analysis.questions.ordering import Ordering
    from analysis.tables import Grid


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


def agreement_panel(axes: Axes, result: Ordering) -> None:
    """Draw the share of nearby pairs on which all workers agree, and the share they decide alike."""
    axes.set_title("Do all workers order nearby events alike?")
    if not result.agreement.answers:
        style.say(axes, f"not evaluable: agreement needs two workers with data, this run has {len(result.workers)}")
        return
    names = ("agreement", "agreement_decided")
    series = [
        (answer.source, answer.clock == POINT, [answer.rates[name] for name in names]) for answer in result.agreement
    ]
    grouped(axes, ["same label", "same label, decided"], series)
    percent_axis(axes, "pairs within 1 s")
    if result.pairs_judged < result.pairs_total:
        axes.set_xlabel(f"stratified sample: {result.pairs_judged:,} of {result.pairs_total:,} pairs")


def who_first_panel(axes: Axes, result: Ordering) -> None:
    """Draw how often the receipts of two workers are decided, and how often wrongly as far as the judge can tell."""
    axes.set_title("Which worker received first?")
    totals = result.who_first.of(subject=ALL)
    if not totals:
        style.say(axes, f"not evaluable: needs two workers with data, this run has {len(result.workers)}")
        return
    judge = judged.most_decisive(totals)
    series = []
    for answer in totals:
        judgement = answer.judged_by(judge)
        wrong = [judgement.rates.get("wrong") if judgement else None] if judge else []
        series.append((answer.source, answer.clock == POINT, [answer.rates["decided"], *wrong]))
    by_judge = [f"of these provably wrong\n(by {judged.NAMES[judge]})"] if judge else []
    grouped(axes, ["decided", *by_judge] if judge else ["decided (nobody judges)"], series)
    percent_axis(axes, "(event, pair of workers)")


def draw(result: Ordering) -> Figure:
    """Draw the figure."""
    totals = result.who_first.of(subject=ALL)
    with style.context():
        below = 0.55 + 0.17 * max(3, len(totals))
        figure = style.canvas(style.PAGE_IN, 2.0 + below + 0.9)
        left, right, bottom = style.two_over_one(figure, [2.0, below])
        agreement_panel(left, result)
        who_first_panel(right, result)
        judge = judged.most_decisive(totals)
        title = judged.by(judge, "Who received first: what was decided") if judge else "Who received first"
        bottom.set_title(title)
        shares.draw(bottom, judged.bars(totals, judge), "decided (event, pair of workers) (%)", judged.NO_JUDGE)
        clocks = clock_handles([(answer.source, answer.clock == POINT) for answer in totals])
        legend(figure, [*clocks, *shares.handles(*judged.SHADES)])
    return figure


ANALYSIS: Final = Analysis(
    name=ordering.QUESTION,
    title="Ordering",
    compute=lambda context: ordering.compute(context.table, context.judges),
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
