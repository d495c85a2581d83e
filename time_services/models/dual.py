"""Two banks of Kalman filters, one of restless and one of calm oscillators, fused with their correlation respected.

Both see the same samples, so their errors are correlated. The weights that make the fused error's variance least,
w = (V_b - C) / (V_a + V_b - 2 C), are taken from the moments of past one-step errors (Y. Bar-Shalom and L. Campo, "The
effect of the common process noise on the two-sensor fused-track covariance", IEEE Trans. AES 22(6), 1986). The noise of
the sample that showed an error is in all three moments alike and drops out. Every error counts in units of what was
expected of it, or the first ones, of a drift that nobody knows yet, would outweigh all later ones. Where the two hardly
differ, their errors tell nothing of w: it is drawn to ``FIRST_SHARE``, as few crystals are restless, by a ridge
(A. Hoerl and R. Kennard, "Ridge regression", Technometrics 12(1), 1970). The fused sigma is w s_a + (1 - w) s_b,
which is right for full correlation and an upper limit for any other (S. Julier and J. Uhlmann, "A non-divergent
estimation algorithm in the presence of unknown correlations", ACC 1997, on why no less may be said).
"""

from __future__ import annotations

import math

from time_services.models.kalman_bank import FAST, RESTLESS, SLOW, KalmanBank
from time_services.models.node_model import Estimate, NodeModel, Observation

FORGETTING = 0.95  # of the moments: the last twenty errors or so
FIRST_SHARE = 1 / (1 + math.exp(-RESTLESS))  # of the short one, before any error: as likely as its filters are
RIDGE = 10.0  # of w: errors worth this much, in units of what was expected of them, pull it half of the way
LARGEST_SIGMAS = 5.0  # an error beyond so many sigma counts as this many: an outlier moves no weight


class Dual(NodeModel):
    """A short-horizon and a long-horizon bank; ``short_share`` of the answer is the first one's."""

    name = "dual"

    def __init__(self) -> None:
        super().__init__()
        self._short, self._long = KalmanBank(FAST), KalmanBank(SLOW)
        for bank in (self._short, self._long):
            bank.least_delay_s = self.least_delay_s  # one record, kept here
        self.begin()

    def begin(self) -> None:
        """Forget everything."""
        self._short.begin()
        self._long.begin()
        self._moments = 0.0, 0.0, 0.0  # of the short one's errors, the long one's, and their product
        self._share = FIRST_SHARE

    def move(self, first: Observation) -> None:
        """Begin x at ``first`` in both."""
        self._short.move(first)
        self._long.move(first)

    def learn(self, seen: Observation) -> None:
        """Take how wrong both were, then let both learn."""
        short = self._short.estimate(seen.raw_ns, seen.server)
        long = self._long.estimate(seen.raw_ns, seen.server)
        if short is not None and long is not None:
            expected = (max(short.variance, long.variance) + self.sample_noise(seen)) ** 0.5
            a = min(max((seen.x_s - short.x_s) / expected, -LARGEST_SIGMAS), LARGEST_SIGMAS)
            b = min(max((seen.x_s - long.x_s) / expected, -LARGEST_SIGMAS), LARGEST_SIGMAS)
            aa, bb, ab = (FORGETTING * old + new for old, new in zip(self._moments, (a * a, b * b, a * b), strict=True))
            self._moments = aa, bb, ab
            best = (RIDGE * FIRST_SHARE + bb - ab) / (RIDGE + aa + bb - 2 * ab)
            self._share = min(max(best, 0.0), 1.0)
        self._short.learn(seen)
        self._long.learn(seen)

    def estimate(self, raw_ns: int, server: str | None = None) -> Estimate | None:
        """Return the fused x and drift."""
        short, long = self._short.estimate(raw_ns, server), self._long.estimate(raw_ns, server)
        if short is None or long is None:
            return None
        w, v = self._share, 1 - self._share
        return Estimate(
            w * short.x_s + v * long.x_s,
            (w * short.variance**0.5 + v * long.variance**0.5) ** 2,
            w * short.drift + v * long.drift,
            (w * short.drift_variance**0.5 + v * long.drift_variance**0.5) ** 2,
        )

    def bias_s(self, server: str) -> float:
        """Return the server's bias, fused."""
        return self._share * self._short.bias_s(server) + (1 - self._share) * self._long.bias_s(server)

    def sample_noise(self, seen: Observation) -> float:
        """Return the variance of the observation's own noise, s^2."""
        short, long = self._short.sample_noise(seen), self._long.sample_noise(seen)
        return self._share * short + (1 - self._share) * long

    def details(self) -> dict[str, float]:
        """Return the short one's share of the answer, and the noise of the samples."""
        short, long = self._short.details()["noise_ms"], self._long.details()["noise_ms"]
        return {"short_share": self._share, "noise_ms": self._share * short + (1 - self._share) * long}
