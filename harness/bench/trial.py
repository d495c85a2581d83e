"""One run at a rate: whether it was lossless, and what it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.bench import figures
from harness.bench.crew import COORDINATOR, WORKERS, Outcome

_KEPT_RATE: Final = 0.99  # below this share of the planned rate the coordinator did not keep up


@dataclass(frozen=True)
class Trial:
    """A run at one rate."""

    rate_hz: float
    outcome: Outcome

    @property
    def lost(self) -> int:
        """Return how many of the sent events the workers did not receive, over both of them."""
        sent = self.outcome.statuses[COORDINATOR].counts["sent"]
        return sum(sent - self.outcome.statuses[node].counts["received"] for node in WORKERS)

    @property
    def dropped(self) -> int:
        """Return how many of the lost ones the kernel dropped because the receive buffer was full."""
        return sum(self.outcome.statuses[node].counts["kernel_dropped"] for node in WORKERS)

    @property
    def achieved_hz(self) -> float | None:
        """Return the rate at which the events left; None for fewer than two events."""
        return figures.achieved_hz(self.outcome.folders[COORDINATOR])

    @property
    def flaw(self) -> str:
        """Return why it was not lossless at its rate; empty if it was."""
        if self.outcome.problem:
            return self.outcome.problem
        if lost := self.lost:
            return f"{lost} lost, {self.dropped} of them dropped by the kernel"
        achieved = self.achieved_hz
        if achieved is None or achieved < _KEPT_RATE * self.rate_hz:
            return f"the coordinator sent at {achieved or 0:,.0f} events/s"
        return ""

    @property
    def said(self) -> str:
        """Return in words how it went: whether it was lossless, and which rows lack a kernel stamp or a clock."""
        return "; ".join([self.flaw or "lossless", *_blemishes(self.outcome)])


def _blemishes(outcome: Outcome) -> list[str]:
    """Return in words, per node, how many rows have no kernel stamp, or one of the clocks not."""
    return [
        f"{node}: {count:,} {name}"
        for node, status in outcome.statuses.items()
        for name in ("send_errors", "user_stamps", "unusable_stamps", "ntp_unavailable", "ct_unavailable")
        if (count := status.counts.get(name, 0))
    ]
