"""Real commit-waits: how long events were held, against twice the bound, and whether any was let go too early.

An event gets the timestamp s = now().latest and is released when now().earliest > s. With a clock of constant width
that takes twice its bound. A release is a violation if the true time had not passed s; where no truth is known that is
not evaluable. A server's time is not UTC: a release counts as too early only if true time had not passed s even with
the root distance of the server that let it go (``utc``), and not at all where the samples do not say that, or are about
the server's own clock (``scopes``); each is counted by its reason. True time at a release is that of the clock pair
nearest to it, and from there the raw oscillator's: no step of the wall clock between the two enters. The reference,
which knows no absolute time, says whether the order of waits on different nodes was kept (``external_consistency``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.questions import external_consistency
from analysis.run import csv_tables, drift_limits, scopes, truth, utc
from analysis.run.stored import in_memory
from analysis.stats import rates
from node_agent.contract import records
from node_agent.contract.hold_rule import WAITING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.arrays import Floats, Ints
    from analysis.questions import judges
    from analysis.run.load import Run


@dataclass(frozen=True)
class Waits:
    """The commit-waits of one source on all nodes. ``ratios``: time waited over 2 * bound, sorted, of those released.

    ``violations`` is None where no truth is known; its denominator are the releases judged. ``left_out``: of the
    releases at a known true time, those not judged, by reason.
    """

    source: str
    outcomes: dict[str, int]
    waited_ms: rates.Spread
    ratios: Floats
    violations: rates.Rate | None
    left_out: Mapping[str, int]
    consistency: external_consistency.Consistency

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serialisable data."""
        return {
            "outcomes": self.outcomes,
            "waited_ms": self.waited_ms.as_dict(),
            "waited_over_twice_bound": rates.spread(self.ratios).as_dict(),
            "released_too_early": None if self.violations is None else self.violations.as_dict(),
            "releases_not_judged": dict(self.left_out),
            "external_consistency": self.consistency.as_dict(),
        }


def half_width_per_uncertainty(run: Run, source: str) -> float | None:
    """Return the half-width per unit of claimed uncertainty, or None where the manifest does not say.

    It is 1 for a source that claims a bound: one whose plan, on no node, says how many of its sigmas make an interval.
    """
    if source != records.CHRONOTICK:
        path = ("clocks", "others", source, "uncertainty_multiplier")
        stated = [drift_limits.value_at(node.plan, *path) for node in run.manifest.nodes.values()]
        return next((float(value) for value in stated if isinstance(value, (int, float))), 1.0)
    try:
        return float(run.manifest.config["worker"]["chronotick"]["uncertainty_multiplier"])
    except (KeyError, TypeError):
        return None


def claim(run: Run, source: str) -> str:
    """Return what the half-width of a source's claim is: its bound, or so many sigmas and the asymmetry it claims."""
    factor = half_width_per_uncertainty(run, source)
    if source != records.CHRONOTICK and factor == 1.0:
        return "bound"
    name = f"{records.COLUMN_PREFIX[source]}_asymmetry_ms"
    claimed = any(name in rows and rows[name].notna().any() for rows in run.rows_by_node().values())
    return ("sigma, multiplier unknown" if factor is None else f"{factor:g} sigma") + " + asymmetry" * claimed


def asymmetry_ms(frame: pd.DataFrame) -> Floats:
    """Return the asymmetry that each row of a commit_wait.csv claims, 0 where none, as in those of earlier versions."""
    if "asymmetry_ms" not in frame:
        return no_asymmetry(len(frame))
    claimed: Floats = frame["asymmetry_ms"].to_numpy(dtype=np.float64)
    return no_asymmetry(len(frame)) if np.isnan(claimed).all() else np.nan_to_num(claimed)


def no_asymmetry(count: int) -> Floats:
    """Return as many zeros, in ms, which take the memory of one."""
    return np.broadcast_to(np.float64(0.0), (count,))


def looks(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a commit_wait.csv that real commit-waits left, one per look at the clock, with plain texts.

    A row that does not say whose it is, or when, belongs to no wait.
    """
    rows = frame[(frame["kind"] == records.COMMIT).fillna(value=False)]
    return csv_tables.plain(rows.dropna(subset=["event_id", "source", "done_raw_ns"]))


def judge(
    run: Run, reference: judges.Probed | None = None, looks_by_node: Mapping[str, pd.DataFrame] | None = None
) -> tuple[Waits, ...]:
    """Judge all real commit-waits of a run, by source; empty where there was none. Without their rows, read them."""
    if looks_by_node is None:
        looks_by_node = {node_id: looks(in_memory(frame)) for node_id, frame in run.commit_wait.items()}
    waited = {node_id: frame for node_id, frame in looks_by_node.items() if len(frame)}
    if not waited:
        return ()
    frames = pd.concat([_one_row_per_wait(run, node_id, rows) for node_id, rows in waited.items()])
    return tuple(
        _of(run, str(source), group, external_consistency.judge(waited, reference, str(source)))
        for source, group in frames.groupby("source", sort=True)
    )


def _one_row_per_wait(run: Run, node_id: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last look at every (event, source), with what the first claimed, both samples, and the true time."""
    keys = ["event_id", "source"]
    first = rows.drop_duplicates(keys, keep="first").set_index(keys)
    first["first_asymmetry_ms"] = asymmetry_ms(first)
    first["first_sample"] = external_consistency.named(node_id, first["sample_id"])
    renamed = {"uncertainty_ms": "first_claim_ms", "sample_id": "first_sample_id"}
    claimed = first[[*renamed, "first_asymmetry_ms", "first_sample"]].rename(columns=renamed)
    last = rows.drop_duplicates(keys, keep="last").join(claimed, on=keys)
    last["last_sample"] = external_consistency.named(node_id, last["sample_id"])
    clock = truth.clock_of(run.manifest.nodes[node_id].virtual_clock)
    pairs = run.clock_pairs.get(node_id)
    true = pd.array([pd.NA] * len(last), dtype="Int64")
    if clock is not None and pairs is not None and len(clean := pairs.dropna()):
        wall, since = _nearest_pair(last["done_raw_ns"].to_numpy(dtype=np.int64), clean)
        at = truth.raw_later(clock, truth.true_from_wall(clock, wall), since)
        true = pd.arrays.IntegerArray(at, ~truth.told_apart(clock, wall))
    parts = [_beside(run, node_id, str(source), group) for source, group in last.assign(true_ns=true).groupby("source")]
    return pd.concat(parts).sort_index()


def _beside(run: Run, node_id: str, source: str, last: pd.DataFrame) -> pd.DataFrame:
    """Add what the samples say of the looks of one source: the root distance (NA where unknown), and whose clock."""
    samples, prefix = run.samples.get(node_id), records.COLUMN_PREFIX.get(source, source)
    root = utc.of_waits(run.rows_by_node().get(node_id), prefix, samples, source, last["sample_id"])
    about, about_first = (scopes.of_samples(samples, source, last[ids]) for ids in ("sample_id", "first_sample_id"))
    return last.assign(root_ns=pd.arrays.IntegerArray(root.ns, ~root.known), about_the_server=about | about_first)


def _nearest_pair(at: Ints, pairs: pd.DataFrame) -> tuple[Ints, Ints]:
    """Return what the wall clock showed at the clock pair nearest to each raw instant, and how much later that is."""
    pairs = pairs.sort_values("raw_before_ns")
    before, wall, after = (pairs[name].to_numpy(dtype=np.int64) for name in records.CLOCK_PAIRS_COLUMNS)
    middles = before + (after - before) // 2
    right = np.minimum(np.searchsorted(middles, at), len(middles) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(at - middles[left]) <= np.abs(middles[right] - at), left, right)
    return wall[nearest], at - middles[nearest]


def _of(run: Run, source: str, group: pd.DataFrame, consistency: external_consistency.Consistency) -> Waits:
    status = group["status"].fillna("no_status").replace(WAITING, "unfinished")
    done = group[status == records.OK]
    factor = half_width_per_uncertainty(run, source)
    ratios = np.zeros(0)
    if factor is not None:
        claimed_ms, systematic_ms = (
            done[f"first_{name}_ms"].to_numpy(dtype=np.float64) for name in ("claim", "asymmetry")
        )
        bound_s = (claimed_ms * factor + systematic_ms) / 1e3
        ratios = done["delay_s"].to_numpy(dtype=np.float64) / (2 * np.where(bound_s > 0, bound_s, np.nan))
        ratios = np.sort(ratios[np.isfinite(ratios)])
    timed = done.dropna(subset=["true_ns", "assigned_ns"])
    about_server = timed["about_the_server"].to_numpy(dtype=np.bool_)
    bare = timed["root_ns"].isna().to_numpy(dtype=np.bool_) & ~about_server
    reasons = {scopes.ABOUT_THE_SERVER: int(about_server.sum()), utc.NO_ROOT_DISTANCE: int(bare.sum())}
    known = timed[~about_server & ~bare]
    violations = None
    if len(known):
        known = known.sort_values("event_id", kind="stable")
        early = (known["true_ns"] + known["root_ns"] <= known["assigned_ns"]).to_numpy(dtype=np.bool_)
        samples = (known[name].to_numpy(dtype=object) for name in ("first_sample", "last_sample"))
        passed_ns = (known["true_ns"] - known["assigned_ns"]).to_numpy(dtype=np.float64)
        violations = external_consistency.rate(early, passed_ns, *samples)
    return Waits(
        source=source,
        outcomes={str(name): int(number) for name, number in status.value_counts().sort_index().items()},
        waited_ms=rates.spread(done["delay_s"].dropna().to_numpy(dtype=np.float64) * 1e3),
        ratios=ratios,
        violations=violations,
        left_out={reason: count for reason, count in reasons.items() if count},
        consistency=consistency,
    )
