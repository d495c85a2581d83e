"""Simulated runs of a sweep: a scenario with other values at some keys, and how large each run is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.errors import AnalysisError
from analysis.simulation import scenario as scenarios
from analysis.simulation.simulate import OfSweep, demand_possible, scenario_as_played, simulate
from analysis.simulation.world import Size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class SizedScenario(scenarios.Scenario):
    """A scenario together with the number of nodes and of events: everything that a sweep may vary."""

    nodes: int
    events: int

    def size(self, seed: int) -> Size:
        """Return how large a run of it is. Raises UsageError for what cannot be."""
        return Size(self.nodes, self.events, self.rate_hz, seed)


@dataclass(frozen=True)
class Simulator:
    """Makes the runs of one sweep, each from the content of a ``SizedScenario``."""

    sweep: OfSweep
    results_dir: Path

    @property
    def keys(self) -> type[SizedScenario]:
        """Return the model whose keys a sweep may vary."""
        return SizedScenario

    def content(self, scenario: str) -> dict[str, Any]:
        """Return what a scenario's file says. Raises UsageError for one that is none."""
        return scenarios.content(scenario)

    def refused(self, content: Mapping[str, Any], where: str) -> str:
        """Return in one line, which begins with ``where``, why no run can be made of a content; "" if one can."""
        try:
            played = _read(content, where)
        except AnalysisError as error:
            return str(error)
        try:
            demand_possible(played, played.size(0), self.results_dir)
        except AnalysisError as error:
            return f"{where}: {error}"
        return ""

    def as_kept(self, content: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return what the manifest of a run of this content says under ``scenario``."""
        played = _read(content, self.sweep.name)
        return scenario_as_played(played, played.size(seed))

    def make(self, content: Mapping[str, Any], seed: int, run: str) -> Path:
        """Make one run and return its folder. Raises AnalysisError."""
        played = _read(content, run)
        return simulate(
            played, played.nodes, played.events, seed=seed, experiment=run, results=self.results_dir, sweep=self.sweep
        )


def _read(content: Mapping[str, Any], where: str) -> SizedScenario:
    return scenarios.validated(content, SizedScenario, where)
