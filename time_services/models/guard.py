"""An online guard of sigma: the factor by which past one-step errors say that it has to be wider or narrower.

Adaptive conformal inference (I. Gibbs and E. Candes, "Adaptive conformal inference under distribution shift", NeurIPS
2021) moves a quantile by a step whenever an error falls outside, and back by less when it falls inside, so that in the
long run the asked share is inside whatever the errors' law. Here the quantile is ln(factor), at one sigma. An error of
a prediction is seen only through the next sample, whose own noise is taken off first: the error is inside where
error^2 <= noise + factor^2 variance. A sample that is mostly noise says little: its step is weighted by
variance / (variance + noise).
"""

from __future__ import annotations

import math

# The share of errors to be inside one sigma: 0.683 of a normal law. Errors of a model that was fitted to few samples
# have heavier tails, and aiming a little higher holds three sigma, too.
AIM = 0.70
FIRST = 1.08  # the factor before any error is seen, for the same reason
STEP = 0.08  # of ln(factor) per sample: some twenty samples to double sigma when all of them are outside
LEAST, LARGEST = 0.5, 8.0


class Guard:
    """The factor of sigma, from the errors seen so far."""

    __slots__ = ("_log_factor", "errors", "inside")

    def __init__(self) -> None:
        self.errors = 0
        self.inside = 0
        self._log_factor = math.log(FIRST)

    @property
    def factor(self) -> float:
        """What a model's sigma is multiplied by."""
        return math.exp(self._log_factor)

    def observe(self, error_s: float, variance: float, noise: float) -> None:
        """Take the error against a sample of variance ``noise`` of a prediction of variance ``variance`` (s^2)."""
        inside = error_s * error_s <= noise + self.factor**2 * variance
        weight = variance / (variance + noise)
        moved = self._log_factor + STEP * weight * (AIM - 1.0 if inside else AIM)
        self._log_factor = min(max(moved, math.log(LEAST)), math.log(LARGEST))
        self.errors += 1
        self.inside += inside

    def state(self) -> dict[str, float]:
        """Return the guard's state as plain numbers."""
        return {"factor": self.factor, "errors": self.errors, "inside_1s": self.inside}
