"""`check` names a node whose wall clock is far off, and says what to do about that before anything else."""

from __future__ import annotations

from typing import Any

import pytest

from harness.check.preflight import _unfit
from harness.check.wall_clocks import Heard, far_off
from node_agent.clocks.sources import BY_NAME
from node_agent.contract.records import SourceCheck

S = 1_000_000_000


def heard(wall_s: float, ntp_offset_ms: float | None = None) -> Heard:
    """Return what a node said that was asked at 100 s and answered at 103 s, of which it took 2.8 s itself."""
    rows = [] if ntp_offset_ms is None else [{"outcome": "ok", "offset_ms": ntp_offset_ms, "bound_ms": 1.0}]
    facts: dict[str, Any] = {"wall_ns": round(wall_s * S), "took_ns": 2_800_000_000, "sources": {"ntp": rows}}
    return Heard(facts, 100 * S, 103 * S)


def test_ntp_tells_whose_wall_clock_is_off() -> None:
    nodes = {"a": heard(1000, 3.0), "b": heard(1049, -49_000.0), "c": heard(1000, 1_000.5)}
    assert far_off(nodes, 1.0) == {"b": "its wall clock is 49.000 s ahead of NTP"}
    assert far_off(nodes, 60.0) == {}


@pytest.mark.parametrize(
    ("walls_s", "named"),
    [((1000, 1000.1, 1049), ["c"]), ((1000, 1000.1, 998.5), ["c"]), ((1000, 1000.5, 1001.1), [])],
)
def test_without_ntp_the_majority_tells(walls_s: tuple[float, ...], named: list[str]) -> None:
    """By as much as the time of asking leaves no doubt about: 0.2 s here."""
    told = far_off({name: heard(wall_s) for name, wall_s in zip("abc", walls_s, strict=True)}, 1.0)
    assert list(told) == named
    assert all(line.endswith(("ahead of a, b", "behind a, b")) for line in told.values())


def test_of_two_that_differ_both_are_named() -> None:
    told = far_off({"a": heard(1000), "b": heard(1049)}, 1.0)
    assert told == {"a": "its wall clock is 49.000 s behind b", "b": "its wall clock is 49.000 s ahead of a"}


def test_advice_fits_what_is_wrong() -> None:
    """Who answered has an open port, and whose clock is years off is told to set it."""
    kind = BY_NAME["chronotick"]
    silent, failed, refused = (
        SourceCheck("http://t:1", outcome, None, None, None, None, None, None, "")
        for outcome in ("timeout", "http_500", "http_400")
    )
    assert "open its port" in _unfit(kind, "lab", silent, "")
    assert "it runs and is reached: see its log" in _unfit(kind, "lab", failed, "")
    off = "its wall clock is 69.0 years ahead of NTP"
    assert _unfit(kind, "lab", refused, off).endswith(f"; {off}: set that first")
