"""Shares by what was asked for, widths of windows or delays of waiting: a mark with its interval at each.

The places are as far from each other as there is room for, whatever their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis.by_event.table import POINT
from analysis.figures import dots, labels, style
from analysis.figures.dots import PERCENT
from analysis.figures.sheet import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

ASIDE: Final = 0.34  # of the way to the next place, over which the marks of several clocks are spread


@dataclass(frozen=True)
class Series:
    """The shares of one clock, a mark or several at every place; a place without any is left free."""

    source: str
    clock: str
    marks: tuple[tuple[dots.Mark, ...], ...]

    @property
    def name(self) -> str:
        """Return how the clock is written."""
        return dots.name(self.source, self.clock)

    @property
    def evaluable(self) -> bool:
        """Tell whether any mark has trials."""
        return any(mark.value is not None for marks in self.marks for mark in marks)


def panel(
    title: str, places: Sequence[str], series: Sequence[Series], axis: str, what: str, nothing: str, note: str = ""
) -> Panel:
    """Return the panel of some series over ``places``, which ``axis`` names; ``what`` is counted."""
    shown = [one_clock for one_clock in series if one_clock.evaluable]
    if not shown:
        return Panel(title, nothing)
    says = f"{what}, by {axis}; {'; '.join(_said(places, clock) for clock in shown)}" + (f". {note}" if note else "")
    rows = [dots.Row(clock.source, clock.clock, marks) for clock in shown for marks in clock.marks]
    if line := dots.same([row for row in rows if row.evaluable]):
        words, _, _ = line.partition(" for ")
        return Panel(
            title,
            says,
            line=f"{words} for {', '.join(clock.name for clock in shown)} at every {axis.partition(' (')[0]}",
        )
    above = dots.key_in(_shapes(shown))
    return Panel(title, says, lambda axes: _draw(axes, places, shown, axis, what), above_in=above)


def _shapes(series: Sequence[Series]) -> dict[str, str]:
    """Return what the shapes of the marks that are drawn mean."""
    return {mark.word: mark.shape for clock in series for marks in clock.marks for mark in marks if _is_drawn(mark)}


def _is_drawn(mark: dots.Mark) -> bool:
    """Tell whether a mark is drawn: no wrong decision is none, and the caption has the count."""
    return mark.shape != dots.WRONG or (mark.rate is not None and bool(mark.rate.numerator))


def _said(places: Sequence[str], clock: Series) -> str:
    """Return the counts of a clock at every place, in words; once where they are the same everywhere."""
    counts = [", ".join(mark.said for mark in marks) for marks in clock.marks]
    if len(set(counts)) == 1:
        return f"{clock.name} {counts[0]} at each"
    return f"{clock.name} {', '.join(f'{place}: {said}' for place, said in zip(places, counts, strict=True) if said)}"


def _draw(axes: Axes, places: Sequence[str], series: Sequence[Series], axis: str, what: str) -> None:
    for number, clock in enumerate(series):
        aside = ASIDE * ((number + 0.5) / len(series) - 0.5) * 2
        first: list[tuple[float, float]] = []
        for place, marks in enumerate(clock.marks):
            for mark in filter(_is_drawn, marks):
                dots.share(axes, place + aside, mark, clock.source, hollow=clock.clock == POINT, upright=True)
            if marks and marks[0].value is not None:
                first.append((place + aside, PERCENT * marks[0].value))
        if first:
            axes.plot(
                *zip(*first, strict=True), color=style.colour(clock.source), linestyle=style.dashes(clock.source),
                linewidth=0.8,
            )  # fmt: skip
            labels.at_end(axes, clock.name, first[-1][1], style.colour(clock.source))
    axes.set_xticks(range(len(places)), places)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_xlabel(axis)
    dots.percent_axis(axes, f"{what} (%)", upright=True)
    dots.key(axes, _shapes(series))
