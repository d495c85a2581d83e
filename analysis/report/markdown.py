"""Write report/experiment_report.md: what the page says first, in at most ``MOST_LINES`` lines, and what is where."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2

from analysis.report.opening import CLOCKS_NOTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.checks.finding import Finding
    from analysis.report.opening import Opening
    from analysis.tables import Grid

TEMPLATE: Final = Path(__file__).with_name("report.md.jinja")
MOST_LINES: Final = 150
MOST_NAMED: Final = 8  # of each kind of remark above the verdict
MOST_ROWS: Final[dict[str, int]] = {"clocks_by_question": 32, "hypotheses": 24, "findings": 16}
ON_THE_PAGE: Final = "see index.html"
FINDINGS: Final = "see index.html and statistics/validity_findings.json"


def render(opening: Opening) -> str:
    """Return the report as Markdown; the same results give the same text."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - Markdown
    environment.filters |= {"some": partial(some, where=ON_THE_PAGE), "in_lines": in_lines, "as_markdown": _as_markdown}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    tables = {name: _shortened(name, grid).markdown for name, grid in opening.tables.items()}
    text = template.render(opening=opening, clocks_note=CLOCKS_NOTE, **tables)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"  # what is left out leaves no gap


def _shortened(name: str, grid: Grid) -> Grid:
    return grid.first(MOST_ROWS.get(name, len(grid.rows)), FINDINGS if name == "findings" else ON_THE_PAGE)


def _as_markdown(part: Grid | str) -> str:
    return part if isinstance(part, str) else part.markdown


def some(lines: Sequence[str], where: str) -> Sequence[str]:
    """Return the first lines and, if that are not all, how many more there are, and where."""
    left = len(lines) - MOST_NAMED
    return lines if left <= 0 else [*lines[:MOST_NAMED], f"and {left} more: {where}"]


def in_lines(findings: Sequence[Finding], *, marked: bool) -> list[str]:
    """Return each finding in a line: where, and what; ``marked``: its code first."""
    if marked:
        return [
            f"`{finding.code}`{f' at {finding.where}' * bool(finding.where)}: {finding.message}" for finding in findings
        ]
    return [finding.told for finding in findings]
