"""``invoke simulate``: play a scenario and leave a run folder like a real run's, one process per node where it pays."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from analysis.errors import UsageError
from analysis.run.hashing import sha256
from analysis.run.load import RESULTS_DIR, SIMULATED, new_folder
from analysis.simulation import scenario as scenarios
from analysis.simulation.recording import record
from analysis.simulation.world import CHRONOTICK_SERVER, EPOCH_NS, EVENT_PORT, Size, World
from node_agent.contract import records
from node_agent.contract.plan import to_json

if TYPE_CHECKING:
    from analysis.simulation.scenario import Scenario

CREATED_UTC: Final = "2026-01-01T00:00:00Z"  # every simulated run happens then: the same seed, the same bytes
MIN_RECEIVED_SHARE: Final = 0.98
BYTES_OF_EVENT: Final = 1_300  # of files at each node, as measured; memory takes those of one piece at a time
BYTES_OF_SECOND: Final = 1_250  # at each node: clock pairs and samples
BYTES_OF_PROBE: Final = 135  # at each of two nodes
GB: Final = 1e9
WORTH_PROCESSES: Final = 60_000  # events at all nodes; below it starting processes takes longer than the run


@dataclass(frozen=True)
class OfSweep:
    """The sweep that a run is part of, and its file, of which the run keeps a copy."""

    name: str
    file: Path


def simulate(
    scenario: Scenario | str,
    nodes: int,
    events: int,
    *,
    rate_hz: float | None = None,
    seed: int = 1,
    experiment: str | None = None,
    results: Path = RESULTS_DIR,
    sweep: OfSweep | None = None,
) -> Path:
    """Make a run folder of a scenario (or of one by its name) and return its path.

    Without ``rate_hz`` the scenario's own rate holds. Equal arguments make equal files. Raises UsageError for a
    scenario that is none, a size that cannot be, and a name that is none or taken.
    """
    played = scenarios.read(scenario) if isinstance(scenario, str) else scenario
    size = Size(nodes, events, played.rate_hz if rate_hz is None else rate_hz, seed)
    at_rate = "" if rate_hz is None else f"-{rate_hz:.10g}hz"
    name = f"{SIMULATED}-{played.name}-{events}x{nodes - 1}{at_rate}-{seed}" if experiment is None else experiment
    path = new_folder(results, name)
    demand_possible(played, size, results)
    world = World(played, size, name)
    results.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=results, prefix=f".{name}."))
    try:
        statuses = _record_all(world, scratch)
        _write_configs(world, scratch / records.CONFIGS_DIR)
        if sweep is not None:
            shutil.copyfile(sweep.file, scratch / records.CONFIGS_DIR / records.SWEEP_CONFIG)
        manifest = _manifest(world, statuses, sweep)
        for name in (records.COORDINATOR_FILE, *map(records.worker_file, manifest.worker_ids)):
            manifest.assembled[name] = sha256(scratch / name)
        (scratch / records.MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
        scratch.chmod(0o755)
        scratch.rename(path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return path


def demand_possible(played: Scenario, size: Size, results: Path) -> None:
    """Raise UsageError where a scenario needs more nodes, or the disk of ``results`` has no room for the run."""
    for jump in (*played.wall_steps, *played.raw_steps):
        if jump.node >= size.nodes:
            told = f"expected more than {jump.node}, whose clock jumps in {played.name}, got {size.nodes}"
            raise UsageError(f"nodes: {told}")
    free = shutil.disk_usage(next(folder for folder in (results, *results.absolute().parents) if folder.is_dir())).free
    needed = _needed_bytes(World(played, size, ""))
    if free < needed:
        raise UsageError(
            f"events: expected room for about {needed / GB:,.1f} GB on the disk of {results}, for {size.events:,} at "
            f"{size.nodes} nodes, got {free / GB:,.1f} GB (nothing was written)"
        )


def _needed_bytes(world: World) -> float:
    size, seconds = world.size, (world.end_ns - EPOCH_NS) / 1e9
    ends = sum(len(world.peers(place)) for place in range(size.nodes))
    by_second = BYTES_OF_SECOND * size.nodes + BYTES_OF_PROBE * world.scenario.probes.rate_hz * ends
    return BYTES_OF_EVENT * size.events * size.nodes + by_second * seconds


def _record_all(world: World, folder: Path) -> list[dict[str, Any]]:
    places = range(world.size.nodes)
    if world.size.events * world.size.nodes < WORTH_PROCESSES:
        return [record(world, place, folder) for place in places]
    workers = min(os.cpu_count() or 1, world.size.nodes)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [running.result() for running in [pool.submit(record, world, place, folder) for place in places]]


def _manifest(world: World, statuses: list[dict[str, Any]], sweep: OfSweep | None) -> records.Manifest:
    nodes = {}
    lost = []
    for place, status in enumerate(statuses):
        plan = json.loads(to_json(world.plan(place)))
        node_id = world.node_ids[place]
        received = status["counts"].get("received", world.size.events) / world.size.events
        if received < MIN_RECEIVED_SHARE:
            lost.append(f"{node_id}: received {received:.2%} of the events, expected {MIN_RECEIVED_SHARE:.0%}")
        nodes[node_id] = records.NodeManifest(
            node_id=node_id,
            role=plan["role"],
            host=f"{SIMULATED}@{world.address(place)}",
            virtual_clock=plan["virtual_clock"],
            plan=plan,
            status=status,
            collected_by=SIMULATED,
            checksums_verified=True,
        )
    size = world.size
    return records.Manifest(
        run_id=world.run_id,
        experiment=world.experiment,
        cluster=SIMULATED,
        phase=records.COLLECTED,
        outcome=records.RUN_DEGRADED if lost else records.RUN_OK,
        created_utc=CREATED_UTC,
        code_version={"git": None, "dirty": None, "source_sha256": _source_sha256(), "agent_sha256": None},
        argv=["invoke", "simulate", "--sweep", sweep.name] if sweep else [
            "invoke", "simulate", "--scenario", world.scenario.name, "--nodes", str(size.nodes),
            "--events", str(size.events), "--rate-hz", f"{size.rate_hz:g}", "--seed", str(size.seed),
        ],
        config=_config(world),
        nodes=nodes,
        problems=lost,
    )  # fmt: skip


def _config(world: World) -> dict[str, Any]:
    """Return the configuration in the shape of a real run's, and besides under ``scenario`` what was simulated."""
    played, timing = world.scenario, world.scenario.timing
    gap_s = world.broadcast.delays_ms[0] / 1e3
    return {
        "cluster": {
            "name": SIMULATED,
            "embedded": False,
            "nodes": [
                {"id": name, "host": world.address(place), "role": "worker" if place else "coordinator"}
                for place, name in enumerate(world.node_ids)
            ],
            "ntp_server": list(played.ntp.servers),
            "chronotick_server": CHRONOTICK_SERVER,
        },
        "coordinator": {
            "experiment": {
                "num_events": world.size.events,
                "duration_minutes": None,
                "min_received_share": MIN_RECEIVED_SHARE,
            },
            "broadcast_pattern": {"pattern": ["fast"], "fast_stream": gap_s},
        },
        "worker": {
            "network": {"listen_port": EVENT_PORT},
            "timing": timing.model_dump(mode="json"),
            "chronotick": {
                "mode": "interval",
                "use_dual_model": True,
                "uncertainty_multiplier": played.uncertainty_multiplier,
            },
            "clocks": {"max_drift_ppm": played.max_drift_ppm, "required": ["ntp", "chronotick"], "chrony": None},
        },
        "scenario": scenario_as_played(played, world.size),
    }


def scenario_as_played(played: Scenario, size: Size) -> dict[str, Any]:
    """Return what the manifest says of a scenario: its keys, with the seed and the rate of this run."""
    return {**played.model_dump(mode="json"), "seed": size.seed, "rate_hz": size.rate_hz}


def _write_configs(world: World, folder: Path) -> None:
    folder.mkdir()
    config = _config(world)
    for name in ("coordinator", "worker"):
        (folder / f"{name}_config.yaml").write_text(yaml.safe_dump(config[name], sort_keys=False), encoding="utf-8")
    (folder / f"{SIMULATED}.yaml").write_text(yaml.safe_dump(config["cluster"], sort_keys=False), encoding="utf-8")
    scenario = yaml.safe_dump(config["scenario"], sort_keys=False)
    (folder / "scenario.yaml").write_text(scenario, encoding="utf-8")


def _source_sha256() -> str:
    """Return a checksum over the code that made the run, as it is on disk."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for file in sorted([*root.glob("analysis/simulation/*.py"), *root.glob("node_agent/**/*.py")]):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
