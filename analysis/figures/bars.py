"""Bars that show a rate, its interval and its counts; one colour per source, points hatched, intervals filled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.figures import style
from analysis.figures.plotting import Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.stats.rates import Rate

PERCENT: Final = 100.0
HATCH: Final = "////"
NO_TRIALS: Final = "n/e"
NO_INTERVAL: Final = "no interval"  # of a bar without whiskers
LEGEND_LETTERS: Final = 110  # as many fit under a figure of the page's width
MOST_LETTERS: Final = 140  # from there on, counted by the longest of each column, it is wider than the page
TASK_LABELS: Final = {"causality": "causality", "who_first": "who first"}
HIGH: Final = 55.0  # percent; a taller bar has its counts inside
LOW: Final = 45.0  # percent; what the counts need below the interval
BESIDE: Final = (-0.2, 0.36)  # widths of a bar: where counts and interval stand beside each other
ABOVE_ALL: Final = 5  # the z-order of intervals: no count's white ground hides one


def look(colour: str, *, hatched: bool) -> dict[str, Any]:
    """Return how a bar of this colour looks: hatched on white, or filled."""
    return {"facecolor": "white" if hatched else colour, "edgecolor": colour, "hatch": HATCH if hatched else None}


def bar(axes: Axes, place: float, rate: Rate, source: str, *, width: float, hatched: bool) -> None:
    """Draw one rate in percent at ``place``: a bar, its interval, its counts; a rate without trials says so."""
    colour = style.colour(source)
    if rate.value is None:
        axes.text(place, 2, NO_TRIALS, ha="center", va="bottom", rotation=90, color=colour, fontsize=7)
        return
    value = PERCENT * rate.value
    mark = NO_INTERVAL if rate.low is None else None
    axes.bar(place, value, width, **look(colour, hatched=hatched), linewidth=0.8, gid=mark)
    low = value if rate.low is None else PERCENT * rate.low
    high = value if rate.high is None else PERCENT * rate.high
    beside = high > HIGH and low < LOW  # a wide interval of few trials leaves no room above it nor below it
    aside = BESIDE[1] * width if beside else 0.0
    if rate.low is not None:  # a rate whose interval nobody can tell has a bar and no whiskers
        axes.errorbar(
            place + aside, value, yerr=[[value - low], [high - value]], color="black", capsize=1.5, elinewidth=0.6,
            capthick=0.6, fmt="none", zorder=ABOVE_ALL,
        )  # fmt: skip
    counts = f"{rate.numerator}/{rate.denominator}"
    text: dict[str, Any] = {"ha": "center", "rotation": 90, "fontsize": 7, "color": "#333333"}
    if high <= HIGH:
        axes.text(place, high + 2, counts, va="bottom", **text)
        return
    # in the bar, on white, so that no height is kept free above 100 %
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.1 if beside else 0.6}
    if beside:
        axes.text(place + BESIDE[0] * width, 2, counts, va="bottom", bbox=box, **text)
    else:
        axes.text(place, low - 4, counts, va="top", bbox=box, **text)


def percent_axis(axes: Axes, what: str, *, room: float = 5) -> None:
    """Label an axis in percent, with a little room above 100."""
    axes.set_ylim(0, 100 + room)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.spines["left"].set_bounds(0, 100)
    axes.set_ylabel(f"{what} (%)", y=50 / (100 + room))
    axes.grid(axis="y")


def bar_place(group: int, number: int, series: int) -> tuple[float, float]:
    """Return the width and the place of the bar of one series in one group."""
    width = 0.8 / max(1, series)
    return 0.85 * width, group + (number - (series - 1) / 2) * width


def grouped(axes: Axes, groups: Sequence[str], series: Sequence[tuple[str, bool, Sequence[Rate | None]]]) -> None:
    """Draw groups of bars; each series is (source, hatched, one rate per group), None leaving its place free."""
    for number, (source, hatched, rates) in enumerate(series):
        for group, rate in enumerate(rates):
            width, place = bar_place(group, number, len(series))
            if rate is not None:
                bar(axes, place, rate, source, width=width, hatched=hatched)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.6, len(groups) - 0.4)


def clock_handles(series: Sequence[tuple[str, bool]]) -> list[Patch]:
    """Return the legend's entries for (source, hatched), in order, each once."""
    handles = []
    for source, hatched in dict.fromkeys(series):
        name = f"{style.label(source)} {'point' if hatched else 'interval'}"
        handles.append(Patch(**look(style.colour(source), hatched=hatched), label=name))
    return handles


def legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Put one legend under all panels; it explains "n/e", and bars without whiskers, where a panel has them."""
    entries = list(handles)
    if any(text.get_text() == NO_TRIALS for axes in figure.axes for text in axes.texts):
        entries.append(Patch(facecolor="none", edgecolor="none", label=f"{NO_TRIALS}: not evaluable, no such events"))
    if any(patch.get_gid() == NO_INTERVAL for axes in figure.axes for patch in axes.patches):
        entries.append(Patch(facecolor="none", edgecolor="none", label="no whiskers: only repeats of the run can tell"))
    if entries:
        letters = sum(len(str(entry.get_label())) + 5 for entry in entries)  # 5: the patch and the gaps
        columns = -(-len(entries) // -(-letters // LEGEND_LETTERS))
        while columns > 1 and _letters_across(entries, columns) > MOST_LETTERS:
            columns -= 1
        figure.legend(handles=entries, loc="outside lower center", ncols=columns, handlelength=1.5, columnspacing=1.2)


def _letters_across(entries: Sequence[Any], columns: int) -> int:
    """Return how many letters wide a legend of so many columns is: each is as wide as its longest entry."""
    rows = -(-len(entries) // columns)
    lengths = [len(str(entry.get_label())) + 5 for entry in entries]
    return sum(max(lengths[start : start + rows]) for start in range(0, len(lengths), rows))


def task_label(task: str) -> str:
    """Return how a task is written: ``window_100ms`` -> ``window 100 ms``."""
    if task.startswith("window_"):
        return f"window\n{task.removeprefix('window_').removesuffix('ms')} ms"
    return TASK_LABELS.get(task, task)
