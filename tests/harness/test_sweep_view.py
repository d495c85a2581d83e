"""What one sees of a sweep: a table that fits the screen with the run below it, or a line per run."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from harness.configuration.sweep import SweepConfig, cells, order
from harness.console import Console
from harness.run.monitor import NodeView
from harness.sweep import state
from harness.sweep.view import end_in_words, view
from node_agent.contract.records import (
    BROADCASTING,
    COLLECTED,
    HELLO,
    RUN_DEGRADED,
    RUN_FAILED,
    RUN_FINISHED,
    RUN_OK,
    RUN_RUNNING,
    RUNNING,
    NodeStatus,
)
from tests.harness.test_sweep import FAST, NTP, keep, sweep_of

if TYPE_CHECKING:
    from pathlib import Path

    from harness.console import SweepView


def in_phase(phase: str) -> NodeView:
    words = dict.fromkeys(("run_id", "node_id", "role", "boot_id", "hostname", "kernel", "python", "listen"), "")
    more = {"clock_source": "", "agent_sha256": "", "outcome": None, "sources": {}, "waiting_for": [], "detail": ""}
    status = NodeStatus(**words, **more, pid=1, start_ticks=1, phase=phase, updated_wall_ns=0, counts={})
    return NodeView(status)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(place: Path, config: SweepConfig, now: int | None = None) -> SweepView:
    slots = state.slots(place, "night", order(config))
    under_way = None if now is None else slots[now]
    return view("night", "on local", config, slots, under_way, "04:12 UTC")


def test_a_cell_says_how_many_repeats_are_done_and_what_is_wrong_with_the_others(tmp_path: Path) -> None:
    keep(tmp_path, "night.c001.r01", COLLECTED, RUN_OK)
    keep(tmp_path, "night.c001.r02", COLLECTED, RUN_FAILED)
    keep(tmp_path, "night.c001.r02.a2", COLLECTED, RUN_OK)
    keep(tmp_path, "night.c002.r01", COLLECTED, RUN_DEGRADED)
    keep(tmp_path, "night.c002.r02", RUN_FINISHED, RUN_FAILED)
    keep(tmp_path, "night.c003.r01", RUN_RUNNING, None)
    rows = {row.name: row for row in shown(tmp_path, sweep_of()).rows}
    assert [(row.done, row.wrong) for row in rows.values()] == [
        ("2/2", "r02 repeated"),
        ("0/2", "r01 degraded, r02 not collected"),
        ("0/2", "r01 not collected"),
        ("0/2", ""),
    ]
    under_way = next(number for number, (cell, _) in enumerate(order(sweep_of())) if cell.name == "c003")
    told = shown(tmp_path, sweep_of(), under_way)
    assert [(row.now, row.wrong) for row in told.rows if row.name == "c003"] == [("r01", "")]
    assert told.line == (
        "sweep night: 2 of 8 done, 1 repeated, 1 degraded, 1 not collected; "
        "cell=c003 (fast_stream=0.002, ntp_query_interval=2) repeat=1 of 2; ends about 04:12 UTC"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_leaves_room_for_the_run_and_keeps_what_matters(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", "24")
    config = sweep_of(vary={NTP: list(range(1, 101))}, repeats=1)
    keep(tmp_path, "night.c077.r01", COLLECTED, RUN_FAILED)
    last = len(cells(config)) - 1
    console = Console(Screen())
    with console.sweep_display() as display:
        display.show(shown(tmp_path, config, last))
        with console.display(10.0) as run:
            run.show({"comp11": in_phase(RUNNING)})
            lines = ["".join(part.text for part in line) for line in console._rich.render_lines(display)]
    assert len(lines) < 24
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "sweep night on local: 0 of 100 runs done" in text
    assert "r01 failed" in text
    assert order(config)[last][0].name in text
    assert "cells, 0 of them done; ends about 04:12 UTC" in text.replace("more ", "")
    assert lines[-1].rstrip().endswith("10 s left")


def test_without_a_terminal_each_run_is_a_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Console(stream).sweep_display() as display:
        display.show(shown(tmp_path, sweep_of(vary={FAST: [0.01]}), 0))
    assert stream.getvalue() == (
        "sweep night: 0 of 2 done; cell=c001 (fast_stream=0.01) repeat=1 of 2; ends about 04:12 UTC\n"
    )


def test_the_end_names_the_day_if_it_is_another() -> None:
    now = datetime(2026, 1, 31, 23, 0, tzinfo=UTC)
    assert (end_in_words(60, now), end_in_words(7200, now)) == ("23:01 UTC", "Sun 01 Feb 01:00 UTC")


def test_what_is_left_counts_the_probes_lead() -> None:
    with Console(io.StringIO()).display(10.0, lead_s=17.0) as run:
        assert run.left_s({}) == 27.0
        run.show({"comp18": in_phase(HELLO)})
        assert 10.0 < run.left_s({}) <= 27.0
        run.show({"comp18": in_phase(BROADCASTING)})
        assert run.left_s({}) <= 10.0
