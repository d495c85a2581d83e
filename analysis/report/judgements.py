"""Tables of what the judges say: every source's decisions right, wrong or unknown; disagreements by cause; traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.report.cells import NONE, Grid, markdown, number, share, share_between
from analysis.run.readings import POINT
from analysis.stats import rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analysis.questions.judges import Judgement
    from analysis.results import Results
    from analysis.stats.rates import Rate

HEAD = ("by", "the judge can tell", "right", "wrong", "unknown", "left open, but the judge can tell (at least)")
INTERVAL = "interval"
WORDS = {
    "reference": "reference",
    "injected_truth": "injected truth",
    "own_oscillator": "own oscillator",
    "order_of_sending": "order of sending",
}


def reference_checks(results: Results) -> Grid:
    """Return the self-checks that gate every verdict against the reference."""
    rows = [
        (
            check.name.replace("_", " "),
            check.meaning,
            f"{check.held} of {check.checked}" if check.checked else "nothing to check",
            {True: "held", False: "**failed**", None: check.reason or "nothing to check"}[check.passed],
        )
        for check in results.reference.checks
    ]
    return markdown(("self-check", "what must hold", "held", "verdict"), rows, "")


def reference_pairs(results: Results) -> Grid:
    """Return what the reference of every pair of nodes rests on, and how wide it is."""
    rows = [
        (
            f"{pair.first} / {pair.second}",
            pair.joined,
            pair.lost,
            number(pair.rho_ppm, 3),
            pair.segments,
            NONE if pair.known_share is None else f"{100 * pair.known_share:.1f} %",
            number(pair.half_width_us.median, 2),
            number(pair.half_width_us.p95, 2),
            number(pair.half_width_us.maximum, 2),
            number(pair.support_age_ms.p95, 1),
            number(pair.hidden_step_us.maximum, 1),
        )
        for pair in results.reference.pairs
    ]
    head = (
        *("nodes", "probes joined", "lost", "relative drift at most (ppm)", "segments", "known of the probed time"),
        *("half-width there: median (µs)", "p95", "max"),
    )
    return markdown((*head, "nearest probe, p95 (ms)", "steps up to this (µs) may be hidden"), rows, "")


def causality(results: Results) -> Grid:
    """Return what the judges say of each source's causality, all workers together."""
    rows = []
    for cell in results.causality.totals:
        rows += _rows((cell.source, POINT), cell.point_against)
        if cell.interval_evaluable:
            rows += _rows((cell.source, INTERVAL), cell.interval_against)
    return markdown(("source", "clock", *HEAD), rows, "")


def ordering(results: Results) -> Grid:
    """Return what the judges say of who received first (all pairs), and of every worker's own order of two events."""
    rows = []
    for total in results.ordering.totals:
        rows += _rows(("who received first", total.source, total.clock), total.against)
    for agreed in results.ordering.agreement:
        rows += _rows(("own order of two events", agreed.source, agreed.clock), [agreed.against])
    return markdown(("question", "source", "clock", *HEAD), rows, "")


def windows(results: Results) -> Grid:
    """Return what the judges say of each source's windows, with one clock for all: all but what is right throughout."""
    rows = []
    for cell in results.windows.cells:
        rows += _rows((cell.source, cell.width_ms, POINT), _not_all_right(cell.point_against))
        if cell.bounded:
            rows += _rows((cell.source, cell.width_ms, INTERVAL), _not_all_right(cell.interval_against))
    return markdown(("source", "width (ms)", "clock", *HEAD), rows, "")


def windows_all_right(results: Results) -> str:
    """Return, in a sentence, which windows were decided and right throughout, by every judge that could tell."""
    clean: dict[tuple[str, str, str], list[str]] = {}
    for cell in results.windows.cells:
        for clock, against in ((POINT, cell.point_against), (INTERVAL, cell.interval_against if cell.bounded else ())):
            for judgement in against:
                if not judgement.reason and not _not_all_right([judgement]):
                    clean.setdefault((cell.source, clock, WORDS[judgement.judge]), []).append(f"{cell.width_ms}")
    parts = [f"{source} {clock} by the {judge} ({', '.join(of)} ms)" for (source, clock, judge), of in clean.items()]
    return f"Every event decided, and every decision right: {'; '.join(parts)}." if parts else ""


def _not_all_right(against: Iterable[Judgement]) -> list[Judgement]:
    return [
        judgement
        for judgement in against
        if judgement.right is None
        or judgement.judge_decided is None
        or not (judgement.right.numerator == judgement.right.denominator == judgement.judge_decided.denominator > 0)
    ]


def disagreements(results: Results) -> Grid:
    """Return why workers disagree: about windows by each judge that can judge, about order by their own oscillators."""
    rows: list[tuple[object, ...]] = []
    for cell in results.windows.cells:
        for split in cell.splits:
            if split.reason:
                continue
            rest = split.disagreements - split.truly_differ - split.by_clocks
            counts = (split.disagreements, _more(split.truly_differ, rest), _more(split.by_clocks, rest), rest)
            rows.append((f"window {cell.width_ms} ms", cell.source, POINT, WORDS[split.judge], *counts))
    for agreed in results.ordering.agreement:
        unequal = agreed.evaluable - agreed.same.numerator
        rest = unequal - agreed.truly_differ - agreed.by_clocks
        counts = (unequal, _more(agreed.truly_differ, rest), _more(agreed.by_clocks, rest), rest)
        rows.append(("order of two events", agreed.source, agreed.clock, WORDS[agreed.against.judge], *counts))
    head = ("about", "source", "clock", "by", "disagreements", "truly different", "caused by the clocks", "unknown")
    return markdown(head, rows, "")


def commit_wait(results: Results) -> Grid:
    """Return what the judges say of the causality that re-measuring decided."""
    rows = []
    for cell in results.commit_wait.cells:
        if cell.ambiguous and cell.question == "causality":
            rows += _rows((cell.source, f"{cell.delay_s:g}"), cell.against)
    return markdown(("source", "delay (s)", *HEAD), rows, "")


def traffic(results: Results) -> Grid:
    """Return the messages and bytes of each clock: its rounds, its own questions, and what it rests on."""

    def between(counts: dict[str, int | None], unit: str) -> str:
        least, most = counts[f"{unit}_at_least"], counts[f"{unit}_at_most"]
        return _count(least) if least == most else f"{_count(least)} to {_count(most)}"

    cost = results.coordination
    rows = []
    for source, clock in dict.fromkeys((one.source, one.clock) for one in cost.costs):
        told = cost.traffic(source, clock)
        polled = next(polling for polling in cost.pollings if polling.source == source)
        questions = (polled.messages, polled.bytes) if not polled.reason else (polled.reason, None)
        rounds, total = told["rounds_only"], told["with_what_it_rests_on"]
        rows.append(
            (
                source,
                clock,
                told["decisions"],
                *(between(rounds, unit) for unit in ("messages", "bytes")),
                *(
                    question if question is None or isinstance(question, str) else _count(question)
                    for question in questions
                ),
                polled.rests_on,
                *(between(total, unit) for unit in ("messages", "bytes")),
            )
        )
    head = ("source", "clock", "decisions", "messages of rounds", "bytes", "own questions: messages", "bytes")
    return markdown((*head, "rests on", "all messages", "all bytes"), rows, "")


def _count(value: int | None) -> str:
    return "not evaluable" if value is None else f"{value:,}"


def _up_to(least: Rate | None, opposite_least: Rate | None) -> str:
    """Return a share that is at least one rate, and at most what is left of another; the judge cannot tell the rest."""
    if least is None or opposite_least is None:
        return "not evaluable"
    return share_between(least, rates.opposite(opposite_least))


def _more(count: int, unknown: int) -> str:
    """Return a count to which some that nobody knows may belong."""
    return f"{count}" if not unknown else f"{count} to {count + unknown}"


def _rows(head: Sequence[object], against: Iterable[Judgement]) -> list[tuple[object, ...]]:
    """Return one row per judge that can judge; whoever cannot is named once, in the report's words on the judges."""
    return [
        (
            *head,
            WORDS[judgement.judge],
            share(judgement.judge_decided),
            _up_to(judgement.right, judgement.wrong),
            _up_to(judgement.wrong, judgement.right),
            share(judgement.unknown),
            share(judgement.needless),
        )
        for judgement in against
        if not judgement.reason
    ]
