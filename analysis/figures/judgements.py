"""Horizontal bars that share out what a source decided: right, unknown, wrong; or why workers disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis.figures import style
from analysis.figures.bars import HATCH, PERCENT
from analysis.figures.plotting import Patch
from analysis.questions.judges import REFERENCE, TRUTH
from analysis.run.readings import POINT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from analysis.questions.judges import Judgement
    from analysis.questions.windows import Cell

WORDS: Final = {REFERENCE: "the reference", TRUTH: "the injected truth", "own_oscillator": "own oscillators"}
LIGHT: Final = 0.35
NARROW: Final = 7.0  # percent; a part this narrow has no room for its number


@dataclass(frozen=True)
class Row:
    """One bar: parts as (number, shade) with the shades "full", "light" and "black", left to right."""

    label: str
    source: str
    hatched: bool
    parts: tuple[tuple[int, str], ...]


def judged(label: str, source: str, clock: str, one: Judgement) -> Row | None:
    """Return the bar of one judgement, None where the judge has nothing to say or the source decided nothing."""
    if one.right is None or one.wrong is None or one.unknown is None:
        return None
    parts = ((one.right.numerator, "full"), (one.unknown.numerator, "light"), (one.wrong.numerator, "black"))
    return Row(label, source, clock == POINT, parts)


def causes(cell: Cell, judge: str) -> Row | None:
    """Return the bar of one width's disagreements by cause."""
    split = next((one for one in cell.splits if one.judge == judge and not one.reason), None)
    if split is None:
        return None
    unknown = split.disagreements - split.truly_differ - split.by_clocks
    parts = ((split.truly_differ, "full"), (unknown, "light"), (split.by_clocks, "black"))
    return Row(f"{style.label(cell.source)}, {cell.width_ms} ms", cell.source, True, parts)


def most_decisive(found: Iterable[Judgement]) -> str:
    """Return the judge to draw: who leaves least unknown, the reference before its equals; empty if none can judge."""
    unknown: dict[str, int] = {}
    for one in found:
        if not one.reason and one.unknown is not None:
            unknown[one.judge] = unknown.get(one.judge, 0) + one.unknown.numerator
    return min(unknown, key=lambda judge: (unknown[judge], judge != REFERENCE), default="")


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
            face = {"full": colour, "black": "black"}.get(shade, (*_rgb(colour), LIGHT))
            hatch = HATCH if row.hatched and shade == "full" else None
            axes.barh(
                place, share, 0.72, left=left, facecolor="white" if hatch else face, edgecolor=colour, hatch=hatch,
                linewidth=0.6,
            )  # fmt: skip
            if share > NARROW:
                ink = "white" if shade == "black" or (shade == "full" and not hatch) else "black"
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5} if hatch else None
                axes.text(
                    left + share / 2, place, f"{number:,}", ha="center", va="center", fontsize=7, color=ink, bbox=box
                )
            left += share
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel(what)


def handles(full: str, light: str, black: str) -> list[Patch]:
    """Return the legend of the shades."""
    return [
        Patch(facecolor=(0.3, 0.3, 0.3, 1.0), edgecolor="#444444", label=full),
        Patch(facecolor=(0.3, 0.3, 0.3, LIGHT), edgecolor="#444444", label=light),
        Patch(facecolor="black", edgecolor="#444444", label=black),
    ]


def _rgb(colour: str) -> tuple[float, float, float]:
    return (int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255)
