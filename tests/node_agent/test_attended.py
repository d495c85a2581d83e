"""An agent that somebody attends to ends where nobody does any more."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest

from node_agent import __main__ as command_line
from node_agent import lifecycle


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):  # the test closed it
            os.close(descriptor)


def test_it_ends_with_whoever_attended(pipe):
    reader, writer = pipe
    os.write(writer, b"\n")
    os.close(writer)
    assert lifecycle.await_unattended(reader) == "whoever attended to it has ended"


def test_it_ends_where_nothing_is_heard(pipe, monkeypatch):
    monkeypatch.setattr(lifecycle, "ATTENDED_WITHIN_S", 0.5)
    assert lifecycle.await_unattended(pipe[0]) == "nobody attended to it for 0.5 s"


def test_it_goes_on_while_lines_come(pipe, monkeypatch):
    """More lines than would fit into the silence that it bears, and it still listens."""
    monkeypatch.setattr(lifecycle, "_LISTEN_S", 0.01)
    monkeypatch.setattr(lifecycle, "ATTENDED_WITHIN_S", 1_000.0)
    reader, writer = pipe
    ended: list[str] = []
    listener = threading.Thread(target=lambda: ended.append(lifecycle.await_unattended(reader)))
    listener.start()
    for _ in range(100):
        os.write(writer, b"\n")
    assert ended == []
    os.close(writer)
    listener.join(30)
    assert ended == ["whoever attended to it has ended"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["worker", "--attended"], "worker: --attended: expected together with --plan"),
        (["worker", "--say-status"], "worker: --say-status: expected together with --attended"),
        (["check", "--plan", "-", "--detach"], "check: --detach: expected together with --listen"),
    ],
)
def test_options_that_need_another(capsys, words, told):
    assert command_line.main(words) == 2
    assert capsys.readouterr().err.strip() == told


def test_a_folder_below_a_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH_OF_JOB", str(tmp_path))
    assert lifecycle.expand("$SCRATCH_OF_JOB/runs/a") == tmp_path / "runs/a"
    monkeypatch.delenv("SCRATCH_OF_JOB")
    with pytest.raises(lifecycle.AgentError, match="expected \\$SCRATCH_OF_JOB to be set on this node, it is not"):
        lifecycle.expand("$SCRATCH_OF_JOB/runs/a")
