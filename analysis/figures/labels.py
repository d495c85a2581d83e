"""Labels beside what they name: lines at their right ends, curves along their course, in the colour of both.

Where a label has room is known when all panels have their places. So a panel says what is to be named while it is drawn
(``at_end``, ``along``), and ``place`` finds the room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.figures import plotting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from analysis.arrays import Floats
    from analysis.figures.plotting import Bbox, Line2D

AT_END, ALONG, STATEMENT = "label at the end of", "label along", "statement"
EDGE_IN: Final = 0.06  # from the figure's edge to a text
GAP_PT: Final = 9.0  # from the axes' right edge to a label
APART: Final = 1.12  # heights of a line of text between two labels
NEAR_PX: Final = 13.0
RINGS: Final = (0.0, 16.0, 34.0, 60.0, 95.0, 140.0)  # pixels farther away from a curve, tried in turn
RISING: Final = 0.15  # of the height: where a curve is nearer to the lower or upper edge it is like all others
CROSSED: Final = 40.0  # pixels of distance that a label goes rather than cover a point of another curve
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
    """Put every curve's name beside it, over no other name and over as little of other curves as can be."""
    curves = [line for line in axes.lines if str(line.get_gid()).startswith(ALONG)]
    if not curves:
        return
    box = axes.get_window_extent(renderer)
    courses = [_course(line, box) for line in curves]
    others = [_course(line, box) for line in axes.lines if line not in curves]
    taken: list[Bbox] = []
    for number, line in enumerate(curves):
        text = axes.text(
            0, 0, str(line.get_gid())[len(ALONG) + 1 :], color=line.get_color(), va="center", clip_on=False,
            path_effects=[plotting.withStroke(linewidth=HALO_PT, foreground="white")],
        )  # fmt: skip
        text.set_in_layout(False)
        size = text.get_window_extent(renderer)
        rest = [course for place, course in enumerate(courses) if place != number] + others
        spot, anchor = _spot(courses[number], rest, taken, box, (size.width, size.height))
        taken.append(spot.padded(1.5))
        x, y = axes.transData.inverted().transform((spot.x0, (spot.y0 + spot.y1) / 2))
        text.set_position((float(x), float(y)))
        _lead(axes, text, spot, anchor)


def _lead(axes: Axes, text: Text, spot: Bbox, anchor: tuple[float, float]) -> None:
    """Draw a line from a label to its curve, where it stands away from it."""
    edge = spot.x0 if anchor[0] < spot.x0 else spot.x1
    middle = (spot.y0 + spot.y1) / 2
    if np.hypot(edge - anchor[0], middle - anchor[1]) > 2.5 * NEAR_PX:
        ends = axes.transData.inverted().transform([anchor, (edge, middle)])
        leader = plotting.Line2D(*ends.T, color=str(text.get_color()), linewidth=0.5)
        leader.set_in_layout(False)
        axes.add_line(leader)


def _course(line: Line2D, box: Bbox) -> Floats:
    """Return a curve's points within the axes, in pixels, none far from the next."""
    path = np.asarray(line.get_transform().transform(line.get_xydata()), dtype=np.float64)
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


def _spot(
    own: Floats, others: Sequence[Floats], taken: Sequence[Bbox], box: Bbox, size: tuple[float, float]
) -> tuple[Bbox, tuple[float, float]]:
    """Return where a label stands best, and the point of its curve that it is about."""
    width, height = size
    best: tuple[float, Bbox, tuple[float, float]] | None = None
    anchors = own[np.linspace(0, len(own) - 1, 40).astype(int)] if len(own) else np.array([[box.x0, box.y0]])
    height_px = box.y1 - box.y0
    rising = own[(own[:, 1] > box.y0 + RISING * height_px) & (own[:, 1] < box.y1 - RISING * height_px)]
    if len(rising):
        anchors = rising[np.linspace(0, len(rising) - 1, 40).astype(int)]
    everything = np.concatenate([*others, np.zeros((0, 2))])
    for x, y in anchors.tolist():
        for ring in RINGS:
            for left in (x + NEAR_PX + ring, x - NEAR_PX - ring - width):
                for bottom in (y - height / 2, y + ring, y - height - ring):
                    spot = plotting.Bbox.from_bounds(left, bottom, width, height)
                    inside = spot.x0 >= box.x0 and spot.x1 <= box.x1 and spot.y0 >= box.y0 and spot.y1 <= box.y1
                    if not inside or any(spot.overlaps(other) for other in taken):
                        continue
                    cost = ring + CROSSED * (_within(everything, spot) + 2 * _within(own, spot))
                    if best is None or cost < best[0]:
                        best = cost, spot, (x, y)
    if best is None:  # no room at all within the axes: above them, where only the title is
        return plotting.Bbox.from_bounds(box.x0, box.y1, width, height), (box.x0, box.y1)
    return best[1], best[2]


def _within(points: Floats, spot: Bbox) -> float:
    """Return how many points of curves a label would cover."""
    if not len(points):
        return 0.0
    x, y = points.T
    return float(np.count_nonzero((x > spot.x0) & (x < spot.x1) & (y > spot.y0) & (y < spot.y1)))
