"""Carrying a sweep out, or on: every configuration is validated first, then each run takes the path of any run."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from harness import experiment
from harness.configuration import sweep as configuration
from harness.configuration.sweep import SimulatedBase
from harness.errors import EXIT_RUN, AllocationError, ConfigError, HarnessError, PreflightError
from harness.planning import RunSpec
from harness.slurm.submission import array_task
from harness.sweep import state, view
from harness.sweep.state import BESIDE_S, PASSES
from node_agent.contract.records import SWEEP_CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.configuration.sweep import Cell, SweepConfig
    from harness.console import SweepDisplay
    from harness.session import Configs, Session
    from harness.sweep.state import Slot


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file says, with the configuration of every cell that has a valid one."""

    name: str
    config: SweepConfig
    configs: Mapping[str, Configs]  # by cell
    planned_s: Mapping[str, float]  # by cell: probes, events, drain and tail
    refused: tuple[str, ...]  # one line per mistake

    def slots(self, session: Session) -> list[Slot]:
        """Return all runs in their order with what there is of each. Raises ConfigError for one of another sweep."""
        made = state.slots(session.results, self.name, configuration.order(self.config))
        for slot in made:
            for attempt in slot.attempts:
                session.select_for(attempt.manifest)
                kept, wanted = session.kept_configs(attempt), self.configs.get(slot.cell.name)
                if wanted and (kept.coordinator, kept.worker) != (wanted.coordinator, wanted.worker):
                    raise ConfigError(state.told_changed(slot, attempt))
        return made

    def pending(self, slots: list[Slot]) -> list[Slot]:
        """Return the runs that are still to be made."""
        return [slot for slot in slots if not slot.done(accept_degraded=self.config.accept_degraded)]

    def job_s(self, slots: list[Slot], session: Session) -> float:
        """Return how long a job for these runs is to last, in s: each with what may go slowly, and the margin."""
        runs_s = sum(self.planned_s[slot.cell.name] + BESIDE_S for slot in slots)
        return runs_s + session.cluster_config().job.margin_s

    def left_s(self, slots: list[Slot]) -> float:
        """Return how long what is pending takes, in s: as planned, and beside it what earlier runs took."""
        done = [
            (attempt.manifest, self.planned_s[slot.cell.name])
            for slot in slots
            for attempt in slot.attempts
            if state.is_good(attempt.manifest, accept_degraded=True)
        ]
        return state.left_s(self.pending(slots), self.planned_s, state.overhead_s(done))


def plan(session: Session, name: str) -> None:
    """Say which cells there are, what is refused, and how long the rest takes. Raises ConfigError if any is refused."""
    with _read(session, name) as sweep:
        slots = sweep.slots(session)
        pending = sweep.pending(slots)
        paths = list(sweep.config.vary)
        rows = []
        for cell in configuration.cells(sweep.config):
            left = sum(slot.cell.name == cell.name for slot in pending)
            planned = f"{sweep.planned_s[cell.name]:.1f}" if cell.name in sweep.planned_s else "refused"
            rows.append(
                [cell.name, *(str(cell.values[path]) for path in paths), planned, str(sweep.config.repeats - left)]
            )
        session.console.table(f"sweep {name} on {session.cluster_name}", ["cell", *paths, "s per run", "done"], rows)
        _demand_valid(sweep)
        left_s = sweep.left_s(slots)
        session.console.say(
            f"cells={len(rows)} repeats={sweep.config.repeats} runs={len(slots)} done={len(slots) - len(pending)}"
            f" left={len(pending)} seconds={left_s:.0f} hours={left_s / 3600:.2f}"
        )


def blocks_left(session: Session, name: str) -> dict[int, float]:
    """Return the blocks that are not done, by their number, and how long a job for each is to last, in s."""
    with _read(session, name) as sweep:
        _demand_valid(sweep)
        pending = sweep.pending(sweep.slots(session))
        blocks = groupby(pending, lambda slot: slot.repeat)
        return {repeat: sweep.job_s(list(slots), session) for repeat, slots in blocks}


def carry_out(session: Session, name: str) -> None:
    """Make every run that is not done yet; as a task of a Slurm array, those of the block of its number.

    Raises what ends a chain: nothing can be started, or an interrupt.
    """
    only = array_task()
    with _read(session, name) as sweep:
        _demand_valid(sweep)
        total = len(sweep.slots(session))
        with session.console.sweep_display() as display:
            for _ in range(PASSES):
                for repeat, waiting in groupby(sweep.pending(sweep.slots(session)), lambda slot: slot.repeat):
                    if only in {None, repeat}:
                        block = list(waiting)
                        session.renew_job(sweep.job_s(block, session))
                        for slot in block:
                            _carry_out_one(session, sweep, slot, display)
        left = sweep.pending(sweep.slots(session))
        session.console.say(f"sweep {name}: {total - len(left)} of {total} runs done")
        left = [slot for slot in left if only in {None, slot.repeat}]
        if left:
            session.note(EXIT_RUN)
            session.console.say(f"problem: not done: {', '.join(slot.name for slot in left)}; the same call goes on")


def _carry_out_one(session: Session, sweep: Sweep, slot: Slot, display: SweepDisplay) -> None:
    """Collect what an earlier call left of a run, and make the run if that is not enough."""
    configs = sweep.configs[slot.cell.name]

    def show(*, under_way: bool = True) -> None:
        slots = sweep.slots(session)
        now, ends = slot if under_way else None, view.end_in_words(sweep.left_s(slots))
        display.show(view.view(sweep.name, f"on {session.cluster_name}", sweep.config, slots, now, ends))

    show()
    if (begun := slot.uncollected) is not None:
        session.console.say(f"sweep {sweep.name}: collecting {begun.name}, which an earlier call began")
        with _told(session):
            if session.gone(begun):
                experiment.verify_kept(session, begun)  # its exit code is that of an earlier call: it is made again
            else:
                session.attend_job(begun.manifest.job)
                experiment.pick_up(session, begun, configs)
        session.attend_job(None)
    if begun is None or not state.is_good(begun.manifest, accept_degraded=sweep.config.accept_degraded):
        folder = experiment.deploy(session, configs, slot.next_name)
        with _told(session):
            experiment.execute(session, folder, session.kept_configs(folder))
    if session.console.is_live:
        show(under_way=False)


@contextlib.contextmanager
def _told(session: Session) -> Iterator[None]:
    """Say what went wrong with one run and go on with the next; what no later run can do without ends the sweep."""
    try:
        yield
    except (ConfigError, PreflightError):
        raise
    except HarnessError as error:
        session.console.say(f"problem: {error}")
        session.note(error.exit_code)
        if isinstance(error, AllocationError) and not session.renew_job(session.job_s):  # we are in it: all is over
            raise


@contextlib.contextmanager
def _read(session: Session, name: str) -> Iterator[Sweep]:
    """Give a sweep with the files of its cells, which last as long as the block: every run keeps a copy of its own."""
    config = configuration.load_sweep(session.root, name)
    if isinstance(config.base, SimulatedBase):
        where = f"{configuration.sweep_path(session.root, name)}: base"
        got = f"got the scenario {config.base.scenario}; carry it out with invoke simulate --sweep {name}"
        raise ConfigError(f"{where}: expected a configuration folder, {got}")
    base = Path(config.base) if Path(config.base).is_absolute() else session.root / config.base
    if not base.is_dir():
        where = f"{configuration.sweep_path(session.root, name)}: base"
        raise ConfigError(f"{where}: expected a configuration folder, got {config.base}, which is none")
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        told = Path(scratch) / SWEEP_CONFIG
        shutil.copyfile(configuration.sweep_path(session.root, name), told)
        configs: dict[str, Configs] = {}
        planned_s: dict[str, float] = {}
        refused: list[str] = []
        for cell in configuration.cells(config):
            folder = _write(Path(scratch), base, cell)
            try:
                made = session.configs(str(folder))
            except ConfigError as error:
                refused += [line.replace(f"{scratch}/", "") for line in str(error).splitlines()]
                continue
            configs[cell.name] = replace(made, files=(*made.files, told))
            spec = RunSpec(cell.name, "", session.cluster_config(), made.coordinator, made.worker)
            planned_s[cell.name] = spec.lead_s + spec.planned_s
        yield Sweep(name, config, configs, planned_s, tuple(refused))


def _write(scratch: Path, base: Path, cell: Cell) -> Path:
    folder = scratch / cell.name
    folder.mkdir()
    for file, content in configuration.files_of(base, cell).items():
        (folder / file).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder


def _demand_valid(sweep: Sweep) -> None:
    if sweep.refused:
        raise ConfigError("\n".join(sweep.refused))
