"""Whether the statistics hold what they promise: runs of known truth, made by the thousand, and what is said of them.

Errors are a first-order autoregression from sample to sample, each of which serves several events; an event is a hit
where the error is above a limit that makes the true rate known. Some of the events are lost. Counted is how many of the
95 % intervals hold the true rate, and in how many runs there is none. Then sources that know their sigma, or take it
for smaller than it is, are judged by their kappa: how many calibrated ones are called too narrow, and how many that are
off by 1.5 are said to have held.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.clocks import calibration, standards
from analysis.clocks.clock import in_one_piece
from analysis.errors import AnalysisError
from analysis.stats.dependence import Latent, dependence, segments_of
from analysis.stats.rates import Rate, rate_of
from analysis.tables import Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analysis.arrays import Bools, Floats

CORRELATIONS: Final = (0.0, 0.9, 0.98, 0.995)
SAMPLES: Final = (60, 600, 6_000)
RATES: Final = (0.5, 0.1, 0.02)
LOSSES: Final = (0.0, 0.02, 0.1, 0.3)
INFLATIONS: Final = (1.0, 1.5)
LEVELS: Final = (0.6827, 0.9973)
EVENTS_PER_SAMPLE: Final = 4
SEED: Final = 2028
PROMISED_COVERAGE: Final = 0.9
PROMISED_ERRORS: Final = 0.05
BY_CHANCE: Final = 0.01
COMMAND: Final = "calibrate-statistics"


@dataclass(frozen=True)
class IntervalCell:
    """The intervals of one rate: how many of ``runs`` runs had one (``given``), and how many of these ``held`` it."""

    correlation: float
    samples: int
    rate: float
    loss: float
    runs: int
    given: int
    held: int


@dataclass(frozen=True)
class ClaimCell:
    """What was said of sources whose sigma is too small by ``inflation``: of ``runs`` runs, the verdict on how many."""

    correlation: float
    samples: int
    level: float
    inflation: float
    runs: int
    too_narrow: int
    held: int


def autoregression(rng: np.random.Generator, runs: int, count: int, correlation: float) -> Floats:
    """Return ``runs`` stationary first-order autoregressions of so many standard normal values, row by row."""
    from scipy.signal import lfilter  # noqa: PLC0415 - only a calibration needs it

    noise = rng.normal(size=(runs, count)) * np.sqrt(1.0 - correlation * correlation)
    noise[:, 0] = rng.normal(size=runs)
    values: Floats = lfilter([1.0], [1.0, -correlation], noise, axis=1)
    return values


def intervals(runs: int, say: Callable[[str], None]) -> Iterator[IntervalCell]:
    """Yield the cells of all combinations, of so many runs each; ``say`` is told how far it is."""
    from scipy.special import ndtri  # noqa: PLC0415 - only a calibration needs it

    limits = [float(ndtri(1 - rate)) for rate in RATES]
    for (number, correlation), samples in product(enumerate(CORRELATIONS), SAMPLES):
        say(f"intervals: correlation {correlation:g}, {samples} samples, {runs} runs")
        rng = np.random.default_rng([SEED, number, samples])
        errors = autoregression(rng, runs, samples, correlation)
        lots = rng.random((runs, samples * EVENTS_PER_SAMPLE))
        for loss in LOSSES:
            by_run = [_rates(row, lot >= loss, limits) for row, lot in zip(errors, lots, strict=True)]
            for rate, measured in zip(RATES, zip(*by_run, strict=True), strict=True):
                given = [interval for interval in measured if interval.low is not None]
                held = sum((interval.low or 0.0) <= rate <= (interval.high or 0.0) for interval in given)
                yield IntervalCell(correlation, samples, rate, loss, runs, len(given), held)


def _rates(errors: Floats, received: Bools, limits: list[float]) -> list[Rate]:
    """Return the rates of errors above the limits, of the events that were received."""
    values = np.repeat(errors, EVENTS_PER_SAMPLE)
    served = np.where(received, np.repeat(np.arange(len(errors)), EVENTS_PER_SAMPLE), -1)
    shared = dependence(segments_of(served), Latent(values, received))
    return [rate_of(values > limit, received, shared) for limit in limits]


def claims(runs: int, say: Callable[[str], None]) -> Iterator[ClaimCell]:
    """Yield what is said of calibrated sources, and of such that are too sure of themselves."""
    from scipy.special import ndtri  # noqa: PLC0415 - only a calibration needs it

    for (number, correlation), samples in product(enumerate(CORRELATIONS), SAMPLES):
        say(f"claims: correlation {correlation:g}, {samples} samples, {runs} runs")
        rng = np.random.default_rng([SEED, 1_000 + number, samples])
        errors = autoregression(rng, runs, samples, correlation)
        for level, inflation in product(LEVELS, INFLATIONS):
            half = 1e6 * float(ndtri(0.5 + level / 2)) / inflation
            verdicts = [_claims(1e6 * row, half, level) for row in errors]
            narrow, held = verdicts.count(calibration.TOO_NARROW), verdicts.count(calibration.HELD)
            yield ClaimCell(correlation, samples, level, inflation, runs, narrow, held)


def _claims(error_ns: Floats, half_ns: float, level: float) -> str:
    """Return what kappa's verdict is on errors that are exactly known, and intervals of this half-width."""
    every = np.ones(len(error_ns), dtype=np.bool_)
    error, arm = error_ns.astype(np.int64), np.full(len(error_ns), int(half_ns))
    errors = standards.Errors(standards.INJECTED, level, every, every, error, error, arm, arm, arm.astype(np.float64))
    kappa = calibration.kappa(in_one_piece(errors, np.arange(len(error))))
    return "" if kappa is None else kappa.claims


def markdown_of_intervals(cells: Sequence[IntervalCell]) -> str:
    """Return the coverage of the intervals given, and the share of runs without one: one row per kind of run."""
    rows = []
    for correlation, samples, loss in product(CORRELATIONS, SAMPLES, LOSSES):
        alike = [cell for cell in cells if (cell.correlation, cell.samples, cell.loss) == (correlation, samples, loss)]
        shares = [f"{100 * cell.held / cell.given:.1f} %" if cell.given else "none given" for cell in alike]
        without = [f"{100 * (1 - cell.given / cell.runs):.1f}" for cell in alike]
        rows.append((f"{correlation:g}", samples, f"{100 * loss:g} %", *shares, f"{' / '.join(without)} %"))
    rates = [f"holds {rate:g}" for rate in RATES]
    return Grid.of(("correlation", "samples", "lost", *rates, "runs without an interval"), rows).markdown


def markdown_of_claims(cells: Sequence[ClaimCell]) -> str:
    """Return how often calibrated sources are called too narrow, and such that are off by 1.5 said to have held."""
    rows = []
    by_kind = {(cell.correlation, cell.samples, cell.level, cell.inflation): cell for cell in cells}
    for correlation, samples, level in product(CORRELATIONS, SAMPLES, LEVELS):
        calibrated, off = (by_kind[correlation, samples, level, inflation] for inflation in INFLATIONS)
        counts = (calibrated.too_narrow, calibrated.held, off.too_narrow, off.held)
        shares = [f"{100 * count / calibrated.runs:.1f} %" for count in counts]
        rows.append((f"{correlation:g}", samples, f"{100 * level:g} %", *shares))
    head = ("correlation", "samples", "level", "calibrated: too narrow", "calibrated: held")
    return Grid.of((*head, "κ = 1.5: too narrow", "κ = 1.5: held"), rows).markdown


def document(runs: int, interval_cells: Sequence[IntervalCell], claim_cells: Sequence[ClaimCell]) -> str:
    """Return both tables with what they count, as Markdown."""
    return (
        f"Coverage of the 95 % intervals of rates, of those given; {runs} runs of each kind. Errors are a first-order "
        f"autoregression\nfrom sample to sample; each sample serves {EVENTS_PER_SAMPLE} events, some of them lost. "
        f"The last column is of the rates {' / '.join(f'{rate:g}' for rate in RATES)}.\n\n"
        f"{markdown_of_intervals(interval_cells)}\n\n"
        f"What is said of sources that know their sigma, and of such that take it for 1.5 times smaller; {runs} runs "
        f"each.\n\n{markdown_of_claims(claim_cells)}"
    )


def unmet(interval_cells: Sequence[IntervalCell], claim_cells: Sequence[ClaimCell]) -> list[str]:
    """Return what the statistics promise and do not hold, one line each.

    A cell with few intervals says little by itself: it is short of the promise where so few would hold the truth by
    chance once in a hundred times, were each to hold it with the probability promised.
    """
    from scipy.special import bdtr, bdtrc  # noqa: PLC0415 - only a calibration needs it

    lines = [
        f"correlation {cell.correlation:g}, {cell.samples} samples, rate {cell.rate:g}, loss {cell.loss:g}: "
        f"{cell.held} of {cell.given} intervals hold the rate, promised are {100 * PROMISED_COVERAGE:g} %"
        for cell in interval_cells
        if cell.given and float(bdtr(cell.held, cell.given, PROMISED_COVERAGE)) < BY_CHANCE
    ]
    for cell in claim_cells:
        calibrated = cell.inflation == 1.0
        what, count = (calibration.TOO_NARROW, cell.too_narrow) if calibrated else (calibration.HELD, cell.held)
        if count and float(bdtrc(count - 1, cell.runs, PROMISED_ERRORS)) < BY_CHANCE:
            lines.append(
                f"correlation {cell.correlation:g}, {cell.samples} samples, level {cell.level:g}, sigma too small by "
                f"{cell.inflation:g}: {what!r} in {count} of {cell.runs} runs, promised is at most "
                f"{100 * PROMISED_ERRORS:g} %"
            )
    return lines


def written_into(text: str, tables: str, command: str = COMMAND) -> str:
    """Return a document with what stands between a command's two marks replaced.

    Raises AnalysisError if the marks are not there.
    """
    begin, end = (f"<!-- made by invoke {command}: {mark} -->" for mark in ("begin", "end"))
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise AnalysisError(f"expected the marks {begin} and {end} in the document, found none; put them back")
    return f"{before}{begin}\n{tables}\n{end}{after}"
