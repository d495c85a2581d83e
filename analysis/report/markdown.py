"""Write report/experiment_report.md: the only writer of the report, and it writes nothing that was not computed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2
import numpy as np

from analysis.imported import older_format
from analysis.questions import rounds
from analysis.questions.judges import TRUTH
from analysis.report import cells, clock_quality, judgements, run_tables
from analysis.run import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.report.hypotheses import Judged
    from analysis.results import Results

TEMPLATE: Final = Path(__file__).with_name("report.md.jinja")


def render(results: Results, judged: Sequence[Judged]) -> str:
    """Return the report as Markdown; the same results give the same text."""
    run = results.table.run
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - Markdown
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    manifest = run.manifest
    text = template.render(
        name=run.name,
        outcome=manifest.outcome if manifest.imported is None else "ok",
        reasons=reasons(results),
        errors=[finding for finding in results.findings if finding.severity == "error"],
        judges_note=_judges_note(results),
        simulated=results.table.run.manifest.cluster == "simulated",
        hypotheses_note=run_tables.methods(judged),
        absent=", ".join(run.absent) or "none",
        silent=", ".join(results.table.silent),
        clocks_in_words=clock_quality.judged_against(results.clocks),
        ordering_note=_ordering_note(results),
        windows_all_right=judgements.windows_all_right(results),
        probes=results.coordination.probes,
        common_tasks=", ".join(task.replace("_", " ") for task in results.coordination.common_tasks) or "no task",
        message_bytes=rounds.MESSAGE_BYTES,
        commit_wait_note=_commit_wait_note(results),
        commit_wait_clear=run_tables.commit_wait_clear(results),
        published="\n".join(older_format.comparison_lines(run)) if manifest.imported is not None else "",
        **tables_of(results, judged),
    )
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"  # what is left out leaves no gap


def tables_of(results: Results, judged: Sequence[Judged]) -> dict[str, str]:
    """Return every table of the report by the name the template and ``results.tex`` know it by."""
    return {
        "hypotheses": run_tables.hypotheses(judged),
        "reference_checks": judgements.reference_checks(results),
        "reference_pairs": judgements.reference_pairs(results),
        "facts": _facts(results),
        "nodes": run_tables.nodes(results),
        "unavailable": run_tables.unavailable(results),
        "clocks": clock_quality.clocks(results.clocks),
        "calibration": clock_quality.calibration(results.clocks),
        "stability": clock_quality.stability(results.clocks),
        "causality": run_tables.causality(results),
        "causality_judged": judgements.causality(results),
        "agreement": run_tables.agreement(results),
        "who_first": run_tables.who_first(results),
        "ordering_judged": judgements.ordering(results),
        "windows": run_tables.windows(results),
        "windows_judged": judgements.windows(results),
        "disagreements": judgements.disagreements(results),
        "coordination": run_tables.coordination(results),
        "reductions": run_tables.reductions(results),
        "traffic": judgements.traffic(results),
        "waits": run_tables.waits(results),
        "commit_wait": run_tables.commit_wait(results),
        "commit_wait_judged": judgements.commit_wait(results),
        "findings": run_tables.findings(results),
    }


def _judges_note(results: Results) -> str:
    """Return who judges in this run, and why the others do not."""
    reference = results.reference
    parts = []
    if reference.evaluable:
        parts.append(
            f"The reference knows {len(reference.pairs)} pairs of nodes (relative drift at most "
            f"{reference.rho_ppm:g} ppm, by {reference.rho_from})"
        )
    else:
        parts.append(f"The reference is **not evaluable** ({reference.reason}), nor is any verdict against it")
    true = any(
        not judgement.reason
        for cell in results.causality.totals
        for judgement in cell.point_against
        if judgement.judge == TRUTH
    )
    parts.append(
        "The injected truth of the virtual clocks judges beside it."
        if true
        else "No truth was injected, so nothing is judged by one."
    )
    return ". ".join(parts)


def reasons(results: Results) -> list[str]:
    """Return why a run is not what was planned: the manifest's reasons, and workers short of events."""
    table = results.table
    manifest = table.run.manifest
    found = list(manifest.problems)
    for node_id, node in manifest.nodes.items():
        found += [line for problem in node.problems if (line := f"{node_id}: {problem}") not in found]
    needed = load.min_received_share(manifest)
    sent = int(table.sent.known.sum())
    for worker in table.workers:
        received = table.received.get(worker)
        share = 0.0 if received is None or not sent else float((received & table.sent.known).sum()) / sent
        if needed is not None and share < needed and not any(worker in line for line in found):
            found.append(f"{worker} received {100 * share:.1f} % of the events, needed are {100 * needed:g} %")
    return found


def _facts(results: Results) -> str:
    manifest = results.table.run.manifest
    sent = results.table.sent
    span_s = float(np.ptp(sent.ns[sent.known])) / 1e9 if sent.known.any() else 0.0
    version = manifest.code_version
    rows: list[tuple[str, Any]] = [
        ("run id", manifest.run_id),
        ("cluster", manifest.cluster),
        ("phase, outcome", f"{manifest.phase}, {manifest.outcome or 'none'}"),
        ("created", manifest.created_utc),
        ("events sent", f"{int(sent.known.sum())} over {span_s:.1f} s"),
        ("code", ", ".join(f"{key} {_short(value)}" for key, value in version.items())),
        ("command", " ".join([Path(manifest.argv[0]).name, *manifest.argv[1:]]) if manifest.argv else ""),
    ]
    if manifest.imported is not None:
        rows.append(("imported", "from an older column format: no samples, no raw stamps, no reference"))
    return cells.markdown(("what", "value"), rows)


def _ordering_note(results: Results) -> str:
    one = results.ordering
    sample = "all of them" if one.pairs_judged == one.pairs_total else "a stratified sample with a fixed seed"
    return (
        f"Pairs of events sent within 1 s of each other: {one.pairs_total:,}; judged: {one.pairs_judged:,} ({sample}). "
        "Agreement counts equal labels, and *ambiguous* is a label; the decided share stands beside it."
    )


def _commit_wait_note(results: Results) -> str:
    if not results.commit_wait.waits:
        return "No real commit-wait was made in this run; what follows is about re-measured uncertainties."
    worker = results.table.run.manifest.config.get("worker") or {}
    planned = (worker.get("timing") or {}).get("commit_wait_share")
    part = "a share" if planned is None else f"{100 * float(planned):g} %"
    return (
        "Real commit-waits (s = now().latest, released when now().earliest > s): "
        f"{part} of the events, as planned (`commit_wait_share`), on every node; the counts are of all nodes together."
    )


def _short(value: Any) -> str:
    """Shorten a hash; leave everything else as it is."""
    text = str(value)
    return text[:12] if len(text) in {40, 64} and all(letter in "0123456789abcdef" for letter in text) else text
