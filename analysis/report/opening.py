"""What a report says first, whether it is read as a page or as Markdown: everything in it is computed from the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.checks import validity
from analysis.checks.finding import some
from analysis.figures import style
from analysis.imported import older_format
from analysis.questions.judges import REFERENCE, TRUTH
from analysis.report import clock_table, hypotheses, run_counts, run_tables, summary, verdict
from analysis.run import load
from analysis.tables import Grid
from node_agent.contract import paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.analyses.analysis import Results
    from analysis.checks.finding import Finding
    from analysis.report.clock_table import Row
    from analysis.report.hypotheses import Judged
    from analysis.report.run_counts import RunCounts

CLOCKS_NOTE: Final = (
    "Shares are of the decisions that were due. *Proved*: certain by the clock's own intervals, and not known to be "
    "wrong; *wrong*: certain, and a judge knows better; *ambiguous*: left open (of a window also: the workers' windows "
    "differ); these and *no reading* make up all. *Coverage*: intervals that hold the truth; *rounds saved*: decisions "
    "that need no message, for they are decided and not known to be wrong. Two numbers are the least and the greatest "
    "that the judge's own width allows. The last row of each question is what probes between the nodes prove without "
    "any clock under test: what can be known for sure by messages over this network. Of windows it is what they prove "
    "by the borders of one corrected clock; a clock that keeps to UTC may prove more, for then each worker only needs "
    "to know where its own receipt lies."
)


@dataclass(frozen=True)
class Opening:
    """What is said first of a run: how it went, three sentences, the clocks, the hypotheses, and what is wrong.

    ``outcome`` is empty for a run that never ended. ``errors`` are the findings that no number survives, ``known`` what
    a reader must know besides. ``tables`` are about the run as such, by name.
    """

    name: str
    outcome: str
    simulated: bool
    reasons: tuple[str, ...]
    errors: tuple[Finding, ...]
    known: tuple[Finding, ...]
    sentences: tuple[str, ...]
    clocks: tuple[Row, ...]
    judges_note: str
    hypotheses_note: str
    absent: str
    silent: str
    published: tuple[Grid | str, ...]
    tables: dict[str, Grid]


def of(results: Results, judged: Sequence[Judged]) -> Opening:
    """Return what is said first of a run."""
    run = results.table.run
    manifest = run.manifest
    counts = run_counts.of(results.table)
    clocks = clock_table.of(results)
    tables = {
        "clocks_by_question": clock_table.grid(clocks),
        "hypotheses": run_tables.hypotheses(judged),
        "facts": _facts(results, counts),
        "nodes": run_tables.nodes(results, counts),
        "unavailable": run_tables.unavailable(counts),
        "findings": run_tables.findings(results),
    }
    return Opening(
        name=run.name,
        outcome=(manifest.outcome or "") if manifest.imported is None else "ok",
        simulated=manifest.cluster == load.SIMULATED,
        reasons=tuple(reasons(results, counts)),
        errors=tuple(finding for finding in results.findings if finding.severity == "error"),
        known=tuple(finding for finding in results.findings if finding.code in validity.HEAD),
        sentences=(_asked(results, counts), _answered(results), _known(results, judged, clocks)),
        clocks=clocks,
        judges_note=_judges_note(results),
        hypotheses_note=run_tables.methods(judged),
        absent=some(run.absent) or "none",
        silent=some(results.table.silent),
        published=tuple(older_format.comparison_parts(run)) if manifest.imported is not None else (),
        tables=tables,
    )


def _asked(results: Results, counts: RunCounts) -> str:
    """Return, in a sentence, what was done and asked."""
    table = results.table
    clocks = [style.label(source) for source in table.sources]
    named = clocks[0] if len(clocks) == 1 else f"{', '.join(clocks[:-1])} and {clocks[-1]}"
    workers = "1 worker" if len(table.workers) == 1 else f"{len(table.workers)} workers"
    sent = f"{table.coordinator_id} sent {counts.sent:,} events to {workers} within {counts.span_s:,.1f} s"
    never: dict[str, list[str]] = {}
    for missing in counts.missing:
        if missing.rate.value == 1:
            never.setdefault(style.label(missing.source), []).append(missing.node_id)
    but = "; ".join(f"no {clock} at {some(nodes)}" for clock, nodes in never.items())
    stamped = f"every node stamped each with {named}{f' ({but})' if but else ''}"
    return f"{sent}, and {stamped}: can these clocks tell order, causality and windows?"


def _answered(results: Results) -> str:
    """Return the verdict as a sentence, or that there is none."""
    sentence = verdict.of(results).sentence
    if not sentence:
        return "No clock that states an interval gave a reading, so nothing was proved."
    return f"{sentence[0].upper()}{sentence[1:]}."


def _known(results: Results, judged: Sequence[Judged], clocks: Sequence[Row]) -> str:
    """Return, in a sentence, what could be known at all, and how the hypotheses and the checks ended."""
    row = next(row for row in clocks if row.clock == REFERENCE)
    if row.proved is None:
        could = f"There is no reference ({results.done['reference'].reason or 'it knows nothing of these events'})"
    else:
        proved = f"proves the order of {row.proved.least:,} of {row.decisions:,} messages"
        could = f"The reference, which no clock under test had a hand in, {proved}"
    status = Counter(judgement.status for judgement in judged)
    ends = [
        f"{status[name]} {name}"
        for name in (hypotheses.SUPPORTED, hypotheses.NOT_SUPPORTED, hypotheses.NOT_EVALUABLE)
        if status[name]
    ]
    claims = f"of {len(judged)} hypotheses {', '.join(ends)}" if judged else "no hypothesis was asked"
    found = summary.counted(results.findings)
    errors = f"{found['error']} error{'' if found['error'] == 1 else 's'}"
    warnings = f"{found['warning']} warning{'' if found['warning'] == 1 else 's'}"
    return f"{could}; {claims}; the checks found {errors} and {warnings}."


def _judges_note(results: Results) -> str:
    """Return who judges in this run, and why the others do not."""
    reference = results.done["reference"]
    by_probes = f"The reference is **not evaluable** ({reference.reason}), nor is any verdict against it"
    if reference.evaluable:
        limit = f"relative drift at most {reference.rho_ppm:g} ppm, by {reference.rho_from}"
        by_probes = f"The reference knows {len(reference.pairs):,} pairs of nodes ({limit})"
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


def _facts(results: Results, counts: RunCounts) -> Grid:
    manifest = results.table.run.manifest
    rows: list[tuple[str, Any]] = [
        ("run id", manifest.run_id),
        ("cluster", manifest.cluster),
        ("phase, outcome", f"{manifest.phase}, {manifest.outcome or 'none'}"),
        ("created", manifest.created_utc),
        ("events sent", f"{counts.sent:,} over {counts.span_s:.1f} s"),
        ("code", _code(manifest.code_version)),
        ("command", " ".join([Path(manifest.argv[0]).name, *manifest.argv[1:]]) if manifest.argv else ""),
    ]
    if told := paths.in_words(manifest.config.get("cluster", {}).get("paths")):
        rows.append(("paths", told))
    if manifest.notes:
        rows.append(("notes", "; ".join(manifest.notes)))
    if manifest.imported is not None:
        rows.append(("imported", "from an older column format: no samples, no raw stamps, no reference"))
    return Grid.of(("what", "value"), rows)


def _code(version: Mapping[str, Any]) -> str:
    """Return in words which code made the run, as far as the manifest knows."""
    changed = " with changes" if version.get("dirty") else ""
    known = {key: value for key, value in version.items() if value is not None and key != "dirty"}
    return ", ".join(f"{key} {_short(value)}{changed if key == 'git' else ''}" for key, value in known.items())


def _short(value: Any) -> str:
    """Shorten a hash; leave everything else as it is."""
    text = str(value)
    return text[:12] if len(text) in {40, 64} and all(letter in "0123456789abcdef" for letter in text) else text
