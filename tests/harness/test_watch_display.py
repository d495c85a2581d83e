"""A watch on the screen: what each source of each node says; in fewer words where there is no room for that."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from harness.console import Console
from harness.run.monitor import NodeView
from node_agent.contract.records import RUNNING, SourceStatus
from tests.harness.test_ending import view

if TYPE_CHECKING:
    import pytest

NTP = SourceStatus("ok", 12.5, 0.25, 1500.0, samples=20, failures=2, last_outcome="ok")
CHRONOTICK = SourceStatus("stale", samples=9, failures=4, last_outcome="timeout")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def watching(readings: int = 5, missed: int = 1) -> NodeView:
    seen = view(RUNNING, planned=13, readings=readings, missed=missed)
    assert seen.status is not None
    seen.status.sources.update({"ntp": NTP, "chronotick": CHRONOTICK, "chrony": SourceStatus("not_configured")})
    return seen


def lines_of(monkeypatch: pytest.MonkeyPatch, views: dict[str, NodeView], height: int = 24) -> list[str]:
    """Return what is drawn of a watch of 12 s, read every second, on a screen of this height."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", str(height))
    console = Console(Screen())
    with console.display(12.0, every_s=1.0) as display:
        display.show(views)
        picture = console._rich.render_lines(display._picture(views))
        return ["".join(part.text for part in line).rstrip() for line in picture]


def test_every_source_that_is_asked_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, {"comp18": watching(), "comp11": NodeView()})
    cells = [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]
    assert cells[0] == ["comp18", "running", "5/13", "1", "NTP", "+12.500±0.250", "1.5 s", "20 (2 failed)", "ok"]
    assert cells[1] == ["", "", "", "", "ChronoTick", "", "", "9 (4 failed)", "stale (last: timeout)"]
    assert cells[2][:2] == ["comp11", "-"]
    assert len(cells) == 3


def test_many_nodes_have_a_row_each(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {f"comp{n:02}": watching() for n in range(16)}
    assert sum("ChronoTick" in line for line in lines_of(monkeypatch, nodes, height=60)) == 16
    lines = lines_of(monkeypatch, nodes, height=24)
    assert len(lines) < 24
    assert sum(line.startswith("comp") for line in lines) == 16
    assert "+12.500±0.250" in lines[-3]


def test_what_is_left_goes_by_the_readings_of_the_node_that_has_fewest() -> None:
    """So it is right also for a controller that comes later."""
    with Console(io.StringIO()).display(12.0, lead_s=5.0, every_s=1.0) as display:
        assert display.left_s({}) == 17.0
        assert display.left_s({"a": watching(0, 0), "b": watching(3, 0)}) == 17.0
        assert display.left_s({"a": watching(5, 1), "b": watching(7, 0)}) == 7.0
        assert display.left_s({"a": watching(13, 0)}) == 0.0


def test_without_a_terminal_a_line_has_the_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with Console(stream).display(12.0, every_s=1.0) as display:
        assert display.line_every_s == 5.0
        display.line_every_s = 0.0
        display.show({"comp18": watching()})
    said = stream.getvalue().splitlines()
    assert said[0] == "comp18 phase=running"
    assert said[1].startswith("progress comp18[readings=5 missed=1 ntp=+12.500±0.250ms ct=stale ")
    assert said[1].endswith("left=7s")
