"""What a figure shows can be read: a logarithmic axis has labels, few enough to be told apart."""

from __future__ import annotations

from itertools import pairwise

import pytest

from analysis.figures import labels, style


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.95, 3.3, ["1", "1.5", "2", "3"]),
        (0.99, 1.14, ["1", "1.05", "1.1"]),
        (15, 600, ["20", "50", "100", "200", "500"]),
        (0.05, 90_000, ["0.1", "10", "1,000"]),
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


def test_long_numbers_on_an_axis_do_not_touch_each_other():
    figure = style.canvas(2.0, 2.0)
    axes = figure.add_subplot()
    axes.set_xlim(150_000, 12_000_000)
    style.readable_log(axes.xaxis)
    labels.place(figure)
    figure.canvas.draw()
    spans = [tick.get_window_extent() for tick in axes.get_xticklabels()]
    assert len(spans) >= 2
    assert all(left.x1 + labels.BETWEEN_PX <= right.x0 for left, right in pairwise(spans))
