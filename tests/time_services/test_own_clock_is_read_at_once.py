"""What comes between the readings of two clocks makes no offset that the bound does not know of."""

from __future__ import annotations

import time

import pytest

from time_services.chronotick import own_clock
from time_services.models import Prediction

MS = 1_000_000
START_NS = 1_800_000_000 * 10**9


class Node:
    """A machine whose wall clock and oscillator run alike, and that is held up now and then between readings."""

    def __init__(self, held_up_ns):
        self.now_ns = 0
        self._held_up_ns = iter(held_up_ns)

    def read(self):
        self.now_ns += 100 + next(self._held_up_ns, 0)
        return self.now_ns


class Model:
    """Says that the reference is where the wall clock was, as the last request showed it; it knows no more."""

    def feed(self, wall_ns, raw_ns, samples):
        self.ahead_ns = wall_ns - raw_ns

    def predict(self, raw_ns):
        offset_s = (START_NS - self.ahead_ns) / 1e9  # true time is START_NS + the oscillator's
        return Prediction(offset_s, 0.0, 0.0, 0.0, 0.0, 10.0, 4, 0.0, raw_ns, {}, "known")


@pytest.mark.parametrize(
    ("held_up_ns", "at_most_ns"),
    [
        ([], 1_000),
        ([0, 5 * MS], 1_000),  # before the wall clock is read, and then no more
        ([0, 0, 5 * MS], 1_000),  # after it
        ([0, 5 * MS, 0] * 20, 3 * MS),  # always
        ([0, 0, 5 * MS] * 20, 3 * MS),
        ([5 * MS] * 60, 6 * MS),
    ],
)
def test_an_answer_about_the_own_clock_holds_the_truth_whatever_came_between(monkeypatch, held_up_ns, at_most_ns):
    node = Node(held_up_ns)
    monkeypatch.setattr(time, "time_ns", lambda: START_NS + node.read())
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock: node.read())
    monkeypatch.setattr(own_clock, "measured_precision", lambda: -20)
    _, predicted = own_clock.OwnClock([], Model()).predict()
    assert abs(predicted.offset_s) <= predicted.asymmetry_s + 1e-12  # the wall clock is right
    assert predicted.asymmetry_s <= at_most_ns / 1e9
