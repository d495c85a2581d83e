"""A comparison as a page: what else differs, the table, and which metrics tell nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from analysis.comparison import text
from analysis.comparison.comparison import ONE_RUN, SAME
from analysis.report.page import document
from analysis.report.page.document import Part
from analysis.tables import Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.comparison.comparison import Compared


def render(
    sides: tuple[Sequence[str], Sequence[str]],
    compared: Sequence[Compared],
    conditions: Sequence[str],
    notes: Sequence[str],
) -> str:
    """Return the page of two sides, given by the names of their runs."""
    a, b = sides
    verdicts = Counter(metric.verdict for metric in compared)
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    sentences = (
        f"{_runs(a)} (A) and {_runs(b)} (B) are compared by {len(compared)} metrics.",
        f"Verdicts: {counted or 'none'}.",
        f"Conditions that differ besides: {len(conditions) or 'none'}.",
    )
    parts = [Part("What else differs", tuple(conditions or [text.NO_CONDITION]) + tuple(notes))]
    if single := text.of_single_runs(compared):
        parts.append(Part("Differences", (f"{ONE_RUN}: {text.OWN_INTERVALS}.",), single))
    if found := text.differences(compared):
        parts.append(Part("Differences over runs", (text.legend(compared), *text.limits(compared)), found))
    if same := text.all_the_same(compared):
        parts.append(Part(SAME[:1].upper() + SAME[1:], (same,)))
    if reasons := text.not_evaluable(compared):
        rows = [(metric, reason) for reason, metrics in reasons.items() for metric in metrics]
        parts.append(Part("Not evaluable", (), Grid.of(("metric", "reason"), rows), folded=True))
    runs = Grid.of(("side", "run"), [(side, name) for side, names in (("A", a), ("B", b)) for name in names])
    parts.append(Part("The runs", (), runs, folded=True))
    return document.render("Comparison", f"{_named(a)} and {_named(b)}", sentences, parts)


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def _runs(names: Sequence[str]) -> str:
    return "1 run" if len(names) == 1 else f"{len(names)} runs"
