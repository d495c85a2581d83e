"""Ordering: which worker received first, and whether all workers put two events in the same order.

Who first: per event and pair of workers, the relation of their two receipts; right or wrong only against a known truth.
Agreement: for events i, j sent within 1 s of each other, each worker labels its own two receipts (before, after,
ambiguous); agreement is the share of pairs on which all workers give the same label, with the decided share beside it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis import cli, statistics, verdicts
from analysis.readings import POINT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from analysis.readings import Readings, Table

STATISTICS_FILE = "ordering_stats.json"
FIGURE = "ordering_consensus"

PAIR_SPAN_NS: Final = 1_000_000_000
MAX_PAIRS: Final = 1_000_000  # beyond it a stratified sample is judged, and the report says how many of how many
SAMPLE_SEED: Final = 20251025

INTERVAL: Final = "interval"


@dataclass(frozen=True)
class WhoFirst:
    """One source's labels of which of two workers received first. ``wrong`` is None where no truth is known."""

    source: str
    clock: str  # POINT or INTERVAL
    pair: tuple[str, str]
    events: int
    evaluable: int
    first_before: int
    second_before: int
    ambiguous: int
    wrong: int | None
    truth_known: int


@dataclass(frozen=True)
class Agreement:
    """One source's agreement of all workers on the order of pairs of events.

    ``same``: all labels equal (all ambiguous is equal, too); ``decided``: no label ambiguous; ``same_decided``: both.
    ``wrong`` counts pairs that at least one worker decided against the true order of its own receipts.
    """

    source: str
    clock: str
    pairs: int
    evaluable: int
    same: int
    decided: int
    same_decided: int
    wrong: int | None
    truth_known: int


@dataclass(frozen=True)
class Ordering:
    """Both questions' answers. ``pairs_judged`` of ``pairs_total`` pairs were judged (all, or a stratified sample)."""

    workers: tuple[str, ...]
    pairs_total: int
    pairs_judged: int
    who_first: tuple[WhoFirst, ...]
    agreement: tuple[Agreement, ...]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {clock: {agreement, decided, …, who_first}}}}`` and the differences."""
        sources: dict[str, dict[str, Any]] = {}
        for one in self.agreement:
            wrong = None if one.wrong is None else statistics.rate(one.wrong, one.truth_known).as_dict()
            sources.setdefault(one.source, {})[one.clock] = {
                "agreement": statistics.rate(one.same, one.evaluable).as_dict(),
                "decided": statistics.rate(one.decided, one.evaluable).as_dict(),
                "agreement_decided": statistics.rate(one.same_decided, one.evaluable).as_dict(),
                "wrong_decided": wrong,
                "not_evaluable_pairs": one.pairs - one.evaluable,
                "who_first": {},
            }
        for first in self.who_first:
            entry = asdict(first) | {"correctness": "not_evaluable"}
            if first.wrong is not None:
                entry["correctness"] = statistics.rate(first.wrong, first.truth_known).as_dict()
            sources.setdefault(first.source, {}).setdefault(first.clock, {"who_first": {}})["who_first"][
                "/".join(first.pair)
            ] = entry
        return {
            "workers": list(self.workers),
            "pair_span_ms": PAIR_SPAN_NS // 1_000_000,
            "pairs_total": self.pairs_total,
            "pairs_judged": self.pairs_judged,
            "sampling": "all pairs" if self.pairs_judged == self.pairs_total else "stratified sample, fixed seed",
            "sources": sources,
            "differences": _differences(sources),
        }


def compute(table: Table) -> Ordering:
    """Judge who received first and whether the workers agree on the order of nearby events."""
    first, second, total = nearby_pairs(table.sent.ns, table.sent.known)
    agreement = []
    if len(table.present) > 1:
        for source, clock in clocks(table):
            agreement.append(_agreement(table, source, clock, first, second))
    who_first = [
        _who_first(table, source, clock, pair)
        for source, clock in clocks(table)
        for pair in combinations(table.present, 2)
    ]
    return Ordering(table.present, total, len(first), tuple(who_first), tuple(agreement))


def clocks(table: Table) -> list[tuple[str, str]]:
    """Return every (source, clock) to judge: each source as a point, and as an interval where it has any."""
    found = []
    for source in table.sources:
        found.append((source, POINT))
        if any(table.readings(node, source).bounded.any() for node in table.nodes):
            found.append((source, INTERVAL))
    return found


def nearby_pairs(
    sent_ns: NDArray[np.int64], known: NDArray[np.bool_], span_ns: int = PAIR_SPAN_NS, most: int = MAX_PAIRS
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return positions (i, j) of events sent within ``span_ns`` of each other, i before j, and how many there are.

    Beyond ``most`` pairs, one pair is drawn from each of ``most`` equal stretches of the list of all pairs (ordered by
    time, then by distance), with a fixed seed; time and memory then stay bounded.
    """
    positions = np.flatnonzero(known)
    positions = positions[np.argsort(sent_ns[positions], kind="stable")]
    times = sent_ns[positions]
    followers = np.searchsorted(times, times + span_ns, side="right") - np.arange(len(times)) - 1
    ends = np.cumsum(followers)
    total = int(ends[-1]) if len(ends) else 0
    if total <= most:
        numbers = np.arange(total)
    else:
        edges = np.arange(most + 1) * (total / most)
        low = np.floor(edges[:-1]).astype(np.int64)
        high = np.maximum(np.floor(edges[1:]).astype(np.int64), low + 1)
        numbers = np.random.default_rng(SAMPLE_SEED).integers(low, high)
    first = np.searchsorted(ends, numbers, side="right")
    second = first + 1 + numbers - (ends[first] - followers[first])
    return positions[first], positions[second], total


def _agreement(table: Table, source: str, clock: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> Agreement:
    labels, wrong, judged = [], np.zeros(len(first), dtype=np.bool_), np.ones(len(first), dtype=np.bool_)
    truth_known = False
    for worker in table.present:
        own = _own_labels(table.readings(worker, source), clock, first, second)
        true = table.truth(worker)
        if true is not None:
            truth_known = True
            order = verdicts.true_order(true.ns[first], true.ns[second], true.known[first] & true.known[second])
            wrong |= verdicts.wrong(own, order)
        labels.append(own)
        judged &= own != verdicts.NOT_EVALUABLE
    same = judged & np.all([own == labels[0] for own in labels], axis=0)
    decided = judged & np.all([own != verdicts.AMBIGUOUS for own in labels], axis=0)
    return Agreement(
        source=source,
        clock=clock,
        pairs=len(first),
        evaluable=int(judged.sum()),
        same=int(same.sum()),
        decided=int(decided.sum()),
        same_decided=int((same & decided).sum()),
        wrong=int((wrong & judged).sum()) if truth_known else None,
        truth_known=int(judged.sum()) if truth_known else 0,
    )


def _own_labels(own: Readings, clock: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return one worker's own labels of its two receipts, pair by pair."""
    relation = verdicts.points if clock == POINT else verdicts.intervals
    return relation(own.take(first), own.take(second))


def _who_first(table: Table, source: str, clock: str, pair: tuple[str, str]) -> WhoFirst:
    one, other = (table.readings(worker, source) for worker in pair)
    labels = verdicts.points(one, other) if clock == POINT else verdicts.intervals(one, other)
    truths = [table.truth(worker) for worker in pair]
    wrong, truth_known = None, 0
    if truths[0] is not None and truths[1] is not None:
        known = truths[0].known & truths[1].known
        order = verdicts.true_order(truths[0].ns, truths[1].ns, known)
        wrong = int(verdicts.wrong(labels, order).sum())
        truth_known = int((known & (labels != verdicts.NOT_EVALUABLE)).sum())
    return WhoFirst(
        source=source,
        clock=clock,
        pair=pair,
        events=len(labels),
        evaluable=int((labels != verdicts.NOT_EVALUABLE).sum()),
        first_before=verdicts.count(labels, verdicts.BEFORE),
        second_before=verdicts.count(labels, verdicts.AFTER),
        ambiguous=verdicts.count(labels, verdicts.AMBIGUOUS),
        wrong=wrong,
        truth_known=truth_known,
    )


def _differences(sources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return, per source but ntp, its agreement minus NTP's, like with like, in percentage points."""
    result: dict[str, Any] = {}
    for source, clocks_of in sources.items():
        for clock in (POINT, INTERVAL):
            mine = clocks_of.get(clock, {}).get("agreement", {})
            theirs = sources.get("ntp", {}).get(clock, {}).get("agreement", {})
            if source != "ntp" and mine.get("value") is not None and theirs.get("value") is not None:
                points = 100 * (mine["value"] - theirs["value"])
                own, ntp = (f"{one['numerator']} of {one['denominator']}" for one in (mine, theirs))
                remark = None
                if theirs["value"] == 1:
                    remark = f"no room to improve ({f'{own} with both' if own == ntp else f'NTP agrees on {ntp}'})"
                result.setdefault(source, {})[clock] = {
                    "agreement_minus_ntp_points": points,
                    "in_words": f"{points:+.2f} percentage points ({own} pairs of events; NTP {ntp})",
                    "remark": remark,
                }
    return result


def analyze(experiment_dir: str | Path) -> dict[str, Any]:
    """Return the ordering statistics of a run folder."""
    return compute(cli.table_of(experiment_dir)).as_statistics()


def generate_figure(experiment_dir: str | Path, output_dir: str | Path) -> list[Path]:
    """Draw ``ordering_consensus`` of a run folder as PNG and PDF; return their paths."""
    return cli.draw(FIGURE, compute(cli.table_of(experiment_dir)), output_dir)


def main(argv: list[str] | None = None) -> int:
    """Print the statistics of one experiment as JSON and draw its figure."""
    return cli.main(__doc__, analyze, generate_figure, argv)


if __name__ == "__main__":
    raise SystemExit(main())
