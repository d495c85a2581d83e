"""The reference as it is shown: its self-checks, and how wide it is for every pair of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses.analysis import Analysis, Place
from analysis.figures import reference as figure
from analysis.reference import Reference
from analysis.tables import NONE, number, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from analysis.reference.model import Check, PairSummary
    from analysis.tables import Grid

NOTHING: Final = "nothing to check"
CHECKS: Final[Mapping[str, Callable[[Check], Any]]] = {
    "self-check": lambda check: check.name.replace("_", " "),
    "what must hold": lambda check: check.meaning,
    "held": lambda check: f"{check.held:,} of {check.checked:,}" if check.checked else NOTHING,
    "verdict": lambda check: {True: "held", False: "**failed**", None: check.reason or NOTHING}[check.passed],
}
PAIRS: Final[Mapping[str, Callable[[PairSummary], Any]]] = {
    "nodes": lambda pair: f"{pair.first} / {pair.second}",
    "probes joined": lambda pair: pair.joined,
    "lost": lambda pair: pair.lost,
    "relative drift at most (ppm)": lambda pair: number(pair.rho_ppm, 3),
    "segments": lambda pair: pair.segments,
    "known of the probed time": lambda pair: NONE if pair.known_share is None else f"{100 * pair.known_share:.1f} %",
    "half-width there: median (µs)": lambda pair: number(pair.half_width_us.median, 2),
    "p95": lambda pair: number(pair.half_width_us.p95, 2),
    "max": lambda pair: number(pair.half_width_us.maximum, 2),
    "nearest probe, p95 (ms)": lambda pair: number(pair.support_age_ms.p95, 1),
    "steps up to this (µs) may be hidden": lambda pair: number(pair.hidden_step_us.maximum, 1),
}


def texts(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    """Return the self-checks that gate every verdict against the reference, and what that of every pair rests on."""
    result: Reference = done[ANALYSIS.name]
    return {"reference_checks": table(result.checks, CHECKS, ""), "reference_pairs": table(result.pairs, PAIRS, "")}


ANALYSIS: Final = Analysis(
    name="reference",
    title="Reference",
    compute=lambda context: context.reference,
    statistics=Reference.as_statistics,
    file="reference_stats.json",
    texts=texts,
    figure=figure.FIGURE,
    draw=figure.draw,
    rates=(
        Place("pairs/{subject}/{metric}"),
        Place("checks/{subject}/{metric}", question="reference_self_check"),
        Place("wall_clocks/{subject}/{metric}", question="wall_clock"),
        Place("mesh/{metric}", subject="mesh"),
        Place("{metric=rho_ppm}"),
    ),
    cited=("evaluable", "reason", "rho_ppm", "pairs/*/half_width_us/median"),
)
