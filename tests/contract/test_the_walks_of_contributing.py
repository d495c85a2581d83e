"""What CONTRIBUTING says can be done in a few lines is done here, with its own text, in a copy of the house."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import page_text

ROOT = Path(__file__).resolve().parents[2]


def section(title):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.split(r"(?m)^## ", text.split(f"## {title}\n", 1)[1])[0]


def blocks(title, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", section(title), flags=re.DOTALL)


def house(folder):
    """Make a copy of what an analysis needs."""
    for name in ("analysis", "node_agent"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "configs").symlink_to(ROOT / "configs")
    with tarfile.open(ROOT / "tests/golden/demo.tar.xz") as archive:
        archive.extractall(folder / "results", filter="data")
    return folder


def test_an_analysis_is_one_module_and_one_line(tmp_path):
    copy = house(tmp_path)
    module = blocks("Add an analysis")[0]
    (line,) = re.findall(r"The line in `ANALYSES` is `(.*?)`", section("Add an analysis"))
    (copy / "analysis/analyses/reading_age.py").write_text(module, encoding="utf-8")
    registry = copy / "analysis/registry.py"
    text = registry.read_text(encoding="utf-8")
    text = text.replace("    ordering,\n", "    ordering,\n    reading_age,\n")
    text = text.replace("    commit_wait.ANALYSIS,\n", f"    commit_wait.ANALYSIS,\n    {line}\n")
    registry.write_text(text, encoding="utf-8")
    (copy / "configs").unlink()
    shutil.copytree(ROOT / "configs", copy / "configs")
    (claim,) = blocks("Add an analysis", "yaml")
    with (copy / "configs/hypotheses.yaml").open("a", encoding="utf-8") as claims:
        claims.write(claim)
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "--experiment", "demo"],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = copy / "results/demo"
    ages = json.loads((run / "statistics/reading_age_stats.json").read_text())
    assert ages["ntp"]["comp11"]["age_ms"]["count"] > 0
    report = page_text.of(run)
    assert "## Age of the readings" in report
    assert "| age, median (ms) |" in report
    (row,) = (line for line in report.splitlines() if "rest on samples of the last two seconds" in line)
    median = ages["ntp"]["comp11"]["age_ms"]["median"]
    assert f"| at most 2000 ms | age_ms/median = {median:.4g} ms | **supported**" in row
    page = (run / "report/index.html").read_text()
    assert 'alt="Figure: Age of the readings"' in page
    assert (run / "figures/reading_age.png").stat().st_size > 5_000
    latex = (run / "report/results.tex").read_text()
    assert r"\newcommand{\resReadingAgeNtpCompOneOneAgeMsMedian}{" in latex
    assert r"\newcommand{\resTableReadingAge}{" in latex
