"""The benchmark itself: each part measures a few keys, and a part that fails leaves its reason instead of a number."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness import bundle
from harness.bench import crew, figures, probes, throughput
from harness.bench.crew import WORKERS, Crew, Services, all_clocks
from harness.bench.results import Results
from harness.errors import HarnessError
from node_agent.contract.plan import ClocksPlan, NtpPlan, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Scale:
    """How much is measured: ``quick`` fits into 50 s, the whole takes some minutes."""

    rates_hz: tuple[int, ...]
    try_s: float
    search_s: float
    delays_s: tuple[float, ...]
    stamps: int
    starts: int
    accuracy_s: float
    sampling_s: float
    memory_events: int


QUICK: Final = Scale((10_000, 15_000, 20_000, 25_000), 2.0, 20.0, (0.5, 1.0), 1_000, 2, 3.0, 1.5, 0)
WHOLE: Final = Scale(
    (5_000, 10_000, 12_500, 15_000, 17_500, 20_000, 25_000, 30_000), 10.0, 200.0, (2.0, 4.0), 10_000, 5, 15.0, 5.0,
    1_000_000,
)  # fmt: skip

_WARM_UP_SAMPLES: Final = 4  # that many come in quick succession, whatever the interval

# The clocks of the embedded cluster: error = local - true.
INJECTED: Final = {"comp11": (12.5, 18.0), "comp12": (-7.25, -11.0), "comp18": (3.0, 4.0)}


def bench(root: Path, output: Path, say: Callable[[str], None], *, quick: bool = False) -> Results:
    """Measure everything, write ``output`` (bench.json) and say the table. ``root`` is the project's folder."""
    scale = QUICK if quick else WHOLE
    results = Results()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder)
        _part(results, ("bundle_bytes",), lambda: results.put("bundle_bytes", bundle.build(root).size_bytes, "B"))
        try:
            with crew.services() as services:
                parts: tuple[tuple[tuple[str, ...], Callable[[], None]], ...] = (
                    (("agent_start_s",), lambda: _start(work, scale, results)),
                    (("receive_stamp_error_us",), lambda: _receive_stamps(scale, results)),
                    (("ntp_abs_error_us",), lambda: _accuracy(work, scale, services, results)),
                    (("sample_cost_us",), lambda: _sample_cost(work, scale, services, results)),
                    (
                        ("lossless_events_per_s", "lost", "send_jitter_us", "cpu_us_per_event", "agent_rss_mb"),
                        lambda: throughput.measure(work, scale, services, results, say),
                    ),
                )
                for keys, measure in parts:
                    _part(results, keys, measure)
        except HarnessError as error:
            results.missing(tuple(results.values), str(error))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(results.as_json(), encoding="utf-8")
    say(results.table())
    say(f"{output}")
    return results


def _part(results: Results, keys: tuple[str, ...], measure: Callable[[], None]) -> None:
    """Measure a part; what it could not measure gets the reason."""
    reason = "not measured"
    try:
        measure()
    except (HarnessError, OSError, ValueError, subprocess.SubprocessError) as error:
        reason = f"{type(error).__name__}: {error}"
    results.missing(keys, reason)


def _start(work: Path, scale: Scale, results: Results) -> None:
    took = []
    for number in range(scale.starts):
        plan = Crew(work / f"start-{number}", ClocksPlan(), 1, 1.0, ()).plans()[WORKERS[0]]
        took.append(crew.detached_start_s(plan.role, Path(plan.run_dir)))
    note = f"median of {len(took)} detached starts of a worker, until it is bound"
    results.put("agent_start_s", round(statistics.median(took), 3), "s", note)


def _receive_stamps(scale: Scale, results: Results) -> None:
    found = figures.distribution(probes.receive_stamp_errors_us(scale.stamps))
    results.put_distribution("receive_stamp_error_us", found, "a stamp after recvmsg against the kernel's")


def _accuracy(work: Path, scale: Scale, services: Services, results: Results) -> None:
    epoch_ns = time.time_ns()
    virtual = {node: VirtualClock(epoch_ns, error, drift) for node, (error, drift) in INJECTED.items()}
    rate_hz = 200.0
    clocks, events = all_clocks(services, 0.1), round(rate_hz * scale.accuracy_s)
    trial = Crew(work / "accuracy", clocks, events, rate_hz, (0.2,), virtual)
    with probes.NtplibErrors(services.ntp, 0.1) as ntplib_errors:
        outcome = trial.run()
    samples = [error for node, clock in virtual.items() for error in figures.ntp_errors(outcome.folders[node], clock)]
    results.put_distribution("ntp_abs_error_us.agent", figures.distribution(e.agent_us for e in samples))
    note = f"this machine's clock, {ntplib_errors.failures} failures"
    results.put_distribution("ntp_abs_error_us.ntplib", figures.distribution(ntplib_errors.found_us), note)
    results.put_distribution("ntp_abs_error_us.naive", figures.distribution(e.naive_us for e in samples), "T3 - T4")
    rows = [figures.row_errors_us(outcome.folders[node], virtual[node]) for node in WORKERS]
    errors = [error for found, _contained in rows for error in found]
    median = figures.distribution(errors)
    if median is not None:
        contained = sum(contained for _found, contained in rows)
        results.line("ntp_rows", f"p50 {median.p50:,.1f} us, {contained:,} of {len(errors):,} bounds hold the truth")


def _sample_cost(work: Path, scale: Scale, services: Services, results: Results) -> None:
    every_s = 0.01
    used = []
    for number, interval_s in enumerate((3_600.0, every_s)):
        clocks = ClocksPlan(ntp=NtpPlan((services.ntp,), interval_s))
        plan = Crew(work / f"sampling-{number}", clocks, 1, 1.0, ()).plans()[WORKERS[0]]
        used.append(_cpu_of(plan.role, Path(plan.run_dir), scale.sampling_s))
    (idle_ns, few), (asking_ns, many) = used
    if many - few < scale.sampling_s / every_s / 4:
        results.put("sample_cost_us", None, "", f"only {many - few} samples in {scale.sampling_s:g} s")
        return
    note = f"CPU of one NTP sample: {many - few} more samples than an idle agent's {few} in {scale.sampling_s:g} s"
    results.put("sample_cost_us", round((asking_ns - idle_ns) / (many - few) / 1e3, 1), "us", note)


def _cpu_of(role: str, run_dir: Path, for_s: float) -> tuple[int, int]:
    """Return the CPU time in ns that an agent uses in ``for_s`` after it has warmed up, and the samples it takes."""
    process = crew.start_agent(role, run_dir)
    try:
        crew.await_samples(run_dir, _WARM_UP_SAMPLES)
        before, cpu_ns = crew.count_samples(run_dir), crew.cpu_ns(process.pid)
        time.sleep(for_s)
        return crew.cpu_ns(process.pid) - cpu_ns, crew.count_samples(run_dir) - before
    finally:
        crew.end(process)
