"""A page as the Markdown that says the same: headings, words and tables, for tests that read what a page says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final

from node_agent.contract import records

if TYPE_CHECKING:
    from pathlib import Path

MARKS: Final = {"strong": "**", "b": "**", "em": "*", "code": "`"}
LINES: Final = {"p", "li", "summary", "h1", "h2", "h3", "caption"}
UNSEEN: Final = {"script", "style", "nav", "caption", "summary", "title", "button", "noscript", "select"}
HEADINGS: Final = {"h1": "# ", "h2": "## ", "h3": "### "}


def of(folder: Path) -> str:
    """Return what the page of a run folder says."""
    return words((folder / records.PAGE_FILE).read_text(encoding="utf-8"))


def words(page: str) -> str:
    """Return what a page says, as Markdown."""
    reader = _Reader()
    reader.feed(page)
    return "\n".join(reader.lines) + "\n"


def template_words(template: str) -> str:
    """Return a template's lines as they read when they are rendered, what is in braces as it is."""
    for tag, mark in MARKS.items():
        template = re.sub(rf"</?{tag}>", mark, template)
    return re.sub(r"<[^>]*>", "", re.sub(r"<li>", "- ", template))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._words: list[str] = []
        self._cells: list[str] = []
        self._unseen = 0
        self._group = ""
        self._grouped = self._heads = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in UNSEEN:
            self._unseen += 1
        if tag == "table":
            self._group, self._grouped = "", ("class", "short") in attrs
            self.lines.append("")
        if tag == "thead":
            self._heads = True
        if tag in LINES or tag in {"td", "th"}:
            self._words = []
        if tag in MARKS:
            self._words.append(MARKS[tag])

    def handle_endtag(self, tag: str) -> None:
        if tag in MARKS:
            self._words.append(MARKS[tag])
        said = " ".join("".join(self._words).split())
        if tag in {"td", "th"}:
            self._cells.append(said.replace("|", "\\|"))
        elif tag == "tr":
            self._row()
        elif tag == "table":
            self.lines.append("")
        elif tag in LINES and not self._unseen:
            self.lines += ["", f"{HEADINGS.get(tag, '- ' if tag == 'li' else '')}{said}"]
        if tag in UNSEEN:
            self._unseen -= 1

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._words.append(data)

    def _row(self) -> None:
        if self._grouped and len(self._cells) == 1:
            self._group = self._cells[0]
        else:
            first = ["question" if self._heads else self._group] if self._grouped else []
            cells = [*first, *self._cells]
            self.lines.append("| " + " | ".join(cells) + " |")
            if self._heads:
                self.lines.append("|" + "---|" * len(cells))
        self._cells, self._heads = [], False
