"""A run folder belongs to one agent, even if two start at the very same time."""

from __future__ import annotations

import json
import os

import pytest

from node_agent import lifecycle
from node_agent.lifecycle import AgentError


def test_the_one_who_claims_a_folder_is_named_in_it(tmp_path):
    lifecycle.claim(tmp_path / "run")
    assert json.loads((tmp_path / "run" / lifecycle.PID_FILE).read_text(encoding="ascii"))["pid"] == os.getpid()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [lifecycle.PID_FILE]


def test_an_agent_that_looked_too_early_does_not_take_anothers_folder(tmp_path, monkeypatch):
    """It saw nobody, and until it wrote its own pid another had: that one stays the folder's agent."""
    lifecycle.claim(tmp_path)
    claimed = (tmp_path / lifecycle.PID_FILE).read_bytes()
    monkeypatch.setattr(lifecycle, "alive_pid", lambda _run_dir: None)  # what it saw before
    with pytest.raises(AgentError, match="another agent is starting there"):
        lifecycle.claim(tmp_path)
    assert (tmp_path / lifecycle.PID_FILE).read_bytes() == claimed
    assert [path.name for path in tmp_path.iterdir()] == [lifecycle.PID_FILE]


def test_a_living_agent_keeps_its_folder_and_a_dead_one_does_not(tmp_path):
    lifecycle.claim(tmp_path)
    with pytest.raises(AgentError, match="running there already"):
        lifecycle.claim(tmp_path)
    (tmp_path / lifecycle.PID_FILE).write_text('{"pid": 1, "start_ticks": -1}', encoding="ascii")
    lifecycle.claim(tmp_path)
