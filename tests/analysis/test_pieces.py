"""Pieces of work on a run, shared out among processes: the same results, and nothing left of them, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from analysis import output
from analysis.errors import AnalysisError
from analysis.processes import pieces

FAR_S = 250.0


def until(condition):
    deadline = time.monotonic() + FAR_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def piece(number):
    time.sleep(0.05 if number == 0 else 0.0)
    return number, os.getpid()


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_are_in_the_order_of_the_pieces_whoever_made_them(processes):
    made = pieces.results([partial(piece, number) for number in range(7)], processes)
    assert [number for number, _ in made] == list(range(7))
    pids = {pid for _, pid in made}
    assert (pids == {os.getpid()}) is (processes == 1)
    assert len(pids) <= processes


def test_one_piece_needs_no_other_process():
    assert pieces.results([partial(piece, 1)], 8) == [(1, os.getpid())]
    assert pieces.results([], 8) == []


def fail():
    raise AnalysisError("r: expected a column, got none")


def half_a_file(folder):
    with output.replacing(folder / "table") as partial_file:
        partial_file.write_text("half")
        (folder / "pid").write_text(str(os.getpid()))
        time.sleep(FAR_S)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_piece_raises_is_raised(processes):
    with pytest.raises(AnalysisError) as raised:
        pieces.results([fail, partial(piece, 1)], processes)
    assert str(raised.value) == "r: expected a column, got none"


def test_an_error_ends_the_others_and_leaves_no_half_file(tmp_path):
    def fail_later():
        until((tmp_path / "pid").exists)
        fail()

    with pytest.raises(AnalysisError, match="expected a column"):
        pieces.results([partial(half_a_file, tmp_path), fail_later, *[partial(half_a_file, tmp_path)] * 5], 2)
    assert [file.name for file in tmp_path.iterdir()] == ["pid"]
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_process_that_the_system_kills_is_named(tmp_path):
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(AnalysisError, match=r"^a process of the analysis: expected its result, but it ended without"):
        pieces.results([killed, partial(piece, 1)], 2)


FIRST = """
import os, sys, time
from pathlib import Path
from analysis.processes import pieces
def say(name):
    Path(sys.argv[1], name).write_text(str(os.getpid()))
    time.sleep(250)
pieces.results([lambda: say("a"), lambda: say("b")], 2)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_without_the_first_process_there_are_no_others(tmp_path, how):
    first = subprocess.Popen([sys.executable, "-c", FIRST, str(tmp_path)], stderr=subprocess.DEVNULL)
    said = [tmp_path / "a", tmp_path / "b"]
    until(lambda: all(file.exists() and file.read_text() for file in said))
    first.send_signal(how)
    first.wait(FAR_S)
    until(lambda: all(gone(int(file.read_text())) for file in said))
