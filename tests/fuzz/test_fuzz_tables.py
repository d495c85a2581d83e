"""A spoilt CSV file is a table of what is in it, or one clear error; a spoilt run folder is never a crash."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import TOKENS, spoilt, spoilt_json
from run_folder import MS, Clock, Folder, write

from analysis.checks import validate
from analysis.errors import AnalysisError
from analysis.run import csv_tables, load
from node_agent.contract import records

if TYPE_CHECKING:
    from pathlib import Path

FUZZ = settings.get_profile("fuzz")
FOLDERS = settings(FUZZ, max_examples=max(1, FUZZ.max_examples // 20))  # each of these reads ten files
NAMES = (records.COORDINATOR_FILE, records.worker_file("a"), f"raw/boss/{records.SENDS_FILE}",
         f"raw/a/{records.COMMIT_WAIT_FILE}", records.MANIFEST_FILE)  # fmt: skip
SEEDS: dict[str, bytes] = {}
CELLS = [token.decode("utf-8", "surrogateescape") for token in TOKENS]


def made(path: Path) -> Path:
    """Write a small healthy run."""
    folder = Folder({"a": Clock(3 * MS), "b": Clock(-2 * MS, ct_gone="stale")}, events=4, own_send_ns={"a": 9_000})
    return write(Folder(**{**folder.__dict__, "remeasured": {1.0: {"ntp": 0.06}}}), path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Return a run folder; what is in its files is kept in ``SEEDS``, which a report need not print."""
    path = made(tmp_path_factory.mktemp("fuzz") / "r")
    SEEDS.update({name: (path / name).read_bytes() for name in NAMES})
    return path


@st.composite
def other_cells(draw: Any, data: bytes) -> bytes:
    """Replace, add or drop some cells, columns and rows of a CSV file."""
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    for _ in range(draw(st.integers(1, 5))):
        row = draw(st.integers(0, len(rows) - 1))
        how = draw(st.sampled_from(["cell", "cell", "cell", "name", "short", "long", "twice"]))
        if how in {"cell", "name"} and rows[row] and rows[0]:
            cells = rows[0] if how == "name" else rows[row]
            value = draw(st.sampled_from(CELLS) | st.integers().map(str) | st.text(max_size=6))
            cells[draw(st.integers(0, len(cells) - 1))] = draw(st.sampled_from(rows[0])) if how == "name" else value
        elif how == "short":
            del rows[row][draw(st.integers(0, len(rows[row]))) :]
        elif how == "long":
            rows[row].append("1")
        else:
            rows.insert(row, list(rows[row]))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", escapechar="\\").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape" if draw(st.booleans()) else "replace")


@FUZZ
@given(draws=st.data())
def test_a_table_is_what_is_in_the_file_or_one_error(count, whole, draws) -> None:
    name = draws.draw(st.sampled_from(NAMES[:-1]))
    seed = SEEDS[name]
    data = draws.draw(st.one_of(other_cells(seed), other_cells(seed), spoilt(seed, longest=400)))
    file = whole / "spoilt.csv"
    file.write_bytes(data)
    refused = None
    try:
        table = csv_tables.read_table(file, ("event_id",))
    except AnalysisError as error:
        refused = str(error)
    if refused is not None:
        assert refused.startswith(f"{file}: expected")
        assert "\n" not in refused
        count("refused")
        return
    assert len(table) <= data.count(b"\n") + data.count(b"\r") + 1
    for column in table.columns:
        assert str(table[column].dtype) in {"Int64", "float64", "category"}
        if str(table[column].dtype) == "Int64":
            assert table[column].dropna().between(-(1 << 63), (1 << 63) - 1).all()
    count("read")


@FOLDERS
@given(draws=st.data())
def test_a_spoilt_run_folder_is_validated_and_loaded_or_refused(count, whole, draws) -> None:
    """Every file may be spoilt: validate says what is wrong, and what cannot be loaded is refused in one line."""
    name = draws.draw(st.sampled_from(NAMES))
    seed = SEEDS[name]
    if name == records.MANIFEST_FILE:
        data = draws.draw(spoilt_json(json.loads(seed)))
    else:
        data = draws.draw(st.one_of(other_cells(seed), other_cells(seed), spoilt(seed)))
    try:
        (whole / name).write_bytes(data)
        problems = validate.validate(whole)
        assert all("\n" not in problem.line for problem in problems)
        refused = ""
        try:
            load.load(whole)
        except AnalysisError as error:
            refused = str(error)
        found = any(problem.breaks_contract for problem in problems)
        assert "\n" not in refused
        assert found or not refused
        count("refused" if refused else "loaded with errors" if found else "loaded")
    finally:
        (whole / name).write_bytes(seed)
