"""The simple models: what the last samples say, with a sigma from how far later ones fell from it."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque

from time_services.models.base import NS_PER_S
from time_services.models.node_model import DRIFT_LIMIT, Estimate, NodeModel, Observation

FORGETTING = 0.95  # of past squared errors: the last twenty or so
LARGEST_RATIO = 5.0  # an error of so many sigma, or more, counts as this many


class RecentModel(NodeModel):
    """A model without drift, over the last ``length`` observations; a kind says what it makes of them."""

    length = 1

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    @abstractmethod
    def level(self, values: list[float]) -> float:
        """Return x from the last values of it, the newest last."""

    def begin(self) -> None:
        """Forget everything."""
        self._recent: deque[Observation] = deque(maxlen=self.length)
        self._square = self._gap_s = self._total = 0.0

    def move(self, first: Observation) -> None:
        """Begin x at ``first``; its sigma is its delay's until errors are known."""
        self._recent.clear()
        self._recent.append(first)
        if not self._total:
            self._square, self._total = (first.delay_s / 2) ** 2 / 3, 1.0

    def learn(self, seen: Observation) -> None:
        """Take the error of what was known, then the observation."""
        error_s = seen.x_s - self._level()
        gap_s = abs(seen.raw_ns - self._recent[-1].raw_ns) / NS_PER_S
        limit = LARGEST_RATIO**2 * self._square / self._total
        self._total = FORGETTING * self._total + 1.0
        self._square = FORGETTING * self._square + (min(error_s * error_s, limit) if limit else error_s * error_s)
        self._gap_s += (gap_s - self._gap_s) / self._total
        self._recent.append(seen)

    def estimate(self, raw_ns: int, server: str | None = None) -> Estimate | None:
        """Return the level at any instant, whatever the server; beyond the usual gap it may drift."""
        del server  # without a bias all servers show the same
        if not self._recent:
            return None
        age_s = abs(raw_ns - self._recent[-1].raw_ns) / NS_PER_S
        rate = (
            DRIFT_LIMIT / 3**0.5 if self._total <= 1 else (self._square / self._total) ** 0.5 / max(self._gap_s, 1e-3)
        )
        rate = min(rate, DRIFT_LIMIT / 3**0.5)
        late = rate * max(age_s - self._gap_s, 0.0)
        newest = self._recent[-1]
        excess_s = newest.delay_s - self.least_delay_s.get(newest.server, newest.delay_s)
        queueing = (excess_s / 2) ** 2 if self.length == 1 else 0.0  # among several, one late one moves nothing
        return Estimate(self._level(), self._square / self._total + late * late + queueing, 0.0, rate * rate)

    def sample_noise(self, seen: Observation) -> float:
        """Return 0: the sigma of these models is that of the next sample, noise and all."""
        del seen
        return 0.0

    def _level(self) -> float:
        return self.level([seen.x_s for seen in self._recent])
