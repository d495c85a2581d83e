"""Every number that a page prints is in rates.csv, overall_summary.json or, of what was configured, the manifest.

Each cell of a table is looked for among the numbers of its own question, source, clock and subject; each number in a
sentence among those of its section. What is printed must be what a number looks like in as many digits.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, replace
from typing import Any

import golden_record as record
import page_text
import pytest

from analysis import pipeline
from analysis.checks.finding import SHOWN
from analysis.report import hypotheses, rates_table, summary
from analysis.report.page import shell
from node_agent.contract import records

RUNS = ("demo", "lossy", "overconfident", "published")
NUMBER = re.compile(r"(?<![\w.:])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?(?![\w]|[.:,]\d)")
HASH = re.compile(r"\b[0-9a-f]{12}\b")
FIELDS = ("value", "least", "most", "low", "high", "numerator", "denominator")
QUESTIONS = {
    "Reference": {"reference", "reference_self_check"},
    "Clock quality": {"clock_quality"},
    "Every clock over time": {"timeline"},
    "Causality: received after sent": {"causality"},
    "Ordering": {"ordering", "who_first"},
    "Windows": {"windows", "window_disagreements", "ordering"},
    "Coordination": {"coordination"},
    "Commit-wait": {"commit_wait", "held_events"},
    "The published comparison": {"published"},
}
EVERYTHING = {"Verdict", "Hypotheses"}  # sections about all questions
SCALES = {
    "µs": (1, 1e-3),
    "ms": (1, 1e3),
    "s": (1, 1e6),
    "ns": (1, 1e-3),
    "share": (1, 100),
    "1": (1, 100),
    "rounds per decision": (1, 100),
}
COLUMN_OF = {"source": "source", "clock": "clock", "by": "ground_truth"}  # heads that say what a row is about
SUBJECTS = {"worker", "workers", "node", "nodes", "task", "width (ms)", "question", "delay (s)", "about", "self-check"}
CONFIGURED = {"which is"}  # columns that say how a clock was configured
NOT_MEASURED = (  # words of the method that are no number of a run
    r"(?<![\d.])95 %",
    r"fewer than 5 independent",
    r"within 1 s",
    r"at most 500 triangles",
    r"window \d+ ?ms",  # widths, as configured
    r"one \d+-ms window",
    r"\((\d+, )*\d+ ms\)",
    r"within 2 us of",  # what the checks look for
    r"of 3 answers or more",
    r"[\d,]+ of (?=[\d,]+ events are shown)",  # how much of the run the page has room for
    r"at \d+ of (?=\d+ workers: the first)",
)


@dataclass(frozen=True)
class Run:
    """A report, and where its numbers may stand."""

    report: str
    rows: list[tuple[dict[str, str], list[float]]]  # of rates.csv, each with what may be printed of it
    said: dict[str, Any]
    manifest: Any


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    if request.param == "published" and record.published_data() is None:
        pytest.skip("the published data is not beside this checkout; set CHRONOTICK_SHARED_DATA to its parent folder")
    folder = record.make(request.param, tmp_path_factory.mktemp("results"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_drawings", lambda _found: {})
        pipeline.run_all(folder)
    return read(folder)


def read(folder):
    statistics = folder / records.STATISTICS_DIR
    with (statistics / rates_table.RATES_FILE).open(newline="", encoding="utf-8") as file:
        rows = [(row, values(row)) for row in csv.DictReader(file)]
    return Run(
        report=page_text.of(folder),
        rows=rows,
        said=json.loads((statistics / summary.SUMMARY_FILE).read_text(encoding="utf-8")),
        manifest=json.loads((folder / records.MANIFEST_FILE).read_text(encoding="utf-8")),
    )


def leaves(data):
    items = data.values() if isinstance(data, dict) else data if isinstance(data, list) else None
    return [data] if items is None else [leaf for item in items for leaf in leaves(item)]


def numbers_in(data, name=""):
    """Return all numbers of JSON data, in the units in which they may be printed."""
    if isinstance(data, (dict, list)):
        items = data.items() if isinstance(data, dict) else ((name, item) for item in data)
        return [number for key, item in items for number in numbers_in(item, key)]
    if isinstance(data, bool) or not isinstance(data, (int, float)):
        return []
    return [scale * data for scale in ((1, 1e-3, 1e-6, 1e-9) if name.endswith("_ns") else (1, 100))]


def values(row):
    """Return what may be printed of a row: its numbers in the units of the report, and its counts at most."""
    found = [float(row[name]) for name in FIELDS if row[name]]
    halves = (
        (0.5, 0.5e-3) if row["metric"].startswith("width_us/") or row["metric"].startswith("judged_width_us/") else ()
    )
    scaled = [scale * value for value in found for scale in (*SCALES.get(row["unit"], (1,)), *halves)]
    if row["denominator"] and row["most"]:
        scaled.append(round(float(row["most"]) * int(row["denominator"])))
    return scaled


def looks_like(token, number, *, rounded=False):
    """Tell whether a number is printed so; ``rounded``: also without its fraction."""
    text = token.replace(",", "")
    number = number if text[0] in "+-" else abs(number)
    if re.fullmatch(r"[+-]?\d+", text) and not rounded:
        return round(number, 12) == int(text)
    digits = re.sub(r"e.*", "", text).partition(".")[2]
    forms = [f"{number:.{len(digits)}f}", f"{number:.{len(digits)}e}", *(f"{number:.{some}g}" for some in (2, 3, 4, 6))]
    return text.lstrip("+") in forms


def literal():
    """Return the lines of the templates as patterns: what is not in a group is words of the method, and no number."""
    lines = set()
    for template in sorted(shell.HERE.rglob("*.jinja")):
        for line in page_text.template_words(template.read_text(encoding="utf-8")).splitlines():
            if re.search(r"\d", line):
                parts = re.split(r"(\{\{.*?\}\}|\{%.*?%\})", line)
                lines.add("".join("(.*?)" if part.startswith("{") else re.escape(part) for part in parts))
    return [re.compile(line + r"\s*$") for line in sorted(lines)]


def printed(run):
    """Yield section, head of the table (None of sentences), and row or line, of everything in the report."""
    templates, section, head = literal(), "", None
    for line in run.report.splitlines():
        if title := re.match(r"#{1,3} (.*)", line):
            section, head = title[1], None
        elif line.startswith("| "):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if head is None:
                head = cells
            else:
                yield section, head, cells
        elif not line.startswith("|"):
            head = None
            made = next((match for template in templates if (match := template.match(line))), None)
            yield section, None, list(made.groups()) if made else [line]


def about(head, cells):
    """Return whether a row of rates.csv is of what a row of the report is about."""
    named = dict(zip(head, cells, strict=True))
    wanted = {column: key(named[name]) for name, column in COLUMN_OF.items() if name in named}

    def fits(row):
        return all(row[column] in {cell, ""} for column, cell in wanted.items()) and subject(row["subject"], named)

    return fits


def key(words):
    """Return the name in rates.csv of what a report writes in words: "window 50 ms" is window_50ms."""
    return re.sub(r"(?<=\d)_ms$", "ms", words.replace(" ", "_"))


def subject(text, named):
    wanted = [named[name] for name in ("worker", "workers", "node", "nodes", "task", "width (ms)") if name in named]
    wanted = [key(cell.replace(" / ", "/")) for cell in wanted]
    if "delay (s)" in named:
        return text.endswith(f"after {named['delay (s)']}s")
    return not wanted or text in {"", "all", *wanted}


def known_words(run):
    """Return what is no number though it has digits: texts of the manifest, and what the hypotheses state."""
    texts = {leaf for leaf in leaves(run.manifest) if isinstance(leaf, str) and re.search(r"\d", leaf)}
    texts |= {claim.statement for claim in hypotheses.read()}
    return [re.escape(text) for text in sorted(texts, key=len, reverse=True)]


def of_finding(numbers):
    """Return the numbers of a finding, and of its lists how many entries they have, and how many are not shown."""
    counts = [len(part) for part in numbers.values() if isinstance(part, (list, dict))]
    return [*numbers_in(numbers), *counts, *(count - SHOWN for count in counts)]


def missing(run):
    """Return which numbers stand nowhere: section, column, number, and where it is printed."""
    words = re.compile("|".join([*known_words(run), *NOT_MEASURED, HASH.pattern]))
    configured = numbers_in(run.manifest["config"])
    findings = {" ".join(finding["message"].split()): of_finding(finding["numbers"]) for finding in run.said["found"]}
    summarised = numbers_in({name: part for name, part in run.said.items() if name != "found"})
    lost = []
    for section, head, cells in printed(run):
        questions = QUESTIONS.get(section)
        fits = about(head, cells) if head else lambda _row: True
        rows = run.rows if questions or section in EVERYTHING else []
        some = [value for row, value in rows if (not questions or row["question"] in questions) and fits(row)]
        of_rows = [number for numbers in some for number in numbers]
        for name, cell in zip(head or [""] * len(cells), cells, strict=True):
            if name in SUBJECTS:
                continue
            message = next((message for message in findings if message in cell), None)
            if message:
                candidates = findings[message]
            elif head and questions:
                candidates = configured if name in CONFIGURED else of_rows
            else:
                candidates = of_rows + summarised + configured
            rounded = message is not None or "κ" in name or cell.endswith(" us")
            lost += [
                (section, name, token, " | ".join(cells))
                for token in NUMBER.findall(words.sub(" ", cell.replace(" -", " ") if message else cell))
                if not any(looks_like(token, value, rounded=rounded) for value in candidates)
            ]
    return lost


def test_every_number_of_the_report_is_in_a_table(run):
    assert missing(run) == []


FRACTION = re.compile(r"(?<![\w.:])\d[\d,]*\.\d+(?= |\)|$)")


def test_a_number_that_is_another_one_is_noticed(run):
    """Nearly every fraction in the tables, its last digit changed, is found nowhere: the test above can fail."""
    changed = [0]

    def another(match):
        changed[0] += 1
        return f"{match[0][:-1]}{(int(match[0][-1]) + 3) % 10}"

    lines = [FRACTION.sub(another, line) if line.startswith("| ") else line for line in run.report.splitlines()]
    assert changed[0] > 200
    assert len(missing(replace(run, report="\n".join(lines)))) > 0.85 * changed[0]
