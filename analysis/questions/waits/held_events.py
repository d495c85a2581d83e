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

from analysis.by_event import scopes, utc
from analysis.by_event.event_rows import Instants, nothing
from analysis.by_event.table import NO_STATUS
from analysis.questions.waits import external_consistency, holds
from analysis.run import drift_limits, truth
from analysis.run.stored import in_memory
from analysis.stats import rates
from node_agent.contract import records
from node_agent.contract.hold_rule import WAITING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from analysis.arrays import Bools, Floats, Ints
    from analysis.questions import judges
    from analysis.questions.waits.holds import Held
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


def judge(
    run: Run,
    reference: judges.Probed | None = None,
    waits: Mapping[str, Mapping[str, Held]] | None = None,
) -> tuple[Waits, ...]:
    """Judge all real commit-waits of a run, by source; empty where there was none.

    ``waits``: those of every node, by source; None: they are read.
    """
    if waits is None:
        waits = {node: holds.of_looks(holds.looks(in_memory(frame))) for node, frame in run.commit_wait.items()}
    by_source: dict[str, dict[str, Held]] = {}
    for node_id, of_node in waits.items():
        for source, held in of_node.items():
            by_source.setdefault(source, {})[node_id] = held
    return tuple(
        _of(run, source, held, external_consistency.judge(held, reference, source))
        for source, held in sorted(by_source.items())
    )


@dataclass(frozen=True)
class _Beside:
    """What a run says of the commit-waits of one node: true time at the last looks, root distances, and whose clock."""

    true: Instants
    root: utc.RootDistance
    about_the_server: Bools


def _beside(run: Run, node_id: str, source: str, held: Held) -> _Beside:
    samples, prefix = run.samples.get(node_id), records.COLUMN_PREFIX.get(source, source)
    about, about_first = (scopes.of_samples(samples, source, ids) for ids in (held.last, held.first))
    rows = run.rows_by_node().get(node_id)
    return _Beside(
        _true(run, node_id, held), utc.of_waits(rows, prefix, samples, source, held.last), about | about_first
    )


def _true(run: Run, node_id: str, held: Held) -> Instants:
    clock = truth.clock_of(run.manifest.nodes[node_id].virtual_clock)
    pairs = run.clock_pairs.get(node_id)
    if clock is None or pairs is None or not len(clean := pairs.dropna()):
        return nothing(len(held.event_ids))
    wall, since = _nearest_pair(held.looked_raw_ns, clean)
    return Instants(truth.raw_later(clock, truth.true_from_wall(clock, wall), since), truth.told_apart(clock, wall))


def _nearest_pair(at: Ints, pairs: pd.DataFrame) -> tuple[Ints, Ints]:
    """Return what the wall clock showed at the clock pair nearest to each raw instant, and how much later that is."""
    pairs = pairs.sort_values("raw_before_ns")
    before, wall, after = (pairs[name].to_numpy(dtype=np.int64) for name in records.CLOCK_PAIRS_COLUMNS)
    middles = before + (after - before) // 2
    right = np.minimum(np.searchsorted(middles, at), len(middles) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(at - middles[left]) <= np.abs(middles[right] - at), left, right)
    return wall[nearest], at - middles[nearest]


def _of(run: Run, source: str, waits: Mapping[str, Held], consistency: external_consistency.Consistency) -> Waits:
    beside = [_beside(run, node_id, source, held) for node_id, held in waits.items()]
    named = [holds.of_node(held, node_id) for node_id, held in waits.items()]
    held = holds.together(named)  # whose samples are told apart by their nodes
    true_ns, true_known, root_ns, root_known, about_server = (
        np.concatenate(column)
        for column in zip(
            *((own.true.ns, own.true.known, own.root.ns, own.root.known, own.about_the_server) for own in beside),
            strict=True,
        )
    )
    names = ["unfinished" if word == WAITING else word for word in (*held.status.words, NO_STATUS)]
    counts = np.bincount(held.status.codes % len(names), minlength=len(names))  # of those without a status the last
    done = held.status.codes == (held.status.words.index(records.OK) if records.OK in held.status.words else -2)
    waited_s = held.delay_s[done]
    factor = half_width_per_uncertainty(run, source)
    ratios = np.zeros(0)
    if factor is not None:
        bound_s = (held.claim_ms[done] * factor + held.asymmetry_ms[done]) / 1e3
        ratios = waited_s / (2 * np.where(bound_s > 0, bound_s, np.nan))
        ratios = np.sort(ratios[np.isfinite(ratios)])
    timed = done & true_known & held.assigned.known
    bare = timed & ~root_known & ~about_server
    reasons = {scopes.ABOUT_THE_SERVER: int((timed & about_server).sum()), utc.NO_ROOT_DISTANCE: int(bare.sum())}
    violations = None
    if (known := timed & ~about_server & ~bare).any():
        places = np.flatnonzero(known)
        places = places[np.argsort(held.event_ids[places], kind="stable")]
        passed_ns = true_ns[places] - held.assigned.ns[places]
        first, last = holds.numbered((held.first, held.last), {})
        early = passed_ns + root_ns[places] <= 0
        violations = external_consistency.rate(early, passed_ns.astype(np.float64), first[places], last[places])
    return Waits(
        source=source,
        outcomes={name: int(count) for name, count in sorted(zip(names, counts, strict=True)) if count},
        waited_ms=rates.spread(waited_s[~np.isnan(waited_s)] * 1e3),
        ratios=ratios,
        violations=violations,
        left_out={reason: count for reason, count in reasons.items() if count},
        consistency=consistency,
    )
