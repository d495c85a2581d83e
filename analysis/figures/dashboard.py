"""The run on one page: the panels that answer the questions, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.figures import commit_wait as commit_wait_figure
from analysis.figures import panels as figures
from analysis.figures import style
from analysis.figures.bars import legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.questions.causality import Causality
    from analysis.questions.commit_wait import CommitWait
    from analysis.questions.coordination import Coordination
    from analysis.questions.ordering import Ordering
    from analysis.questions.windows import Windows

FIGURE: Final = "summary_dashboard"


def draw(
    *, causality: Causality, ordering: Ordering, windows: Windows, coordination: Coordination, commit_wait: CommitWait
) -> Figure:
    """Draw the figure ``summary_dashboard``."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, 7.2)
        panels = style.panels(figure, 3, 2)
        figures.causality_intervals(next(panels), causality)
        figures.causality_points(next(panels), causality)
        figures.ordering_who_first(next(panels), ordering)
        figures.windows_provable(next(panels), windows)
        figures.coordination(next(panels), coordination, coordination.total_tasks)
        commit_wait_figure.commit_wait_widths(next(panels), commit_wait)
        legend(figure, [*figures.verdict_handles(), *figures.coordination_handles(coordination)])
    return figure
