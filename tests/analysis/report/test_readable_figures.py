"""What a figure shows can be read: a logarithmic axis has labels, few enough to be told apart."""

from __future__ import annotations

import pytest

from analysis.figures import style


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
