"""results.tex: names anyone can derive, numbers equal to those in statistics/, and a document that compiles."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from run_folder import MS, Clock, Folder, write

from analysis import pipeline
from analysis import tables as cells
from analysis.registry import ANALYSES
from analysis.report import latex
from analysis.simulation.simulate import simulate

PDFLATEX = shutil.which("pdflatex")
DEMO = Path(__file__).parents[2] / "golden/demo.tar.xz"


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    """Draw no figures: numbers and tables need none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_drawings", lambda _found: {})
        yield


@pytest.fixture(scope="module")
def analysed(undrawn, tmp_path_factory):
    """Analyse a run with every kind of number: several workers, probes, missing readings, rates of nothing."""
    path = simulate("honest", 3, 120, results=tmp_path_factory.mktemp("latex"))
    assert pipeline.run_all(path, (50, 100)).errors == []
    return path


def macros_of(path):
    return macros_in((path / latex.FILE).read_text(encoding="utf-8"))


def macros_in(text):
    return dict(re.findall(r"^\\newcommand\{\\(res[A-Za-z]+)\}\{(.*)\}$", text, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("causality", "sources", "ntp", "all"), "CausalitySourcesNtpAll"),
        (("windows", "50"), "WindowsFiveZero"),
        (("p95",), "PNineFive"),
        (("comp11/comp12",), "CompOneOneCompOneTwo"),
        (("not_evaluable",), "NotEvaluable"),
    ],
)
def test_a_name_is_the_path_in_letters_only(path, name):
    assert "".join(latex.word(part) for part in path) == name


def test_two_paths_that_give_one_name_stay_apart():
    macros = macros_in(latex.render("run", {"a_b": 1, "a/b": 2, "a": {"b": 3}}, {}))
    macros.pop("resNotEvaluable")
    assert macros == {"resABNoTwo": "1", "resABNoOne": "2", "resAB": "3"}


def leaves(path, data):
    """Yield the path and the value of every rate, number, text, flag or list of texts, in the order of a JSON file."""
    if isinstance(data, dict) and "numerator" not in data:
        for key, value in data.items():
            yield from leaves((*path, key), value)
    elif isinstance(data, list) and not all(isinstance(one, str) for one in data):
        for place, value in enumerate(data, start=1):
            yield from leaves((*path, str(place)), value)
    else:
        yield path, data


def test_every_number_that_an_analysis_cites_is_a_macro_with_its_value_and_nothing_else_is(analysed):
    """Read back from the JSON files, independently of how the macros were made."""
    found = macros_of(analysed)
    named, checked = set(), 0
    for analysis in ANALYSES:
        patterns = [
            re.compile(pattern.replace("/", "\n").replace("*", ".+") + r"(\n[\s\S]*)?") for pattern in analysis.cited
        ]
        used = set()
        for path, data in leaves((), json.loads((analysed / "statistics" / analysis.file).read_text())):
            matches = [pattern for pattern in patterns if pattern.fullmatch("\n".join(path))]
            if not matches:
                continue
            used.update(matches)
            name = "res" + "".join(latex.word(part) for part in (analysis.name, *path))
            named.add(name)
            if isinstance(data, dict):
                named.add(f"{name}Percent")
                counts = f"({data['numerator']}/{data['denominator']}"
                assert (counts in found[name]) == (data["value"] is not None)
                if data["value"] is not None:
                    assert float(found[f"{name}Percent"]) == pytest.approx(100 * data["value"], abs=0.005001)
                for edge in data["interval"] or ():
                    assert f"{100 * edge:.2f}" in found[name]
                checked += 1
            elif isinstance(data, (int, float)) and not isinstance(data, bool):
                assert float(found[name]) == pytest.approx(data, rel=1e-5)
                checked += 1
        never = {pattern.pattern for pattern in patterns} - {pattern.pattern for pattern in used}
        assert not {pattern for pattern in never if not pattern.startswith("commit_waits")}, "no wait is simulated"
    others = {name for name in found if re.match("res(Hypotheses|Findings|NotEvaluable)", name)}
    assert set(found) - others == named
    assert checked > 150
    assert len(found) < 999


def test_the_file_of_the_recorded_demo_is_small(tmp_path):
    with tarfile.open(DEMO) as archive:
        archive.extractall(tmp_path, filter="data")
    pipeline.run_all(tmp_path / "demo")
    assert (tmp_path / "demo" / latex.FILE).stat().st_size < 65_000


@pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")
def test_a_small_document_compiles_and_prints_the_numbers_of_the_statistics(analysed, tmp_path):
    shutil.copy(analysed / latex.FILE, tmp_path / "results.tex")
    text = (tmp_path / "results.tex").read_text(encoding="utf-8")
    names = re.findall(r"^\\newcommand\{\\(resTable[A-Za-z]+)\}", text, flags=re.MULTILINE)
    assert len(names) > 15
    written = {name: value for name, value in macros_of(analysed).items() if re.fullmatch(r"-?[\d.]+", value)}
    lines = [
        r"\documentclass{article}", r"\usepackage[paperwidth=60cm,paperheight=150cm,margin=1cm]{geometry}",
        r"\usepackage{booktabs}", r"\input{results.tex}", r"\begin{document}",
        r"\resCausalitySourcesNtpAllPointsViolated",
        *(rf"\begin{{center}}\scriptsize\{name}\end{{center}}" for name in names),
        *(rf"\typeout{{RESULT {name} \{name}}}" for name in written), r"\end{document}",
    ]  # fmt: skip
    (tmp_path / "paper.tex").write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=250, check=False,
        env={**os.environ, "max_print_line": "10000"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 5_000
    printed = dict(re.findall(r"^RESULT (\w+) (\S+)$", done.stdout, flags=re.MULTILINE))
    assert printed == written
    causality = json.loads((analysed / "statistics" / "causality_stats.json").read_text())["sources"]["ntp"]["all"]
    rate = causality["points"]["violated"]
    assert float(printed["resCausalitySourcesNtpAllPointsViolatedPercent"]) == pytest.approx(
        100 * rate["value"], abs=0.005
    )


def test_a_table_keeps_its_cells_and_loses_no_sign():
    grid = cells.Grid.of(("a_b", "µs"), [("50 % & more", -1.5), ("**no**: x|y", "`a/b`")])
    text = latex.tabular(grid)
    assert r"a\_b & \textmu{}s \\" in text
    assert r"50 \% \& more & -1.5 \\" in text
    assert r"\textbf{no}: x\textbar{}y & \texttt{a/\allowbreak{}b} \\" in text
    assert "x\\|y" in grid.markdown


def test_a_letter_tex_does_not_know_is_named_and_breaks_nothing():
    assert latex.escape("comp→☃") == r"comp$\rightarrow$[U+2603]"


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (0.1, "0.1"), (1e-9, "0.000000001"), (1234567.89, "1234568")])
def test_numbers_have_no_exponent(value, text):
    assert latex.number(value) == text


def test_repeating_the_analysis_gives_the_same_file(tmp_path):
    path = write(Folder({"a": Clock(wall_error_ns=5 * MS), "b": Clock(ct_gone="stale")}), tmp_path / "r")
    pipeline.run_all(path, (100,))
    before = (path / latex.FILE).read_bytes()
    pipeline.run_all(path, (100,))
    assert (path / latex.FILE).read_bytes() == before
