"""The highest rate at which nothing is lost, and what an event costs in time and memory."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.bench import crew, figures
from harness.bench.crew import COORDINATOR, WORKERS, Crew, Outcome, Services, all_clocks
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.bench.benchmark import Scale
    from harness.bench.results import Results

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


JITTER_RATE_HZ: Final = 10_000
_SUSTAINED_HZ: Final = 15_000
_SLOWER_HZ: Final = (7_500, 5_000, 2_500, 1_000)
_CHANCES: Final = 2


def measure(work: Path, scale: Scale, services: Services, results: Results, say: Callable[[str], None]) -> None:
    """Search the highest lossless rate upward, then look at jitter, cost and memory."""
    best, measured = _search(work, scale, services, results, say)
    if best is None:
        results.put("lossless_events_per_s", None, "", f"none of the rates tried, {scale.rates_hz[0]:,} the lowest")
    else:
        note = f"each for {scale.try_s:g} s, 2 workers, all clocks"
        results.put("lossless_events_per_s", best.rate_hz, "events/s", note)
        results.put("lost", best.lost, "events", "at that rate")
    if measured is not None:
        _tell_cost(measured, results)
    longest = best or measured
    if best is not None and scale.memory_events:
        rate_hz = min(best.rate_hz, _SUSTAINED_HZ)
        crew = Crew(work / "sustained", all_clocks(services, 10.0), scale.memory_events, rate_hz, (30.0, 60.0))
        longest = Trial(rate_hz, crew.run())
        said = f"{scale.memory_events:,} events at {rate_hz:,}/s, delays 30 and 60 s: {longest.said}"
        results.line("sustained", said)
    if longest is not None and not longest.outcome.problem:
        _tell_memory(longest.outcome, results)


def _search(
    work: Path, scale: Scale, services: Services, results: Results, say: Callable[[str], None]
) -> tuple[Trial | None, Trial | None]:
    """Return the run at the highest lossless rate, and the one that jitter and cost are taken from.

    Upward, and where not even the lowest is lossless, downward from there. A rate has two chances: on a machine that
    others use too, one run may meet them.
    """
    best: Trial | None = None
    measured: Trial | None = None
    deadline = time.monotonic() + scale.search_s
    lowest_hz = scale.rates_hz[0]
    for rate_hz in (*scale.rates_hz, *(slower_hz for slower_hz in _SLOWER_HZ if slower_hz < lowest_hz)):
        if best is not None and rate_hz < lowest_hz:
            break
        if best is None and rate_hz > max(lowest_hz, JITTER_RATE_HZ):
            continue  # where 10,000/s was too fast, so is more
        flaw = ""
        for chance in range(_CHANCES):
            if time.monotonic() > deadline:
                results.line("search", f"ended at {rate_hz:,} events/s: its {scale.search_s:g} s are over")
                return best, measured
            folder, events = work / f"rate-{rate_hz}-{chance}", round(rate_hz * scale.try_s)
            trial = Trial(rate_hz, Crew(folder, all_clocks(services, 10.0), events, rate_hz, scale.delays_s).run())
            flaw = trial.flaw
            say(f"{rate_hz:6,} events/s for {scale.try_s:g} s: {trial.said}")
            if not trial.outcome.problem and (measured is None or rate_hz <= JITTER_RATE_HZ):
                measured = trial
            if not flaw:
                best = trial
                break
        results.notes[f"{rate_hz} events/s"] = trial.said
        if flaw and best is not None and rate_hz > JITTER_RATE_HZ:
            break
    return best, measured


def _tell_cost(trial: Trial, results: Results) -> None:
    rate_hz, outcome = trial.rate_hz, trial.outcome
    jitter = figures.distribution(figures.send_jitter_us(outcome.folders[COORDINATOR]))
    results.put_distribution("send_jitter_us", jitter, f"planned against actual, at {rate_hz:,} events/s")
    events = outcome.statuses[COORDINATOR].counts["sent"]
    each = {node: usage.cpu_ns / events / 1e3 for node, usage in outcome.usages.items()} if events else {}
    if each:
        said = ", ".join(f"{node} {cost:.1f}" for node, cost in each.items())
        note = f"all three agents at {rate_hz:,} events/s, start and spinning included: {said}"
        results.put("cpu_us_per_event", round(sum(each.values()), 1), "us", note)


def _tell_memory(outcome: Outcome, results: Results) -> None:
    events = outcome.statuses[COORDINATOR].counts["sent"]
    said = ", ".join(
        f"{node} RSS {usage.rss_bytes / 1e6:.1f} PSS {usage.pss_bytes / 1e6:.1f} threads {usage.threads}"
        for node, usage in outcome.usages.items()
    )
    worker_mb = max(outcome.usages[node].rss_bytes for node in WORKERS) / 1e6
    results.put("agent_rss_mb", round(worker_mb, 1), "MB", f"the larger worker's at most, {events:,} events: {said}")
    late = figures.distribution(late for node in WORKERS for late in figures.lateness_ms(outcome.folders[node]))
    if late is not None:
        told = f"p50 {late.p50:.1f}, p99 {late.p99:.1f}, max {late.max:.1f}, n = {late.count:,}"
        results.line("remeasure_late_ms", told)


DELAYS_S: Final = (30.0, 60.0)  # those of configs/worker_config.yaml
_GRANTED: Final = re.compile(r"receive_buffer_bytes=(\d+)")


def sustain(rate_hz: float, for_s: float, say: Callable[[str], None], *, kernel_buffer: bool = False) -> bool:
    """Run 2 workers and a coordinator with all clocks and default commit-wait; say what came of it.

    Return whether it was lossless. ``kernel_buffer``: with the kernel's default receive buffer. Raises HarnessError if
    a time service does not start.
    """
    events = max(1, round(rate_hz * for_s))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, crew.services() as services:
        clocks = all_clocks(services, 10.0)
        run = Crew(Path(folder), clocks, events, rate_hz, DELAYS_S, kernel_buffer=kernel_buffer)
        trial = Trial(rate_hz, run.run())
        say(f"{events:,} events at {rate_hz:g}/s, re-measured after 30 and 60 s: {trial.said}")
        if not trial.outcome.problem:
            for line in _lines(trial):
                say(line)
        return not trial.flaw


def _lines(trial: Trial) -> list[str]:
    outcome = trial.outcome
    sent = outcome.statuses[COORDINATOR].counts["sent"]
    lines = [f"sent at {trial.achieved_hz or 0:,.1f}/s; {trial.lost} lost, {trial.dropped} dropped by the kernel"]
    for node, usage in outcome.usages.items():
        received = outcome.statuses[node].counts.get("received")
        logged = _GRANTED.search((outcome.folders[node] / records.LOG_FILE).read_text(encoding="utf-8"))
        granted = int(logged[1]) if logged else 0
        did = f"sent {sent:,}" if node == COORDINATOR else f"received {received:,}"
        lines.append(
            f"{node}: {did}; {usage.cpu_ns / sent / 1e3:.1f} us of CPU per event, PSS {usage.pss_bytes / 1e6:.1f} MB, "
            f"{usage.threads} threads; receive buffer granted {granted:,} B"
        )
    late = figures.distribution(figures.send_jitter_us(outcome.folders[COORDINATOR]))
    if late is not None:
        told = f"p50 {late.p50:,.1f}   p99 {late.p99:,.1f}   p99.9 {late.p999:,.1f}   max {late.max:,.1f}"
        lines.append(f"send jitter in us, planned against actual: {told}   (n = {late.count:,})")
    return lines
