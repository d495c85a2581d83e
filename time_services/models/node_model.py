"""What all models share: a node's samples on its oscillator, less falsetickers, outliers and what a set clock ended.

The estimate is x = reference - oscillator, against the pair (wall, oscillator) of the node's requests: the wall clock
may be steered or set in small steps, and x goes on. Sample offsets are against the wall; the wall at a sample is
interpolated between the requests before and after it.

A wall clock that moved by more than ``STEP_BETWEEN_REQUESTS_S`` was set, or the node was booted: what was known of x is
forgotten, the drift is not. The same where two samples in turn contradict the prediction by more than both can be wrong
and agree with each other; one alone is an outlier and is left out.

How much queueing moved a sample is told by its delay above the least one of its server. When a later sample shows that
the least delay is well below what it seemed to be, a young node learns all its samples again.
"""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from time_services.models.base import NS_PER_S, NotReady, NtpSample, Prediction
from time_services.models.guard import Guard
from time_services.models.selection import falsetickers, joint_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_SAMPLES = 3  # two fix a line, the third can contradict it
WINDOW = 48  # samples kept to begin anew from when a server turns out to be wrong
PER_SERVER = 8  # as many as the agent's NTP source intersects
MAX_SERVERS = 16
STALE_AFTER_S = 3600.0
STEP_BETWEEN_REQUESTS_S = 0.050  # a wall clock that moved this much against the oscillator was set, not read late
STEER_LIMIT = 500e-6  # the most a kernel slews a wall clock by adjtime, s/s
DRIFT_LIMIT = 100e-6  # the largest drift of an oscillator that the harness assumes, s/s
STEP_SIGMAS = 5.0
FELL_BY = 0.05  # of the least delay; what falls by less leaves queueing judged well enough


@dataclass(frozen=True)
class Observation:
    """A sample on the node's oscillator: x = reference - oscillator (s, less a constant) at ``raw_ns``."""

    server: str
    raw_ns: int
    x_s: float
    delay_s: float
    bound_s: float


@dataclass(frozen=True)
class Estimate:
    """x at an instant with its variance (s^2), and its slope with its own variance."""

    x_s: float
    variance: float
    drift: float
    drift_variance: float


class NodeModel(ABC):
    """A model of one node; a kind of model says how it begins, learns and estimates."""

    name = ""

    def __init__(self) -> None:
        self.restarts = 0
        self.guard = Guard()
        self.least_delay_s: dict[str, float] = {}
        self._kept: deque[Observation] = deque(maxlen=WINDOW)
        self._newest_raw_ns: dict[str, int] = {}
        self._not_before_raw_ns = -1  # samples up to here describe a clock that was set since
        self._requests: tuple[tuple[int, int], tuple[int, int]] | None = None  # the last two: (raw, wall - raw)
        self._base_ns = 0
        self._suspect: Observation | None = None
        self._wrong: frozenset[str] = frozenset()
        self._learnt = 0
        self._newest_learnt_raw_ns = 0

    # what a kind of model says

    @abstractmethod
    def begin(self) -> None:
        """Forget everything."""

    @abstractmethod
    def move(self, first: Observation) -> None:
        """Forget x, and begin it at ``first``; keep what is known of the oscillator."""

    @abstractmethod
    def learn(self, seen: Observation) -> None:
        """Take an observation that is neither a falseticker's nor contradicts what is known."""

    @abstractmethod
    def estimate(self, raw_ns: int, server: str | None = None) -> Estimate | None:
        """Return x at an instant: the reference's, or as ``server`` would show it."""

    def bias_s(self, server: str) -> float:
        """Return how far ``server`` shows x from the estimate; 0 for a model without biases."""
        del server
        return 0.0

    @abstractmethod
    def sample_noise(self, seen: Observation) -> float:
        """Return the variance of the observation's own noise, s^2."""

    def details(self) -> dict[str, float]:
        """Return what else the answer tells of the model's state, as plain numbers."""
        return {}

    # the interface

    def feed(self, instant_ns: int, raw_ns: int, samples: Sequence[NtpSample]) -> int:
        """Take a request's samples, and its instant on the wall clock and the oscillator; return how many were new."""
        self._notice(instant_ns - raw_ns, raw_ns)
        new = sorted((sample for sample in samples if self._is_new(sample)), key=lambda sample: sample.raw_ns)
        count = 0
        for sample in new:
            if self._is_new(sample):  # a request may hold it twice
                count += 1
                self._newest_raw_ns[sample.server] = sample.raw_ns
                self._take(self._observation(sample))
        return count

    def predict(self, raw_ns: int) -> Prediction | NotReady:
        """Predict the offset at ``raw_ns`` of the oscillator, against the wall clock as the last request showed it."""
        if self._wrong and self._wrong.issuperset(seen.server for seen in self._kept):
            return NotReady(self._learnt, "the servers contradict each other, and no majority of them agrees")
        needed = 1 if self.restarts else MIN_SAMPLES
        if self._learnt < needed or self._requests is None:
            since = " since its clock was set" if self.restarts else ""
            return NotReady(self._learnt, f"{self._learnt} of {needed} samples of this node{since}")
        age_s = (raw_ns - self._newest_learnt_raw_ns) / NS_PER_S
        if age_s > STALE_AFTER_S:
            detail = f"the newest sample is {age_s:.0f} s old, more than {STALE_AFTER_S:.0f} s"
            return NotReady(self._learnt, detail)
        state = self.estimate(raw_ns)
        assert state is not None, "a model that learnt has an estimate"  # noqa: S101 - for the type checker
        x_s, asymmetry_s = self._confined(state)
        sigma_s = self.guard.factor * state.variance**0.5
        one_sided_s = self._one_sided_s(x_s, state, raw_ns) - sigma_s  # which is in k sigma already
        asymmetry_s = max(asymmetry_s, one_sided_s)
        return Prediction(
            x_s - (self._requests[1][1] - self._base_ns) / NS_PER_S,
            sigma_s,
            asymmetry_s,
            state.drift,
            self.guard.factor * state.drift_variance**0.5,
            STALE_AFTER_S - max(age_s, 0.0),
            self._learnt,
            age_s,
            self._newest_learnt_raw_ns,
            {**self.guard.state(), **self.details(), "left_out_servers": len(self._wrong)},
            self.name,
        )

    # the node's two clocks

    def _notice(self, ahead_ns: int, raw_ns: int) -> None:
        """Take the wall clock's lead over the oscillator; where it jumped, x is to be found anew."""
        if self._requests is None:
            self._base_ns = ahead_ns
            self._requests = (raw_ns, ahead_ns), (raw_ns, ahead_ns)
            return
        last_raw_ns, last_ahead_ns = self._requests[1]
        moved_s, gap_s = (ahead_ns - last_ahead_ns) / NS_PER_S, (raw_ns - last_raw_ns) / NS_PER_S
        if abs(moved_s) > STEP_BETWEEN_REQUESTS_S + STEER_LIMIT * abs(gap_s):
            self._forget()
            booted = raw_ns < last_raw_ns
            self._not_before_raw_ns = -1 if booted else raw_ns
            if booted:
                self._newest_raw_ns.clear()
            self._base_ns = ahead_ns
            self._requests = (raw_ns, ahead_ns), (raw_ns, ahead_ns)
        elif raw_ns > last_raw_ns:
            self._requests = self._requests[1], (raw_ns, ahead_ns)

    def _forget(self) -> None:
        self.restarts += 1
        self._kept.clear()
        self._suspect = None
        self._learnt = 0

    def _is_new(self, sample: NtpSample) -> bool:
        if sample.server not in self._newest_raw_ns and len(self._newest_raw_ns) >= MAX_SERVERS:
            return False
        return sample.raw_ns > max(self._not_before_raw_ns, self._newest_raw_ns.get(sample.server, -1))

    def _observation(self, sample: NtpSample) -> Observation:
        assert self._requests is not None, "a request tells the wall clock before its samples"  # noqa: S101 - for the type checker
        (raw0, ahead0), (raw1, ahead1) = self._requests
        share = 1.0 if raw1 == raw0 else min(max((sample.raw_ns - raw0) / (raw1 - raw0), 0.0), 1.0)
        ahead_s = ((ahead0 - self._base_ns) + share * (ahead1 - ahead0)) / NS_PER_S
        delay_s = max(sample.delay_ms, 0.0) / 1e3
        return Observation(
            sample.server, sample.raw_ns, sample.offset_ms / 1e3 + ahead_s, delay_s, sample.bound_ms / 1e3
        )

    # falsetickers, outliers, a clock that was set

    def _take(self, seen: Observation) -> None:
        self._kept.append(seen)
        wrong = self._falsetickers(seen.raw_ns)
        tainted, freed = wrong - self._wrong and self._learnt, self._wrong - wrong and not self._learnt
        if tainted or freed:  # what was learnt from a server is wrong too; or there is a majority now
            self._wrong = wrong
            self._begin_from([kept for kept in self._kept if kept.server not in wrong])
            return
        self._wrong = wrong
        if seen.server in wrong:
            return
        least_s = self.least_delay_s.get(seen.server)
        self._judge(seen)
        fell = least_s is not None and self.least_delay_s.get(seen.server, least_s) < (1 - FELL_BY) * least_s
        if fell and not self.restarts and len(self._kept) < WINDOW:  # else kept is not all that was learnt
            self.guard = Guard()
            self._learn_again([kept for kept in self._kept if kept.server not in wrong])

    def _begin_from(self, kept: Sequence[Observation]) -> None:
        self.least_delay_s.clear()
        self._learn_again(kept)

    def _learn_again(self, kept: Sequence[Observation]) -> None:
        self._suspect = None
        self._learnt = 0
        self.begin()
        for seen in kept:
            self._judge(seen)

    def _judge(self, seen: Observation) -> None:
        """Learn from an observation, unless it contradicts the prediction and is the first in turn to do so."""
        expected = self.estimate(seen.raw_ns, seen.server) if self._learnt else None
        if expected is not None:
            far_s = seen.bound_s + STEP_SIGMAS * expected.variance**0.5 + self._usual_delay_s(seen.server) / 2
            if abs(seen.x_s - expected.x_s) > far_s:
                if self._suspect is None or not _agree(self._suspect, seen):
                    self._suspect = seen
                    return
                first = self._suspect
                self._forget()
                self._not_before_raw_ns = max(self._not_before_raw_ns, first.raw_ns - 1)
                self._kept.extend((first, seen))
                self.move(first)
                self._count(first)
            elif self._learnt >= MIN_SAMPLES:
                self.guard.observe(seen.x_s - expected.x_s, expected.variance, self.sample_noise(seen))
        self._suspect = None
        if self._learnt == 0:
            (self.move if self.restarts else self._first)(seen)
        else:
            self.least_delay_s[seen.server] = min(self.least_delay_s.get(seen.server, seen.delay_s), seen.delay_s)
            self.learn(seen)
        self._count(seen)

    def _first(self, seen: Observation) -> None:
        self.begin()
        self.move(seen)

    def _count(self, seen: Observation) -> None:
        self.least_delay_s[seen.server] = min(self.least_delay_s.get(seen.server, seen.delay_s), seen.delay_s)
        self._learnt += 1
        self._newest_learnt_raw_ns = max(seen.raw_ns, self._newest_learnt_raw_ns) if self._learnt > 1 else seen.raw_ns

    def _falsetickers(self, raw_ns: int) -> frozenset[str]:
        """Return the servers that the others outvote; all of them where no majority agrees."""
        by_server = self._by_server()
        if len(by_server) < 2:
            return frozenset()
        return frozenset(falsetickers({server: _interval(own, raw_ns) for server, own in by_server.items()}))

    def _confined(self, state: Estimate) -> tuple[float, float]:
        """Return x within what the truthful servers' least delays allow together, and how far that reaches from it.

        Half of its least delay is the most that a server's path can hide by being longer one way than the other.
        """
        ranges = []
        for server, least_s in self.least_delay_s.items():
            if server not in self._wrong:
                shown_s = state.x_s + self.bias_s(server)
                ranges.append((shown_s - least_s / 2, shown_s + least_s / 2))
        joint = joint_interval(ranges)
        if joint is None:  # noise moved them apart: the widest is still true of its own server
            return state.x_s, max(self.least_delay_s.values()) / 2
        x_s = min(max(state.x_s, joint[0]), joint[1])
        return x_s, max(x_s - joint[0], joint[1] - x_s)

    def _one_sided_s(self, x_s: float, state: Estimate, raw_ns: int) -> float:
        """Return how far from ``x_s`` the newest samples let the truth be, 0 where they contradict each other.

        Queueing that is always on one way moves the mean of the samples by half of what it usually is, and the least
        delay does not show it. But the truth is within half of its delay of every sample, and these do not agree on x.
        """
        ranges = []
        for server, own in self._by_server().items():
            if server not in self._wrong:
                low_s, high_s = _held_by_all(own[-PER_SERVER:], state, raw_ns)
                if low_s <= high_s:
                    ranges.append((low_s, high_s))
        joint = joint_interval(ranges)
        return 0.0 if joint is None else max(x_s - joint[0], joint[1] - x_s)

    def _usual_delay_s(self, server: str) -> float:
        """Return the median of a server's newest delays; half of it is what one-sided queueing may have moved x by."""
        newest = [seen.delay_s for seen in self._kept if seen.server == server][-PER_SERVER:]
        return max(statistics.median(newest), self.least_delay_s.get(server, 0.0)) if newest else 0.0

    def _by_server(self) -> dict[str, list[Observation]]:
        by_server: dict[str, list[Observation]] = {}
        for seen in self._kept:
            by_server.setdefault(seen.server, []).append(seen)
        return by_server


def _interval(own: Sequence[Observation], raw_ns: int) -> tuple[float, float]:
    """Intersect one server's newest samples, grown by the largest drift; its newest alone where they contradict."""
    ends = []
    for seen in own[-PER_SERVER:]:
        half_s = seen.bound_s + DRIFT_LIMIT * abs(raw_ns - seen.raw_ns) / NS_PER_S
        ends.append((seen.x_s - half_s, seen.x_s + half_s))
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    return (low, high) if low <= high else ends[-1]


def _held_by_all(own: Sequence[Observation], state: Estimate, raw_ns: int) -> tuple[float, float]:
    """Intersect what samples of one server allow at ``raw_ns`` by their delays, carried there by the drift as known."""
    low_s, high_s = -math.inf, math.inf
    drift_sigma = state.drift_variance**0.5
    for seen in own:
        age_s = (raw_ns - seen.raw_ns) / NS_PER_S
        there_s = seen.x_s + state.drift * age_s
        half_s = seen.delay_s / 2 + drift_sigma * abs(age_s)
        low_s, high_s = max(low_s, there_s - half_s), min(high_s, there_s + half_s)
    return low_s, high_s


def _agree(first: Observation, second: Observation) -> bool:
    gap_s = abs(second.raw_ns - first.raw_ns) / NS_PER_S
    return abs(first.x_s - second.x_s) <= first.bound_s + second.bound_s + DRIFT_LIMIT * gap_s
