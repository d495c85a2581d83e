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
            f"{one.first} / {one.second}",
            one.joined,
            one.lost,
            number(one.rho_ppm, 3),
            one.segments,
            NONE if one.known_share is None else f"{100 * one.known_share:.1f} %",
            number(one.half_width_us.median, 2),
            number(one.half_width_us.p95, 2),
            number(one.half_width_us.maximum, 2),
            number(one.support_age_ms.p95, 1),
            number(one.hidden_step_us.maximum, 1),
        )
        for one in results.reference.pairs
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
    for one in results.ordering.totals:
        rows += _rows(("who received first", one.source, one.clock), one.against)
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
            for one in against:
                if not one.reason and not _not_all_right([one]):
                    clean.setdefault((cell.source, clock, WORDS[one.judge]), []).append(f"{cell.width_ms}")
    parts = [f"{source} {clock} by the {judge} ({', '.join(of)} ms)" for (source, clock, judge), of in clean.items()]
    return f"Every event decided, and every decision right: {'; '.join(parts)}." if parts else ""


def _not_all_right(against: Iterable[Judgement]) -> list[Judgement]:
    return [
        one
        for one in against
        if one.right is None
        or one.judge_decided is None
        or not (one.right.numerator == one.right.denominator == one.judge_decided.denominator > 0)
    ]


def disagreements(results: Results) -> Grid:
    """Return why workers disagree: about windows by each judge that can judge, about order by their own oscillators."""
    rows: list[tuple[object, ...]] = []
    for cell in results.windows.cells:
        for one in cell.splits:
            if one.reason:
                continue
            rest = one.disagreements - one.truly_differ - one.by_clocks
            counts = (one.disagreements, _more(one.truly_differ, rest), _more(one.by_clocks, rest), rest)
            rows.append((f"window {cell.width_ms} ms", cell.source, POINT, WORDS[one.judge], *counts))
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
        polled = next(one for one in cost.pollings if one.source == source)
        questions = (polled.messages, polled.bytes) if not polled.reason else (polled.reason, None)
        rounds, total = told["rounds_only"], told["with_what_it_rests_on"]
        rows.append(
            (
                source,
                clock,
                told["decisions"],
                *(between(rounds, unit) for unit in ("messages", "bytes")),
                *(one if one is None or isinstance(one, str) else _count(one) for one in questions),
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
            WORDS[one.judge],
            share(one.judge_decided),
            _up_to(one.right, one.wrong),
            _up_to(one.wrong, one.right),
            share(one.unknown),
            share(one.needless),
        )
        for one in against
        if not one.reason
    ]
