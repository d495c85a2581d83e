"""A table that is none is said, in one line that names the file, what was expected, what is there, what to do."""

from __future__ import annotations

import shutil

import pytest

from analysis.checks.validate import validate
from analysis.simulation.simulate import simulate


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return simulate("honest", 3, 100, rate_hz=20.0, results=tmp_path_factory.mktemp("results"))


def empty(data):
    return b""


def garbage(data):
    return bytes(range(128, 256)) * 20


def semicolons(data):
    return data.replace(b",", b";")


def tabs(data):
    return data.replace(b",", b"\t")


FILES = (
    "coordinator.csv", "worker_comp11.csv", "raw/comp11/events.csv", "raw/comp11/samples.csv", "raw/comp12/probes.csv",
    "raw/comp12/clock_pairs.csv", "raw/comp12/commit_wait.csv", "raw/comp18/sends.csv",
)  # fmt: skip


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("damage", "got"),
    [
        (empty, "got an empty file; collect the run again"),
        (garbage, "got bytes that are no text in UTF-8; collect the run again"),
        (semicolons, "got semicolons between columns instead of commas: another program has written it; collect"),
        (tabs, "got tabs between columns instead of commas: another program has written it; collect the run again"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_the_words_of_tables(whole, tmp_path, file, damage, got):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / file).write_bytes(damage((run / file).read_bytes()))
    lines = [finding.line for finding in validate(run) if finding.breaks_contract]
    said = [line for line in lines if line.startswith(f"error: {file}: expected a table: a line of column names")]
    assert len(said) == 1, lines
    assert got in said[0]
    assert not [line for line in lines if "0 or more columns" in line or "codec" in line or "KeyError" in line]


@pytest.mark.parametrize("file", ["coordinator.csv", "worker_comp11.csv"])
def test_a_table_of_a_header_alone_has_no_rows(whole, tmp_path, file):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / file).write_bytes((run / file).read_bytes().splitlines(keepends=True)[0])
    assert f"error: {file}: no rows" in [finding.line for finding in validate(run)]
