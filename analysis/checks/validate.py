"""Check that a run folder is whole, unchanged since it left the nodes, and adds up.

Works on folders that are incomplete: what is missing is a problem, and what there is gets checked.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from analysis.checks import replay
from analysis.checks.contract import ties
from analysis.checks.contract.counts import check_sends, check_status
from analysis.checks.contract.probes import check_probes
from analysis.checks.contract.raw_files import check_node, check_originals
from analysis.checks.contract.scopes import check_scopes
from analysis.checks.contract.tables import ERROR, WARNING, Problem, check_columns, check_table, read
from analysis.errors import AnalysisError, NoSuchRun
from analysis.run import load
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd

__all__ = ["Problem", "validate"]

REPLAY_LIMIT: Final = 100_000  # rows; of a longer run so many are replayed, as all of them take minutes
PHASES: Final = {records.DEPLOYED, records.RUN_RUNNING, records.RUN_FINISHED, records.COLLECTED, records.IMPORTED}
RUN_OUTCOMES: Final = {None, records.RUN_OK, records.RUN_DEGRADED, records.RUN_FAILED}

_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_WORKER_FILE: Final = re.compile(r"worker_(.+)\.csv")


def validate(experiment_dir: Path) -> list[Problem]:
    """Return what is off in a run folder, errors first. Raises NoSuchRun if there is no such folder."""
    if not experiment_dir.is_dir():
        raise NoSuchRun(f"{experiment_dir}: expected a run folder, found none; name one with --experiment")
    manifest, problems = _read_manifest(experiment_dir)
    roles = _roles(experiment_dir, manifest)
    imported = manifest is not None and manifest.imported is not None
    tables: dict[str, pd.DataFrame] = {}
    for node_id, role in roles.items():
        name = records.table_file(node_id, role)
        table = read(experiment_dir, name, problems)
        if table is None:
            continue
        tables[node_id] = table
        problems += check_columns(name, table, _expected_columns(role, table, manifest))
        problems += check_table(name, table, role, imported=imported, pairs=_pairs(experiment_dir, node_id))
        if "node_id" in table and (strangers := sorted(set(table["node_id"].dropna()) - {node_id})):
            problems.append(Problem(ERROR, name, f"expected node_id {node_id!r} in every row, got {strangers[0]!r}"))
    coordinator = next((node_id for node_id, role in roles.items() if role == "coordinator"), None)
    if manifest is not None and imported:
        problems += check_originals(experiment_dir, manifest)
    elif manifest is not None:
        for node_id, node in manifest.nodes.items():
            problems += check_node(experiment_dir, node_id, node.role, tables.get(node_id))
            problems += check_status(node_id, node, manifest, tables)
            problems += check_probes(experiment_dir, node_id, node)
            problems += check_scopes(experiment_dir, node_id)
            problems += ties.check_identity(experiment_dir, node_id, manifest)
            problems += ties.check_clocks(experiment_dir, node_id, node.role)
        problems += ties.check_mesh(experiment_dir, manifest)
    if coordinator in tables:
        pairs = _pairs(experiment_dir, coordinator)
        problems += check_sends(experiment_dir, coordinator, tables, roles, manifest, pairs)
    if manifest is not None and not imported:
        problems += _replayed(experiment_dir, manifest, tables)
    return sorted(problems, key=lambda problem: problem.severity != ERROR)


# --- manifest ---------------------------------------------------------------------------------------------------------


def _read_manifest(path: Path) -> tuple[records.Manifest | None, list[Problem]]:
    name = records.MANIFEST_FILE
    try:
        manifest = records.Manifest.from_json((path / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, [Problem(ERROR, name, "expected the run's manifest, found no such file")]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return None, [Problem(ERROR, name, f"expected a manifest of this version, got {reason}")]
    return manifest, list(_manifest(path, manifest))


def _manifest(path: Path, manifest: records.Manifest) -> Iterator[Problem]:
    name = records.MANIFEST_FILE
    if not isinstance(manifest.run_id, str) or not _RUN_ID.fullmatch(manifest.run_id):
        yield Problem(ERROR, name, f"run_id: expected 32 hex digits, got {manifest.run_id!r}")
    if manifest.experiment != path.resolve().name:
        text = f"experiment: expected the folder's name {path.resolve().name!r}, got {manifest.experiment!r}"
        yield Problem(WARNING, name, text)
    if manifest.phase not in PHASES:
        yield Problem(ERROR, name, f"phase: expected one of {', '.join(sorted(PHASES))}, got {manifest.phase!r}")
    if manifest.outcome not in RUN_OUTCOMES:
        yield Problem(ERROR, name, f"outcome: expected ok, degraded, failed or null, got {manifest.outcome!r}")
    coordinators = [node_id for node_id, node in manifest.nodes.items() if node.role == "coordinator"]
    if len(coordinators) != 1:
        yield Problem(ERROR, name, f"expected one coordinator, got {', '.join(coordinators) or 'none'}")
    if not manifest.worker_ids:
        yield Problem(ERROR, name, "expected at least one worker, got none")
    if manifest.phase == records.IMPORTED and manifest.imported is None:
        yield Problem(ERROR, name, "imported: expected where the data comes from, got null")
    if manifest.imported is None and manifest.phase not in {records.COLLECTED, records.IMPORTED}:
        yield Problem(WARNING, name, f"the run is {manifest.phase}, not collected; collect it")
    if manifest.outcome in {records.RUN_DEGRADED, records.RUN_FAILED}:
        why = f": {'; '.join(manifest.problems)}" if manifest.problems else ""
        yield Problem(WARNING, name, f"the run ended {manifest.outcome}{why}")


def _roles(path: Path, manifest: records.Manifest | None) -> dict[str, str]:
    """Return the nodes' roles; without a manifest those the files' names tell."""
    if manifest is not None:
        return {node_id: node.role for node_id, node in manifest.nodes.items()}
    found = {"coordinator": "coordinator"}
    for file in sorted(path.iterdir()):
        if match := _WORKER_FILE.fullmatch(file.name):
            found[match[1]] = "worker"
    return found


def _pairs(path: Path, node_id: str | None) -> pd.DataFrame | None:
    """Return a node's clock pairs, None where they are not there or cannot be read, which others say."""
    file = path / records.RAW_DIR / str(node_id) / records.CLOCK_PAIRS_FILE
    try:
        return load.read_table(file, records.CLOCK_PAIRS_COLUMNS) if file.is_file() else None
    except AnalysisError:
        return None


# --- tables -----------------------------------------------------------------------------------------------------------


def _expected_columns(role: str, table: pd.DataFrame, manifest: records.Manifest | None) -> tuple[str, ...]:
    known = load.prefixes([table])
    extra = [prefix for prefix in known if prefix not in records.SOURCE_PREFIXES]
    prefixes = (*records.SOURCE_PREFIXES, *extra)
    if role == "coordinator":
        return records.events_columns(role, prefixes)
    return records.worker_columns(_delays_s(table, manifest), prefixes)


def _delays_s(table: pd.DataFrame, manifest: records.Manifest | None) -> list[float]:
    if manifest is not None and manifest.imported is None:
        try:
            return [float(delay) for delay in manifest.config["worker"]["timing"]["commit_wait_delays"]]
        except (KeyError, TypeError, ValueError):  # a hand-made manifest: the columns speak for themselves
            pass
    pattern = re.compile(re.escape(records.delay_column(0)).replace("0s", "([0-9.]+)s"))
    return [float(match[1]) for column in table.columns if (match := pattern.fullmatch(str(column)))]


def _replayed(path: Path, manifest: records.Manifest, tables: Mapping[str, pd.DataFrame]) -> Iterator[Problem]:
    """Recompute every reading from the journals, where the run has what that takes and is not too long."""
    raw = path / records.RAW_DIR
    needed = (records.EVENTS_FILE, records.SAMPLES_FILE)
    complete = all(
        node.plan is not None and all((raw / node_id / name).is_file() for name in needed)
        for node_id, node in manifest.nodes.items()
    )
    if not complete:
        return
    rows = sum(len(table) for table in tables.values())
    every = max(1, -(-rows // REPLAY_LIMIT))
    if every > 1:
        told = f"all but every {every}th event's readings were not recomputed here, {rows:,} rows being more than"
        yield Problem(WARNING, records.RAW_DIR, f"{told} {REPLAY_LIMIT:,}; invoke replay does it")
    try:
        found = replay.replay(path, every)
    except (AnalysisError, OSError, ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        yield Problem(ERROR, records.RAW_DIR, f"the readings cannot be recomputed from the journals: {reason}")
        return
    if found.differences:
        text = f"{len(found.differences):,} cells are not what the journals say, first: {found.differences[0]}"
        yield Problem(ERROR, records.RAW_DIR, text)
