"""The page of one run: what is said first, errors over time, one event at a time, and a section per question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from analysis.report.markdown import in_lines, some
from analysis.report.opening import CLOCKS_NOTE
from analysis.report.page import shell

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import jinja2

    from analysis.analyses.analysis import Analysis, Results
    from analysis.report.opening import Opening

MOST_OF_FIGURES: Final = 1_900_000  # bytes
SCRIPTS: Final = ("scales.js", "timeline.js", "event.js")


@dataclass(frozen=True)
class Section:
    """One question on the page: its figure, its explanation and its tables."""

    name: str
    title: str
    short: str
    figure: Markup
    body: Markup


def render(
    opening: Opening,
    results: Results,
    figures: Mapping[str, str],
    captions: Mapping[str, str],
    data: Mapping[str, Any] | None,
) -> str:
    """Return the page of a run; the same results give the same bytes.

    ``figures`` are those drawn, each as the address of an image, by name; ``captions`` say what is on each, or why
    there is none; ``data`` is what the interactive part shows, if there is any.
    """
    environment = shell.environment()
    environment.filters |= {"in_lines": in_lines, "some": some}
    interactive = Markup("")
    if data is not None:
        interactive = Markup(environment.get_template("interactive.html.jinja").render(data=data))  # noqa: S704 - escaped
    shown = _within(figures)
    sections = [
        _section(environment, analysis, results, shown, figures, captions)
        for analysis in results.analyses
        if analysis.title
    ]
    body = environment.get_template("run.html.jinja").render(
        opening=opening, sections=sections, interactive=interactive, clocks_note=CLOCKS_NOTE
    )
    scripts = () if data is None else SCRIPTS
    return shell.page(f"Experiment {opening.name}", Markup(body), results.table.sources, data, *scripts)  # noqa: S704


def _within(figures: Mapping[str, str]) -> dict[str, str]:
    """Return the figures that a page has room for, the smaller ones first."""
    room, shown = MOST_OF_FIGURES, {}
    for name, address in sorted(figures.items(), key=lambda named: len(named[1])):
        room -= len(address)
        if room >= 0:
            shown[name] = address
    return shown


def _section(
    environment: jinja2.Environment,
    analysis: Analysis,
    results: Results,
    shown: Mapping[str, str],
    drawn: Collection[str],
    captions: Mapping[str, str],
) -> Section:
    texts = dict(analysis.texts(results.done))
    own = f"sections/{analysis.name}.html.jinja"
    template = environment.select_template([own, "sections/default.html.jinja"])
    body = template.render(texts=texts, title=analysis.title, **texts)
    figure = Markup("")
    caption = captions.get(analysis.figure, "")
    if address := shown.get(analysis.figure):
        figure = shell.figure(address, f"Figure: {analysis.title}", caption)
    elif analysis.figure in drawn:
        there = Markup(" This figure is too large for the page: <code>../figures/{}.png</code>.").format(
            analysis.figure
        )
        figure = Markup('<p class="note">{}{}</p>').format(caption, there)
    elif caption:
        figure = Markup('<p class="note">{}</p>').format(caption)
    short = analysis.title.partition(":")[0]
    return Section(analysis.name, analysis.title, short, figure, Markup(body))  # noqa: S704 - rendered with autoescape
