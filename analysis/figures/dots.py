"""Shares as dots with their intervals, a row per clock: hollow of points, full of intervals; dark diamonds of wrong.

Counts are in the caption. Where all rows say the same, the panel is a line of text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event.table import POINT
from analysis.figures import plotting, style
from analysis.figures.sheet import Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from analysis.stats.rates import Rate

PERCENT: Final = 100.0
RIGHT, WRONG, THIRD = "o", "D", "s"  # shapes: of what is right or merely counted, of what is wrong, of a third share
MOST_RUGS: Final = 200  # of more shares than that, as many quantiles are drawn
ROW_IN, MARK_IN = 0.19, 0.055  # height of a row with one mark, and for every further one
ASIDE: Final = 0.4  # of a row, up and down, over which its marks are spread
SIZE: Final = 4.0
ROOM: Final = 0.03  # of an axis, beyond its ends
KEY_IN: Final = 0.16  # height of the line that says what shapes mean


@dataclass(frozen=True)
class Mark:
    """A share of a row. ``word``: what of; ``most``: where nobody knows it, it is between ``rate`` and that."""

    word: str
    rate: Rate | None
    shape: str = RIGHT
    most: Rate | None = None

    @property
    def value(self) -> float | None:
        """Return the share, the least of it where nobody knows."""
        return None if self.rate is None else self.rate.value

    @property
    def counts(self) -> str:
        """Return the counts as "12/34", or "12 to 20/34"."""
        if self.rate is None or self.rate.value is None:
            return "not evaluable"
        most = "" if self.most is None or self.most == self.rate else f" to {self.most.numerator:,}"
        return f"{self.rate.numerator:,}{most}/{self.rate.denominator:,}"

    @property
    def said(self) -> str:
        """Return the share in words for a caption."""
        return f"{self.word} {self.counts}".lstrip()


@dataclass(frozen=True)
class Row:
    """The shares of one clock; ``each``: the same share of each of many parts (workers, pairs), for a rug."""

    source: str
    clock: str
    marks: tuple[Mark, ...]
    subject: str = ""
    each: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """Return the row's name: the source, ± where its intervals are meant, and what about."""
        return name(self.source, self.clock) + (f", {self.subject}" if self.subject else "")

    @property
    def evaluable(self) -> bool:
        """Tell whether any share has trials."""
        return any(mark.value is not None for mark in self.marks)


def name(source: str, clock: str) -> str:
    """Return how a clock is written in a figure: its intervals with ±."""
    return style.label(source) if clock == POINT else f"{style.label(source)} ±"


def panel(title: str, rows: Sequence[Row], what: str, nothing: str, *, rest: str = "", note: str = "") -> Panel:
    """Return the panel of some rows: ``what`` is on the axis, ``nothing`` why there is none if no row has a share.

    ``rest``: what it is that is in none of the shares. ``note`` goes into the caption after the counts.
    """
    shown = [row for row in rows if row.evaluable]
    if not shown:
        return Panel(title, nothing)
    more = [f"The rest is {rest}"] if rest else []
    says = ". ".join([f"{what}; {counts(rows)}", *more, *([f"{note[0].upper()}{note[1:]}"] if note else [])])
    if line := same(shown, rest):
        return Panel(title, says, line=line)
    marks = max(len(row.marks) for row in shown)
    height = 0.12 + (ROW_IN + MARK_IN * (marks - 1)) * len(shown)
    above = key_in(_shapes(shown))
    return Panel(title, says, lambda axes: draw(axes, shown, f"{what} (%)"), height_in=height, above_in=above)


def _shapes(rows: Sequence[Row]) -> dict[str, str]:
    return {mark.word: mark.shape for row in rows for mark in row.marks}


def counts(rows: Sequence[Row]) -> str:
    """Return the counts of every row, in words for a caption."""
    return "; ".join(f"{row.label} {', '.join(mark.said for mark in row.marks)}" for row in rows)


def same(rows: Sequence[Row], rest: str = "") -> str:
    """Return, in words, what all rows say if they all say the same, and all or nothing of it; else nothing."""
    values: dict[str, set[float | None]] = {}
    for row in rows:
        for mark in row.marks:
            open_ = mark.most is not None and mark.most != mark.rate
            values.setdefault(mark.word, set()).update({None, mark.value} if open_ else {mark.value})
        if len(set(row.each)) > 1:
            return ""
    shares: dict[str, float] = {}
    for word, kinds in values.items():
        value = next(iter(kinds))
        if len(kinds) > 1 or value not in {0.0, 1.0}:
            return ""
        shares[word] = value
    if rest:
        shares[rest] = 1.0 - sum(shares.values())
    said = ", ".join(f"{PERCENT * share:g}\N{NO-BREAK SPACE}% {word}".rstrip() for word, share in shares.items())
    return f"{said} for {', '.join(dict.fromkeys(name(row.source, row.clock) for row in rows))}"


def draw(axes: Axes, rows: Sequence[Row], what: str) -> None:
    """Draw the rows, from above, on an axis in percent."""
    for place, row in enumerate(rows):
        _rug(axes, place, row)
        count = len(row.marks)
        beside = np.linspace(-ASIDE, ASIDE, 2 * count + 1)[1::2]
        for aside, mark in zip(beside, row.marks, strict=True):
            share(axes, place + float(aside), mark, row.source, hollow=row.clock == POINT)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    percent_axis(axes, what)
    key(axes, _shapes(rows))


def share(axes: Axes, place: float, mark: Mark, source: str, *, hollow: bool, upright: bool = False) -> None:
    """Draw a share with its interval at a place on the other axis; ``upright``: shares go up, else to the right.

    One that nobody knows is a dotted line between two ends.
    """
    if mark.rate is None or mark.rate.value is None:
        return
    ink = style.dark(source) if mark.shape == WRONG else style.colour(source)
    ends = [mark.rate] if mark.most is None or mark.most == mark.rate else [mark.rate, mark.most]
    values = [PERCENT * (end.value or 0.0) for end in ends]

    def drawn(along: Sequence[float], **looks: Any) -> None:
        beside = [place] * len(along)
        axes.plot(*((beside, along) if upright else (along, beside)), color=ink, clip_on=False, zorder=3, **looks)

    bar = "_" if upright else "|"
    for value, limit in ((values[0], ends[0].low), (values[-1], ends[-1].high)):
        if limit is not None:
            drawn([value, PERCENT * limit], linewidth=1.0)
            drawn([PERCENT * limit], marker=bar, markersize=3.5)
    if len(values) > 1:
        drawn(values, linewidth=1.0, linestyle=(0, (1, 1)))
    face = "white" if hollow and mark.shape != WRONG else ink
    drawn(values, linestyle="none", marker=mark.shape, markersize=SIZE, markerfacecolor=face, markeredgewidth=0.9)


def percent_axis(axes: Axes, what: str, *, upright: bool = False, least: float = 0.0) -> None:
    """Make an axis run from ``least`` (0) to 100 percent, with room for whole marks at its ends."""
    axis, limits = (axes.yaxis, axes.set_ylim) if upright else (axes.xaxis, axes.set_xlim)
    room = ROOM * (100.0 - least)
    limits(least - room, 100.0 + room)
    ticks = plotting.MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(least, 100.0)
    axis.set_ticks([float(tick) for tick in ticks if least <= tick <= 100.0])
    axis.set_major_formatter(plotting.FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.spines["left" if upright else "bottom"].set_bounds(least, 100.0)
    axis.set_label_text(what)
    axes.grid(axis="y" if upright else "x")


def key_in(shapes: Mapping[str, str]) -> float:
    """Return the height of the line that ``key`` writes, where it writes one."""
    return KEY_IN if len(shapes) > 1 else 0.0


def key(axes: Axes, shapes: Mapping[str, str]) -> None:
    """Say above the axes what the shapes mean, where there is more than one; colours and fillings are in the rows."""
    if len(shapes) < 2:
        return
    handles = [
        plotting.Line2D([], [], color=style.INK, linestyle="none", marker=shape, markersize=SIZE, label=word)
        for word, shape in shapes.items()
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), handletextpad=0.1,
        columnspacing=1.0, borderaxespad=0.1, borderpad=0.1, handlelength=1.2,
    )  # fmt: skip


def _rug(axes: Axes, place: float, row: Row) -> None:
    """Draw where the shares of many parts lie, a thin stroke each."""
    if not row.each:
        return
    shares = np.sort(np.asarray(row.each))
    if len(shares) > MOST_RUGS:
        shares = np.quantile(shares, np.linspace(0, 1, MOST_RUGS), method="inverted_cdf")
    axes.plot(
        PERCENT * shares, [place] * len(shares), linestyle="none", marker="|", markersize=7, markeredgewidth=0.6,
        color=style.colour(row.source), alpha=0.35, clip_on=False,
    )  # fmt: skip
