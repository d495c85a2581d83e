"""One step ahead along a series: what each model and each baseline would have said of the next sample."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from time_services.models import MODELS, NtpSample, Prediction
from time_services.models.base import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WALL_START_NS = 1_700_000_000_000_000_000
WARM_UP: Final = 3  # samples before the first that is foretold, for every model and baseline


@dataclass(frozen=True)
class Step:
    """What was foretold of one sample, ms: the error, the sigma of the truth, and a sample's noise as the model has it.

    None: no prediction, or no such claim.
    """

    error_ms: float | None
    sigma_ms: float | None
    noise_ms: float | None


@dataclass(frozen=True)
class Score:
    """The figures of one model on one series, ms; coverage against the next samples, whose noise is in them."""

    n: int
    unavailable: int
    restarts: int
    mae_ms: float | None
    rms_ms: float | None
    p95_ms: float | None
    cover_1s: float | None
    cover_3s: float | None
    sigma_ms: float | None


def _last(_times: Sequence[float], values: Sequence[float], _at: float) -> float:
    return values[-1]


def _median(_times: Sequence[float], values: Sequence[float], _at: float) -> float:
    return statistics.median(values[-16:])


def _line(length: int) -> Callable[[Sequence[float], Sequence[float], float], float]:
    def foretell(times: Sequence[float], values: Sequence[float], at: float) -> float:
        x, y = np.array(times[-length:]), np.array(values[-length:])
        middle = x.mean()
        spread = float(((x - middle) ** 2).sum())
        slope = float(((x - middle) * (y - y.mean())).sum()) / spread
        return float(y.mean()) + slope * (at - float(middle))

    return foretell


BASELINES: Final[Mapping[str, Callable[[Sequence[float], Sequence[float], float], float]]] = {
    "last sample": _last,
    "median of 16": _median,
    "line over 8": _line(8),
    "line over 32": _line(32),
}


def baseline_steps(name: str, samples: Sequence[NtpSample]) -> list[Step]:
    """Foretell every sample but the first few from all before it, by a baseline."""
    times = [sample.raw_ns / NS_PER_S for sample in samples]
    values = [sample.offset_ms for sample in samples]
    foretell = BASELINES[name]
    return [
        Step(foretell(times[:index], values[:index], times[index]) - values[index], None, None)
        for index in range(WARM_UP, len(samples))
    ]


def model_steps(name: str, samples: Sequence[NtpSample]) -> tuple[list[Step], int]:
    """Foretell every sample but the first few from all before it, by a model; also how often it began anew."""
    model = MODELS[name]()
    steps: list[Step] = []
    for index, sample in enumerate(samples):
        if index >= WARM_UP:
            said = model.predict(sample.raw_ns)
            steps.append(_step(said, sample) if isinstance(said, Prediction) else Step(None, None, None))
        model.feed(WALL_START_NS + sample.raw_ns, sample.raw_ns, [sample])
    return steps, model.restarts


def _step(said: Prediction, sample: NtpSample) -> Step:
    return Step(said.offset_s * 1e3 - sample.offset_ms, said.sigma_s * 1e3, said.calibration.get("noise_ms"))


def score(steps: Sequence[Step], restarts: int = 0) -> Score:
    """Return the figures of some steps; None where nothing was foretold or no sigma is claimed."""
    errors = sorted(abs(step.error_ms) for step in steps if step.error_ms is not None)
    sigmas = [step.sigma_ms for step in steps if step.sigma_ms is not None]
    claims = [  # the truth of the next sample is not known: its noise is in the error, and so in what has to cover it
        (abs(step.error_ms), math.hypot(step.sigma_ms, step.noise_ms or 0.0))
        for step in steps
        if step.error_ms is not None and step.sigma_ms is not None
    ]
    return Score(
        n=len(errors),
        unavailable=len(steps) - len(errors),
        restarts=restarts,
        mae_ms=statistics.fmean(errors) if errors else None,
        rms_ms=math.sqrt(statistics.fmean(error * error for error in errors)) if errors else None,
        p95_ms=errors[math.ceil(0.95 * len(errors)) - 1] if errors else None,
        cover_1s=statistics.fmean(error <= sigma for error, sigma in claims) if claims else None,
        cover_3s=statistics.fmean(error <= 3 * sigma for error, sigma in claims) if claims else None,
        sigma_ms=statistics.median(sigmas) if sigmas else None,
    )


def evaluate(samples: Sequence[NtpSample], models: Sequence[str]) -> dict[str, Score]:
    """Return the scores of the models and of all baselines, by name."""
    scores = {name: score(*model_steps(name, samples)) for name in models}
    return scores | {name: score(baseline_steps(name, samples)) for name in BASELINES}
