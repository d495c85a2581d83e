"""``analyze`` checks itself that files are what the nodes wrote, and says what rests on one that is not."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import page_text
import pandas as pd
import pytest

from analysis import __main__ as command
from analysis import pipeline
from analysis.checks.files import integrity
from analysis.checks.validate import validate
from analysis.figures import drawing
from analysis.run import csv_tables
from analysis.run.hashing import Seen, sha256
from analysis.simulation.simulate import simulate
from node_agent.contract import records
from node_agent.contract.plan import PLAN_FILE


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return simulate("honest", 3, 200, seed=5, results=tmp_path_factory.mktemp("results"))


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(pipeline, "_drawings", lambda _found: {})
    assert drawing is not None


@pytest.fixture
def run(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def cut(file):
    """Cut a file off in the middle of a row."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])


def one_digit(file):
    """Change one digit somewhere in the last row."""
    data = bytearray(file.read_bytes())
    place = max(place for place, byte in enumerate(data) if chr(byte).isdigit())
    data[place] = ord("3") if data[place] != ord("3") else ord("4")
    file.write_bytes(bytes(data))


def one_row_less(file):
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))


def one_row_twice(file):
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines, lines[-1]]))


def by_pandas(file):
    """Read and write a file as a data frame, whose columns with an absent value are floats."""
    frame = pd.read_csv(file)
    frame.to_csv(file, index=False)


def by_a_spreadsheet(file):
    """Keep 15 digits of every number, as spreadsheets do, with an exponent."""
    with file.open(newline="") as stream:
        rows = list(csv.reader(stream))
    for row in rows[1:]:
        for place, cell in enumerate(row):
            if cell.lstrip("-").isdigit() and len(cell.lstrip("-")) > 15:
                row[place] = f"{float(cell):.14E}"
    with file.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def with_windows_line_ends(file):
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))


def swapped_rows(file):
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1], lines[2] = lines[2], lines[1]
    file.write_bytes(b"".join(lines))


def gone(file):
    file.unlink()


FILES = (
    "raw/comp11/probes.csv", "raw/comp11/samples.csv", "raw/comp12/clock_pairs.csv", "raw/comp12/commit_wait.csv",
    "raw/comp18/sends.csv", "worker_comp11.csv", "coordinator.csv",
)  # fmt: skip


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "damage",
    [cut, one_digit, one_row_less, one_row_twice, by_a_spreadsheet, with_windows_line_ends, swapped_rows],
)
def test_a_file_that_is_not_what_the_node_wrote_is_an_error_and_exit_7(run, capsys, file, damage):
    damage(run / file)
    code = command.main(["--experiment", str(run)])
    said = capsys.readouterr()
    assert code == 7
    assert "Traceback" not in said.out + said.err
    assert f"{file}" in said.err
    if (report := run / records.REPORT_FILE).is_file():
        text = report.read_text()
        assert f"`{integrity.CODE}`" in text[: text.index("| hypothesis |")]
        assert "Still to be judged" in text[: text.index("| hypothesis |")]
        named = [name for name in ("comp11", "comp12") if name in file]
        node = named[0] if named else "comp18"
        nodes = page_text.of(run).partition("| files as the node wrote them |")[2]
        assert next(line for line in nodes.splitlines() if line.startswith(f"| {node} |")).endswith("| **no** |")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("file", ["raw/comp11/samples.csv", "raw/comp12/commit_wait.csv", "worker_comp11.csv"])
def test_a_round_trip_through_a_data_frame_is_found(run, capsys, file):
    by_pandas(run / file)
    assert command.main(["--experiment", str(run)]) == 7
    assert file in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("file", ["raw/comp11/probes.csv", "raw/comp12/samples.csv", "raw/comp18/sends.csv"])
def test_a_file_that_had_a_sum_and_is_gone_is_an_error(run, capsys, file):
    gone(run / file)
    assert command.main(["--experiment", str(run)]) == 7
    assert f"{file} is not what the node wrote: expected sha256" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_status_that_is_not_what_the_agent_wrote_is_an_error(run, capsys):
    """No verdict reads it, but it says how the agent ended."""
    one_digit(run / "raw" / "comp11" / records.STATUS_FILE)
    assert command.main(["--experiment", str(run)]) == 7
    assert f"raw/comp11/{records.STATUS_FILE} is not what the node wrote" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_nodes_folder_that_is_gone_is_a_finding(run):
    """Its rows are in the assembled tables still, so that nothing else would say so."""
    shutil.rmtree(run / records.RAW_DIR)
    text = pipeline.run_all(run).report.read_text()
    assert integrity.UNVOUCHED in text
    assert "of comp18, comp11, comp12: nothing vouches" in text


@pytest.mark.usefixtures("undrawn")
def test_sums_that_were_made_anew_do_not_hide_what_the_cells_say(run, capsys):
    """Somebody who makes the sums again cannot give the digits back that a spreadsheet took."""
    file = run / "raw" / "comp11" / "probes.csv"
    by_a_spreadsheet(file)
    sums = file.parent / records.CHECKSUMS_FILE
    lines = [line for line in sums.read_text().splitlines() if not line.endswith("probes.csv")]
    lines.append(f"{sha256(file)}  probes.csv")
    sums.write_text("\n".join(lines) + "\n")
    assert command.main(["--experiment", str(run)]) == 7
    assert "written as fractions or with exponents" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_an_older_manifest_without_sums_of_the_tables_has_their_rows_held_against_the_nodes_own(run, capsys):
    manifest = run / records.MANIFEST_FILE
    data = json.loads(manifest.read_text())
    del data["assembled"]
    manifest.write_text(json.dumps(data))
    assert command.main(["--experiment", str(run)]) == 0
    one_digit(run / "coordinator.csv")
    assert command.main(["--experiment", str(run)]) == 7
    assert "expected the rows of raw/comp18/events.csv" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_whole_run_is_whole_and_one_without_sums_says_that_nothing_vouches_for_it(run):
    outcome = pipeline.run_all(run)
    assert outcome.errors == []
    assert page_text.of(run).count("| yes |") == 3
    (run / "raw" / "comp12" / records.CHECKSUMS_FILE).unlink()
    outcome = pipeline.run_all(run)
    assert outcome.errors == [
        f"the run: no {records.CHECKSUMS_FILE} of comp12: nothing vouches that files are as written there"
    ]
    assert f"{integrity.UNVOUCHED}" in outcome.report.read_text()


@pytest.mark.parametrize("content", [b"a,b\n1,2\n" + b"3,4\n" * 1_000_000, b"a,b\n1,2.5\n,\n"])
def test_the_digest_of_a_file_that_is_read_is_its_digest(tmp_path, content):
    """Also where Arrow reads it in many pieces, and where its name is no text."""
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv"))
    file.write_bytes(content)
    seen = Seen()
    csv_tables.read_table(file, ("a",), seen=seen)
    assert seen.digests == {file: hashlib.sha256(content).hexdigest()}


def lose_raw(run):
    shutil.rmtree(run / records.RAW_DIR)


def lose_one_raw(run):
    shutil.rmtree(run / records.RAW_DIR / "comp12")


def lose_a_table(run):
    (run / "worker_comp11.csv").unlink()


def lose_sums(run):
    (run / "raw" / "comp12" / records.CHECKSUMS_FILE).unlink()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("lose", [lose_raw, lose_one_raw, lose_a_table, lose_sums])
def test_loss_of_what_the_manifest_promises_is_an_error_as_damage_is(run, capsys, lose):
    """A whole folder that is gone is no better than a file in it that was changed; validate says the same."""
    lose(run)
    assert command.main(["--experiment", str(run)]) == 7
    said = capsys.readouterr().err
    wrong = [finding for finding in validate(run) if finding.breaks_contract and finding.code != "replay"]
    assert wrong
    assert all(finding.message in said for finding in wrong)


@pytest.mark.parametrize("node", ["comp11", "comp18"])
def test_a_plan_that_a_node_was_given_and_that_is_gone_is_an_error(tmp_path, node):
    with tarfile.open(Path(__file__).parents[2] / "golden" / "demo.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    run = tmp_path / "demo"
    before = [finding.line for finding in validate(run)]
    gone(run / "raw" / node / PLAN_FILE)
    (new,) = (finding for finding in validate(run) if finding.line not in before)
    assert new.line.startswith(f"error: raw/{node}/plan.json: expected the plan that this node was given")
    assert new.breaks_contract


def test_a_run_whose_nodes_were_given_no_plan_lacks_none(run):
    assert not [finding for finding in validate(run) if PLAN_FILE in finding.line]
