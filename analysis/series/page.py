"""The page of a run without events: what its report says, part by part, with figures and folded tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.analyses import reference as reference_analysis
from analysis.report import run_tables
from analysis.report.page import document
from analysis.report.page.document import Part
from analysis.series import agreement_figure, analyses, report, standards, timeline
from analysis.tables import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analysis.analyses.analysis import Results

SIGN: Final = "Offsets are reference minus local, to be added to the local clock. There were no messages."
BY_PROBES: Final = "Sources beside the reference by probes, as the difference of two nodes' offsets."


def render(results: Results, sentence: str, figures: Mapping[str, str], captions: Mapping[str, str]) -> str:
    """Return the page; the same results give the same bytes.

    ``figures`` are those drawn, each as the address of an image, by name; ``captions`` what is on each.
    """
    manifest = results.table.run.manifest
    errors = sum(finding.severity == "error" for finding in results.findings)
    ended = "; ".join(report.reasons(manifest)) if manifest.imported is None else ""
    sentences = [
        *([f"**This run is {manifest.outcome or 'not finished'}**: {ended}."] if ended else []),
        *([f"**Findings that are errors: {errors}.** They say which numbers not to lean on."] if errors else []),
        sentence,
        SIGN,
    ]
    drawn = {name: (caption, figures.get(name, "")) for name, caption in captions.items()}
    parts = [
        part for part in _parts(results, drawn) if part.words or part.figure or part.caption or part.grid is not None
    ]
    return document.render(manifest.kind.capitalize(), results.table.run.name, sentences, parts, report.known(results))


def _parts(results: Results, drawn: Mapping[str, tuple[str, str]]) -> Iterator[Part]:
    """Yield the page's parts; one that has nothing to say is empty."""
    texts = results.texts()
    none = ("", "")
    caption, figure = drawn.get(timeline.FIGURE, none)
    claims = [line.removeprefix("- ") for line in str(texts["claims"]).splitlines()]
    words = (*claims, str(texts["courses_more"]))
    yield _part("Offsets over time", words, _grid(texts["courses"]), (caption, figure))
    caption, figure = drawn.get(agreement_figure.FIGURE, none)
    yield _part("Agreement", (str(texts["agreement_notes"]),), _grid(texts["pairs"]), (caption, figure))
    yield _part("How many agree at one time", (), _grid(texts["together"]))
    yield _part("How the offsets wander", (str(texts["wander_not"]),), _grid(texts["wander"]))
    if analyses.QUALITY in results.analyses:
        caption, figure = drawn.get(analyses.QUALITY.figure, none)
        yield _part("Coverage", (str(texts["clocks_in_words"]),), _grid(texts["coverage"]), (caption, figure))
    else:
        yield _part("Coverage", (f"Not evaluable: {report.no_coverage(results)}.",))
    caption, figure = drawn.get(standards.FIGURE, none)
    yield _part("Against the reference", (BY_PROBES,) if figure else (), None, (caption, figure) if figure else none)
    if reference_analysis.ANALYSIS in results.analyses:
        caption, figure = drawn.get(reference_analysis.ANALYSIS.figure, none)
        yield _part("Reference", (), _grid(texts["reference_pairs"]), (caption, figure))
        yield _part("Checks of the reference", (), _grid(texts["reference_checks"]))
    yield _part("What the data do not carry", tuple(report.missing(results)))
    yield Part("The run", (), report.facts(results))
    yield Part("Validity", (), run_tables.findings(results), folded=True)


def _part(title: str, words: tuple[str, ...], grid: Grid | None = None, drawn: tuple[str, str] = ("", "")) -> Part:
    """Return a part of some words, a folded table, and a figure's caption and address; each may be empty."""
    caption, figure = drawn
    said = tuple(word for word in words if word)
    return Part(title, said, grid, folded=grid is not None, figure=figure, caption=caption)


def _grid(text: Grid | str) -> Grid | None:
    """Return a table that has any row."""
    return text if isinstance(text, Grid) and text else None
