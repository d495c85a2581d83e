"""What one node's clock is doing, from that node's own NTP samples: a two-state (offset, drift) Kalman filter.

*State.* x(t) = (offset in s, drift in s/s) on the node's raw oscillator: offset = reference - local wall. Between
samples it follows the two-state clock model of C. Zucca and P. Tavella, "The clock model and its relationship with the
Allan and related variances", IEEE Trans. UFFC 52(2), 2005:
F = [[1, t], [0, 1]], Q(t) = [[q1 t + q2 t^3/3, q2 t^2/2], [q2 t^2/2, q2 t]].

*Measurement.* An NTP sample says offset +- delay/2, for any asymmetry of the path. Delay above the least one seen is
queueing, whose place (there or back) is unknown: it may move the sample by half of itself. The noise is therefore
floor + (delay - least delay)/2, as in the "minimum delay" clock filters of D. Mills (RFC 5905, section 10, is one).

*What averaging cannot remove* is the asymmetry all samples share. But each sample's interval [offset - delay/2,
offset + delay/2] must contain the truth, and carried along the estimated drift so must their intersection, of half
width h. If nothing is known of the least delay of either direction but its limit (two uniform variables), their
difference is triangular, with standard deviation h/sqrt(6). That is part of the sigma, however many samples there are,
and three of it reach beyond the intersection.

The estimate is a pure function of the last samples, refitted when one arrives, so that every sample is judged by the
least delay known now and nothing is remembered that cannot be recomputed. A sample that contradicts the prediction by
more than both can be wrong means that the clock was set: what was known before it is forgotten.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

NS_PER_S = 1e9

WINDOW = 96  # samples; at one per second the drift is known to some 0.1 ppm
MIN_SAMPLES = 3  # two fix a line, the third can contradict it
# White frequency noise: an Allan deviation of 1e-8 at 1 s, ordinary for a PC crystal read by the kernel.
Q1_S = 1e-16
# Random walk of frequency: 0.25 ppm within a minute, 2 ppm within an hour. That is an Allan deviation of 0.6 ppm at
# 1000 s (ADEV^2 = q2 t / 3), ten times that of a PC crystal at rest: room for temperature and for a steered wall clock.
Q2_PER_S = 1e-15
DRIFT_PRIOR = 100e-6  # one sigma, s/s: the drift that the rest of the house calls the largest
FLOOR_SHARE = 1 / 6  # of the least delay: scatter between two samples that both saw it
FLOOR_S = 2e-6  # reading two clocks in user space
STEP_SIGMAS = 5.0
STALE_AFTER_S = 3600.0  # the random walk above was not meant to be extrapolated for longer
STEP_BETWEEN_REQUESTS_S = 0.050  # a wall clock that moved this much against the raw one was set, not read late
STEER_LIMIT = 500e-6  # the most a kernel slews a wall clock by adjtime, s/s


@dataclass(frozen=True)
class Sample:
    """One NTP sample of a node: offset = reference - local wall at ``raw_ns`` of the node's raw clock; times in s."""

    raw_ns: int
    offset_s: float
    delay_s: float
    bound_s: float


@dataclass(frozen=True)
class Prediction:
    """The offset predicted for one instant and its one sigma, in s; the drift in s/s; how many samples it rests on."""

    offset_s: float
    sigma_s: float
    drift: float
    samples: int
    newest_age_s: float


@dataclass(frozen=True)
class WarmingUp:
    """Why there is no prediction: too few samples since the start or since the clock was set, or none for too long."""

    samples: int
    detail: str


@dataclass(frozen=True)
class State:
    """Mean and covariance of (offset, drift) at the raw instant ``raw_ns``; s, s/s and their products."""

    raw_ns: int
    offset: float
    drift: float
    p00: float
    p01: float
    p11: float

    def at(self, raw_ns: int) -> State:
        """Return the state carried to another instant; the uncertainty grows both ways."""
        t = (raw_ns - self.raw_ns) / NS_PER_S
        gap = abs(t)
        return State(
            raw_ns,
            self.offset + t * self.drift,
            self.drift,
            self.p00 + 2 * t * self.p01 + t * t * self.p11 + Q1_S * gap + Q2_PER_S * gap**3 / 3,
            self.p01 + t * self.p11 + Q2_PER_S * gap * t / 2,
            self.p11 + Q2_PER_S * gap,
        )

    def update(self, offset_s: float, variance: float) -> State:
        """Return the state after an observation of the offset with a noise of ``variance`` s^2 (Joseph form)."""
        total = self.p00 + variance
        k0, k1 = self.p00 / total, self.p01 / total
        innovation = offset_s - self.offset
        keep = 1 - k0
        return State(
            self.raw_ns,
            self.offset + k0 * innovation,
            self.drift + k1 * innovation,
            keep * keep * self.p00 + k0 * k0 * variance,
            keep * (self.p01 - k1 * self.p00) + k0 * k1 * variance,
            self.p11 - 2 * k1 * self.p01 + k1 * k1 * (self.p00 + variance),
        )


class DriftFilter:
    """Predicts one node's offset from its NTP samples. Knows the node's two clocks only by what requests say."""

    def __init__(self) -> None:
        self.restarts = 0
        self._samples: deque[Sample] = deque(maxlen=WINDOW)
        self._state: State | None = None
        self._not_before_raw_ns: int | None = None  # samples up to here describe a clock that was set since
        self._asked: tuple[int, int] | None = None  # wall and raw of the last request, ns

    def feed(self, wall_ns: int, raw_ns: int, samples: list[Sample]) -> int:
        """Take the samples of a request made at (wall_ns, raw_ns) of the node's clocks; return how many were new."""
        self._notice_set_clock(wall_ns, raw_ns)
        new = 0
        for sample in sorted(samples, key=lambda sample: sample.raw_ns):
            last = self._samples[-1].raw_ns if self._samples else self._not_before_raw_ns
            if last is None or sample.raw_ns > last:
                self._samples.append(sample)
                new += 1
        if new:
            self._fit()
        return new

    def predict(self, raw_ns: int) -> Prediction | WarmingUp:
        """Predict the offset at ``raw_ns`` of the node's raw clock."""
        count = len(self._samples)
        if self._state is None or count < MIN_SAMPLES:
            since = " since its clock was set" if self._not_before_raw_ns is not None else ""
            return WarmingUp(count, f"{count} of {MIN_SAMPLES} samples of this node{since}")
        age_s = (raw_ns - self._samples[-1].raw_ns) / NS_PER_S
        if age_s > STALE_AFTER_S:
            return WarmingUp(count, f"the newest sample is {age_s:.0f} s old, more than {STALE_AFTER_S:.0f} s")
        state = self._state.at(raw_ns)
        offset_s, variance = self._confine(state)
        return Prediction(offset_s, math.sqrt(variance), state.drift, count, age_s)

    def _notice_set_clock(self, wall_ns: int, raw_ns: int) -> None:
        """Forget what was known if the node's wall clock moved against its raw clock, or its raw clock started anew."""
        if self._asked is not None:
            wall_s, raw_s = (wall_ns - self._asked[0]) / NS_PER_S, (raw_ns - self._asked[1]) / NS_PER_S
            if self._samples and raw_ns < self._samples[0].raw_ns:
                self._restart(None)
            elif abs(wall_s - raw_s) > STEP_BETWEEN_REQUESTS_S + STEER_LIMIT * abs(raw_s):
                self._restart(raw_ns)
        self._asked = wall_ns, raw_ns

    def _restart(self, not_before_raw_ns: int | None) -> None:
        self._samples.clear()
        self._state = None
        self._not_before_raw_ns = not_before_raw_ns
        self.restarts += 1

    def _fit(self) -> None:
        """Run the filter over the samples kept. Where one contradicts all before it, keep only it and what follows."""
        least_delay = min(sample.delay_s for sample in self._samples)
        first = self._samples[0]
        start = 0
        state = _begin(first)
        for index, sample in enumerate(list(self._samples)[1:], start=1):
            predicted = state.at(sample.raw_ns)
            far = sample.bound_s + STEP_SIGMAS * math.sqrt(predicted.p00) + least_delay / 2
            if abs(sample.offset_s - predicted.offset) > far:
                start, state = index, _begin(sample)
                continue
            noise = max(FLOOR_S, FLOOR_SHARE * least_delay) + (sample.delay_s - least_delay) / 2
            state = predicted.update(sample.offset_s, noise * noise)
        if start:
            self._not_before_raw_ns = self._samples[start - 1].raw_ns
            self.restarts += 1
            for _ in range(start):
                self._samples.popleft()
        self._state = state

    def _confine(self, state: State) -> tuple[float, float]:
        """Return the estimate, confined to what all samples allow, and its variance."""
        drift_sigma = math.sqrt(state.p11)
        low, high = -math.inf, math.inf
        for sample in self._samples:
            gap = (state.raw_ns - sample.raw_ns) / NS_PER_S
            carried = sample.offset_s + gap * state.drift
            gap = abs(gap)
            wander = math.sqrt(Q1_S * gap + Q2_PER_S * gap**3 / 3)
            reach = sample.delay_s / 2 + FLOOR_S + 3 * (drift_sigma * gap + wander)
            low, high = max(low, carried - reach), min(high, carried + reach)
        if low > high:  # the drift was not what it seems: trust no narrower interval than their disagreement
            low, high = high, low
        centre, half = (low + high) / 2, (high - low) / 2
        offset = min(max(state.offset, low), high)
        return offset, state.p00 + half * half / 6 + (offset - centre) ** 2


def _begin(sample: Sample) -> State:
    """Return what one sample alone says: anywhere within its interval, with any drift that is possible."""
    half = sample.delay_s / 2
    return State(sample.raw_ns, sample.offset_s, 0.0, half * half / 3 + FLOOR_S**2, 0.0, DRIFT_PRIOR**2)
