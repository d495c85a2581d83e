"""What you do at home: ``uv run invoke analyze | import | validate | replay | test | fuzz | lint | lock | bench``.

``simulate`` makes runs of known truth, ``verify-scenarios`` judges many of them. ``archive`` makes a file of a run that
can be cited, ``restore`` the run of that file.
Exit codes: 0 ok, 1 tests or lint failed, 2 usage or configuration, 7 analysis or validation found errors, 130
interrupted.
What is slow to import is imported by the task that needs it, so that ``invoke --list`` is quick.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import invoke.main
import invoke.tasks
from invoke.exceptions import Exit

from analysis.errors import AnalysisError
from harness.errors import EXIT_INTERRUPTED, HarnessError, cause
from harness.invocation import command_line, settings
from harness.invocation.command_line import positive_number, whole_number
from harness.pins import OLDEST_AGENT_PYTHON_TEXT
from node_agent import streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from invoke.context import Context
    from invoke.exceptions import ParseError
    from invoke.tasks import Task

settings.begin()
command_line.install(invoke.main.program, lambda error: _known_instead(error))  # noqa: PLW0108 - it is made below
streams.install()
ROOT = Path(__file__).resolve().parent
USAGE, FOUND_ERRORS = 2, 7

EXPERIMENT = "a name under results/, or a path (default: the latest run)"
AGENT_TESTS = ROOT / "tests" / "node_agent"
TIERS = {  # marks of tests that the suite leaves out, and what pytest is told to find them
    "falsetickers": ["-n", "3", "tests/harness/test_falsetickers.py"],
    "slurm": ["-n", "6", "tests/slurm"],  # runs that wait for their events, not for the processor
}


def task(**options: Any) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a task that outlives its terminal, and ends with 130 when it is interrupted; invoke's own code is 1."""

    def make(body: Callable[..., None]) -> Task[Any]:
        @functools.wraps(body)
        def run(*arguments: Any, **named: Any) -> None:
            streams.outlive_terminal()
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # its helping processes end with it
            try:
                body(*arguments, **named)
            except KeyboardInterrupt:
                raise Exit("interrupted", EXIT_INTERRUPTED) from None
            except (AnalysisError, HarnessError) as error:
                raise Exit(f"error: {error}", error.exit_code) from error
            except (OSError, subprocess.SubprocessError) as error:
                raise Exit(f"error: this machine: {cause(error)}", FOUND_ERRORS) from error
            finally:
                if failure := streams.failure_of(sys.stdout):
                    sys.stderr.write(f"{streams.unheard(failure)}\n")

        made: Task[Any] = invoke.tasks.task(run, **options)
        return made

    return make


@task(
    help={
        "experiment": EXPERIMENT,
        "window-sizes": "in ms, like 50,100,500,1000",
        "merged": "csv or parquet (default: by its length)",
        "jobs": "processes that judge parts and nodes at a time (default: one per processor, if memory allows)",
        "slurm": "share them out among the tasks of a Slurm job array, --jobs of them",
        "sweep": "all runs of this sweep together, to results/NAME.sweep/; alone, but for the width of its figure",
        "column": "figures as wide as a column of a paper, 3.3 in",
        "wide": "figures as wide as its page, 7 in (the default)",
    }
)
def analyze(
    _: Context,
    experiment: str | None = None,
    window_sizes: str = "",
    merged: str = "",
    jobs: str = "",
    sweep: str = "",
    *,
    slurm: bool = False,
    column: bool = False,
    wide: bool = False,
) -> None:
    """Analyse a run: statistics, merged table, figures, report and page."""
    if column and wide:
        raise Exit("error: --column, --wide: expected one of them, got both; figures have one width", USAGE)
    if sweep:
        if experiment is not None or window_sizes or merged or jobs or slurm:
            raise Exit("error: --sweep: expected no other option beside it; analyse the runs one by one first", USAGE)
        _analyze_sweep(sweep, column=column)
        return
    from analysis import __main__ as analysis  # noqa: PLC0415 - pandas and matplotlib take a second

    arguments = [] if experiment is None else ["--experiment", experiment]
    arguments += ["--window-sizes", window_sizes] if window_sizes else []
    arguments += ["--merged", merged] if merged else []
    arguments += ["--jobs", jobs] if jobs else []
    arguments += ["--slurm"] if slurm else []
    arguments += ["--column"] if column else ["--wide"] if wide else []
    _exit(analysis.main(arguments))


def _analyze_sweep(name: str, *, column: bool) -> None:
    from analysis.figures import style  # noqa: PLC0415 - together with it
    from analysis.run.load import RESULTS_DIR  # noqa: PLC0415 - together with it
    from analysis.sweep import report  # noqa: PLC0415 - pandas and matplotlib take a second

    written = report.write(RESULTS_DIR, name, style.COLUMN_IN if column else style.PAGE_IN, _say)
    _say(f"report: {written}")
    _say(f"page: {written.with_name(report.PAGE_FILE)}")


@task(
    iterable=["metric", "fail_if"],
    help={
        "a": "runs of the first condition: names, paths, patterns or sweeps, with commas between them",
        "b": "runs of the second condition",
        "metric": "a metric, or a pattern of some (default: all hypotheses and the summary's numbers)",
        "fail-if": "METRIC:LIMIT, as ntp-causality-violations:5pp: exit code 7 if it is shown to differ by more",
        "json": "where the numbers go as well",
        "page": "where the comparison goes as a page as well, like difference.html",
    },
)
def compare(_: Context, a: str, b: str, metric: list[str], fail_if: list[str], json: str = "", page: str = "") -> None:
    """Compare two conditions, a run or many of each: what differs, and how sure that is."""
    from analysis.comparison import command  # noqa: PLC0415 - scipy takes a second
    from analysis.run.load import RESULTS_DIR  # noqa: PLC0415 - together with it

    files = (Path(json) if json else None, Path(page) if page else None)
    _exit(command.main(a, b, metric, fail_if, RESULTS_DIR, *files))


@task(
    name="import",
    help={
        "source": "folder of coordinator.csv and worker_*.csv; or a clock's log, or a folder of one machine's logs",
        "experiment": "name of the run folder to make",
        "node": "of logs: what to call the machine they are of (default: node)",
    },
)
def import_(_: Context, source: str = "", experiment: str = "", node: str = "") -> None:
    """Make a run folder of published files, or of a clock's logs; exit code 7 if published rows come twice.

    Which format a file is of is seen in it; ANALYSIS, "Logs of clocks", has the list.
    """
    if not source or not experiment:  # checked here: invoke asks for required arguments even before it shows the help
        raise Exit("error: import: expected --source FOLDER and --experiment NAME", USAGE)
    from analysis.checks import events  # noqa: PLC0415 - pandas takes a second
    from analysis.checks.subject import of_folder  # noqa: PLC0415 - together with it
    from analysis.imported import older_format, series  # noqa: PLC0415 - together with it
    from analysis.run.load import RESULTS_DIR  # noqa: PLC0415 - together with it

    if series.takes(Path(source)):
        _made(series.import_series(Path(source), experiment, RESULTS_DIR, node or series.NODE))
        return
    if node:
        raise Exit("error: --node: expected a log or a folder of logs as --source, got none", USAGE)
    folder = older_format.import_published(Path(source), experiment, RESULTS_DIR)
    doubled = list(events.duplicates(of_folder(folder)))
    for finding in doubled:
        _say(finding.line)
    _made(folder)
    if doubled:
        raise Exit(code=FOUND_ERRORS)


@task(
    help={
        "scenario": "a name of configs/scenarios (default: honest)",
        "nodes": "the coordinator and the workers (default: 3)",
        "events": "how many are broadcast (default: 1000)",
        "rate-hz": "events per second (default: the scenario's)",
        "seed": "equal arguments make equal files (default: 1)",
        "experiment": "name of the run folder to make (default: made of the arguments)",
        "sweep": "all runs of a file in configs/sweeps/ whose base is a scenario, or what of them is not done; alone",
        "plan": "with --sweep: say which runs there are and what is done; make nothing",
    }
)
def simulate(
    _: Context,
    scenario: str = "",
    nodes: str = "",
    events: str = "",
    rate_hz: str = "",
    seed: str = "",
    experiment: str | None = None,
    sweep: str = "",
    plan: bool = False,
) -> None:
    """Make a run folder of a run that never happened, with a truth that is known and faults by choice."""
    if sweep:
        if scenario or nodes or events or rate_hz or seed or experiment is not None:
            raise Exit("error: --sweep: expected no other option beside it but --plan; its file says them all", USAGE)
        _simulate_sweep(sweep, plan=plan)
        return
    if plan:
        raise Exit("error: --plan: expected --sweep NAME beside it, got none", USAGE)
    from analysis.simulation.simulate import simulate as make  # noqa: PLC0415 - numpy takes a moment

    folder = make(
        scenario or "honest",
        whole_number("nodes", nodes or "3", 2),
        whole_number("events", events or "1000", 1),
        rate_hz=positive_number("rate-hz", rate_hz) if rate_hz else None,
        seed=whole_number("seed", seed or "1", 0),
        experiment=experiment,
    )
    _made(folder)


def _simulate_sweep(name: str, *, plan: bool) -> None:
    from analysis.run.load import RESULTS_DIR  # noqa: PLC0415 - together with it
    from analysis.simulation.simulate import OfSweep  # noqa: PLC0415 - together with it
    from analysis.simulation.swept import Simulator  # noqa: PLC0415 - numpy takes a moment
    from harness.configuration.sweep import sweep_path  # noqa: PLC0415 - together with it
    from harness.console import Console  # noqa: PLC0415 - together with it
    from harness.sweep import simulated  # noqa: PLC0415 - together with it

    simulator = Simulator(OfSweep(name, sweep_path(ROOT, name)), RESULTS_DIR)
    sweep = simulated.read(ROOT, RESULTS_DIR, name, simulator)
    if plan:
        simulated.plan(sweep, Console())
        return
    left = simulated.carry_out(sweep, Console())
    if left:
        told = f"not done, as they are degraded: {', '.join(left)}; see accept_degraded in {sweep_path(ROOT, name)}"
        raise Exit(f"error: {told}", FOUND_ERRORS)


@task(
    name="verify-scenarios",
    help={
        "seeds": "runs per scenario, each with a seed of its own (default: 20)",
        "first-seed": "the first of them (default: 1000; the tests use smaller ones)",
        "events": "how many each run broadcasts (default: 1000)",
        "only": "one scenario of configs/scenarios (default: all)",
    },
)
def verify_scenarios(_: Context, seeds: str = "20", first_seed: str = "", events: str = "1000", only: str = "") -> None:
    """Judge every scenario with seeds that no test uses: is every verdict what its file expects? Exit code 7 if not."""
    from analysis.simulation import verify  # noqa: PLC0415 - pandas takes a second

    count = whole_number("seeds", seeds, 1, verify.MOST_SEEDS)
    first = whole_number("first-seed", first_seed, 0) if first_seed else verify.FIRST_SEED
    size = whole_number("events", events, 1, verify.MOST_EVENTS)
    verified = verify.verify(_say, seeds=range(first, first + count), events=size, only=only)
    unmet = sum(len(scenario.unmet) for scenario in verified)
    _say(f"{sum(scenario.runs for scenario in verified)} runs, {_counted(unmet, 'expectation')} unmet")
    if unmet:
        raise Exit(code=FOUND_ERRORS)


@task(
    help={
        "experiment": EXPERIMENT,
        "sweep": "all runs of this sweep; without --experiment",
        "output": "the file to write (default: NAME.tar.zst beside the run folder)",
        "license": "for the description: an SPDX identifier like CC-BY-4.0, or an https URL (default: none)",
    }
)
def archive(
    _: Context,
    experiment: str | None = None,
    sweep: str = "",
    output: str = "",
    license: str = "",  # noqa: A002
) -> None:
    """Write one file to be cited: raw files, configuration, statistics, figures, report, checksums, RO-Crate."""
    from analysis.archive import command  # noqa: PLC0415 - pandas takes a second

    _exit(command.archive(experiment, sweep, output, license))


@task(
    help={
        "file": "an archive that `invoke archive` wrote",
        "results": "where the run folders go (default: results)",
        "experiment": "another name for the run of an archive that holds one",
    },
)
def restore(_: Context, file: str, results: str = "", experiment: str | None = None) -> None:
    """Make the run folders of an archive again, every checksum verified; nothing appears before all of it is."""
    from analysis.archive import command  # noqa: PLC0415 - pandas takes a second
    from analysis.run.load import RESULTS_DIR  # noqa: PLC0415 - together with it

    _exit(command.restore(file, experiment, Path(results) if results else RESULTS_DIR))


@task(help={"experiment": EXPERIMENT})
def validate(_: Context, experiment: str | None = None) -> None:
    """Check a run folder: counts, duplicates, stamps, order, ranges, checksums, replayed readings, what they say."""
    from analysis.checks.finding import CONTRACT  # noqa: PLC0415 - together with it
    from analysis.checks.validate import validate as find_all  # noqa: PLC0415 - together with it
    from analysis.run import load  # noqa: PLC0415 - pandas takes a second

    findings = find_all(load.folder(experiment))
    for finding in findings:
        _say(finding.line)
    broken = sum(finding.breaks_contract for finding in findings)
    of_files = Counter(finding.severity for finding in findings if finding.scope == CONTRACT)
    of_data = Counter(finding.severity for finding in findings if finding.scope != CONTRACT)
    data_counts = "; of what the data says: " + ", ".join(_counted(count, kind) for kind, count in of_data.items())
    _say(f"{_counted(broken, 'error')}, {_counted(of_files['warning'], 'warning')}{data_counts if of_data else ''}")
    if broken:
        raise Exit(code=FOUND_ERRORS)


@task(
    name="test",
    help={
        "only": "a test file or folder, or pytest's file::test",
        "tier": f"only what is too slow for every time: {', '.join(TIERS)}",
    },
)
def run_tests(_: Context, only: str = "", tier: str = "") -> None:
    """Run the tests, the agent's also under the oldest Python it supports where there is one."""
    if tier:
        if tier not in TIERS:
            raise Exit(f"error: --tier: expected one of {', '.join(TIERS)}, got {tier!r}", USAGE)
        if tier == "slurm":
            _prepare_testbed(slurm=True)
        if _run([sys.executable, "-m", "pytest", "-m", tier, "-rP", *([only] if only else TIERS[tier])]):
            raise Exit(code=1)
        return
    _prepare_testbed()
    failed = 0 if only else _oldest_python_tests()
    how = [only] if only else ["-n", "4", "--dist", "loadfile"]  # most tests wait for processes, not for the processor
    code = _run([sys.executable, "-m", "pytest", *how])
    if failed or code:
        raise Exit(code=1)


@task(help={"cases": "inputs each parser is given (default 100000: an hour on two cores)", "only": "as for test"})
def fuzz(_: Context, cases: str = "100000", only: str = "") -> None:
    """Give every parser spoilt inputs, new ones each time; what one trips over is printed, to be repeated."""
    count = whole_number("cases", cases, 1)
    command = [sys.executable, "-m", "pytest", "-o", "timeout=0", "-n", "2", only or "tests/fuzz"]
    if _run(command, FUZZ_CASES=str(count)):
        raise Exit(code=1)


@task()
def lint(_: Context) -> None:
    """Check style, formatting, types and who imports whom."""
    checks = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"])
    failed = [" ".join(check) for check in checks if _run(_tool(check))]
    if failed:
        raise Exit(f"failed: {'; '.join(failed)}", 1)


@task(help={"upgrade": "take the newest versions instead of keeping those pinned"})
def lock(_: Context, upgrade: bool = False) -> None:
    """Pin the exact versions of the project's and of the agent's libraries."""
    from harness.pins import lock as write_pins  # noqa: PLC0415 - only this task needs it

    files = write_pins(ROOT, upgrade=upgrade)
    for file in files:
        _say(f"{file.relative_to(ROOT)}")


@task(help={"experiment": EXPERIMENT})
def replay(_: Context, experiment: str | None = None) -> None:
    """Recompute every reading of a run from its journals alone and name every difference."""
    from analysis.checks.replay import replay as recompute  # noqa: PLC0415 - together with it
    from analysis.run import load  # noqa: PLC0415 - pandas takes a second

    found = recompute(load.folder(experiment))
    if not found.readings:
        told = "expected readings to recompute, got none: no clock source was configured, or nothing was recorded"
        raise Exit(f"error: {told}", FOUND_ERRORS)
    for difference in found.differences[:20]:
        _say(f"{difference}")
    _say(f"{found.readings} readings recomputed, {len(found.differences)} differences")
    if found.differences:
        raise Exit(code=FOUND_ERRORS)


@task(
    help={
        "quick": "under 50 s; the whole takes some minutes",
        "output": "where the numbers go (default: bench.json)",
        "rate": "only this: one run at so many events per second",
        "seconds": "how long that run sends (default: 60)",
        "kernel-buffer": "that run with the kernel's default receive buffer",
        "services": "only this: the ChronoTick server under 64 nodes' questions, --rate a second (default 2000)",
        "requests": "how many of those questions (default: 1000000)",
        "questions-per-sample": "a node has a new NTP sample every so many of them (default: 10)",
        "dual-model": "whether they ask for the dual model, as agents do (--no-dual-model: for the server's own)",
    }
)
def bench(
    _: Context,
    quick: bool = False,
    output: str = "bench.json",
    rate: str = "",
    seconds: str = "60",
    kernel_buffer: bool = False,
    services: bool = False,
    requests: str = "1000000",
    questions_per_sample: str = "10",
    dual_model: bool = True,
) -> None:
    """Measure this machine: highest lossless rate, stamp and NTP errors, jitter, cost, memory, start, size.

    With --rate: is it lossless, and what does it cost? Exit code 1 if anything was lost or sent too slowly.
    """
    from harness.bench.benchmark import bench as measure  # noqa: PLC0415 - only this task needs the benchmark
    from harness.bench.throughput import sustain  # noqa: PLC0415 - together with it

    if services:
        _load_services(rate or "2000", requests, questions_per_sample, dual_model=dual_model)
        return
    if not rate:
        measure(ROOT, Path(output).resolve(), _say, quick=quick)
        return
    rate_hz, for_s = positive_number("rate", rate, 1e6), positive_number("seconds", seconds, 3600)
    lossless = sustain(rate_hz, for_s, _say, kernel_buffer=kernel_buffer)
    if not lossless:
        raise Exit(code=1)


def _load_services(rate: str, requests: str, questions_per_sample: str, *, dual_model: bool) -> None:
    from harness.bench import load  # noqa: PLC0415 - only this needs it

    asked = load.Load(
        positive_number("rate", rate, 1e6),
        whole_number("requests", requests, 1),
        whole_number("questions-per-sample", questions_per_sample, 1),
        dual_model=dual_model,
    )
    load.measure(asked, _say)


@task(name="calibrate-statistics", help={"runs": "simulated runs of every kind (default 400: two minutes or so)"})
def calibrate_statistics(_: Context, runs: str = "400") -> None:
    """Simulate runs of known truth, count how often what the statistics say of them is right, write METHODOLOGY."""
    from analysis.simulation import statistics_calibration as calibration  # noqa: PLC0415 - numpy takes a moment

    count = whole_number("runs", runs, 20)
    intervals = list(calibration.intervals(count, _say))
    claims = list(calibration.claims(count, _say))
    _written(calibration.document(count, intervals, claims), calibration.COMMAND)
    if short := calibration.unmet(intervals, claims):
        raise Exit("\n".join(short), FOUND_ERRORS)


@task(name="calibrate-compare", help={"runs": "simulated runs in each of two pools (default 200: some minutes)"})
def calibrate_compare(_: Context, runs: str = "200") -> None:
    """Count how often a comparison of repeats finds a difference where there is none, or one; write METHODOLOGY."""
    from analysis.simulation import comparison_calibration as calibration  # noqa: PLC0415 - numpy takes a moment

    rows = calibration.calibrate(whole_number("runs", runs, 2 * calibration.REPEATS), _say)
    _written(calibration.document(rows), calibration.COMMAND)
    if short := calibration.unmet(rows):
        raise Exit("\n".join(short), FOUND_ERRORS)


def _written(tables: str, command: str) -> None:
    """Print tables and put them into METHODOLOGY, between the marks of the command that made them."""
    from analysis.simulation.statistics_calibration import written_into  # noqa: PLC0415 - together with it

    _say(tables)
    document = ROOT / "docs" / "METHODOLOGY.md"
    try:
        text = written_into(document.read_text(encoding="utf-8"), tables, command)
        document.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Exit(f"error: {cause(error)}; the tables above were not written", FOUND_ERRORS) from error


@task(
    iterable=["series"],
    help={
        "series": "a CSV of NTP samples, or 'simulated'; may be given several times",
        "model": "one model (default: all of them)",
        "cadence": "take only samples at least so many seconds apart (default: all of them)",
        "json": "where {series: {model: figures}} goes",
    },
)
def predict(_: Context, series: list[str], model: str = "", cadence: str = "", json: str = "") -> None:
    """Foretell every next NTP sample of recorded series with the ChronoTick server's models, beside baselines."""
    from time_services.evaluation import series as recorded  # noqa: PLC0415 - numpy takes a moment
    from time_services.evaluation import tables  # noqa: PLC0415 - together with it

    try:
        if not series:
            raise Exit("error: expected --series FILE (a CSV with NTP samples) or --series simulated, got none", USAGE)
        cadence_s = positive_number("cadence", cadence, 1e6) if cadence else 0.0
        if json and (Path(json).is_dir() or not os.access(Path(json).parent, os.W_OK)):
            raise Exit(f"error: --json: expected a file in a folder that can be written, got {json}", USAGE)
        scores = tables.scores_of(tables.load_series(series, cadence_s), tables.chosen_models(model))
    except recorded.SeriesError as error:
        raise Exit(f"error: {error}", USAGE) from error
    _say(tables.series_table(scores))
    _say(tables.LEGEND)
    if json:
        Path(json).write_text(tables.as_json(scores) + "\n", encoding="utf-8")


@task(
    name="calibrate-models",
    iterable=["series"],
    help={"series": "a recorded series to add, several times", "seeds": "runs per setting (default 10: two minutes)"},
)
def calibrate_models(_: Context, series: list[str], seeds: str = "10") -> None:
    """Judge the default model on simulated oscillators of known truth and on recorded series, write METHODOLOGY."""
    from time_services.evaluation import series as recorded  # noqa: PLC0415 - numpy takes a moment
    from time_services.evaluation import tables  # noqa: PLC0415 - together with it

    try:
        count = whole_number("seeds", seeds, 1)
        scores = tables.scores_of(tables.load_series(series, 0.0), tables.chosen_models(""))
        symmetric, asymmetric = tables.cells(count, _say)
        text = tables.document(symmetric, asymmetric, scores, count)
        document = ROOT / "docs" / "METHODOLOGY.md"
        document.write_text(tables.written_into(document.read_text(encoding="utf-8"), text), encoding="utf-8")
    except recorded.SeriesError as error:
        raise Exit(f"error: {error}", USAGE) from error
    if short := tables.unmet(symmetric, asymmetric, scores):
        raise Exit("\n".join(short), FOUND_ERRORS)


def _prepare_testbed(*, slurm: bool = False) -> None:
    """Install what the test cluster of real hosts needs, as root where there is apt; else say why its tests skip."""
    from harness.testbed import namespaces  # noqa: PLC0415 - only this task needs it
    from harness.testbed.slurm import files  # noqa: PLC0415 - together with it

    apt = shutil.which("apt-get")
    missing = [*namespaces.missing_packages(), *(files.missing_packages() if slurm else [])]
    if missing and os.geteuid() == 0 and apt:
        _say(f"test cluster of real hosts: installing {', '.join(missing)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            subprocess.run([apt, *command], env=environment, check=False)
    reasons = map(files.why_not, files.FLAVOURS) if slurm else [namespaces.why_not()]
    for reason in dict.fromkeys(filter(None, reasons)):
        _say(f"test cluster of real hosts: its tests are skipped and counted: {reason}")


def _oldest_python_tests() -> int:
    """Run the agent's unit tests under Python 3.9 in an environment of their own; say so where that cannot be."""
    uv, python = shutil.which("uv"), _oldest_python()
    if uv is None or python is None:
        missing = "uv" if uv is None else f"Python {OLDEST_AGENT_PYTHON_TEXT}"
        _say(f"agent's unit tests under Python {OLDEST_AGENT_PYTHON_TEXT}: skipped, there is no {missing} here")
        return 0
    _say(f"agent's unit tests under {python}")
    command = [uv, "run", "--quiet", "--no-project", "--isolated", "--python", python]
    command += ["--with-requirements", str(AGENT_TESTS / "requirements.txt")]
    return _run([*command, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(AGENT_TESTS)])


def _oldest_python() -> str | None:
    """Return a Python 3.9 that starts (a pyenv shim may not), from PATH or from pyenv."""
    on_path = shutil.which(f"python{OLDEST_AGENT_PYTHON_TEXT}")
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{OLDEST_AGENT_PYTHON_TEXT}*/bin/python"))
    for candidate in [*([on_path] if on_path else []), *map(str, pyenv)]:
        said = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False, timeout=60)
        if said.returncode == 0 and said.stdout.startswith(f"Python {OLDEST_AGENT_PYTHON_TEXT}."):
            return candidate
    return None


def _tool(command: list[str]) -> list[str]:
    """Return the command with its program from this Python's own environment, wherever PATH points."""
    return [str(Path(sys.executable).parent / command[0]), *command[1:]]


def _run(command: list[str], **environment: str) -> int:
    """Run a command in the project's folder, its output being ours; return its exit code."""
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode


def _known_instead(error: ParseError) -> str:
    """Return which tasks there are, if a word is none, and which one was meant."""
    typed = re.fullmatch(r"No idea what '([^-].*)' is!", str(error))
    if typed is None:
        return ""
    names = sorted(made.name for made in globals().values() if isinstance(made, invoke.tasks.Task))
    near = difflib.get_close_matches(typed[1], names, 1)
    return (f"did you mean {near[0]}? " if near else "") + f"tasks: {', '.join(names)}"


def _exit(code: int) -> None:
    if code:
        raise Exit(code=code)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _made(folder: Path) -> None:
    """Say where a run folder is and, to a person, what comes next."""
    _say(f"{folder}")
    if sys.stdout.isatty():
        _say(f"next: uv run invoke analyze --experiment {folder.name}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
