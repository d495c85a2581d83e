"""A held event is released when its timestamp has certainly passed, and not a look earlier."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from node_agent.after_events.commit_wait import Holds
from node_agent.contract.records import COMMIT_WAIT_COLUMNS, GUARANTEED, STALE, USER, Available, Stamp, Unavailable

MS = 1_000_000
AHEAD = 1_800_000_000_000_000_000


def reading_at(raw_ns, half_ns):
    est = raw_ns + AHEAD
    return Available(est, est - half_ns, est + half_ns, GUARANTEED, 1.0, "utc", half_ns, 0, "ntp1")


def held(half_of, begun_ns=5 * MS):
    """Hold one event from ``begun_ns`` on, look whenever it is due, and return its trajectory."""
    holds = Holds()
    holds.begin(7, "ntp", begun_ns)
    lines = []
    while holds.next_ns is not None:
        now = holds.next_ns
        half = half_of(now - begun_ns)
        reading = Unavailable(STALE) if half is None else reading_at(now, half)
        lines += holds.look(Stamp(now, now, 0, USER), {"ntp": reading})
    return list(csv.DictReader(io.StringIO("\n".join([",".join(COMMIT_WAIT_COLUMNS), *lines]))))


@given(st.integers(min_value=0, max_value=50 * MS))
def test_it_waits_twice_its_bound_and_logs_every_look(half_ns):
    rows = held(lambda _waited: half_ns)
    assert [int(row["spins"]) for row in rows] == list(range(1, len(rows) + 1))
    assert [row["status"] for row in rows] == ["waiting"] * (len(rows) - 1) + ["ok"]
    last = rows[-1]
    assert int(last["assigned_ns"]) == 5 * MS + AHEAD + half_ns
    assert int(last["released_ns"]) > int(last["assigned_ns"])
    waited_ns = int(last["done_raw_ns"]) - 5 * MS
    assert 2 * half_ns < waited_ns <= 2 * half_ns + MS // 10
    assert [row["released_ns"] for row in rows[:-1]] == [""] * (len(rows) - 1)


def test_the_timestamp_is_assigned_once():
    rows = held(lambda waited: 2 * MS + waited // 10)
    assert len({row["assigned_ns"] for row in rows}) == 1


def test_a_clock_that_becomes_unavailable_ends_the_wait_with_its_reason():
    rows = held(lambda waited: 2 * MS if waited < MS else None)
    assert rows[-1]["status"] == STALE
    assert (rows[-1]["offset_ms"], rows[-1]["released_ns"]) == ("", "")
    assert rows[-1]["assigned_ns"] == rows[0]["assigned_ns"] != ""


def test_a_clock_that_was_never_available_assigns_nothing():
    (row,) = held(lambda _waited: None)
    assert (row["status"], row["assigned_ns"], row["released_ns"], row["spins"]) == (STALE, "", "", "0")


def test_a_bound_that_grows_as_fast_as_time_is_given_up():
    assert held(lambda waited: 2 * MS + waited)[-1]["status"] == "gave_up"
