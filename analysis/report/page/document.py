"""A page without an interactive part, for what is said of many runs: words, tables and figures, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from analysis.report.page import shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.tables import Grid


@dataclass(frozen=True)
class Part:
    """A part of a page: words, a figure (the address of its image), a table (``folded`` behind its name), and links.

    The ``caption`` says what is on the figure, or why there is none. A link is what it says and where it leads.
    """

    title: str
    words: tuple[str, ...] = ()
    grid: Grid | None = None
    folded: bool = False
    figure: str = ""
    caption: str = ""
    links: tuple[tuple[str, str], ...] = ()


def render(kind: str, name: str, sentences: Sequence[str], parts: Sequence[Part], known: Sequence[str] = ()) -> str:
    """Return the page; the same parts give the same bytes. ``known``: what a reader must know before any number."""
    template = shell.environment().get_template("document.html.jinja")
    figures = {
        part.title: shell.figure(part.figure, f"Figure: {part.title}", part.caption) for part in parts if part.figure
    }
    body = template.render(kind=kind, name=name, sentences=sentences, known=known, parts=parts, figures=figures)
    return shell.page(f"{kind} {name}", Markup(body))  # noqa: S704 - rendered with autoescape
