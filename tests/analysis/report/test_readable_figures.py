"""What a figure shows can be read: no count hides an interval, and a logarithmic axis has labels."""

from __future__ import annotations

import pytest
from matplotlib.collections import LineCollection

from analysis.figures import bars, style
from analysis.stats.rates import Rate, wilson

Z_95 = 1.959963984540054  # standard normal quantile at 0.975
PANEL_IN = (3.0, 2.0)


def panel(rates):
    """Draw five bars side by side, as narrow as any figure's, in a panel of its size; return figure and axes."""
    with style.context():
        figure = style.canvas(*PANEL_IN)
        axes = figure.add_subplot()
        bars.grouped(axes, ["a", "b"], [("ntp", False, [rate, None]) for rate in rates])
        bars.percent_axis(axes, "events")
        figure.draw_without_rendering()
    return figure, axes


@pytest.mark.parametrize("hits", [0, 60, 300, 750, 1100, 1449, 1500])
@pytest.mark.parametrize("trials", [1.5, 3, 10, 60, 1500])
def test_no_count_hides_any_part_of_its_interval(hits, trials):
    low, high = wilson(hits / 1500, trials, Z_95)
    rate = Rate(hits, 1500, min(low, hits / 1500), max(high, hits / 1500), "by hand")
    _, axes = panel([rate] * 4)
    whiskers = [one for one in axes.collections if isinstance(one, LineCollection)]
    assert len(whiskers) == len(axes.texts) == 4
    for whisker, text in zip(whiskers, axes.texts, strict=True):
        (ends,) = (axes.transData.transform(segment) for segment in whisker.get_segments())
        patch = text.get_bbox_patch()
        ground = text.get_window_extent() if patch is None else patch.get_window_extent()
        left, bottom, right, top = ground.extents
        (x, y_low), (_, y_high) = ends
        apart = x <= left or x >= right or y_high <= bottom or y_low >= top
        assert apart, (hits, trials, ends.tolist(), ground.extents.tolist())


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.95, 3.3, ["1", "1.5", "2", "3"]),
        (0.99, 1.14, ["1", "1.05", "1.1"]),
        (15, 600, ["20", "50", "100", "200", "500"]),
        (0.05, 90_000, ["0.1", "1", "10", "100", "1,000", "10,000"]),
    ],
)
@pytest.mark.parametrize("name", ["xaxis", "yaxis"])
def test_a_logarithmic_axis_has_plain_numbers_on_it(low, high, labels, name):
    figure = style.canvas(2.0, 2.0)
    axes = figure.add_subplot()
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axis = getattr(axes, name)
    style.readable_log(axis)
    figure.draw_without_rendering()
    assert [tick.get_text() for tick in axis.get_ticklabels()] == labels
