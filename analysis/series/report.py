"""The report of a run without events: computed sentences, tables and figures, and why there is none of the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2
import numpy as np

from analysis.analyses import reference as reference_analysis
from analysis.checks import validity
from analysis.report import run_tables
from analysis.series import analyses
from analysis.series.agreement import ALONE
from analysis.series.agreement_figure import worst
from analysis.series.analyses import agreement_of, courses_of
from analysis.tables import Grid, number
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analysis.analyses.analysis import Results
    from node_agent.contract.records import Manifest

TEMPLATE: Final = Path(__file__).with_name("report.md.jinja")


def render(results: Results, sentence: str) -> str:
    """Return the report as Markdown; the same results give the same text."""
    run = results.table.run
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - Markdown
    texts = _in_markdown(results.texts())
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        name=run.name,
        sentence=sentence,
        outcome=run.manifest.outcome if run.manifest.imported is None else "ok",
        reasons=list(reasons(run.manifest)),
        errors=[finding for finding in results.findings if finding.severity == "error"],
        known=known(results),
        facts=facts(results).markdown,
        judged=analyses.QUALITY in results.analyses,
        reference=_section(results, reference_analysis.ANALYSIS.name),
        by_probes=bool(courses_of(results).differences),
        no_coverage=no_coverage(results),
        missing=list(missing(results)),
        findings=run_tables.findings(results).markdown,
        **{name: texts[name] for name in (
            "courses", "courses_more", "claims", "wander", "wander_not", "pairs", "together", "agreement_notes",
        )},
        **{name: texts.get(name, "") for name in ("clocks_in_words", "coverage")},
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"


def known(results: Results) -> list[str]:
    """Return what a reader must know before any number, a line each."""
    return [finding.told for finding in results.findings if finding.code in validity.HEAD]


def sentence(results: Results) -> str:
    """Return the run in one sentence: how long, how many, and how far the sources agree."""
    found, courses = agreement_of(results), courses_of(results).courses
    span_s = max((float(course.at_ns[-1]) / 1e9 for course in courses if course.count), default=0.0)
    sources, nodes = {course.source for course in courses}, {course.node_id for course in courses}
    begin = f"{_count(len(sources), 'source')} on {_count(len(nodes), 'node')} over {span_s / 3600:.1f} h"
    if span_s < 7_200:
        begin = begin.replace(f"{span_s / 3600:.1f} h", f"{span_s / 60:.1f} min")
    pairs = worst(found)
    if not pairs:
        return f"{begin}; agreement is not evaluable: {next(iter(found.reasons.values()), ALONE)}."
    judged = sum(pair.meet.denominator for pair in pairs)
    apart = sum(pair.meet.denominator - pair.meet.numerator for pair in pairs)
    if judged:
        worst_of_all = ", worst for what they claim," if len(pairs) > 1 else ""
        worst_pair = f"{pairs[0].first} and {pairs[0].second} at {pairs[0].node_id}{worst_of_all}"
        far = f"{worst_pair} are {number(pairs[0].apart_ms.median, 3)} ms apart at the median"
        if not apart:
            return f"{begin}: in all {judged:,} comparisons of two sources their intervals meet; {far}."
        also = ", or a server is" if any(pair.references_differ for pair in pairs) else ""
        if results.table.run.manifest.imported is not None:  # a log's times are of whole seconds, and of its own clock
            also += ", or the clock was corrected between their readings"
        return (
            f"{begin}: in {apart:,} of {judged:,} comparisons of two sources their intervals do not meet, so that one "
            f"of the two is wrong{also}; {far}."
        )
    return f"{begin}: {'; '.join(_one_sided(results))}."


def _one_sided(results: Results) -> Iterator[str]:
    """Yield what can be said of sources of which one alone has an interval."""
    for pair in worst(agreement_of(results))[:2]:
        inside = pair.inside if pair.inside.denominator else None
        names = (pair.first, pair.second) if pair.first_in_second.denominator else (pair.second, pair.first)
        apart = f"{pair.first} and {pair.second} were {number(pair.apart_ms.median, 3)} ms apart at the median"
        held = ""
        if inside is not None:
            times = f"{inside.numerator:,} times of {inside.denominator:,}"
            held = f", and {names[0]}'s estimate lay in {names[1]}'s interval {times}"
        yield f"{apart}{held}"


def reasons(manifest: Manifest) -> Iterator[str]:
    """Yield why the run is not what it was meant to be."""
    yield from manifest.problems
    for node_id, node in manifest.nodes.items():
        for problem in node.problems:
            if f"{node_id}: {problem}" not in manifest.problems:
                yield f"{node_id}: {problem}"


def facts(results: Results) -> Grid:
    """Return what the run is: where its readings are from, how many, and how it ended."""
    run = results.table.run
    manifest, imported = run.manifest, run.manifest.imported
    first = min((int(stamps.ns[stamps.known].min()) for stamps in results.table.stamps.values() if stamps.known.any()),
                default=None)  # fmt: skip
    rows: list[tuple[str, Any]] = [
        ("run id", manifest.run_id),
        ("kind", manifest.kind),
        (
            "first reading",
            "none" if first is None else f"{np.datetime64(first // 10**9, 's')} UTC, by the clock itself",
        ),
        ("readings", ", ".join(f"{node} {int(stamps.known.sum()):,}" for node, stamps in results.table.stamps.items())),
    ]
    if imported is None:
        rows += [
            ("cluster", manifest.cluster),
            ("phase, outcome", f"{manifest.phase}, {manifest.outcome or 'none'}"),
            ("created", manifest.created_utc),
            ("nodes without readings", ", ".join(results.table.silent) or "none"),
        ]
    else:
        stamps = imported.get("stamps")
        rows += [("imported from", imported.get("source")), ("format", imported.get("format"))]
        if isinstance(stamps, dict):
            rows.append(("instants", "; ".join(f"{form}: {text}" for form, text in stamps.items())))
    if manifest.notes:
        rows.append(("notes", "; ".join(manifest.notes)))
    return Grid.of(("what", "value"), rows)


def _section(results: Results, name: str) -> str:
    """Return what one of the house's analyses says, in Markdown; "" if it was not computed."""
    analysis = next((analysis for analysis in results.analyses if analysis.name == name), None)
    if analysis is None:
        return ""
    image = f"![{analysis.title}](../{records.FIGURES_DIR}/{analysis.figure}.png)"
    return "\n\n".join([image, *_in_markdown(analysis.texts(results.done)).values()])


def _in_markdown(texts: Mapping[str, str | Grid]) -> dict[str, str]:
    return {name: text if isinstance(text, str) else text.markdown for name, text in texts.items()}


def no_coverage(results: Results) -> str:
    """Return why nobody can say how often an interval holds the truth."""
    if results.table.run.manifest.imported is not None:
        return "a log has no such standard, and a source judged by another one is judged by that one's errors"
    reference = results.done[reference_analysis.ANALYSIS.name]
    return f"no node has a virtual clock, and there is no reference ({reference.reason or 'no two nodes'})"


def missing(results: Results) -> Iterator[str]:
    """Yield what an import lacks, as it was written down then, and which sources have no interval."""
    run = results.table.run
    imported = run.manifest.imported or {}
    for course in courses_of(results).courses:
        if course.count and not course.bounded.any():
            yield f"an interval of {course.source} at {course.node_id}: {course.claims.interval}"
    left_out = imported.get("missing")
    yield from (str(text) for text in left_out) if isinstance(left_out, list) else ()
    yield from (f"{file}: not there" for file in run.absent)


def _count(number_: int, what: str) -> str:
    return f"{number_} {what}{'' if number_ == 1 else 's'}"
