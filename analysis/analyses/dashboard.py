"""The run in one figure: errors over time and how they are distributed, what was decided, and what is left to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import causality, coordination, timeline
from analysis.analyses import clock_quality as clocks
from analysis.figures import clock_quality
from analysis.figures.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Mapping

FIGURE: Final = "summary_dashboard"


def draw(done: Mapping[str, Any]) -> Sheet:
    """Return the figure, of the results of all analyses."""
    flights, rounds = done[causality.ANALYSIS.name], done[coordination.ANALYSIS.name]
    over_time = timeline.panels(done[timeline.ANALYSIS.name])[:1]
    decided = causality.decided_panel(flights)
    if decided.draw is None and not decided.line:  # nobody judges: what the intervals say for themselves
        decided = causality.intervals_panel(flights)
    panels = (
        *over_time,
        clock_quality.errors_panel(done[clocks.ANALYSIS.name].clocks),
        replace(decided, title=f"Causality: {decided.title[0].lower()}{decided.title[1:]}"),
        coordination.rounds_panel(rounds, rounds.total_tasks),
    )
    return Sheet("The run in short", panels, "Hollow: as points; full and ±: as intervals; dark: wrong")
