"""A journal holds whole rows of one run, whatever the disk does."""

from __future__ import annotations

import csv
import errno
import io
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.contract.cells import cell
from node_agent.local import journal as journals
from node_agent.local.journal import Journal


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "rows.csv", ("a", "b"))
    yield made
    made.close()


def test_nothing_is_written_before_a_flush(journal):
    journal.write(["1,2"])
    assert journal.path.read_text() == ""
    journal.flush()
    assert journal.path.read_text() == "a,b\n1,2\n"


def test_rows_are_appended_in_order(journal):
    for i in range(5):
        journal.write([f"{i},x", f"{i},y"])
        journal.flush()
        journal.flush()
    assert journal.path.read_text().split() == ["a,b", *(f"{i},{c}" for i in range(5) for c in "xy")]


def test_an_existing_file_is_refused_and_left_alone(tmp_path):
    (tmp_path / "rows.csv").write_text("of another run")
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "rows.csv", ("a",))
    assert (tmp_path / "rows.csv").read_text() == "of another run"


@pytest.mark.parametrize("taken", [0, 1, 5, 9])
def test_a_full_disk_leaves_no_half_row_and_loses_none(journal, monkeypatch, taken):
    journal.write(["1,2"])
    journal.flush()

    def nearly_full(file, data, _real=os.write):
        if nearly_full.room:
            written = _real(file, bytes(data[: nearly_full.room]))
            nearly_full.room = 0
            return written
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    nearly_full.room = taken
    journal.write(["3,4", "5,6", "7,8"])
    with monkeypatch.context() as patch:
        patch.setattr(journals.os, "write", nearly_full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                journal.flush()
    assert journal.path.read_text() == "a,b\n1,2\n"
    journal.write(["9,0"])
    journal.flush()
    assert journal.path.read_text() == "a,b\n1,2\n3,4\n5,6\n7,8\n9,0\n"


def test_a_system_that_writes_a_little_at_a_time_gets_everything(journal, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(journals.os, "write", lambda file, data, _real=os.write: _real(file, bytes(data[:3])))
        journal.write(["12345,67890"] * 4)
        journal.flush()
    assert journal.path.read_text() == "a,b\n" + "12345,67890\n" * 4


def test_many_threads_may_write(journal):
    threads = [
        threading.Thread(target=lambda i=i: [journal.write([f"{i},{n}"]) for n in range(200)] and journal.flush())
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.flush()
    rows = journal.path.read_text().split()[1:]
    for i in range(4):
        assert [row for row in rows if row.startswith(f"{i},")] == [f"{i},{n}" for n in range(200)]


def test_close_writes_what_is_queued(tmp_path):
    made = Journal(tmp_path / "rows.csv", ("a",))
    made.write(["1"])
    made.close()
    assert made.path.read_text() == "a\n1\n"


@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")))
def test_any_text_is_one_cell(text):
    stream = io.StringIO(f"before,{cell(text)},after\r\nnext,row,here\r\n", newline="")
    assert list(csv.reader(stream, strict=True)) == [["before", text, "after"], ["next", "row", "here"]]
