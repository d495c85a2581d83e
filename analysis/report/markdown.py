"""Write report/experiment_report.md: the only writer of the report, and it writes nothing that was not computed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2

from analysis.checks import validity
from analysis.imported import older_format
from analysis.questions.judges import TRUTH
from analysis.report import run_counts, run_tables, verdict
from analysis.run import load
from analysis.tables import markdown
from node_agent.contract import paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.analyses.analysis import Results
    from analysis.report.hypotheses import Judged
    from analysis.report.run_counts import RunCounts

TEMPLATES: Final = Path(__file__).parent


def render(results: Results, judged: Sequence[Judged]) -> str:
    """Return the report as Markdown; the same results give the same text."""
    run = results.table.run
    manifest = run.manifest
    counts = run_counts.of(results.table)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - Markdown
    template = environment.from_string((TEMPLATES / "report.md.jinja").read_text(encoding="utf-8"))
    text = template.render(
        name=run.name,
        outcome=manifest.outcome if manifest.imported is None else "ok",
        reasons=reasons(results, counts),
        errors=[finding for finding in results.findings if finding.severity == "error"],
        known=[finding for finding in results.findings if finding.code in validity.HEAD],
        judges_note=_judges_note(results),
        simulated=manifest.cluster == "simulated",
        hypotheses_note=run_tables.methods(judged),
        absent=", ".join(run.absent) or "none",
        silent=", ".join(results.table.silent),
        verdict=verdict.of(results).sentence,
        published="\n".join(older_format.comparison_lines(run)) if manifest.imported is not None else "",
        sections=_sections(results, environment),
        **_tables(results, judged, counts),
    )
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"  # what is left out leaves no gap


def tables_of(results: Results, judged: Sequence[Judged]) -> dict[str, str]:
    """Return every table of the report by the name the templates and ``results.tex`` know it by."""
    return {**_tables(results, judged, run_counts.of(results.table)), **results.texts()}


def _sections(results: Results, environment: jinja2.Environment) -> dict[str, str]:
    """Return the section of every analysis that has a title, by its name."""
    sections = {}
    for analysis in results.analyses:
        if analysis.title:
            texts = dict(analysis.texts(results.done))
            file = TEMPLATES / "sections" / f"{analysis.name}.md.jinja"
            own = file if file.exists() else TEMPLATES / "sections" / "default.md.jinja"
            template = environment.from_string(own.read_text(encoding="utf-8"))
            body = template.render(texts=texts, title=analysis.title, figure=analysis.figure, **texts)
            sections[analysis.name] = f"## {analysis.title}\n\n{body}"
    return sections


def _tables(results: Results, judged: Sequence[Judged], counts: RunCounts) -> dict[str, str]:
    """Return the tables that are about the run, and of no analysis."""
    return {
        "hypotheses": run_tables.hypotheses(judged),
        "facts": _facts(results, counts),
        "nodes": run_tables.nodes(results, counts),
        "unavailable": run_tables.unavailable(counts),
        "findings": run_tables.findings(results),
    }


def _judges_note(results: Results) -> str:
    """Return who judges in this run, and why the others do not."""
    reference = results.done["reference"]
    by_probes = f"The reference is **not evaluable** ({reference.reason}), nor is any verdict against it"
    if reference.evaluable:
        limit = f"relative drift at most {reference.rho_ppm:g} ppm, by {reference.rho_from}"
        by_probes = f"The reference knows {len(reference.pairs)} pairs of nodes ({limit})"
    judgements = [answer.judged_by(TRUTH) for answer in results.done["causality"]]
    if any(judgement is not None and not judgement.reason for judgement in judgements):
        return f"{by_probes}. The injected truth of the virtual clocks judges beside it."
    return f"{by_probes}. No truth was injected, so nothing is judged by one."


def reasons(results: Results, counts: RunCounts) -> list[str]:
    """Return why a run is not what was planned: the manifest's reasons, and workers short of events."""
    manifest = results.table.run.manifest
    lines = list(manifest.problems)
    for node_id, node in manifest.nodes.items():
        lines += [line for problem in node.problems if (line := f"{node_id}: {problem}") not in lines]
    needed = load.min_received_share(manifest)
    shares = {node.node_id: node.of_sent.value or 0.0 for node in counts.nodes if node.of_sent is not None}
    for worker, share in shares.items():
        if needed is not None and share < needed and not any(worker in line for line in lines):
            lines.append(f"{worker} received {100 * share:.1f} % of the events, needed are {100 * needed:g} %")
    return lines


def _facts(results: Results, counts: RunCounts) -> str:
    manifest = results.table.run.manifest
    version = manifest.code_version
    rows: list[tuple[str, Any]] = [
        ("run id", manifest.run_id),
        ("cluster", manifest.cluster),
        ("phase, outcome", f"{manifest.phase}, {manifest.outcome or 'none'}"),
        ("created", manifest.created_utc),
        ("events sent", f"{counts.sent} over {counts.span_s:.1f} s"),
        ("code", ", ".join(f"{key} {_short(value)}" for key, value in version.items())),
        ("command", " ".join([Path(manifest.argv[0]).name, *manifest.argv[1:]]) if manifest.argv else ""),
    ]
    if told := paths.in_words(manifest.config.get("cluster", {}).get("paths")):
        rows.append(("paths", told))
    if manifest.notes:
        rows.append(("notes", "; ".join(manifest.notes)))
    if manifest.imported is not None:
        rows.append(("imported", "from an older column format: no samples, no raw stamps, no reference"))
    return markdown(("what", "value"), rows)


def _short(value: Any) -> str:
    """Shorten a hash; leave everything else as it is."""
    text = str(value)
    return text[:12] if len(text) in {40, 64} and all(letter in "0123456789abcdef" for letter in text) else text
