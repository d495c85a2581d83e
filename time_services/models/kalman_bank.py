"""The default model: a bank of two-state Kalman filters, weighted by how well each foretold this node's own samples.

*One filter.* State (x, drift) on the oscillator, x = reference - oscillator, with the two-state clock model of C. Zucca
and P. Tavella, "The clock model and its relationship with the Allan and related variances", IEEE Trans. UFFC 52(2),
2005: F = [[1, t], [0, 1]], Q(t) = [[q1 t + q2 t^3/3, q2 t^2/2], [q2 t^2/2, q2 t]].

*The bank.* Process noise (q1, q2) and measurement noise are not constants: filters over a grid of them run side by
side, and filter i has the weight w_i ~ w_i^a L_i, L the likelihood of its innovation, a < 1 so that the distant past is
forgotten (D. Magill, "Optimal adaptive estimation of sampled stochastic processes", IEEE Trans. AC 10(4), 1965;
Y. Bar-Shalom, X. Li, T. Kirubarajan, "Estimation with Applications to Tracking and Navigation", 2001, section 11.6).
The estimate is the mixture's mean, its variance the mixture's.

*Measurement noise.* r = s^2 + (g e)^2, e half of the delay above the least one of that server: what queueing may have
moved the sample by. Innovations follow Student's t of ``DEGREES`` degrees of freedom, so that z^2 beyond them inflates
r by (DEGREES + z^2) / (DEGREES + 1): an outlier weighs next to nothing (K. Lange, R. Little, J. Taylor, "Robust
statistical modeling using the t distribution", JASA 84, 1989).

*Servers.* Each has one bias against the one of the least delay (whose bias is 0 by definition), a scalar Kalman state
that is updated beside the bank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from time_services.models.base import NS_PER_S
from time_services.models.node_model import Estimate, NodeModel, Observation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DEGREES = 4.0
LESS_INFORMATION = (DEGREES + 3) / (DEGREES + 1)  # a t sample of scale s tells as much as a normal one of s sqrt(this)
FORGETTING = 0.995  # a: a weight is that of the last two hundred samples or so
DRIFT_PRIOR = 100e-6  # one sigma, s/s: the largest drift that the harness assumes
STEERED_PRIOR = 1e-9  # the same of a clock whose drift somebody else takes out
RESTLESS = -2.0  # ln of the first weight of a filter of FAST against one of SLOW: few crystals are so restless
LEAST_SHARE = 1e-6  # no filter's weight falls below this share of the best's: it can come back
HEARD_SHARE = 1e-3  # a filter below this share has no say in the answer: it may be far off
QUIET_Q1, QUIET_Q2 = 1e-18, 1e-20
NOISES_S = tuple(1e-6 * 2.5**power for power in range(11))  # to 10 ms
QUEUEING = (0.0, 0.6)  # g; of the share of the queueing: 1/sqrt(3) where its place there and back is uniform
# A free oscillator has any drift, a steered clock none; q1, q2 and the sigma of the drift at first.
FAST = (
    *((q1, QUIET_Q2, DRIFT_PRIOR) for q1 in (1e-11, 1e-9, 1e-7)),
    *((QUIET_Q1, q2, DRIFT_PRIOR) for q2 in (1e-15, 1e-14, 1e-12)),
    *((q1, QUIET_Q2, STEERED_PRIOR) for q1 in (1e-10, 1e-8)),
)
SLOW = (
    *((q1, QUIET_Q2, DRIFT_PRIOR) for q1 in (QUIET_Q1, 1e-15, 1e-13)),
    *((QUIET_Q1, q2, DRIFT_PRIOR) for q2 in (1e-18, 1e-17, 1e-16)),
    *((q1, QUIET_Q2, STEERED_PRIOR) for q1 in (1e-14, 1e-12)),
)


@dataclass(frozen=True)
class _Grid:
    """What the filters of a ladder differ in; all nodes share it. ``mixed`` has what is averaged of it, by column."""

    q1: Floats
    q2: Floats
    prior: Floats  # the drift's first variance
    floor: Floats  # s^2
    queueing: Floats  # g^2
    log_weight: Floats  # ln of the weight at first
    mixed: Floats


@cache
def _grid(ladder: tuple[tuple[float, float, float], ...]) -> _Grid:
    rows = [
        (q1, q2, prior * prior, s * s, g * g, RESTLESS if (q1, q2, prior) in FAST else 0.0)
        for (q1, q2, prior), s, g in product(ladder, NOISES_S, QUEUEING)
    ]
    q1, q2, prior, floor, queueing, log_weight = np.array(rows).T.copy()
    mixed = np.stack((q1, q2, floor, queueing, np.log(q1), np.log(q2)), axis=1)
    return _Grid(q1, q2, prior, floor, queueing, log_weight, mixed)


@dataclass(frozen=True)
class _Mixture:
    """The bank between two samples. Mean and variance of the mixture grow with time as those of one filter do.

    ``p00``, ``p01`` and ``p11`` are the means of the filters' covariances and of how their estimates differ.
    """

    x_s: float
    drift: float
    p00: float
    p01: float
    p11: float
    q1: float
    q2: float
    floor: float
    queueing: float
    log_q1: float
    log_q2: float

    def at(self, t: float) -> Estimate:
        """Return the mixture's estimate ``t`` s after the newest sample, or before it."""
        gap = abs(t)
        variance = self.p00 + (2 * t) * self.p01 + (t * t) * self.p11 + gap * self.q1 + (gap**3 / 3) * self.q2
        return Estimate(self.x_s + t * self.drift, variance, self.drift, self.p11 + gap * self.q2)


class KalmanBank(NodeModel):
    """A bank over ``ladder``: q1 (s), q2 (1/s) and the drift's first sigma (s/s)."""

    name = "kalman_bank"

    def __init__(self, ladder: Sequence[tuple[float, float, float]] = SLOW + FAST) -> None:
        super().__init__()
        self._grid = _grid(tuple(ladder))
        self.begin()

    def begin(self) -> None:
        """Forget everything."""
        count = len(self._grid.q1)
        self._mixture: _Mixture | None = None  # as far as it is known since the newest sample
        self._raw_ns = 0
        self._x, self._drift = np.zeros(count), np.zeros(count)
        self._p00, self._p01, self._p11 = np.zeros(count), np.zeros(count), self._grid.prior.copy()
        self._log_weight = self._grid.log_weight.copy()
        weight = np.exp(self._log_weight)
        self._weight = weight / weight.sum()
        self._bias: dict[str, tuple[float, float]] = {}
        self._anchor: str | None = None

    def move(self, first: Observation) -> None:
        """Begin x at ``first``, anywhere within half its delay; keep drift and weights."""
        self._mixture = None
        self._raw_ns = first.raw_ns
        self._x = np.full(len(self._x), first.x_s)
        self._p00 = self._grid.floor + (first.delay_s / 2) ** 2 / 3
        self._p01 = np.zeros(len(self._x))
        self._bias.clear()
        self._anchor = first.server

    def learn(self, seen: Observation) -> None:
        """Carry all filters to the observation, and update them, their weights and the server's bias."""
        self._mixture = None
        gap_s = (seen.raw_ns - self._raw_ns) / NS_PER_S
        if gap_s > 0:
            self._carry(gap_s)
            self._raw_ns = seen.raw_ns
        bias, bias_variance = self._bias_of(seen.server, seen.delay_s)
        noise = self._noise(seen) + bias_variance
        innovation = seen.x_s - bias - self._x
        c0, c1 = self._p00, self._p01
        total = c0 + noise
        if gap_s < 0:  # a sample from before the newest one is met by H = [1, gap]
            innovation -= gap_s * self._drift
            c0, c1 = c0 + gap_s * c1, c1 + gap_s * self._p11
            total = c0 + gap_s * c1 + noise
        square = innovation * innovation / total
        self._learn_bias(seen.server, bias, bias_variance, innovation, total)
        inflated = total + noise * (LESS_INFORMATION * np.maximum((DEGREES + square) / (DEGREES + 1), 1.0) - 1.0)
        k0, k1 = c0 / inflated, c1 / inflated
        self._x += k0 * innovation
        self._drift += k1 * innovation
        self._p11 -= k1 * c1  # in this order: c0 and c1 may be what is changed after it
        self._p01 -= k0 * c1
        self._p00 -= k0 * c0
        likelihood = -0.5 * np.log(total) - (DEGREES + 1) / 2 * np.log1p(square / DEGREES)
        self._log_weight = FORGETTING * self._log_weight + likelihood
        self._log_weight -= self._log_weight.max()
        np.maximum(self._log_weight, math.log(LEAST_SHARE), out=self._log_weight)
        weight = np.exp(self._log_weight)
        weight[weight < HEARD_SHARE] = 0.0
        self._weight = weight / weight.sum()
        self._choose_anchor()

    def estimate(self, raw_ns: int, server: str | None = None) -> Estimate | None:
        """Return the mixture's x and drift at an instant; ``server``'s bias is added where one is named."""
        if self._anchor is None:
            return None
        reached = self._mixed().at((raw_ns - self._raw_ns) / NS_PER_S)
        if server is None:
            return reached
        bias, bias_variance = self._bias_of(server, 0.0)
        return replace(reached, x_s=reached.x_s + bias, variance=reached.variance + bias_variance)

    def bias_s(self, server: str) -> float:
        """Return the server's bias against the one of the least delay."""
        return self._bias_of(server, 0.0)[0]

    def sample_noise(self, seen: Observation) -> float:
        """Return the variance of the observation's own noise, s^2."""
        mixed, excess_s = self._mixed(), self._excess_s(seen)
        return mixed.floor + mixed.queueing * (excess_s * excess_s)

    def details(self) -> dict[str, float]:
        """Return what the weights say of this node: the noise of its samples and of its oscillator."""
        mixed = self._mixed()
        return {
            "noise_ms": mixed.floor**0.5 * 1e3,
            "q1_s": math.exp(mixed.log_q1),
            "q2_per_s": math.exp(mixed.log_q2),
        }

    def _mixed(self) -> _Mixture:
        """Return the bank as one filter; between two samples it is the same."""
        if self._mixture is None:
            weight, grid = self._weight, self._grid
            x, drift = float(weight @ self._x), float(weight @ self._drift)
            apart_x, apart_drift = self._x - x, self._drift - drift
            self._mixture = _Mixture(
                x,
                drift,
                float(weight @ (self._p00 + apart_x * apart_x)),
                float(weight @ (self._p01 + apart_x * apart_drift)),
                float(weight @ (self._p11 + apart_drift * apart_drift)),
                *map(float, weight @ grid.mixed),
            )
        return self._mixture

    def _carry(self, t: float) -> None:
        q1, q2 = self._grid.q1, self._grid.q2
        self._x += t * self._drift
        self._p00 += (2 * t) * self._p01 + (t * t) * self._p11 + t * q1 + (t**3 / 3) * q2
        self._p01 += t * self._p11 + (t * t / 2) * q2
        self._p11 += t * q2

    def _noise(self, seen: Observation) -> Floats:
        excess_s = self._excess_s(seen)
        noise: Floats = self._grid.floor + self._grid.queueing * (excess_s * excess_s)
        return noise

    def _excess_s(self, seen: Observation) -> float:
        return (seen.delay_s - self.least_delay_s.get(seen.server, seen.delay_s)) / 2

    def _bias_of(self, server: str, delay_s: float) -> tuple[float, float]:
        """Return a server's bias and its variance; at first anywhere within what both paths may hide."""
        if server == self._anchor:
            return 0.0, 0.0
        known = self._bias.get(server)
        if known is None:
            half_s = (self.least_delay_s.get(server, delay_s) + self.least_delay_s.get(self._anchor or "", 0.0)) / 2
            return 0.0, half_s * half_s / 3
        return known

    def _learn_bias(self, server: str, bias: float, variance: float, innovation: Floats, total: Floats) -> None:
        if server == self._anchor:
            return
        mean, spread = float(self._weight @ innovation), float(self._weight @ total)
        robust = spread * max((DEGREES + mean * mean / spread) / (DEGREES + 1), 1.0)
        gain = variance / robust
        self._bias[server] = bias + gain * mean, variance * (1.0 - gain)

    def _choose_anchor(self) -> None:
        """Refer x to the server of the least delay, once another one's is well below that of the present one."""
        best = min(self.least_delay_s, key=self.least_delay_s.__getitem__)
        if best == self._anchor or best not in self._bias or self._anchor is None:
            return
        if self.least_delay_s[best] < 0.8 * self.least_delay_s.get(self._anchor, math.inf):
            shift, variance = self._bias.pop(best)
            self._x += shift
            self._bias = {server: (bias - shift, own) for server, (bias, own) in self._bias.items()}
            self._bias[self._anchor] = -shift, variance
            self._anchor = best
