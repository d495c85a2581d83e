"""The filter to beat: one two-state Kalman filter, its noises tuned for the least error on a run of known truth."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Final

from time_services.models.base import NS_PER_S, NtpSample

if TYPE_CHECKING:
    from collections.abc import Sequence

DRIFT_PRIOR: Final = 100e-6
PROCESS: Final = ((1e-18, 1e-20), (1e-18, 1e-18), (1e-18, 1e-16), (1e-18, 1e-15), (1e-18, 1e-14), (1e-18, 1e-12),
                  (1e-14, 1e-20), (1e-12, 1e-20), (1e-12, 1e-16))  # fmt: skip
NOISES_S: Final = (5e-6, 20e-6, 80e-6, 320e-6, 1.3e-3)
QUEUEING: Final = (0.0, 0.6)


class Tuned:
    """One filter of constant q1 (s), q2 (1/s), least noise (s) and share of the queueing."""

    def __init__(self, q1: float, q2: float, noise_s: float, queueing: float) -> None:
        self.constants = q1, q2, noise_s, queueing
        self._raw_ns: int | None = None
        self._least_ms = math.inf
        self._offset = self._drift = 0.0
        self._p00, self._p01, self._p11 = 1.0, 0.0, DRIFT_PRIOR**2

    def begun(self) -> Tuned:
        """Return a new filter of the same constants."""
        return Tuned(*self.constants)

    def offset_s(self, raw_ns: int) -> float:
        """Return the offset at an instant."""
        return self._offset + self._drift * (raw_ns - (self._raw_ns or raw_ns)) / NS_PER_S

    def learn(self, sample: NtpSample) -> None:
        """Take the next sample."""
        q1, q2, noise_s, queueing = self.constants
        t = 0.0 if self._raw_ns is None else (sample.raw_ns - self._raw_ns) / NS_PER_S
        self._raw_ns = sample.raw_ns
        self._least_ms = min(self._least_ms, sample.delay_ms)
        self._offset += t * self._drift
        self._p00 += 2 * t * self._p01 + t * t * self._p11 + q1 * t + q2 * t**3 / 3
        self._p01 += t * self._p11 + q2 * t * t / 2
        self._p11 += q2 * t
        noise = noise_s**2 + (queueing * (sample.delay_ms - self._least_ms) / 2e3) ** 2
        k0, k1 = self._p00 / (self._p00 + noise), self._p01 / (self._p00 + noise)
        innovation = sample.offset_ms / 1e3 - self._offset
        self._offset += k0 * innovation
        self._drift += k1 * innovation
        self._p11 -= k1 * self._p01
        self._p00 *= 1 - k0
        self._p01 *= 1 - k0


def tuned_on(samples: Sequence[NtpSample], moments: Sequence[tuple[int, int, float]]) -> Tuned:
    """Return the filter of least squared error at ``moments``: samples known, instant (raw, ns), true offset (s)."""

    def squares(filtered: Tuned) -> float:
        fed, total = 0, 0.0
        for known, raw_ns, truth_s in moments:
            for sample in samples[fed:known]:
                filtered.learn(sample)
            fed = known
            if known >= len(samples) // 10:
                total += (filtered.offset_s(raw_ns) - truth_s) ** 2
        return total

    grid = (Tuned(*process, noise, share) for process, noise, share in product(PROCESS, NOISES_S, QUEUEING))
    return min(grid, key=squares).begun()
