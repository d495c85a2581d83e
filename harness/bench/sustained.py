"""One rate for as long as asked: whether anything is lost, and what the agents take for it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.bench import crew, figures
from harness.bench.crew import COORDINATOR, Crew, all_clocks
from harness.bench.throughput import Trial
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable

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
        did = f"sent {sent:,}" if node == COORDINATOR else f"received {received:,}"
        lines.append(
            f"{node}: {did}; {usage.cpu_ns / sent / 1e3:.1f} us of CPU per event, PSS {usage.pss_bytes / 1e6:.1f} MB, "
            f"{usage.threads} threads; receive buffer granted {_granted(outcome.folders[node]):,} B"
        )
    late = figures.distribution(figures.send_jitter_us(outcome.folders[COORDINATOR]))
    if late is not None:
        told = f"p50 {late.p50:,.1f}   p99 {late.p99:,.1f}   p99.9 {late.p999:,.1f}   max {late.max:,.1f}"
        lines.append(f"send jitter in us, planned against actual: {told}   (n = {late.count:,})")
    return lines


def _granted(node: Path) -> int:
    """Return the receive buffer that the kernel granted, as the agent's log says."""
    found = _GRANTED.search((node / records.LOG_FILE).read_text(encoding="utf-8"))
    return int(found[1]) if found else 0
