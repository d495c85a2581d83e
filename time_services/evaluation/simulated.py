"""Simulated oscillators and paths whose truth is known, and the models' figures against that truth."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Final

from time_services.evaluation.tuned import Tuned, tuned_on
from time_services.models import MODELS, NtpSample, Prediction
from time_services.models.base import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DRIFT: Final = 12e-6
THERMAL: Final = 0.3e-6  # amplitude of the sine of the frequency, s/s
THERMAL_PERIOD_S: Final = 1200.0
WALKS_PER_S: Final = (1e-20, 1e-17, 1e-14)
INTERVALS_S: Final = (10.0, 60.0, 120.0, 600.0)
SAMPLES: Final = 200
WARM_UP: Final = 20
ASKED: Final = (0.1, 0.5, 0.95)  # where between two samples the models are asked
SEEDS: Final = 10
FIRST_SEED: Final = 2000  # the models were developed on seeds below it, and are judged on others
RAW_START_NS: Final = 5_000_000_000_000
WALL_START_NS: Final = 1_790_000_000_000_000_000
LATE_SHARE: Final = 0.05
LATE_SHAPE: Final = 1.5
LATEST: Final = 200.0
STAMPING_S: Final = 2e-6


@dataclass(frozen=True)
class Path:
    """A path: its least one-way delays and the mean of its exponential queueing, s.

    One packet in twenty waits longer, by a Pareto law of shape 1.5: a tail without variance, cut at 200 means.
    """

    name: str
    there_s: float
    back_s: float
    queueing_s: float

    def one_way_s(self, least_s: float, rng: random.Random) -> float:
        """Return the delay of one packet."""
        waits_s = rng.expovariate(1 / self.queueing_s)
        if rng.random() < LATE_SHARE:
            waits_s += self.queueing_s * min(rng.paretovariate(LATE_SHAPE), LATEST)
        return least_s + waits_s


SYMMETRIC: Final = (Path("LAN", 100e-6, 100e-6, 20e-6), Path("WAN", 10e-3, 10e-3, 500e-6))
ASYMMETRIC: Final = (Path("LAN 1:2", 67e-6, 133e-6, 20e-6), Path("WAN 8:14", 8e-3, 14e-3, 500e-6))


@dataclass(frozen=True)
class Setting:
    """One kind of simulated node."""

    path: Path
    walk_per_s: float
    interval_s: float


@dataclass(frozen=True)
class Moment:
    """An instant at which the models are asked, after so many samples, and the true offset then, s."""

    known: int
    raw_ns: int
    truth_s: float


@dataclass(frozen=True)
class Run:
    """The samples of one simulated node, and the moments at which it is asked."""

    samples: tuple[NtpSample, ...]
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class Cell:
    """The figures of one setting over all seeds, against the truth; RMS in ms."""

    setting: Setting
    asked: int
    unavailable: int
    rms_ms: float
    tuned_rms_ms: float
    cover_1s: float
    cover_3s: float
    cover_3s_asymmetry: float
    sigma_ms: float

    @property
    def met(self) -> bool:
        """Whether RMS and both coverages are as promised."""
        return self.rms_ms <= 1.3 * self.tuned_rms_ms and 0.6 <= self.cover_1s <= 0.8 and self.cover_3s >= 0.985


def settings(paths: Sequence[Path]) -> Iterator[Setting]:
    """Yield every path with every oscillator and every interval."""
    for path, walk, interval_s in product(paths, WALKS_PER_S, INTERVALS_S):
        yield Setting(path, walk, interval_s)


def simulate(setting: Setting, seed: int, count: int = SAMPLES) -> Run:
    """Return a run of ``count`` samples: drift, thermal sine of random phase, random walk of frequency."""
    rng = random.Random(f"{setting}:{seed}")
    phase = rng.uniform(0, 2 * math.pi)
    turn = 2 * math.pi / THERMAL_PERIOD_S
    instants = [0.0]
    for index in range(1, count):
        instants += [(index - 1 + share) * setting.interval_s for share in ASKED] + [index * setting.interval_s]
    walked, rate = [0.0], 0.0
    for before, after in pairwise(instants):  # the exact pair (integral of the walk, walk) over a gap
        gap = after - before
        first, second = rng.gauss(0, 1), rng.gauss(0, 1)
        step = math.sqrt(setting.walk_per_s * gap) * first
        walked.append(walked[-1] + rate * gap + gap * step / 2 + math.sqrt(setting.walk_per_s * gap**3 / 12) * second)
        rate += step
    truth = [
        0.003 + DRIFT * at + THERMAL / turn * (math.cos(phase) - math.cos(turn * at + phase)) + walk
        for at, walk in zip(instants, walked, strict=True)
    ]
    samples: list[NtpSample] = []
    moments: list[Moment] = []
    for index, (at, true_s) in enumerate(zip(instants, truth, strict=True)):
        raw_ns = RAW_START_NS + round(at * NS_PER_S)
        if index % (len(ASKED) + 1):
            moments.append(Moment(len(samples), raw_ns, true_s))
        else:
            there = setting.path.one_way_s(setting.path.there_s, rng)
            back = setting.path.one_way_s(setting.path.back_s, rng)
            offset_s, delay_s = true_s + (there - back) / 2 + rng.gauss(0, STAMPING_S), there + back
            bound_ms = (delay_s / 2 + 5 * STAMPING_S) * 1e3
            samples.append(NtpSample("server", raw_ns, offset_s * 1e3, delay_s * 1e3, bound_ms))
    return Run(tuple(samples), tuple(moments))


def judge(setting: Setting, model: str, seeds: int = SEEDS, count: int = SAMPLES) -> Cell:
    """Return a model's figures in a setting, beside a Kalman filter tuned on a seed that is none of the judged."""
    first = simulate(setting, -1, count)
    tuned = tuned_on(first.samples, [(m.known, m.raw_ns, m.truth_s) for m in first.moments])
    errors: list[tuple[float, float, float]] = []
    tuned_squares = unavailable = asked = 0.0
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        run = simulate(setting, seed, count)
        for (known, said), moment in zip(_answers(run, model, tuned), run.moments, strict=True):
            if moment.known < min(WARM_UP, count // 2):
                continue
            asked += 1
            tuned_squares += (known - moment.truth_s) ** 2
            if said is None:
                unavailable += 1
            else:
                errors.append((abs(said.offset_s - moment.truth_s), said.sigma_s, said.asymmetry_s))
    number = max(len(errors), 1)
    return Cell(
        setting,
        int(asked),
        int(unavailable),
        math.sqrt(sum(error * error for error, _, _ in errors) / number) * 1e3,
        math.sqrt(tuned_squares / asked) * 1e3,
        sum(error <= sigma for error, sigma, _ in errors) / number,
        sum(error <= 3 * sigma for error, sigma, _ in errors) / number,
        sum(error <= 3 * sigma + asymmetry for error, sigma, asymmetry in errors) / number,
        sorted(sigma for _, sigma, _ in errors)[number // 2] * 1e3 if errors else math.nan,
    )


def _answers(run: Run, model: str, tuned: Tuned) -> Iterator[tuple[float, Prediction | None]]:
    """Yield what the tuned filter and the model say at each moment."""
    node = MODELS[model]()
    filtered = tuned.begun()
    fed = 0
    for moment in run.moments:
        for sample in run.samples[fed : moment.known]:
            node.feed(WALL_START_NS + sample.raw_ns, sample.raw_ns, [sample])
            filtered.learn(sample)
        fed = moment.known
        said = node.predict(moment.raw_ns)
        yield filtered.offset_s(moment.raw_ns), said if isinstance(said, Prediction) else None
