"""Oscillators that run beyond ``max_drift_ppm``: every guaranteed bound, and the reference, rest on it that none does.

Three witnesses, each of a run that has it. The injected truth of a virtual clock, for its own oscillator. The probes,
for two oscillators against each other: what they bound (``reference.bounds``) holds at single instants without any
drift limit, so that two bounds far apart prove a rate. And one NTP server, for a node's oscillator against it: the
interval of a sample to its server is made of delays alone.

A rate and a step look alike over one baseline: something moved. So a run is cut into windows that share nothing, and
what is called a drift has moved too far in two thirds of them, at least three, and each time the same way. A step, of
an oscillator or a server, shows in the window it falls into.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.checks.finding import ERROR, WARNING, Finding
from analysis.reference import drift
from analysis.run import drift_limits, truth
from node_agent.clocks.holdover import FS_PER_S_OF_PPM
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analysis.reference import Reference
    from analysis.run.load import Run

    Line = tuple[NDArray[np.float64], NDArray[np.float64]]  # instants and values

CODE: Final = "drift-beyond-bound"
CLAIMED_CODE: Final = "claimed-drift-beyond-bound"
SPAN_NS: Final = 1_000_000_000  # over shorter times the brackets of the pairs hide a rate
WINDOWS: Final = (3, 4, 6, 9, 12)  # tried in turn: few long ones prove a small excess, many short ones survive steps
FEWEST: Final = 3
CLAIM_SIGMAS: Final = 3.0  # as many as a reading is wide
SHARE: Final = 2 / 3
MEANS: Final = "so no guaranteed interval of {} is guaranteed, nor is the reference where it takes part"


@dataclass(frozen=True)
class Limits:
    """Upper and lower bounds of a quantity at single instants, each in order of time: ``at`` and ``value`` in ns."""

    upper_at: NDArray[np.int64]
    upper: NDArray[np.int64]
    lower_at: NDArray[np.int64]
    lower: NDArray[np.int64]


def find(run: Run, reference: Reference | None = None) -> Iterator[Finding]:
    """Yield the findings about oscillators beyond their limit, by the injected truth, by the probes and by NTP."""
    for node_id in run.manifest.nodes:
        if (ppm := drift_limits.of_node(run, node_id)) is not None:
            yield from _by_truth(run, node_id, ppm)
            yield from _by_ntp(run, node_id, ppm)
            yield from _as_claimed(run, node_id, ppm)
    if reference is not None:
        yield from _by_probes(reference)


def least_rate(limits: Limits, ppb: int) -> float | None:
    """Return at how many ppm at least a quantity changed all the time, None if no faster than ``ppb`` allows.

    Of each window that shows it, a bound in its first quarter and one in its last prove a rate; the median of these is
    returned.
    """
    if not len(limits.upper_at) or not len(limits.lower_at):
        return None
    begin = int(min(limits.upper_at[0], limits.lower_at[0]))
    length = int(max(limits.upper_at[-1], limits.lower_at[-1])) - begin
    base = int(limits.upper[0])
    upper = ((limits.upper_at - begin).astype(np.float64), (limits.upper - base).astype(np.float64))
    lower = ((limits.lower_at - begin).astype(np.float64), (limits.lower - base).astype(np.float64))
    if length <= 0:
        return None
    fallen = ((lower[0], -lower[1]), (upper[0], -upper[1]))
    for count in WINDOWS:
        edges = np.linspace(0.0, float(length), count + 1)
        for high, low in ((upper, lower), fallen):
            rates = [_rate(high, low, first, last, ppb) for first, last in pairwise(edges)]
            proved = [rate for rate in rates if rate is not None]
            if len(proved) >= max(FEWEST, SHARE * count):
                return float(np.median(proved)) / 1e3
    return None


def _rate(high: Line, low: Line, first: float, last: float, ppb: int) -> float | None:
    """Return the rate (ppb) that a window's bounds prove a quantity to have risen at, None if no more than ``ppb``."""
    quarter = (last - first) / 4
    early = slice(*np.searchsorted(high[0], [first, first + quarter]))
    late = slice(*np.searchsorted(low[0], [last - quarter, last]))
    if early.start == early.stop or late.start == late.stop:
        return None
    start = early.start + int(np.argmin(high[1][early] - ppb / 1e9 * high[0][early]))
    stop = late.start + int(np.argmax(low[1][late] - ppb / 1e9 * low[0][late]))
    rate = (low[1][stop] - high[1][start]) / (low[0][stop] - high[0][start]) * 1e9
    return float(rate) if rate > ppb else None


def _by_probes(reference: Reference) -> Iterator[Finding]:
    for (first, second), joined in reference.joined.items():
        bounds, ppb = joined.bounds, reference.rates.get((first, second))
        if ppb is None:
            continue
        limits = Limits(
            bounds.at[bounds.upper], bounds.value[bounds.upper], bounds.at[~bounds.upper], bounds.value[~bounds.upper]
        )
        if (ppm := least_rate(limits, ppb)) is not None:
            text = (
                f"the probes show the oscillators of {first} and {second} apart by {ppm:.0f} ppm or more all the time: "
                f"their limits allow for {ppb / 1e3:g} ppm (max_drift_ppm), {MEANS.format('one of them')}"
            )
            numbers = {"nodes": [first, second], "at_least_ppm": ppm, "allowed_ppm": ppb / 1e3, "by": "probes"}
            yield Finding(CODE, ERROR, second, "", text, numbers)


def _by_ntp(run: Run, node_id: str, ppm: float) -> Iterator[Finding]:
    samples = run.samples.get(node_id)
    columns = ["raw_at_ns", "reference_at_ns", "bound_ns"]
    if samples is None or not {"server", *columns} <= set(samples.columns):
        return
    good = samples[(samples["outcome"] == records.OK) & (samples["source"] == records.NTP)]
    good = good.dropna(subset=["server", *columns]).sort_values("raw_at_ns", kind="stable")
    ppb = drift.relative(drift.parts_per_billion(ppm), 0)
    for server, rows in good.groupby("server", observed=True):
        at, reference, bound = (rows[name].to_numpy(dtype=np.int64) for name in columns)
        offset = reference - at
        if (least_ppm := least_rate(Limits(at, offset + bound, at, offset - bound), ppb)) is not None:
            text = (
                f"the answers of the NTP server {server} show this node's oscillator and the server's time apart by "
                f"{least_ppm:.0f} ppm or more all the time: bounds allow for {ppm:g} ppm (max_drift_ppm). Either that "
                f"is not true of this oscillator, {MEANS.format('this node')}, or the server's time runs wrong"
            )
            numbers = {"server": str(server), "at_least_ppm": least_ppm, "allowed_ppm": ppm, "by": "ntp"}
            yield Finding(CODE, ERROR, node_id, records.NTP, text, numbers)


def _as_claimed(run: Run, node_id: str, ppm: float) -> Iterator[Finding]:
    """Yield, per source, that it claims a faster drift of this node's oscillator than the bounds allow for.

    A drift is claimed with its sigma, and only what is beyond the limit by ``CLAIM_SIGMAS`` of them contradicts it: the
    first answers of a predictor know little of the drift. Nobody proves it by that: the claim may be wrong, or the
    limit. One of them is.
    """
    samples = run.samples.get(node_id)
    if samples is None or not {"source", "outcome", "drift_fs_per_s"} <= set(samples.columns):
        return
    claims = samples[samples["outcome"] == records.OK].dropna(subset=["drift_fs_per_s"])
    for source, rows in claims.groupby("source", observed=True):
        drift_ppm = np.abs(rows["drift_fs_per_s"].to_numpy(dtype=np.int64) / FS_PER_S_OF_PPM)
        sigma_ppm = np.zeros(len(rows))
        if "drift_sigma_fs_per_s" in rows:
            sigma_ppm = rows["drift_sigma_fs_per_s"].fillna(0).to_numpy(dtype=np.int64) / FS_PER_S_OF_PPM
        beyond = drift_ppm - CLAIM_SIGMAS * sigma_ppm > ppm
        if beyond.any():
            worst_ppm = float(drift_ppm[beyond].max())
            text = (
                f"{source} claims in {int(beyond.sum()):,} of {len(beyond):,} answers that this node's oscillator "
                f"drifts by more than {ppm:g} ppm (max_drift_ppm), by up to {worst_ppm:.0f} ppm, {CLAIM_SIGMAS:g} of "
                f"its sigma or more beyond the limit: the claim is wrong, or the limit is, {MEANS.format('this node')}"
            )
            numbers = {"answers": int(beyond.sum()), "of": len(beyond), "worst_ppm": worst_ppm,
                       "max_drift_ppm": ppm}  # fmt: skip
            yield Finding(CLAIMED_CODE, WARNING, node_id, str(source), text, numbers)


def _by_truth(run: Run, node_id: str, ppm: float) -> Iterator[Finding]:
    """Yield a finding if a virtual clock's oscillator ran away from true time faster than the bounds allow for."""
    virtual = truth.clock_of(run.manifest.nodes[node_id].virtual_clock)
    frame = run.clock_pairs.get(node_id)
    if virtual is None or frame is None or (pairs := frame.dropna().sort_values("raw_before_ns")).empty:
        return
    before, wall, after = (pairs[name].to_numpy(dtype=np.int64) for name in records.CLOCK_PAIRS_COLUMNS)
    clear = truth.told_apart(virtual, wall)
    before, wall, after = before[clear], wall[clear], after[clear]
    true, raw, half = truth.true_from_wall(virtual, wall), before + (after - before) // 2, (after - before + 1) // 2
    later = np.searchsorted(raw, raw + SPAN_NS)
    first = np.flatnonzero(later < len(raw))
    last = later[first]
    elapsed, moved = raw[last] - raw[first], np.abs((true[last] - true[first]) - (raw[last] - raw[first]))
    least = moved - half[first] - half[last] - truth.ROUNDING_NS  # what no bracket explains
    beyond = least > elapsed * (ppm / (1e6 - ppm))
    if beyond.any():
        worst = float((least / np.maximum(elapsed, 1)).max() * 1e6)
        text = (
            f"the raw oscillator ran away from true time by up to {worst:.0f} ppm over a second or more, in "
            f"{int(beyond.sum()):,} of {len(beyond):,} spans: bounds allow for {ppm:g} ppm (max_drift_ppm), so "
            f"none of this node's guaranteed intervals is guaranteed there"
        )
        numbers = {"worst_ppm": worst, "stretches": int(beyond.sum()), "of": len(beyond), "max_drift_ppm": ppm}
        yield Finding(CODE, ERROR, node_id, "", text, numbers)
