"""What a comparison of repeats is worth: how often it finds a difference where there is none, and where there is one.

One condition is simulated many times, and so is a second one just like it. Random lots of the first are compared with
others of it: each "differs" is wrong. Then with lots of the second to whose every run is added what so many repeats are
said to show with 80 % power.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis import command, registry
from analysis.analyses import causality
from analysis.comparison import inference
from analysis.simulation.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

COMMAND: Final = "calibrate-compare"
METRICS: Final = {
    "NTP's points that violate causality": ("ntp", "points", "violated"),
    "causality that ChronoTick's intervals prove": ("chronotick", "intervals", "proved"),
}
SCENARIO: Final = "honest"
NODES: Final = 3
EVENTS: Final = 300
RATE_HZ: Final = 10.0
RUNS: Final = 200
REPEATS: Final = 20
COMPARISONS: Final = 200
SEED: Final = 1
MOST_WRONG: Final = 0.05
SHOWN: Final = (0.70, 0.90)
BY_CHANCE: Final = 0.01


@dataclass(frozen=True)
class Calibrated:
    """One metric: its spread over runs, the difference added, how many comparisons found one without and with it."""

    metric: str
    runs: int
    mean: float
    sd: float
    added: float
    comparisons: int
    wrong: int
    shown: int


def calibrate(runs: int, say: Callable[[str], None]) -> list[Calibrated]:
    """Simulate two pools of ``runs`` runs and compare random lots of them, by each metric."""
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="calibrate-compare-") as scratch,
        ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context) as processes,
    ):
        numbers = []
        for done, values in enumerate(processes.map(partial(_measured, scratch), range(1, 2 * runs + 1)), 1):
            numbers.append(values)
            if done % 50 == 0:
                say(f"simulated {done} of {2 * runs} runs")
    pools = np.array(numbers)
    return [_calibrated(metric, pools[:runs, place], pools[runs:, place]) for place, metric in enumerate(METRICS)]


def _measured(scratch: str, seed: int) -> list[float]:
    """Return each metric of one simulated run."""
    with tempfile.TemporaryDirectory(dir=scratch) as own:
        folder = simulate(SCENARIO, NODES, EVENTS, rate_hz=RATE_HZ, seed=seed, results=Path(own))
        result = registry.only(causality.ANALYSIS, command.table_of(folder))
        sources = causality.ANALYSIS.statistics(result)["sources"]
    return [float(sources[source]["all"][clock][name]["value"]) for source, clock, name in METRICS.values()]


def _calibrated(metric: str, first: NDArray[np.float64], second: NDArray[np.float64]) -> Calibrated:
    rng = np.random.default_rng(SEED)
    sd = float(first.std(ddof=1))
    added = inference.resolvable(sd, REPEATS)
    wrong = shown = 0
    for _ in range(COMPARISONS):
        a, b = np.split(rng.choice(first, 2 * REPEATS, replace=False), 2)
        wrong += _differs(a, b)
        shown += _differs(rng.choice(first, REPEATS, replace=False), rng.choice(second, REPEATS, replace=False) + added)
    return Calibrated(metric, len(first), float(first.mean()), sd, added, COMPARISONS, wrong, shown)


def _differs(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    difference = inference.independent(a.tolist(), b.tolist())
    return difference.p <= inference.LEVEL and difference.interval_agrees


def document(rows: Sequence[Calibrated]) -> str:
    """Return what METHODOLOGY says of it."""
    head = ("metric", "mean", "sd of a run", "added", '"differs" where there is none', '"differs" where it was added')
    said = (
        f"Scenario `{SCENARIO}`, {EVENTS} events at {RATE_HZ:g}/s, two pools of {rows[0].runs} runs; {COMPARISONS} "
        f"comparisons of {REPEATS} runs with {REPEATS} others, before Holm's adjustment. Added is what {REPEATS} "
        f"repeats show with {100 * inference.POWER:g} % power."
    )
    lines = [
        said,
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *(
            f"| {row.metric} | {100 * row.mean:.1f} % | {100 * row.sd:.1f} pp | {100 * row.added:.1f} pp "
            f"| {100 * row.wrong / row.comparisons:.1f} % | {100 * row.shown / row.comparisons:.1f} % |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def unmet(rows: Sequence[Calibrated]) -> list[str]:
    """Return what is promised and was not reached, a line each.

    An exact test is wrong in 5 % of all comparisons, and of so few of them a little more by chance: once in a hundred
    times so many are short of the promise.
    """
    from scipy.special import bdtrc  # noqa: PLC0415 - only a calibration needs it

    low, high = SHOWN
    lines = [
        f"{row.metric}: found in {row.wrong} of {row.comparisons} where there is none, promised are {MOST_WRONG:.0%}"
        for row in rows
        if row.wrong and float(bdtrc(row.wrong - 1, row.comparisons, MOST_WRONG)) < BY_CHANCE
    ]
    return lines + [
        f"{row.metric}: shown in {row.shown} of {row.comparisons}, promised are {low:.0%} to {high:.0%}"
        for row in rows
        if not low * row.comparisons <= row.shown <= high * row.comparisons
    ]
