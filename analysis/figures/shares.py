"""Horizontal bars that share out decisions: by verdict, by what a judge says of them, or why workers disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis.figures import style
from analysis.figures.bars import HATCH, PERCENT
from analysis.figures.plotting import Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

LIGHT: Final = 0.35
NARROW: Final = 7.0  # percent; a part this narrow has no room for its number
FULL, PALE, BLACK, EMPTY = "full", "pale", "black", "empty"


@dataclass(frozen=True)
class Row:
    """One bar: parts as (number, shade), left to right; a hatched one is of a point clock."""

    label: str
    source: str
    hatched: bool
    parts: tuple[tuple[int, str], ...]


def draw(axes: Axes, rows: Sequence[Row], what: str, nothing: str) -> None:
    """Draw the bars, each 100 % of its parts, with the parts' numbers; a bar of nothing says so."""
    if not rows:
        style.say(axes, nothing)
        return
    for place, row in enumerate(rows):
        total, left, colour = sum(number for number, _ in row.parts), 0.0, style.colour(row.source)
        if not total:
            axes.text(1, place, "none", va="center", fontsize=7, color=colour)
        for number, shade in row.parts:
            share = PERCENT * number / total if total else 0.0
            if not share:
                continue
            face = {FULL: colour, BLACK: "black", EMPTY: "none"}.get(shade, (colour, LIGHT))
            hatch = HATCH if row.hatched and shade == FULL else None
            axes.barh(
                place, share, 0.72, left=left, facecolor="white" if hatch else face, edgecolor=colour, hatch=hatch,
                linewidth=0.6,
            )  # fmt: skip
            if share > NARROW:
                ink = "white" if shade == BLACK or (shade == FULL and not hatch) else "black"
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5} if hatch else None
                middle, text = left + share / 2, f"{number:,}"
                axes.text(middle, place, text, ha="center", va="center", fontsize=7, color=ink, bbox=box)
            left += share
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel(what)


def handles(*labels: str) -> list[Patch]:
    """Return the legend of the shades, in their order."""
    faces: tuple[Any, ...] = ((0.3, 0.3, 0.3, 1.0), (0.3, 0.3, 0.3, LIGHT), "black", "none")
    return [Patch(facecolor=face, edgecolor="#444444", label=label) for face, label in zip(faces, labels, strict=False)]
