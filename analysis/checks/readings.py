"""What is wrong with a run's readings: which are missing, which are no measurements, and how samples serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.by_event.event_rows import Instants, floats, integers
from analysis.by_event.table import NOT_ASKED
from analysis.checks import source_rows
from analysis.checks.finding import ERROR, NOTE, SHOWN, WARNING, Finding, clock, reasons, some
from analysis.clocks import offset_levels
from analysis.run import load
from analysis.run import series as runs
from analysis.run.stored import parts_of
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analysis.arrays import Floats
    from analysis.checks.finding import Severity
    from analysis.checks.source_rows import Series
    from analysis.run.load import Run

    Wrong = Iterator[tuple[str, Severity, str, dict[str, Any]]]  # code, severity, message, numbers

ROUNDING_NS: Final = 1_000  # older files round instants to 256 ns
MIN_ANSWERS: Final = 5  # so many different answers with one uncertainty are a constant, not a coincidence
MIN_ROWS: Final = 10
FLOOR_MS: Final = 1e-3  # ntpd's jitter is never less than its precision, some 0.1 us
NEAR_MS: Final = 0.05  # half of the way from one round number to the next
OFTENER: Final = 5  # than other numbers near by
SHARED_ROWS: Final = 20
SHARE_NOTED: Final = 0.2  # of a node's rows on one sample
SHARE_WARNED: Final = 0.5
WARM_STATUSES: Final = (records.NEVER_SAMPLED, records.NOT_YET_VALID)


class _Range(NamedTuple):
    """Where one source's offsets (ms) on one node lie, how many there are, and how many estimates; 0 of none."""

    node: str
    prefix: str
    estimates: int
    offsets: int
    lowest: float
    highest: float

    @classmethod
    def of(cls, series: Series) -> _Range:
        offsets = series.offsets
        estimates = int(integers(series.frame, f"{series.prefix}_timestamp_ns")[1].sum())
        ends = (float(offsets.min()), float(offsets.max())) if len(offsets) else (0.0, 0.0)
        return cls(series.node, series.prefix, estimates, len(offsets), *ends)


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about readings, check by check."""
    found: list[list[Finding]] = [[] for _ in CHECKS]
    every = []
    for series in source_rows.every(run):
        for of_check, check in zip(found, CHECKS, strict=True):
            for code, severity, text, numbers in check(series):
                of_check.append(Finding(code, severity, series.node, series.source, text, numbers))
        every.append(_Range.of(series))
    if runs.has_events(run.manifest):
        yield from _mixed_domains(run, every)
    for of_check in found:
        yield from of_check
    yield from _one_sign(run, every)


# --- several nodes ----------------------------------------------------------------------------------------------------


def _by_prefix(every: Sequence[_Range]) -> dict[str, list[_Range]]:
    by_prefix: dict[str, list[_Range]] = {}
    for of_node in every:
        by_prefix.setdefault(of_node.prefix, []).append(of_node)
    return by_prefix


def _mixed_domains(run: Run, every: Sequence[_Range]) -> Iterator[Finding]:
    coordinator = run.manifest.coordinator_id
    for prefix, of_source in _by_prefix(every).items():
        there = {of_node.node: of_node.estimates for of_node in of_source}
        counts = {node: there.get(node, 0) for node in run.rows_by_node()}
        have = [node for node, count in counts.items() if count and node != coordinator]
        if have and not counts[coordinator]:
            source = load.source_name(prefix)
            text = (
                f"{', '.join(have)} have {source} readings and the coordinator has none: a receive time of this source "
                f"can only be compared with a send time of another clock, which mixes a corrected with an uncorrected "
                f"time; causality is not evaluable"
            )
            yield Finding("mixed-domains", ERROR, coordinator, source, text, {"readings": counts})


def _one_sign(run: Run, every: Sequence[_Range]) -> Iterator[Finding]:
    """State that all nodes lie on one side of a server, where no sample is there to tell a clock from a path delay."""
    for prefix, of_source in _by_prefix([of_node for of_node in every if of_node.offsets]).items():
        source, count = load.source_name(prefix), len(of_source)
        sampled = any(bool((frame["source"] == source).any()) for frame in run.samples.values())
        if count < 2 or sampled or any(of_node.offsets < MIN_ROWS for of_node in of_source):
            continue
        highest = {of_node.node: of_node.highest for of_node in of_source}
        lowest = {of_node.node: of_node.lowest for of_node in of_source}
        if max(highest.values()) < 0:
            sign, edges = "negative", highest
        elif min(lowest.values()) > 0:
            sign, edges = "positive", lowest
        else:
            continue
        nearest = ", ".join(f"{node} {value:.3f}" for node, value in edges.items())
        text = (
            f"{prefix}_offset_ms is always {sign} on all {count} nodes (nearest to zero, in ms: {nearest}); "
            f"a path delay mistaken for an offset looks like this, and without the samples (T1..T4) nothing can tell"
        )
        numbers = {"sign": sign, "highest_ms": highest, "lowest_ms": lowest}
        yield Finding("one-sign-offset", WARNING, "", source, text, numbers)


# --- which are missing ------------------------------------------------------------------------------------------------


def _unavailable(series: Series) -> Wrong:
    rows, statuses = len(series.frame), series.statuses
    why = {
        name: count for name, count in statuses.items() if name not in {records.OK, records.NOT_CONFIGURED, NOT_ASKED}
    }
    if why and records.OK in statuses:
        text = f"{series.source} has no reading in {sum(why.values()):,} of {rows:,} rows: {reasons(why)}"
        yield "unavailable-readings", WARNING, text, {"statuses": statuses, "rows": sum(why.values()), "of": rows}
    elif why:
        text = f"{series.source} never had a reading in {rows:,} rows: {reasons(statuses)}"
        if not series.required:
            text += "; it is not among clocks.required, and what is said of the other sources does not need it"
        numbers = {"statuses": statuses, "rows": sum(why.values()), "of": rows}
        yield "never-ready", ERROR if series.required else WARNING, text, numbers


def _warm_up(series: Series) -> Wrong:
    """Find the rows before a source had its first answer: events that were sent before the node was ready for them."""
    status = series.frame[f"{series.prefix}_status"]
    ready = (status == records.OK).fillna(value=False).to_numpy(dtype=np.bool_)
    warming = int(status.iloc[: int(ready.argmax())].isin(WARM_STATUSES).sum()) if ready.any() else 0
    if warming:
        text = (
            f"the first {warming:,} of {len(ready):,} rows are from before {series.source} had an answer: events were "
            f"sent before this node was ready"
        )
        yield "warm-up-rows", WARNING, text, {"rows": warming, "of": len(ready)}


# --- which are no measurements ----------------------------------------------------------------------------------------


def _constant_uncertainty(series: Series) -> Wrong:
    known, answers = series.known, len(series.first_rows)
    if len(known) >= MIN_ROWS and answers >= MIN_ANSWERS and known.min() == known.max():
        floor = series.of_a_log and known[0] < FLOOR_MS
        what = "the least that the program writes" if floor else "a constant"
        text = (
            f"{series.prefix}_uncertainty_ms is {known[0]:g} in every one of {len(known):,} rows, over "
            f"{answers:,} different answers: {what}, not a measurement"
        )
        numbers = {"value_ms": float(known[0]), "rows": len(known), "answers": answers}
        yield "constant-uncertainty", WARNING if floor else ERROR, text, numbers


def _placeholder_uncertainty(series: Series) -> Wrong:
    known = series.known
    found = placeholders(known)
    elsewhere_ms = float(np.median(known[known != np.round(known, 1)])) if found else 0.0
    for value, count in found:
        text = (
            f"{series.prefix}_uncertainty_ms is exactly {value:g} in {count:,} of {len(known):,} rows and not "
            f"round elsewhere (median {elsewhere_ms:.3g}): a stand-in, no measurement"
        )
        numbers = {"value_ms": value, "rows": count, "of": len(known), "elsewhere_median_ms": elsewhere_ms}
        yield "placeholder-uncertainty", WARNING, text, numbers


def placeholders(known: Floats) -> list[tuple[float, int]]:
    """Return which round numbers (multiples of 0.1, in ms) are among numbers that are not, and how often each is.

    A measurement hits one by chance only, as often as any other number near by: of ten million every number comes some
    times. So one that is no oftener there than five times that is none.
    """
    is_round = known == np.round(known, 1)
    if not len(known) or not is_round.any() or np.mean(is_round) > 0.5:
        return []
    values, rows = np.unique(known[is_round & (known > 0)], return_counts=True)
    often = rows >= MIN_ROWS
    if not often.any():
        return []
    others = np.sort(known[~is_round])
    found = []
    for value, count in zip(values[often].tolist(), rows[often].tolist(), strict=True):
        near = others[slice(*np.searchsorted(others, [value - NEAR_MS, value + NEAR_MS]))]
        different = 1 + np.count_nonzero(np.diff(near))
        if count > OFTENER * len(near) / different:
            found.append((value, count))
    return found


def _clamps(series: Series) -> Wrong:
    rows, spikes = len(series.offsets), offset_levels.spikes(series.offsets)
    clamps = offset_levels.clamps(series.offsets, spikes)
    for clamp in clamps:
        plus, minus = clamp.plus, clamp.minus
        text = (
            f"{series.prefix}_offset_ms is exactly {clamp.limit:+g} in {plus.rows:,} and exactly {-clamp.limit:+g} in "
            f"{minus.rows:,} of {rows:,} rows (in {plus.spells} and {minus.spells} separate stretches), {clamp.near:,} "
            f"more lie within {offset_levels.NEAR_MS * 1000:g} us of them: a clamp at ±{clamp.limit:g} ms, not a "
            f"prediction"
        )
        numbers = {"limit_ms": clamp.limit, "rows_at_plus": plus.rows, "rows_at_minus": minus.rows,
                   "rows_near": clamp.near, "of": rows, "stretches_at_plus": plus.spells,
                   "stretches_at_minus": minus.spells}  # fmt: skip
        yield "clamped-offset", ERROR, text, numbers
    limits = {clamp.limit for clamp in clamps}
    again = [spike for spike in spikes if abs(spike.value) not in limits]
    if again:
        shown = ", ".join(f"{spike.value:.6g} ({spike.rows:,} rows)" for spike in again[:SHOWN])
        text = (
            f"{series.prefix}_offset_ms comes back to exactly the same value in separate stretches: {shown}; an old "
            f"answer served again, or a limit"
        )
        repeated = {"values_ms": [spike.value for spike in again], "rows": [spike.rows for spike in again]}
        yield "repeated-offset", WARNING, text, repeated


def _levels(series: Series) -> Wrong:
    widths = series.half_widths_ms[~np.isnan(series.half_widths_ms)]
    resolution_ms = 2.0 * float(np.median(widths)) if len(widths) else 0.0
    levels = offset_levels.levels(series.offsets, series.first_rows, resolution_ms)
    if len(levels) < 2:
        return
    stretches = [
        (levels[stretch.level].median, int(series.stamps[stretch.first]), int(series.stamps[stretch.last]))
        for stretch in offset_levels.stretches(series.offsets, series.first_rows, levels)
    ]
    shown = [f"{level_ms:.1f} from {clock(first)} to {clock(last)}" for level_ms, first, last in stretches]
    text = (
        f"{series.prefix}_offset_ms sits at {len(levels)} levels, "
        f"{' and '.join(f'{level.median:.2f} ms ({level.rows:,} rows)' for level in levels)}; stretches of 3 answers "
        f"or more: {some(shown, '; ', ' stretches')} (UTC): the clock was stepped or the measurement (its path, its "
        f"server) changed"
    )
    keys = ("level_ms", "from_ns", "to_ns")
    numbers: dict[str, Any] = {
        "levels_ms": [level.median for level in levels],
        "rows": [level.rows for level in levels],
        "stretches": [dict(zip(keys, stretch, strict=True)) for stretch in stretches],
    }
    yield "offset-levels", WARNING, text, numbers


def _disagreeing_columns(series: Series) -> Wrong:
    wrong, of, most_ns = 0, 0, 0
    for (rows,) in parts_of(series.frame):
        estimate, stamp = (Instants(*integers(rows, name)) for name in (f"{series.prefix}_timestamp_ns", series.stamp))
        offsets = floats(rows, f"{series.prefix}_offset_ms")
        there = estimate.known & stamp.known & ~np.isnan(offsets)
        off = np.abs(estimate.ns[there] - stamp.ns[there] - np.rint(offsets[there] * 1e6).astype(np.int64))
        wrong += int(np.count_nonzero(off > ROUNDING_NS))
        of += len(off)
        most_ns = max(most_ns, int(off.max(initial=0)))
    if wrong:
        text = (
            f"{series.prefix}_timestamp_ns is not the stamp plus {series.prefix}_offset_ms in {wrong:,} of "
            f"{of:,} rows (by up to {most_ns / 1e6:.3f} ms): the two columns are of different readings"
        )
        yield "disagreeing-columns", ERROR, text, {"rows": wrong, "of": of, "max_ns": most_ns}


# --- which samples served them ----------------------------------------------------------------------------------------


def _overused(series: Series) -> Wrong:
    served = series.samples[series.samples >= 0]
    if not len(served):
        return
    counts = np.bincount(served)
    most = int(counts.argmax())
    rows, share = int(counts[most]), float(counts[most] / len(served))
    if rows >= SHARED_ROWS and share > SHARE_NOTED:
        stamps_ns = integers(series.frame, series.stamp)[0][series.samples == most]
        span_s = float(np.ptp(stamps_ns)) / 1e9
        text = (
            f"one sample ({series.sample_names[most]}) served {rows:,} of {len(served):,} rows, over "
            f"{span_s:.1f} s, and all rows rest on {len(counts):,} {'sample' if len(counts) == 1 else 'samples'}: they "
            f"stand or fall together, and count as no more trials than that"
        )
        numbers = {"sample_id": str(series.sample_names[most]), "rows": rows, "of": len(served), "samples": len(counts),
                   "span_s": span_s}  # fmt: skip
        yield "overused-sample", WARNING if share > SHARE_WARNED else NOTE, text, numbers


CHECKS: Final[tuple[Callable[[Series], Wrong], ...]] = (
    _unavailable, _constant_uncertainty, _placeholder_uncertainty, _clamps, _levels, _disagreeing_columns, _overused,
    _warm_up,
)  # fmt: skip
