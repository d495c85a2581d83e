"""What is wrong with a run's readings: which are missing, and which do not look like measurements of a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from analysis.checks.finding import SHOWN, Finding, clock, reasons
from analysis.clocks import offset_levels
from analysis.run import load
from analysis.run.readings import NO_STATUS
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from analysis.run.load import Run

ROUNDING_NS: Final = 1_000  # older files round instants to 256 ns
MIN_ANSWERS: Final = 5  # so many different answers with one uncertainty are a constant, not a coincidence
MIN_ROWS: Final = 10


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about readings, detector by detector."""
    for detector in (_mixed_domains, _never_ready, _unavailable):
        yield from detector(run)
    numbers = tuple(_series(run))  # made once: a long run has millions of rows
    for judge in (_constant_uncertainty, _placeholder_uncertainty, _clamps, _levels):
        yield from judge(numbers)
    yield from _one_sign(run, numbers)
    for detector in (_disagreeing_columns, _disordered_bounds):
        yield from detector(run)


@dataclass(frozen=True)
class _Series:
    """One source's readings on one node, in file order, as far as they are numbers."""

    node: str
    prefix: str
    stamps: NDArray[np.int64]
    offsets: NDArray[np.float64]
    uncertainties: NDArray[np.float64]
    half_widths_ms: NDArray[np.float64]
    sample_ids: NDArray[np.int64] | None  # a number for each

    @property
    def source(self) -> str:
        return load.source_name(self.prefix)

    @property
    def first_rows(self) -> NDArray[np.intp]:
        return offset_levels.answers(self.offsets, self.sample_ids)


def _mixed_domains(run: Run) -> Iterator[Finding]:
    coordinator = run.manifest.coordinator_id
    for prefix in load.prefixes(run.rows_by_node().values()):
        counts = {node: _available(frame, prefix) for node, frame in run.rows_by_node().items()}
        have = [node for node, count in counts.items() if count and node != coordinator]
        if have and not counts[coordinator]:
            text = (
                f"{', '.join(have)} have {load.source_name(prefix)} readings and the coordinator has none: a receive "
                f"time of this source can only be compared with a send time of another clock, which mixes a corrected "
                f"with an uncorrected time; causality is not evaluable"
            )
            yield Finding("mixed-domains", "error", coordinator, load.source_name(prefix), text, {"readings": counts})


def _never_ready(run: Run) -> Iterator[Finding]:
    for prefix in load.prefixes(run.rows_by_node().values()):
        for node, frame in run.rows_by_node().items():
            statuses = _statuses(frame, prefix)
            if statuses and records.OK not in statuses and set(statuses) != {records.NOT_CONFIGURED}:
                source = load.source_name(prefix)
                text = f"{source} never had a reading in {len(frame):,} rows: {reasons(statuses)}"
                yield Finding("never-ready", "error", node, source, text, {"statuses": statuses})


def _unavailable(run: Run) -> Iterator[Finding]:
    for prefix in load.prefixes(run.rows_by_node().values()):
        for node, frame in run.rows_by_node().items():
            statuses = _statuses(frame, prefix)
            why = {name: count for name, count in statuses.items() if name not in {records.OK, records.NOT_CONFIGURED}}
            if why and records.OK in statuses:
                source = load.source_name(prefix)
                gone = sum(why.values())
                text = f"{source} has no reading in {gone:,} of {len(frame):,} rows: {reasons(why)}"
                yield Finding("unavailable-readings", "warning", node, source, text, {"statuses": statuses})


def _constant_uncertainty(numbers_of: Sequence[_Series]) -> Iterator[Finding]:
    for series in numbers_of:
        known = series.uncertainties[~np.isnan(series.uncertainties)]
        if len(known) < MIN_ROWS or len(series.first_rows) < MIN_ANSWERS or known.min() != known.max():
            continue
        text = (
            f"{series.prefix}_uncertainty_ms is {known[0]:g} in every one of {len(known):,} rows, over "
            f"{len(series.first_rows):,} different answers: a constant, not a measurement"
        )
        numbers = {"value_ms": float(known[0]), "rows": len(known), "answers": len(series.first_rows)}
        yield Finding("constant-uncertainty", "error", series.node, series.source, text, numbers)


def _placeholder_uncertainty(numbers_of: Sequence[_Series]) -> Iterator[Finding]:
    """Find a round number (a multiple of 0.1 ms) among numbers that are not: a measurement hits one by chance only."""
    for series in numbers_of:
        known = series.uncertainties[~np.isnan(series.uncertainties)]
        is_round = known == np.round(known, 1)
        if not len(known) or np.count_nonzero(is_round) in {0, len(known)} or np.mean(is_round) > 0.5:
            continue
        values, rows = np.unique(known[is_round & (known > 0)], return_counts=True)
        for value, count in zip(values.tolist(), rows.tolist(), strict=True):
            if count >= MIN_ROWS:
                elsewhere = float(np.median(known[~is_round]))
                text = (
                    f"{series.prefix}_uncertainty_ms is exactly {value:g} in {count:,} of {len(known):,} rows "
                    f"and not round elsewhere (median {elsewhere:.3g}): a stand-in, no measurement"
                )
                numbers = {"value_ms": value, "rows": count, "of": len(known)}
                yield Finding("placeholder-uncertainty", "warning", series.node, series.source, text, numbers)


def _clamps(numbers_of: Sequence[_Series]) -> Iterator[Finding]:
    for series in numbers_of:
        clamps = offset_levels.clamps(series.offsets)
        for clamp in clamps:
            text = (
                f"{series.prefix}_offset_ms is exactly {clamp.limit:+g} in {clamp.plus.rows:,} and exactly "
                f"{-clamp.limit:+g} in {clamp.minus.rows:,} of {len(series.offsets):,} rows (in {clamp.plus.spells} "
                f"and {clamp.minus.spells} separate stretches), {clamp.near:,} more lie within "
                f"{offset_levels.NEAR_MS * 1000:g} us of them: a clamp at ±{clamp.limit:g} ms, not a prediction"
            )
            numbers = {
                "limit_ms": clamp.limit,
                "rows_at_plus": clamp.plus.rows,
                "rows_at_minus": clamp.minus.rows,
                "rows_near": clamp.near,
                "of": len(series.offsets),
            }
            yield Finding("clamped-offset", "error", series.node, series.source, text, numbers)
        limits = {clamp.limit for clamp in clamps}
        again = [spike for spike in offset_levels.spikes(series.offsets) if abs(spike.value) not in limits]
        if again:
            shown = ", ".join(f"{spike.value:.6g} ({spike.rows:,} rows)" for spike in again[:SHOWN])
            text = (
                f"{series.prefix}_offset_ms comes back to exactly the same value in separate stretches: {shown}; an "
                f"old answer served again, or a limit"
            )
            repeated = {"values_ms": [spike.value for spike in again], "rows": [spike.rows for spike in again]}
            yield Finding("repeated-offset", "warning", series.node, series.source, text, repeated)


def _levels(numbers_of: Sequence[_Series]) -> Iterator[Finding]:
    for series in numbers_of:
        widths = series.half_widths_ms[~np.isnan(series.half_widths_ms)]
        resolution_ms = 2.0 * float(np.median(widths)) if len(widths) else 0.0
        levels = offset_levels.levels(series.offsets, series.first_rows, resolution_ms)
        if len(levels) < 2:
            continue
        stretches = offset_levels.stretches(series.offsets, series.first_rows, levels)
        known = [f"{level.median:.2f} ms ({level.rows:,} rows)" for level in levels]
        shown = [
            f"{levels[stretch.level].median:.1f} from {clock(series.stamps[stretch.first])} "
            f"to {clock(series.stamps[stretch.last])}"
            for stretch in stretches[:SHOWN]
        ]
        more = f" and {len(stretches) - SHOWN} more stretches" if len(stretches) > SHOWN else ""
        text = (
            f"{series.prefix}_offset_ms sits at {len(levels)} levels, {' and '.join(known)}; stretches of 3 answers "
            f"or more: "
            f"{'; '.join(shown)}{more} (UTC): the clock was stepped or the measurement (its path, its server) changed"
        )
        numbers = {
            "levels_ms": [level.median for level in levels],
            "rows": [level.rows for level in levels],
            "stretches": [
                {
                    "level_ms": levels[stretch.level].median,
                    "from_ns": int(series.stamps[stretch.first]),
                    "to_ns": int(series.stamps[stretch.last]),
                }
                for stretch in stretches
            ],
        }
        yield Finding("offset-levels", "warning", series.node, series.source, text, numbers)


def _one_sign(run: Run, numbers_of: Sequence[_Series]) -> Iterator[Finding]:
    """State that all nodes lie on one side of a server, where no sample is there to tell a clock from a path delay."""
    by_prefix: dict[str, list[_Series]] = {}
    for series in numbers_of:
        by_prefix.setdefault(series.prefix, []).append(series)
    for prefix, all_series in by_prefix.items():
        source = load.source_name(prefix)
        if len(all_series) < 2 or _has_samples(run, source) or any(len(s.offsets) < MIN_ROWS for s in all_series):
            continue
        highest = {series.node: float(series.offsets.max()) for series in all_series}
        lowest = {series.node: float(series.offsets.min()) for series in all_series}
        if max(highest.values()) < 0:
            sign, edges = "negative", highest
        elif min(lowest.values()) > 0:
            sign, edges = "positive", lowest
        else:
            continue
        nearest = ", ".join(f"{node} {value:.3f}" for node, value in edges.items())
        text = (
            f"{prefix}_offset_ms is always {sign} on all {len(all_series)} nodes (nearest to zero, in ms: {nearest}); "
            f"a path delay mistaken for an offset looks like this, and without the samples (T1..T4) nothing can tell"
        )
        numbers = {"sign": sign, "highest_ms": highest, "lowest_ms": lowest}
        yield Finding("one-sign-offset", "warning", "", source, text, numbers)


def _disagreeing_columns(run: Run) -> Iterator[Finding]:
    for node, frame in run.rows_by_node().items():
        stamp = frame[run.stamp_column(node)]
        for prefix in load.prefixes([frame]):
            rows = frame[f"{prefix}_offset_ms"].notna() & frame[f"{prefix}_timestamp_ns"].notna() & stamp.notna()
            if not rows.any():
                continue
            moved = (frame.loc[rows, f"{prefix}_timestamp_ns"] - stamp[rows]).to_numpy(dtype=np.int64)
            claimed = np.rint(frame.loc[rows, f"{prefix}_offset_ms"].to_numpy(dtype=np.float64) * 1e6).astype(np.int64)
            off = np.abs(moved - claimed)
            wrong = int(np.count_nonzero(off > ROUNDING_NS))
            if wrong:
                text = (
                    f"{prefix}_timestamp_ns is not the stamp plus {prefix}_offset_ms in {wrong:,} of {len(off):,} rows "
                    f"(by up to {int(off.max()) / 1e6:.3f} ms): the two columns are of different readings"
                )
                numbers = {"rows": wrong, "of": len(off), "max_ns": int(off.max())}
                yield Finding("disagreeing-columns", "error", node, load.source_name(prefix), text, numbers)


def _disordered_bounds(run: Run) -> Iterator[Finding]:
    for node, frame in run.rows_by_node().items():
        for prefix in load.prefixes([frame]):
            low, est, high = (frame[f"{prefix}_{name}_ns"] for name in ("lower_bound", "timestamp", "upper_bound"))
            wrong = int(((low > est) | (est > high)).fillna(value=False).sum())
            if wrong:
                text = f"the {load.source_name(prefix)} estimate lies outside its own interval in {wrong:,} rows"
                yield Finding("disordered-bounds", "error", node, load.source_name(prefix), text, {"rows": wrong})


def _series(run: Run) -> Iterator[_Series]:
    for node, frame in run.rows_by_node().items():
        for prefix in load.prefixes([frame]):
            stamp, offset = frame[run.stamp_column(node)], frame[f"{prefix}_offset_ms"]
            rows = np.flatnonzero(offset.notna().to_numpy() & stamp.notna().to_numpy())
            if not len(rows):
                continue
            low, high = frame[f"{prefix}_lower_bound_ns"], frame[f"{prefix}_upper_bound_ns"]
            half = ((high - low).to_numpy(dtype=np.float64, na_value=np.nan) / 2e6)[rows]
            uncertainty = frame[f"{prefix}_uncertainty_ms"].to_numpy(dtype=np.float64)[rows]
            ids = pd.factorize(frame[f"{prefix}_sample_id"])[0][rows]
            yield _Series(
                node=node,
                prefix=prefix,
                stamps=stamp.to_numpy(dtype=np.int64, na_value=0)[rows],
                offsets=offset.to_numpy(dtype=np.float64)[rows],
                uncertainties=uncertainty,
                half_widths_ms=np.where(np.isnan(half), uncertainty, half),
                sample_ids=None if (ids < 0).any() else ids,
            )


def _available(frame: pd.DataFrame, prefix: str) -> int:
    column = f"{prefix}_timestamp_ns"
    return int(frame[column].notna().sum()) if column in frame else 0


def _statuses(frame: pd.DataFrame, prefix: str) -> dict[str, int]:
    if f"{prefix}_status" not in frame:
        return {}
    column = frame[f"{prefix}_status"]
    counts = {str(name): int(count) for name, count in column.value_counts().items() if count}
    return counts | ({NO_STATUS: missing} if (missing := int(column.isna().sum())) else {})


def _has_samples(run: Run, source: str) -> bool:
    return any(bool((frame["source"] == source).any()) for frame in run.samples.values())
