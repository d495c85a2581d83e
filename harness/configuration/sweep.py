"""A sweep, ``configs/sweeps/NAME.yaml``: a matrix of values for keys of an experiment's files, and its cells.

Cells are numbered from c001 over the whole matrix, in the order of ``vary`` with the last path changing fastest. A cell
that is excluded keeps its number, so that leaving one out renames no other.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import Field, model_validator

from harness.configuration.experiment import (
    CONFIGS,
    COORDINATOR_CONFIG,
    WORKER_CONFIG,
    CoordinatorConfig,
    WorkerConfig,
)
from harness.configuration.yaml_files import CLUSTER_NAME, Strict, load, problem, read_mapping, unknown_key
from harness.errors import ConfigError, candidates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

SWEEPS: Final = CONFIGS / "sweeps"
MOST_CELLS: Final = 999
MOST_REPEATS: Final = 99
SCENARIO: Final = "scenario"  # what the paths of a simulated sweep begin with
LONGEST_NAME: Final = 48  # an experiment's name has 64 characters, and `.c001.r01.a99` besides
_FILES: Final[Mapping[str, tuple[str, type[BaseModel]]]] = {
    "coordinator": (COORDINATOR_CONFIG, CoordinatorConfig),
    "worker": (WORKER_CONFIG, WorkerConfig),
}


_SIZES: Final = ("nodes", "events", "rate_hz")


class SimulatedBase(Strict):
    """What `invoke simulate` takes: a scenario of configs/scenarios, and how large each run is."""

    scenario: Annotated[str, Field(min_length=1)]
    nodes: int = 3
    events: int = 1000
    rate_hz: float | None = None  # None: the scenario's own


class SweepConfig(Strict):
    """Which keys take which values, which cells are left out, and how often each of the others runs.

    Runs are made on a cluster where ``base`` is a configuration folder, and simulated where it names a scenario.
    """

    base: Annotated[str, Field(min_length=1)] | SimulatedBase
    vary: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    repeats: int = Field(ge=1, le=MOST_REPEATS)
    seed: int = Field(ge=0)
    accept_degraded: bool = False

    @model_validator(mode="after")
    def _paths_name_keys(self) -> Self:
        for path in self.vary:
            file, *keys = path.split(".")
            if isinstance(self.base, SimulatedBase):
                if file != SCENARIO or not keys:
                    raise problem(f"vary.{path}", "a path that begins with scenario., as base is one", path)
                if keys == ["seed"]:
                    raise problem(f"vary.{path}", "no such path: each run's seed is made of seed and its name", path)
            elif file not in _FILES or not keys:
                raise problem(f"vary.{path}", "a path that begins with coordinator. or worker.", path)
            elif wrong := unknown_key(_FILES[file][1], keys):
                told = f"a key of {_FILES[file][0]} (it has no {wrong})"
                raise problem(f"vary.{path}", told, path)
            if above := next((other for other in self.vary if path.startswith(f"{other}.")), None):
                raise problem(f"vary.{path}", f"no path below another, {above}", path)
        return self

    @model_validator(mode="after")
    def _values_make_cells(self) -> Self:
        for path, values in self.vary.items():
            if any(value in values[:place] for place, value in enumerate(values)):
                raise problem(f"vary.{path}", "values that differ", values)
        for place, left_out in enumerate(self.exclude):
            if not left_out:
                raise problem(f"exclude.{place}", "at least one path with its value", left_out)
            for path, value in left_out.items():
                if path not in self.vary:
                    raise problem(f"exclude.{place}", "paths of vary", path)
                if value not in self.vary[path]:
                    raise problem(f"exclude.{place}.{path}", f"one of its values {self.vary[path]}", value)
        count = len(cells(self))
        if not 0 < count <= MOST_CELLS:
            raise problem("vary", f"1 to {MOST_CELLS} cells that are not excluded", count)
        return self


@dataclass(frozen=True)
class Cell:
    """One configuration of a sweep: its name, and the value of every varied path."""

    name: str
    values: Mapping[str, Any]

    @property
    def in_words(self) -> str:
        """Return the values as one reads them, each with the last key of its path."""
        return ", ".join(f"{path.rpartition('.')[2]}={value}" for path, value in self.values.items())


def load_sweep(root: Path, name: str) -> SweepConfig:
    """Read a sweep's file. Raises ConfigError, one line per mistake."""
    if not CLUSTER_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        form = f"letters, digits, '_' and '-', at most {LONGEST_NAME}, beginning with a letter or digit"
        raise ConfigError(f"sweep name: expected {form}, got {name!r}")
    file = sweep_path(root, name)
    if not any(file.parent.glob(f"{name}.*")):
        known = sorted(path.stem for path in file.parent.glob("*.yaml") if CLUSTER_NAME.fullmatch(path.stem))
        raise ConfigError(f"sweep: expected one of {candidates(name, known)} (files of {file.parent}), got {name!r}")
    return load(file, SweepConfig)


def sweep_path(root: Path, name: str) -> Path:
    """Return where a sweep's file is."""
    return root / SWEEPS / f"{name}.yaml"


def cells(sweep: SweepConfig) -> list[Cell]:
    """Return the cells that are not excluded, in their order."""
    matrix = itertools.product(*sweep.vary.values())
    numbered = [
        Cell(f"c{number:03d}", dict(zip(sweep.vary, values, strict=True))) for number, values in enumerate(matrix, 1)
    ]
    return [cell for cell in numbered if not any(_matches(cell, left_out) for left_out in sweep.exclude)]


def order(sweep: SweepConfig) -> list[tuple[Cell, int]]:
    """Return cells and repeats in the order they run: all cells once, shuffled, then again (randomised blocks).

    More repeats add blocks and leave the order of the earlier ones.
    """
    shuffle = random.Random(sweep.seed)
    runs: list[tuple[Cell, int]] = []
    for repeat in range(1, sweep.repeats + 1):
        block = cells(sweep)
        shuffle.shuffle(block)
        runs += [(cell, repeat) for cell in block]
    return runs


def files_of(base: Path, cell: Cell) -> dict[str, dict[str, Any]]:
    """Return the content of a cell's configuration files by their names: the base's, with the cell's values.

    Raises ConfigError where the base has no mapping at a path, as in ``probes: null``.
    """
    files = {file: read_mapping(base / name) for file, (name, _) in _FILES.items()}
    for path, value in cell.values.items():
        file, *keys = path.split(".")
        _set(base / _FILES[file][0], files[file], keys, value)
    return {_FILES[file][0]: content for file, content in files.items()}


def scenario_name(base: SimulatedBase, cell: Cell) -> str:
    """Return which scenario a cell plays: the base's, unless the sweep varies ``scenario.name``."""
    return str(cell.values.get(f"{SCENARIO}.name", base.scenario))


def simulated_content(base: SimulatedBase, content: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Return what a simulated cell's runs play: the ``content`` of its scenario's file, the base's size, its values.

    Raises ConfigError where the scenario has no mapping at a path.
    """
    size = {key: value for key in _SIZES if (value := getattr(base, key)) is not None}
    played = {**content, **size, "name": scenario_name(base, cell)}
    for path, value in cell.values.items():
        _set(f"{cell.name}: scenario {played['name']}", played, path.split(".")[1:], value)
    return played


def run_seed(sweep: SweepConfig, run: str) -> int:
    """Return the seed of a simulated run: 63 bits of the sweep's seed and the run's name, other ones for each run."""
    digest = hashlib.blake2b(f"{sweep.seed}/{run}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _set(file: Path | str, content: dict[str, Any], keys: Sequence[str], value: object) -> None:
    place = content
    for depth, key in enumerate(keys[:-1], 1):
        place[key] = copy.copy(place.get(key, {}))  # an anchor may share it with another key
        if not isinstance(place[key], dict):
            at = ".".join(keys[:depth])
            raise ConfigError(f"{file}: {at}: expected a mapping, since a sweep varies a key in it, got {place[key]}")
        place = place[key]
    place[keys[-1]] = value


def _matches(cell: Cell, left_out: Mapping[str, Any]) -> bool:
    return all(cell.values[path] == value for path, value in left_out.items())
