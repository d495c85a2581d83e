"""A run is over when its agents are; those that never will be are given up, each with its reason."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.configuration.experiment import load_cluster, load_coordinator, load_worker
from harness.errors import RunError
from harness.planning import RunSpec
from harness.run import monitor
from harness.run.monitor import NodeView
from node_agent.contract.records import NodeStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIGS = Path(__file__).parents[2] / "configs"
SPEC = RunSpec(
    "x",
    "0" * 32,
    load_cluster(CONFIGS / "clusters/ares.yaml"),
    load_coordinator(CONFIGS / "coordinator_config.yaml"),
    load_worker(CONFIGS / "worker_config.yaml"),
)


def view(phase: str, outcome: str | None = None, *, dead: bool = False, **counts: int) -> NodeView:
    machine = dict.fromkeys(("boot_id", "hostname", "kernel", "python", "clock_source", "agent_sha256", "listen"), "")
    status = NodeStatus(
        "0", "n", "worker", 1, 1, phase=phase, outcome=outcome, updated_wall_ns=1, counts=counts, **machine
    )
    return NodeView(status, dead=dead, problem="the agent died" if dead else "")


class Watched:
    """Agents that are always seen the same."""

    def __init__(self, **views: NodeView) -> None:
        self.views = views

    def look(self, _nodes: Iterable[str]) -> dict[str, NodeView]:
        return self.views


def given_up(**views: NodeView) -> dict[str, str]:
    return monitor.await_end(Watched(**views), "c", SPEC, lambda: None)  # type: ignore[arg-type]


def test_nobody_is_given_up_where_everyone_is_over() -> None:
    assert given_up(c=view("finished", "ok", sent=9), w=view("finished", "ok"), v=view("running", dead=True)) == {}


def test_workers_of_a_coordinator_that_died_are_not_waited_for() -> None:
    told = given_up(c=view("broadcasting", dead=True, sent=9), w=view("running"))
    assert told == {"w": "not over when the run was, but running"}


def test_a_coordinator_that_died_before_it_sent_anything_fails_the_run() -> None:
    with pytest.raises(RunError, match="c: the agent died"):
        given_up(c=view("hello", dead=True, sent=0), w=view("ready"))


def test_a_worker_that_was_not_told_of_the_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "UNTOLD_S", -1000.0)
    told = given_up(c=view("finished", "ok", sent=9), w=view("running"))
    assert told == {"w": "not over when the run was, but running"}


def test_a_node_that_does_not_answer_is_given_up_once_the_others_are_over() -> None:
    gone = view("running")
    gone.silent_s, gone.problem = time.monotonic() - monitor.GONE_AFTER_S - 1, "no answer in time"
    told = given_up(c=view("finished", "ok", sent=9), w=gone)
    assert told == {"w": "not over when the run was, but no answer in time"}
