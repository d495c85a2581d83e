"""The run on one page: the panels that answer the questions, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import causality, commit_wait, coordination, ordering, windows
from analysis.figures import shares, style
from analysis.figures.bars import legend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

FIGURE: Final = "summary_dashboard"


def draw(done: Mapping[str, Any]) -> Figure:
    """Draw the figure, of the results of all analyses."""
    rounds = done[coordination.ANALYSIS.name]
    with style.context():
        figure = style.canvas(style.PAGE_IN, 7.2)
        panels = style.panels(figure, 3, 2)
        causality.intervals_panel(next(panels), done[causality.ANALYSIS.name])
        causality.points_panel(next(panels), done[causality.ANALYSIS.name])
        ordering.who_first_panel(next(panels), done[ordering.ANALYSIS.name])
        windows.provable_panel(next(panels), done[windows.ANALYSIS.name])
        coordination.rounds_panel(next(panels), rounds, rounds.total_tasks)
        commit_wait.widths_panel(next(panels), done[commit_wait.ANALYSIS.name])
        verdicts = shares.handles("proved", "ambiguous", "violated", "not evaluable")
        legend(figure, [*verdicts, *coordination.handles(rounds)])
    return figure
