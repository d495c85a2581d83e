"""A sweep whose runs are simulated: the same file, names, order and manifests as on a cluster, and no cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness import results
from harness.configuration import sweep as configuration
from harness.configuration.sweep import SCENARIO, SimulatedBase
from harness.configuration.yaml_files import unknown_key
from harness.errors import ConfigError
from harness.sweep import state, view
from harness.sweep.state import PASSES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from harness.configuration.sweep import SweepConfig
    from harness.console import Console
    from harness.sweep.state import Slot


class Simulator(Protocol):
    """What makes simulated runs: given by whoever knows both, as harness and analysis do not know each other."""

    @property
    def keys(self) -> type[BaseModel]:
        """Return the model whose keys the paths below ``scenario.`` are."""

    def content(self, scenario: str) -> dict[str, Any]:
        """Return what a scenario's file says."""

    def refused(self, content: Mapping[str, Any], where: str) -> str:
        """Return in one line why no run can be made of a content, "" if one can."""

    def as_kept(self, content: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return what the manifest of such a run says of it."""

    def make(self, content: Mapping[str, Any], seed: int, run: str) -> Path:
        """Make one run and return its folder."""


@dataclass(frozen=True)
class SimulatedSweep:
    """A sweep as its file says, with what each cell's runs play; all of them can be made."""

    name: str
    config: SweepConfig
    contents: Mapping[str, Mapping[str, Any]]  # by cell
    simulator: Simulator
    results_dir: Path

    def slots(self) -> list[Slot]:
        """Return all runs in their order with what there is of each. Raises ConfigError for one of another sweep."""
        made = state.slots(self.results_dir, self.name, configuration.order(self.config))
        for slot in made:
            for attempt in slot.attempts:
                seed = configuration.run_seed(self.config, attempt.name)
                wanted = self.simulator.as_kept(self.contents[slot.cell.name], seed)
                if attempt.manifest.config.get(SCENARIO) != wanted:
                    raise ConfigError(state.told_changed(slot, attempt))
        return made

    def pending(self, slots: list[Slot]) -> list[Slot]:
        """Return the runs that are still to be made."""
        return [slot for slot in slots if not slot.done(accept_degraded=self.config.accept_degraded)]


def read(root: Path, results_dir: Path, name: str, simulator: Simulator) -> SimulatedSweep:
    """Read a sweep of simulated runs. Raises ConfigError, one line per mistake."""
    config = configuration.load_sweep(root, name)
    file = configuration.sweep_path(root, name)
    base = config.base
    if not isinstance(base, SimulatedBase):
        told = f"expected a scenario, as {{scenario: honest}}, got the configuration folder {base}"
        raise ConfigError(f"{file}: base: {told}; carry it out with fab CLUSTER sweep {name}")
    for path in config.vary:
        if wrong := unknown_key(simulator.keys, path.split(".")[1:]):
            raise ConfigError(f"{file}: vary.{path}: expected a key of a scenario (it has no {wrong}), got {path!r}")
    contents = {}
    refused = []
    for cell in configuration.cells(config):
        scenario = simulator.content(configuration.scenario_name(base, cell))
        contents[cell.name] = content = configuration.simulated_content(base, scenario, cell)
        if line := simulator.refused(content, cell.name):
            refused.append(line)
    if refused:
        raise ConfigError("\n".join(refused))
    return SimulatedSweep(name, config, contents, simulator, results_dir)


def plan(sweep: SimulatedSweep, console: Console) -> None:
    """Say which cells there are and what of them is done."""
    slots = sweep.slots()
    pending = sweep.pending(slots)
    paths = list(sweep.config.vary)
    rows = []
    for cell in configuration.cells(sweep.config):
        left = sum(slot.cell.name == cell.name for slot in pending)
        rows.append([cell.name, *(str(cell.values[path]) for path in paths), str(sweep.config.repeats - left)])
    console.table(f"sweep {sweep.name}, simulated", ["cell", *paths, "done"], rows)
    console.say(
        f"cells={len(rows)} repeats={sweep.config.repeats} runs={len(slots)} done={len(slots) - len(pending)}"
        f" left={len(pending)}"
    )


def carry_out(sweep: SimulatedSweep, console: Console) -> list[str]:
    """Make every run that is not done yet; return the names of those that are not done then."""
    results.demand_writable(sweep.results_dir)
    total = len(sweep.slots())
    with console.sweep_display() as display:
        for _ in range(PASSES):
            for slot in sweep.pending(sweep.slots()):
                display.show(view.view(sweep.name, "simulated", sweep.config, sweep.slots(), slot, ""))
                seed = configuration.run_seed(sweep.config, slot.next_name)
                sweep.simulator.make(sweep.contents[slot.cell.name], seed, slot.next_name)
        if console.is_live:
            display.show(view.view(sweep.name, "simulated", sweep.config, sweep.slots(), None, ""))
    left = sweep.pending(sweep.slots())
    console.say(f"sweep {sweep.name}: {total - len(left)} of {total} runs done")
    return [slot.name for slot in left]
