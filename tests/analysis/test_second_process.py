"""Work in a second process: its result, its errors and its end are the first one's."""

from __future__ import annotations

import os
import signal
import time

import pytest
from run_folder import Clock, Folder, write

from analysis import output, pipeline
from analysis.by_event import merged
from analysis.errors import AnalysisError
from analysis.processes import pieces
from analysis.processes.second_process import Beside

FAR_S = 30.0


def until(condition):
    deadline = time.monotonic() + FAR_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=["beside", "alone"])
def processors(request, monkeypatch):
    """Let there be two processors, or one: then the work is done where its result is asked for."""
    count = 2 if request.param == "beside" else 1
    monkeypatch.setattr(pieces.os, "sched_getaffinity", lambda _pid: set(range(count)))
    return count


def test_it_returns_what_the_work_returned_in_a_process_of_its_own(processors):
    with Beside("work", lambda: (os.getpid(), "result")) as work:
        pid, result = work.result()
    assert result == "result"
    assert (pid != os.getpid()) is (processors == 2)


def test_it_raises_what_the_work_raised(processors):
    def fail():
        raise AnalysisError("r: expected a column, got none")

    with Beside("work", fail) as work, pytest.raises(AnalysisError) as raised:
        work.result()
    assert str(raised.value) == "r: expected a column, got none"  # where it was raised is in its notes


@pytest.mark.parametrize("processors", ["beside"], indirect=True)
def test_a_process_that_the_system_kills_is_named(processors):
    with (
        Beside("the merged table", lambda: os.kill(os.getpid(), signal.SIGKILL)) as work,
        pytest.raises(AnalysisError, match=r"^the merged table: expected a result, but the process ended with -9"),
    ):
        work.result()


@pytest.mark.parametrize("processors", ["beside"], indirect=True)
@pytest.mark.parametrize("why", [KeyboardInterrupt, OSError])
def test_an_error_in_the_first_process_ends_the_second_and_leaves_no_half_file(processors, why, tmp_path):
    """An interrupt reaches the second as well, which leaves it to the first."""
    said = tmp_path / "pid"

    def work():
        signal.raise_signal(signal.SIGINT)
        with output.replacing(tmp_path / "table") as partial:
            partial.write_text("half")
            said.write_text(str(os.getpid()))
            time.sleep(FAR_S)

    def interrupted():
        with Beside("work", work):
            until(lambda: said.exists() and said.read_text())
            raise why

    with pytest.raises(why):
        interrupted()
    assert [file.name for file in tmp_path.iterdir()] == ["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)


def test_an_analysis_writes_the_same_bytes_with_one_processor_and_with_two(monkeypatch, tmp_path):
    run = Folder({"a": Clock(), "b": Clock(wall_error_ns=-5_000_000)}, remeasured={2.0: {"ntp": 0.02}})
    path = write(run, tmp_path / "r")
    written = []
    for count in (2, 1):
        monkeypatch.setattr(pieces.os, "sched_getaffinity", lambda _pid, count=count: set(range(count)))
        paths = pipeline.run_all(path).paths
        written.append({file: file.read_bytes() for file in paths})
    assert written[0] == written[1]
    assert len(written[0]) > 20


def test_a_merged_table_that_cannot_be_written_ends_the_analysis(monkeypatch, tmp_path, processors):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merged, "_write_csv", full)
    path = write(Folder({"a": Clock(), "b": Clock()}), tmp_path / "r")
    with pytest.raises(OSError, match="No space left"):
        pipeline.run_all(path)
    assert not list((path / "data").glob(".*"))
