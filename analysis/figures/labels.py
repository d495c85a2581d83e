"""Labels beside what they name: lines at their right ends, curves along their course, in the colour of both.

Where curves are too near to each other for names beside them, the names are in a key.

Where a label has room is known when all panels have their places. So a panel says what is to be named while it is drawn
(``at_end``, ``along``), and ``place`` finds the room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.figures import plotting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from analysis.arrays import Floats
    from analysis.figures.plotting import Bbox, Line2D

AT_END, ALONG, STATEMENT = "label at the end of", "label along", "statement"
EDGE_IN: Final = 0.06  # from the figure's edge to a text
GAP_PT: Final = 9.0  # from the axes' right edge to a label
APART: Final = 1.12  # heights of a line of text between two labels
NEAR_PX: Final = 13.0  # from a curve to its name beside it
CLEAR_PX: Final = 6.0  # from a curve to its name above or below it, and from an axis to any name
BESIDE_PX: Final = 3.0  # from a name to any curve
BETWEEN_PX: Final = 12.0  # two numbers on an axis
LEADER_PX: Final = 2.5 * NEAR_PX  # a name that is farther away from its curve has a line to it
RINGS: Final = (0.0, 16.0, 34.0, 60.0, 95.0, 140.0)  # pixels farther away from a curve, tried in turn
RISING: Final = 0.15  # of the height: where a curve is nearer to the lower or upper edge it is like all others
CROSSED: Final = 1e3  # more than any ring: what it costs to cover a point of a curve, or to be led across one
DIGITS: Final = 6  # of a place, as a share of the figure
HALO_PT: Final = 2.0  # of white around letters


def at_end(axes: Axes, text: str, y: float, colour: str) -> None:
    """Name, at the right edge of the axes, a line that ends there at ``y``."""
    axes.annotate(
        text, (1.0, 0.5), (GAP_PT, 0), xycoords="axes fraction", textcoords="offset points", va="center", color=colour,
        annotation_clip=False, gid=f"{AT_END} {y!r}",
    )  # fmt: skip


def along(line: Line2D, text: str) -> None:
    """Name a curve somewhere along its course, where nothing else is."""
    line.set_gid(f"{ALONG} {text}")


def place(figure: Figure) -> None:
    """Lay the figure out, for good, and put all labels and titles where they have room."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
        _settle(figure)
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # Agg's
    for axes in figure.axes:
        _thin(axes, renderer)
        _spread(axes, renderer)
        _beside(axes, renderer)
        _statement(axes)
        _within_figure(axes, renderer)
    _to_the_left(figure.axes, renderer)


def _settle(figure: Figure) -> None:
    """Round all places: what lays the figure out gives other last digits each time, and so other bytes."""
    for part in figure.subfigs:
        part.bbox_relative.p0 = np.round(part.bbox_relative.p0, DIGITS)
        part.bbox_relative.p1 = np.round(part.bbox_relative.p1, DIGITS)
    for axes in figure.axes:
        axes.set_position(plotting.Bbox(np.round(axes.get_position(original=True).get_points(), DIGITS)))


def _thin(axes: Axes, renderer: Any) -> None:
    """Leave numbers on a horizontal axis out, evenly, until none is near the next."""
    low, high = sorted(axes.get_xlim())
    ticks = [tick for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high and tick.label1.get_text()]
    spans = [tick.label1.get_window_extent(renderer) for tick in ticks]
    every = 1
    while any(
        left.x1 + BETWEEN_PX > right.x0 for left, right in zip(spans[::every], spans[every::every], strict=False)
    ):
        every += 1
    if every > 1:
        axes.xaxis.set_major_locator(plotting.FixedLocator([tick.get_loc() for tick in ticks[::every]]))


def _within_figure(axes: Axes, renderer: Any) -> None:
    """Move a key that would be cut off at the figure's right edge to the left."""
    legend = axes.get_legend()
    if legend is None:
        return
    over_px = legend.get_window_extent(renderer).x1 - axes.figure.bbox.x1 + axes.figure.dpi * EDGE_IN
    if over_px > 0:
        box = axes.get_window_extent(renderer)
        legend.set_bbox_to_anchor((-over_px / box.width, 1.0), transform=axes.transAxes)


def statement(axes: Axes, text: str) -> None:
    """Write a text in place of a panel, from the figure's left edge on."""
    axes.set_axis_off()
    axes.text(0, 0.5, text, va="center", transform=axes.transAxes, gid=STATEMENT).set_in_layout(False)


def _statement(axes: Axes) -> None:
    for text in axes.texts:
        if text.get_gid() == STATEMENT:
            left_px = axes.figure.dpi * EDGE_IN
            text.set_x(float(axes.transAxes.inverted().transform((left_px, 0))[0]))


def _to_the_left(panels: Sequence[Axes], renderer: Any) -> None:
    """Let the titles of panels above each other begin together, where the widest of them does, not where axes do."""
    lefts: dict[tuple[int, int], float] = {}
    for axes in panels:
        panel: Any = axes.get_tightbbox(renderer, for_layout_only=True)
        lefts[_column(axes)] = min(float(panel.x0), lefts.get(_column(axes), np.inf))
    for axes in panels:
        title = axes._left_title  # type: ignore[attr-defined]  # noqa: SLF001 - set_title returns it, and no one keeps it
        if title.get_text():
            left = axes.transAxes.inverted().transform((lefts[_column(axes)], 0.0))[0]
            title.set_x(min(0.0, float(left)))


def _column(axes: Axes) -> tuple[int, int]:
    """Return which block of rows and which column of it the axes are in."""
    place = axes.get_subplotspec()
    return id(axes.figure), 0 if place is None else place.colspan.start


def _spread(axes: Axes, renderer: Any) -> None:
    """Move the labels at the right edge apart, as little as can be, each with a line to where it belongs."""
    texts = [text for text in axes.texts if str(text.get_gid()).startswith(AT_END)]
    if not texts:
        return
    box = axes.get_window_extent(renderer)
    wanted = [axes.transData.transform((0.0, float(str(text.get_gid())[len(AT_END) :])))[1] for text in texts]
    at = np.clip(np.nan_to_num(wanted, nan=box.y0), box.y0, box.y1)
    heights = [text.get_window_extent(renderer).height for text in texts]
    order = np.argsort(at, kind="stable")
    placed = _apart([at[place] for place in order], [APART * heights[place] for place in order], box.y0, box.y1)
    inverse = axes.transAxes.inverted()
    right_px = GAP_PT * axes.figure.dpi / 72
    for place, y in zip(order, placed, strict=True):
        text: Any = texts[place]
        text.xy = (1.0, float(inverse.transform((box.x0, y))[1]))
        ends = inverse.transform([(box.x1, at[place]), (box.x1 + 0.8 * right_px, y)])
        leader = plotting.Line2D(
            *ends.T, transform=axes.transAxes, color=text.get_color(), linewidth=0.5, clip_on=False
        )
        leader.set_in_layout(False)
        axes.add_line(leader)


def _apart(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Return places, in order, that keep labels of some heights from each other, near to where they are wanted."""
    placed: list[float] = []
    for y, height in zip(wanted, heights, strict=True):
        floor = placed[-1] + (heights[len(placed) - 1] + height) / 2 if placed else low + height / 2
        placed.append(max(y, floor))
    over = max(0.0, placed[-1] + heights[-1] / 2 - high)
    for place in range(len(placed) - 1, -1, -1):  # push down from the top what went over it
        if place == len(placed) - 1:
            placed[place] -= over
        else:
            ceiling = placed[place + 1] - (heights[place + 1] + heights[place]) / 2
            placed[place] = min(placed[place], ceiling)
    return placed


def _beside(axes: Axes, renderer: Any) -> None:
    """Put every curve's name beside it; where one would lie on a curve, or be led across one, all into a key."""
    curves = [line for line in axes.lines if str(line.get_gid()).startswith(ALONG)]
    if not curves:
        return
    box = axes.get_window_extent(renderer)
    courses = [_course(line, box) for line in curves]
    others = [_course(line, box) for line in axes.lines if line not in curves]
    others += [_dense(bar, box) for bar in _bars(axes)]
    taken: list[Bbox] = []
    placed: list[tuple[Text, _Spot]] = []
    for number, line in enumerate(curves):
        text = axes.text(
            0, 0, _name(line), color=line.get_color(), va="center", clip_on=False,
            path_effects=[plotting.withStroke(linewidth=HALO_PT, foreground="white")],
        )  # fmt: skip
        text.set_in_layout(False)
        size = text.get_window_extent(renderer)
        rest = [course for place, course in enumerate(courses) if place != number] + others
        spot = _spot(courses[number], rest, taken, box, (size.width, size.height))
        placed.append((text, spot))
        taken.append(spot.box.padded(1.5))
    if any(spot.cost >= CROSSED for _, spot in placed):
        for text, _ in placed:
            text.remove()
        _key(axes, curves)
        return
    for text, spot in placed:
        middle = (spot.box.x0, (spot.box.y0 + spot.box.y1) / 2)
        x, y = axes.transData.inverted().transform(middle)
        text.set_position((float(x), float(y)))
        _lead(axes, text, spot)


def _name(line: Line2D) -> str:
    return str(line.get_gid())[len(ALONG) + 1 :]


def _key(axes: Axes, curves: Sequence[Line2D]) -> None:
    """Name curves in a key within the axes, where there is most room."""
    axes.legend(
        curves, [_name(line) for line in curves], loc="best", labelcolor="linecolor", handlelength=2.2,
        frameon=True, edgecolor="none", borderpad=0.2, labelspacing=0.25, handletextpad=0.5,
    ).set_in_layout(False)  # fmt: skip


def _lead(axes: Axes, text: Text, spot: _Spot) -> None:
    """Draw a line from a label to its curve, where it stands away from it."""
    edge = _edge(spot.box, spot.anchor)
    if _apart_px(edge, spot.anchor) > LEADER_PX:
        ends = axes.transData.inverted().transform([spot.anchor, edge])
        leader = plotting.Line2D(*ends.T, color=str(text.get_color()), linewidth=0.5)
        leader.set_in_layout(False)
        axes.add_line(leader)


def _edge(spot: Bbox, anchor: tuple[float, float]) -> tuple[float, float]:
    """Return where on a label's edge the line to its curve begins."""
    return (spot.x0 if anchor[0] < spot.x0 else spot.x1), (spot.y0 + spot.y1) / 2


def _apart_px(one: tuple[float, float], other: tuple[float, float]) -> float:
    return float(np.hypot(one[0] - other[0], one[1] - other[1]))


def _bars(axes: Axes) -> list[Floats]:
    """Return the bars of the axes' intervals, each as its ends, in pixels."""
    collections = [part for part in axes.collections if isinstance(part, plotting.LineCollection)]
    return [
        np.asarray(collection.get_transform().transform(bar), dtype=np.float64)
        for collection in collections
        for bar in collection.get_segments()
    ]


def _course(line: Line2D, box: Bbox) -> Floats:
    """Return a curve's points within the axes, in pixels, none far from the next."""
    return _dense(np.asarray(line.get_transform().transform(line.get_xydata()), dtype=np.float64), box)


def _dense(path: Floats, box: Bbox) -> Floats:
    """Return the points of a path in pixels that are within the axes, none far from the next."""
    path = path[np.isfinite(path).all(axis=1)]
    if len(path) < 2:
        return path
    steps = np.maximum(1, np.ceil(np.abs(np.diff(path, axis=0)).max(axis=1) / 4.0).astype(int)).clip(max=600)
    pieces = [
        start + (stop - start) * np.arange(count)[:, None] / count
        for start, stop, count in zip(path[:-1], path[1:], steps, strict=True)
    ]
    dense = np.concatenate([*pieces, path[-1:]])
    inside = (dense[:, 0] >= box.x0 - 1) & (dense[:, 0] <= box.x1 + 1)
    inside &= (dense[:, 1] >= box.y0 - 1) & (dense[:, 1] <= box.y1 + 1)
    course: Floats = dense[inside]
    return course


@dataclass(frozen=True)
class _Spot:
    """Where a label may stand, the point of its curve that it is about, and what that costs, in pixels of distance."""

    box: Bbox
    anchor: tuple[float, float]
    cost: float


def _spot(own: Floats, others: Sequence[Floats], taken: Sequence[Bbox], box: Bbox, size: tuple[float, float]) -> _Spot:
    """Return where a label stands best; where there is no room at all, it costs without limit."""
    best = _Spot(box, (box.x0, box.y1), math.inf)
    everything = np.concatenate([*others, np.zeros((0, 2))])
    for anchor in _anchors(own, box):
        for away, spot in _around(anchor, size):
            if away >= best.cost:
                break  # as are all that are farther away
            inside = spot.x0 >= box.x0 + CLEAR_PX and spot.x1 <= box.x1 and spot.y1 <= box.y1
            if not inside or spot.y0 < box.y0 + CLEAR_PX or any(spot.overlaps(other) for other in taken):
                continue
            clear = spot.padded(BESIDE_PX)
            cost = away + CROSSED * (_within(everything, clear) + _within(own, clear))
            if cost < best.cost:
                cost += CROSSED * _crossed(everything, _edge(spot, anchor), anchor)
            if cost < best.cost:
                best = _Spot(spot, anchor, cost)
    return best


def _anchors(own: Floats, box: Bbox) -> list[tuple[float, float]]:
    """Return points of a curve that its name may stand at: where it rises, if it does."""
    height_px = box.y1 - box.y0
    rising = own[(own[:, 1] > box.y0 + RISING * height_px) & (own[:, 1] < box.y1 - RISING * height_px)]
    points = rising if len(rising) else own
    if not len(points):
        return [(box.x0, box.y0)]
    return [(float(x), float(y)) for x, y in points[np.linspace(0, len(points) - 1, 40).astype(int)]]


def _around(anchor: tuple[float, float], size: tuple[float, float]) -> Iterator[tuple[float, Bbox]]:
    """Yield places for a label around a point, each with how far away it is."""
    x, y = anchor
    width, height = size
    for ring in RINGS:
        for left in (x + NEAR_PX + ring, x - NEAR_PX - ring - width):
            for bottom in (y - height / 2, y + CLEAR_PX + ring, y - CLEAR_PX - height - ring):
                yield ring, plotting.Bbox.from_bounds(left, bottom, width, height)


def _crossed(points: Floats, edge: tuple[float, float], anchor: tuple[float, float]) -> bool:
    """Tell whether the line from a label to its curve crosses another curve."""
    length = _apart_px(edge, anchor)
    if length <= LEADER_PX or not len(points):
        return False
    along = np.linspace(anchor, edge, int(length / 3.0) + 2)[1:]
    near = points[np.abs(points - np.mean([edge, anchor], axis=0)).max(axis=1) < length]
    return bool(len(near)) and bool((np.abs(along[:, None] - near[None]).max(axis=2) < 3.0).any())


def _within(points: Floats, spot: Bbox) -> float:
    """Return how many points of curves a label would cover."""
    if not len(points):
        return 0.0
    x, y = points.T
    return float(np.count_nonzero((x > spot.x0) & (x < spot.x1) & (y > spot.y0) & (y < spot.y1)))
