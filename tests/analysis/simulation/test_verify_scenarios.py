"""`verify-scenarios` judges scenarios with seeds of its own, names what is unmet, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from analysis.errors import AnalysisError, UsageError
from analysis.simulation import scenario, verify

ROOT = Path(__file__).resolve().parents[3]


def invoke(*arguments, **named):
    command = [sys.executable, "-m", "invoke", "verify-scenarios", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280, **named)


def test_each_scenario_has_a_line_and_the_temporary_folder_goes(tmp_path):
    done = invoke("--only", "biased", "--seeds", "2", "--events", "300", env={"TMPDIR": str(tmp_path)})
    assert done.returncode in {0, 7}, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-2].startswith("biased: 2 runs, ")
    assert lines[-1].startswith("2 runs, ")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_met_is_named_with_scenario_and_seed(tmp_path, monkeypatch):
    """Three events are too few for anything: the expectations, or the judging itself, say so."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = []
    (verified,) = verify.verify(said.append, seeds=range(1000, 1002), events=3, only="frozen", processes=2)
    assert verified.unmet
    assert said == [*(f"unmet: frozen {line}" for line in verified.unmet), verified.line]
    assert {line.partition(":")[0] for line in verified.unmet} == {"seed 1000", "seed 1001"}
    assert verified.line == "frozen: 2 runs, expectations unmet in 2"
    assert list(tmp_path.iterdir()) == []


def test_an_unmet_expectation_ends_with_7():
    assert invoke("--only", "frozen", "--seeds", "1", "--events", "3").returncode == 7


def test_a_run_that_hangs_ends_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(verify, "RUN_LIMIT_S", 0.001)
    with pytest.raises(AnalysisError, match="one of them hangs"):
        verify.verify(lambda _line: None, seeds=[1000], events=300, only="honest", processes=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--seeds", "0"), "error: --seeds: expected a whole number from 1 to"),
        (("--seeds", "1000000"), "error: --seeds: expected a whole number from 1 to"),
        (("--events", "many"), "error: --events: expected a whole number from 1 to"),
        (("--first-seed", "-1"), "error: --first-seed: expected a whole number of 0 or more, got '-1'"),
        (("--only", "bliss"), "error: scenario: expected one of lossy, biased, "),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_code_2(arguments, complaint):
    done = invoke(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(complaint)
    assert done.stderr.count("\n") == 1


def test_a_scenario_that_is_none_is_refused_before_anything_runs():
    with pytest.raises(UsageError):
        verify.verify(lambda _line: None, seeds=[1], events=10, only="bliss")
    assert len(scenario.names()) == 14
