"""The runs of a sweep, found by their names; which cell and repeat each is, and which values its cell has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from analysis.errors import AnalysisError, NoSuchRun, cause
from analysis.run import load
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class SweepRun:
    """One attempt at one repeat of one cell; ``counts`` if collected, and ok (degraded, where that is accepted)."""

    path: Path
    cell: str
    repeat: int
    attempt: int
    values: Mapping[str, Any]  # by varied path, as the run used them
    ending: str  # phase and outcome
    counts: bool


def find(results_dir: Path, sweep: str) -> list[SweepRun]:
    """Return every run of a sweep in the order of its cells. Raises NoSuchRun where there is none."""
    found = []
    for path in results_dir.glob(f"{sweep}.*"):
        match = records.SWEEP_RUN.fullmatch(path.name)
        if match and match["sweep"] == sweep and (path / records.MANIFEST_FILE).is_file():
            found.append(_run(path, f"c{match['cell']}", int(match["repeat"]), int(match["attempt"] or 1)))
    if not found:
        raise NoSuchRun(
            f"sweep {sweep}: expected runs like {results_dir}/{sweep}.c001.r01, got none; run the sweep first"
        )
    return sorted(found, key=lambda run: (run.cell, run.repeat, run.attempt))


def _run(path: Path, cell: str, repeat: int, attempt: int) -> SweepRun:
    manifest = load.read_manifest(path)
    file = path / records.CONFIGS_DIR / records.SWEEP_CONFIG
    try:
        sweep = yaml.safe_load(file.read_text(encoding="utf-8"))
        values = {name: _value(manifest.config, name) for name in sweep["vary"]}
        accepted = {records.RUN_OK, records.RUN_DEGRADED} if sweep.get("accept_degraded") else {records.RUN_OK}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise AnalysisError(f"{file}: expected the sweep's file as the run kept it, got: {cause(error)}") from error
    counts = manifest.phase == records.COLLECTED and manifest.outcome in accepted
    return SweepRun(path, cell, repeat, attempt, values, f"{manifest.phase}, {manifest.outcome}", counts)


def _value(config: Mapping[str, Any], name: str) -> Any:
    value: Any = config
    for key in name.split("."):
        value = value[key]
    return value
