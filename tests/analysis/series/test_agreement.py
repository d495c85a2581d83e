"""Agreement by arithmetic: who is compared with whom, whose intervals meet, how many agree at one time."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.series import agreement, look
from analysis.series.course import Claims, Course

S = 1_000_000_000


def course(source, offsets_ms, half_ms=None, *, at_s=None, claimed_ms=None, clock="the system clock"):
    """Return a course of a reading a second unless ``at_s`` says when; no interval where ``half_ms`` is None."""
    offset = np.array(offsets_ms, dtype=np.float64)
    at_ns = np.array(range(len(offset)) if at_s is None else at_s, dtype=np.int64) * S
    half = np.full(len(offset), 0.0 if half_ms is None else half_ms)
    return Course(
        node_id="n1", source=source, kind="unstated", level=None, claims=Claims("", "", clock), references=("utc",),
        asked=len(offset), unavailable={}, at_ns=at_ns, wall_ns=at_ns, offset_ms=offset, low_ms=offset - half,
        high_ms=offset + half, bounded=np.full(len(offset), half_ms is not None),
        claimed_ms=np.full(len(offset), np.nan if claimed_ms is None else claimed_ms), stability=None,
        why_not_stable="few",
    )  # fmt: skip


def test_intervals_meet_where_they_touch():
    (pair,) = agreement.of([course("a", [0, 0, 0, 0], 1.0), course("b", [0.5, 2.0, 2.1, -3.0], 1.0)]).pairs
    assert (pair.meet.numerator, pair.meet.denominator) == (2, 4)
    assert (pair.first_in_second.numerator, pair.second_in_first.numerator) == (1, 1)
    assert pair.of_claims.tolist() == pytest.approx([0.25, 1.0, 1.05, 1.5])
    assert pair.claims_ms.median == 2.0


def test_of_one_interval_only_the_others_estimate_is_in_or_out():
    (pair,) = agreement.of([course("a", [0, 0, 0], 1.0), course("b", [0.5, 2.0, 0.1], claimed_ms=0.2)]).pairs
    assert pair.meet.denominator == 0
    assert (pair.inside.numerator, pair.inside.denominator) == (2, 3)
    assert (pair.within_stated.numerator, pair.within_stated.denominator) == (1, 3)


def test_a_reading_is_compared_with_the_nearest_and_none_that_is_far():
    """The dense one is read each 10 s: 103 is near 100, and 200 is 100 s after the last of them."""
    dense = course("a", [1, 2, 3], 1.0, at_s=[80, 90, 100])
    sparse = course("b", [10, 20, 30], 1.0, at_s=[84, 103, 200])
    for pair in (agreement.of([dense, sparse]).pairs[0], agreement.of([sparse, dense]).pairs[0]):
        assert pair.count == 2
        assert pair.apart_ms.maximum == 17.0  # 20 and 3
        assert pair.seconds_between.maximum == 4.0


def test_offsets_of_different_clocks_are_never_compared():
    found = agreement.of([course("a", [0], 1.0), course("b", [9], 1.0, clock="another")])
    assert found.pairs == ()
    assert found.reasons["n1"] == "offsets of different clocks are not compared: the system clock; another"


def test_one_source_alone_has_a_reason_and_no_number():
    assert agreement.of([course("a", [0], 1.0)]).reasons == {"n1": agreement.ALONE}


def test_how_many_agree_is_the_most_intervals_with_one_instant():
    """Three of four hold 0; the fourth is alone, at all but the last reading."""
    honest = [course(name, [0.0, 0.1, 0.0], 1.0) for name in "abc"]
    (group,) = agreement.of([*honest, course("d", [9.0, 9.0, 0.5], 1.0)]).together
    assert group.most_agreeing == {3: 2, 4: 1}
    assert (group.all_meet.numerator, group.all_meet.denominator) == (1, 3)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_of_a_long_series_few_points_are_drawn_and_every_outlier():
    rng = np.random.default_rng(1)
    offsets = rng.normal(size=200_000)
    offsets[[77_777, 123_456]] = 50.0, -60.0
    long = course("a", offsets, 0.5)
    drawn = look.drawn(long)
    assert len(drawn) <= look.MOST_POINTS
    assert {0, 77_777, 123_456, 199_999} <= set(drawn.tolist())
    assert not look.breaks(long.at_ns[drawn], long, 3).any()


def test_a_gap_breaks_the_line():
    gappy = course("a", [1, 2, 3, 4], 0.5, at_s=[0, 1, 20, 21])
    assert look.breaks(gappy.at_ns, gappy, 3).tolist() == [False, False, True, False]
    assert gappy.gaps_s.tolist() == [19.0]
    assert np.isnan(look.with_breaks(gappy.offset_ms, np.array([False, False, True, False]))).tolist() == [
        False, False, True, False, False,
    ]  # fmt: skip


def test_an_axis_leaves_out_a_few_outliers_and_counts_them():
    offsets = np.sin(np.arange(100.0))
    offsets[50] = 600.0
    limits = look.limits([course("a", offsets, 2.0)])
    assert limits.beyond == 1
    assert -8 < limits.low < -2
    assert 2 < limits.high < 8
