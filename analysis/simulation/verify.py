"""``invoke verify-scenarios``: every scenario must get its verdicts, whatever the seed.

Each run is simulated in a temporary folder and judged: statistics and findings, no figures and no report. Runs are
independent, so as many are made at once as there are processors.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis import command, registry
from analysis.errors import AnalysisError
from analysis.simulation import scenario as scenarios
from analysis.simulation.expectation import unmet
from analysis.simulation.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

FIRST_SEED: Final = 1_000  # the tests use seeds below 100
MOST_SEEDS: Final = 10_000
MOST_EVENTS: Final = 100_000
NODES: Final = 3
RATE_HZ: Final = 20.0  # the expectations are of runs of a minute or so: some queries of NTP, some of its failures
RUN_LIMIT_S: Final = 120.0  # and as much again per 1,000 events; a run that takes longer hangs


@dataclass(frozen=True)
class Verified:
    """How many runs of one scenario were judged, and one line per expectation that was not met, with its seed."""

    scenario: str
    runs: int
    unmet: tuple[str, ...]

    @property
    def line(self) -> str:
        """Return the scenario's line of progress."""
        wrong = len({line.partition(":")[0] for line in self.unmet})
        met = "every expectation met" if not wrong else f"expectations unmet in {wrong}"
        return f"{self.scenario}: {self.runs} run{'s' if self.runs > 1 else ''}, {met}"


def verify(
    say: Callable[[str], None], *, seeds: Sequence[int], events: int, only: str = "", processes: int | None = None
) -> tuple[Verified, ...]:
    """Judge all scenarios (or ``only`` one) with each of ``seeds``; say a line per unmet expectation and per scenario.

    Raises UsageError for a scenario that is none. A run that cannot be judged, or does not end, is unmet as well. What
    is not begun when an interrupt comes is not begun any more, and the temporary folder goes in any case.
    """
    names = [scenarios.read(name).name for name in ([only] if only else scenarios.names())]
    count = processes or os.cpu_count() or 1
    limit_s = RUN_LIMIT_S * (1 + events / 1_000)
    verified = []
    with (
        tempfile.TemporaryDirectory(prefix="verify-scenarios-") as scratch,
        ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        try:
            under_way = {name: [pool.submit(_judge, name, seed, events, scratch) for seed in seeds] for name in names}
            for name, runs in under_way.items():
                lines: list[str] = []
                for seed, run in zip(seeds, runs, strict=True):
                    lines += [f"seed {seed}: {line}" for line in _lines(run, limit_s * len(seeds))]
                for line in lines:
                    say(f"unmet: {name} {line}")
                verified.append(Verified(name, len(runs), tuple(lines)))
                say(verified[-1].line)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():  # all of them this pool's: this process starts no others
                process.terminate()
            raise
    return tuple(verified)


def _lines(run: Future[list[str]], limit_s: float) -> list[str]:
    """Return a run's unmet expectations. Raises AnalysisError if it hangs: then nothing more can be told."""
    try:
        return run.result(limit_s)
    except TimeoutError as error:
        raise AnalysisError(f"expected a scenario's runs to end within {limit_s:g} s; one of them hangs") from error


def _judge(name: str, seed: int, events: int, scratch: str) -> list[str]:
    """Simulate one run, judge it, remove it; return a line per expectation that it does not meet."""
    scenario = scenarios.read(name)
    with tempfile.TemporaryDirectory(dir=scratch) as own:
        try:
            folder = simulate(scenario, NODES, events, rate_hz=RATE_HZ, seed=seed, results=Path(own))
            judged = registry.compute(command.table_of(folder))
        except Exception as error:  # noqa: BLE001 - one run that cannot be judged is a result, and the others go on
            return [f"cannot be judged: {type(error).__name__}: {' '.join(str(error).split())}"]
        return unmet(scenario.expected, judged.as_statistics(), judged.findings)
