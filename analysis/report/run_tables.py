"""The tables of the report, each a function of the typed results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.checks import integrity
from analysis.clocks import standards
from analysis.questions import ordering, rounds
from analysis.report.cells import counted, markdown, number, share
from analysis.stats import rates
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.questions.coordination import Cost
    from analysis.report.hypotheses import Judged
    from analysis.results import Results


def nodes(results: Results) -> str:
    """Return one row per node: who it is, what it sent or received, what went wrong."""
    table = results.table
    manifest = table.run.manifest
    rows = []
    sent = int(table.sent.known.sum())
    checked = integrity.as_written(table.run, results.findings)
    for node_id, node in manifest.nodes.items():
        status = node.status or {}
        counts = status.get("counts") or {}
        received = table.received.get(node_id)
        if node.role == "coordinator":
            events, lost = f"{sent} sent", None
        elif received is None:
            events, lost = "no data", None
        else:
            events, lost = f"{int(received.sum())} received", int((table.sent.known & ~received).sum())
        dropped = {
            name: counts[name]
            for name in ("malformed", "foreign", "bad_tag", "oversized", "kernel_dropped")
            if name in counts
        }
        rows.append(
            (
                node_id,
                node.role,
                node.host,
                status.get("python"),
                status.get("clock_source"),
                events,
                lost,
                (counts.get("duplicate") or 0) + table.duplicates.get(node_id, 0)
                if counts or received is not None
                else None,
                counted(dropped),
                counts.get("user_stamps"),
                checked.get(node_id, "yes"),
            )
        )
    columns = (
        "node",
        "role",
        "host",
        "Python",
        "clock source",
        "events",
        "lost",
        "duplicates",
        "dropped",
        "user stamps",
    )
    return markdown((*columns, "files as the node wrote them"), rows)


def unavailable(results: Results) -> str:
    """Return how many readings each source owes on each node, by reason; lost packets are not readings.

    Sources that owe none on any node share one row.
    """
    table = results.table
    rows = []
    complete = []
    for source in table.sources:
        blocks = [table.readings(node_id, source) for node_id in table.nodes]
        if all(one.stamped.any() and not (one.stamped & ~one.known).any() for one in blocks):
            stamped = [f"{one.node_id} 0 of {int(one.stamped.sum())}" for one in blocks]
            complete.append(f"{source} ({', '.join(stamped)})")
            continue
        for node_id in table.nodes:
            block = table.readings(node_id, source)
            missing = block.stamped & ~block.known
            rate = rates.rate(int(missing.sum()), int(block.stamped.sum()))
            rows.append((source, node_id, share(rate), counted(block.statuses(missing))))
    if complete:
        rows.append((", ".join(complete), "all", "none is missing", ""))
    return markdown(("source", "node", "unavailable", "reasons"), rows, "")


def causality(results: Results) -> str:
    """Return the verdicts of every source on every worker."""
    rows = []
    for cell in results.causality.cells:
        point = share(cell.point_rates["violated"])
        intervals = [
            "point clock" if cell.source == records.SYSTEM else share(cell.interval_rates[name])
            for name in ("proved", "ambiguous", "violated")
        ]
        reasons = cell.interval_reasons or cell.point_reasons
        rows.append((cell.source, cell.worker, *intervals, point, counted(reasons), number(cell.advance_us.median)))
    head = ("source", "worker", "proved", "ambiguous", "violated", "violated as points", "not evaluable")
    return markdown((*head, "receive − send, median (µs)"), rows)  # noqa: RUF001 - a minus sign


def agreement(results: Results) -> str:
    """Return how often all workers order nearby events alike."""
    rows = [
        (
            one.source,
            one.clock,
            share(one.same),
            share(one.decided),
            share(one.same_decided),
            share(one.wrong),
            one.pairs - one.evaluable,
        )
        for one in results.ordering.agreement
    ]
    head = ("source", "clock", "same label", "decided by all", "same and decided")
    return markdown(
        (*head, "decided wrongly by any", "pairs not evaluable"),
        rows,
        "Agreement is not evaluable: it needs two workers with data.",
    )


def who_first(results: Results) -> str:
    """Return which worker received first by each source's labels: per pair, or all together where pairs are many."""
    pairs = results.ordering.who_first
    shown = pairs if len({pair.pair for pair in pairs}) <= ordering.MOST_PAIRS_ALONE else results.ordering.totals
    rows = [
        (
            one.source,
            one.clock,
            " / ".join(dict.fromkeys(one.pair)),
            one.first_before,
            one.second_before,
            share(one.decided),
            one.events - one.evaluable,
            share(one.wrong),
        )
        for one in shown
    ]
    head = ("source", "clock", "workers", "first before", "second before", "decided", "not evaluable", "wrong")
    return markdown(head, rows, "Who received first is not evaluable: it needs two workers with data.")


def windows(results: Results) -> str:
    """Return the agreement on windows of every width."""
    rows = []
    for cell in results.windows.cells:
        caused = "not evaluable"
        if cell.truth_known is not None:
            caused = (
                f"{cell.clock_disagreements} by clocks, {cell.true_windows_differ} true ({cell.truth_known} judged)"
            )
        bounded = cell.source != records.SYSTEM
        rows.append(
            (
                cell.source,
                cell.width_ms,
                share(cell.agreement),
                share(cell.provable_agreement) if bounded else "point clock",
                share(cell.contradiction) if bounded else "point clock",
                caused,
                cell.shared - cell.evaluable,
            )
        )
    head = ("source", "width (ms)", "agreement", "provable", "contradictions", "disagreements", "events not evaluable")
    return markdown(head, rows)


def coordination(results: Results) -> str:
    """Return the rounds of every task with every clock."""
    rows = [
        (
            cost.task.replace("_", " "),
            cost.source,
            cost.clock,
            _rounds(cost),
            cost.unread,
            cost.undecided,
            "not evaluable" if cost.wrong is None else cost.wrong,
            cost.wrong_by.replace("_", " "),
            cost.unknown,
            number(cost.messages, 0),
            number(cost.bytes, 0),
        )
        for cost in results.coordination.costs
    ]
    head = ("task", "source", "clock", "rounds per decision", "of them without reading", "undecided")
    return markdown((*head, "wrong decisions", "by", "no judge can tell", "messages", "bytes"), rows)


def _rounds(one: Cost) -> str:
    if one.counted is None or not one.unknown:
        return share(one.per_decision)
    return f"at least {share(one.counted.at_least)}, at most {share(one.counted.at_most)}"


def reductions(results: Results) -> str:
    """Return by how much fewer rounds each bounded clock needs than NTP."""
    rows = []
    for source, pairs in results.coordination.as_statistics()["reductions"].items():
        for pair, one in pairs.items():
            less = rounds.fewer_in_words(one["at_least"], one["at_most"]) or "not evaluable"
            tasks = ", ".join(f"{task.replace('_', ' ')} ({count})" for task, count in one["decisions"].items())
            counts = (one["rounds_in_words"], one["rounds_against_in_words"])
            rows.append((source, pair.replace("_", " "), less, *counts, tasks))
    return markdown(("source", "comparison", "rounds", "own", "against", "tasks added up (decisions)"), rows, "")


def waits(results: Results) -> str:
    """Return how long real commit-waits took and how they ended."""
    rows = []
    for wait in results.commit_wait.waits:
        ratio = rates.spread(wait.ratios)
        early = "not evaluable" if wait.violations is None else share(wait.violations)
        early += "".join(
            f"; {count:,} not judged, for they {standards.IN_WORDS[reason]}" for reason, count in wait.left_out.items()
        )
        waited = (number(wait.waited_ms.median, 3), number(wait.waited_ms.p95, 3))
        ratios = (number(ratio.median, 2), number(ratio.p95, 2))
        order = (
            share(wait.consistency.violated)
            if wait.consistency.violated
            else f"not evaluable: {wait.consistency.reason}"
        )
        rows.append((wait.source, counted(wait.outcomes), *waited, *ratios, early, order))
    head = ("source", "outcomes", "waited, median (ms)", "p95", "waited / (2 · bound), median", "p95")
    return markdown(
        (*head, "released before its time", "began after a release elsewhere, timestamp not later"), rows, ""
    )


def commit_wait_clear(results: Results) -> str:
    """Return, in a sentence, the questions that were clear at first for every event and so wait for nothing."""
    clear = {(cell.source, cell.question): cell.evaluable for cell in results.commit_wait.cells if not cell.ambiguous}
    if not clear:
        return ""
    parts = [f"{source} {question.replace('_', ' ')} ({events})" for (source, question), events in clear.items()]
    listed = ", ".join(parts)
    return f"Nothing was ambiguous at first, so waiting had nothing to add ((event, worker) pairs judged): {listed}."


def commit_wait(results: Results) -> str:
    """Return what re-measuring made certain, where anything was ambiguous at first."""
    claimed = {(one.source, one.delay_s): one for one in results.commit_wait.widths}
    rows = []
    for cell in results.commit_wait.cells:
        if not cell.ambiguous:
            continue
        width = claimed[cell.source, cell.delay_s]
        rows.append(
            (
                cell.source,
                cell.question.replace("_", " "),
                f"{cell.delay_s:g}",
                share(cell.at_first),
                share(cell.certain_after),
                "not evaluable" if cell.proved is None else cell.proved,
                "not evaluable" if cell.violated is None else cell.violated,
                share(cell.contained_after),
                cell.ambiguous - cell.remeasured,
                number(None if width.half_width_ms.median is None else 1000 * width.half_width_ms.median),
                width.claim,
                number(width.late_ms.maximum, 2),
            )
        )
    head = ("source", "question", "delay (s)", "ambiguous at first", "certain after")
    after = ("of these proved", "of these violated", "receive interval contains the truth", "not re-measured")
    return markdown(
        (*head, *after, "half-width claimed, median (µs)", "which is", "latest measurement (ms late)"),
        rows,
        "Nothing that was ambiguous at first was re-measured.",
    )


def hypotheses(judged: Sequence[Judged]) -> str:
    """Return what each hypothesis says, what was measured, and what follows; ``methods`` says how."""
    rows = [
        (
            judgement.hypothesis.statement,
            judgement.hypothesis.threshold,
            judgement.measured,
            f"**{judgement.status}**: {judgement.reason}" if judgement.reason else f"**{judgement.status}**",
        )
        for judgement in judged
    ]
    return markdown(("hypothesis", "threshold", "measured", "status"), rows)


def methods(judged: Sequence[Judged]) -> str:
    """Return, in a sentence, how the intervals of the hypotheses' rates were taken, each way once."""
    used = dict.fromkeys(judgement.method for judgement in judged if judgement.method)
    return f"About the 95 % intervals: {'; '.join(used)}." if used else ""


def findings(results: Results) -> str:
    """Return what the detectors found in the data."""
    rows = [(finding.severity, finding.code, finding.where, finding.message) for finding in results.findings]
    return markdown(("severity", "finding", "where", "what"), rows, "No detector found anything.")
