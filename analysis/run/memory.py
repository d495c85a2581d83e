"""Where memory ends: a run that cannot be analysed on this machine is refused before anything is read or written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis.errors import AnalysisError
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMINFO: Final = Path("/proc/meminfo")
# Measured on runs of 10^4 to 10^7 events, of all processes together: bytes at the peak by bytes of the tables.
BASE_BYTES: Final = 600 << 20
PER_TABLE_BYTE: Final = 1.8
PER_PROBE_BYTE: Final = 3.0
PER_REMEASURED_BYTE: Final = 1.0  # of the longest commit_wait.csv; one is in memory at a time
MEASURED_PROCESSES: Final = 2
PER_PROCESS: Final = 0.4  # of what two take: each more
BASE_IN_PARTS_BYTES: Final = 1_150 << 20  # with the parts that two processes judge
PER_TABLE_BYTE_IN_PARTS: Final = 0.1
PER_PROBE_BYTE_IN_PARTS: Final = 1.5
GB: Final = 1e9


def require(path: Path, manifest: records.Manifest, *, in_parts: bool = False) -> None:
    """Raise AnalysisError if the run needs more memory than this machine has to give (where it says how much)."""
    free, needed = available_bytes(), (needed_in_parts_bytes if in_parts else needed_bytes)(path, manifest)
    if free is not None and needed > free:
        how = "judge it in parts" if in_parts else "read it as a whole"
        raise AnalysisError(
            f"{path}: expected about {needed / GB:.1f} GB of free memory to {how}, got {free / GB:.1f} GB; do it on a "
            "machine that has them (nothing was written)"
        )


def processes(path: Path, manifest: records.Manifest, most: int, *, in_parts: bool) -> int:
    """Return how many processes, of ``most``, there is the memory for, at least as many as the estimates are of."""
    free = available_bytes()
    if free is None or most <= MEASURED_PROCESSES:
        return most
    needed = (needed_in_parts_bytes if in_parts else needed_bytes)(path, manifest)
    return min(most, MEASURED_PROCESSES + int(max(0.0, free - needed) / (PER_PROCESS * needed)))


def needed_bytes(path: Path, manifest: records.Manifest) -> float:
    """Return about how much memory it takes to read a run, and to judge it, as a whole."""
    waits = (path / records.RAW_DIR / node_id / records.COMMIT_WAIT_FILE for node_id in manifest.nodes)
    longest = max(_sizes(waits), default=0)
    return _of_all(path, manifest, BASE_BYTES, PER_TABLE_BYTE, PER_PROBE_BYTE) + PER_REMEASURED_BYTE * longest


def needed_in_parts_bytes(path: Path, manifest: records.Manifest) -> float:
    """Return about how much memory it takes to judge a run in parts: what is kept of every event, at every node."""
    return _of_all(path, manifest, BASE_IN_PARTS_BYTES, PER_TABLE_BYTE_IN_PARTS, PER_PROBE_BYTE_IN_PARTS)


def _of_all(path: Path, manifest: records.Manifest, base: float, per_table_byte: float, per_probe_byte: float) -> float:
    """Return what the tables of events and the probes take, which all analyses keep."""
    tables = [path / name for name in (records.COORDINATOR_FILE, *map(records.worker_file, manifest.worker_ids))]
    raw = path / records.RAW_DIR
    size = sum(_sizes([*tables, raw / manifest.coordinator_id / records.SENDS_FILE]))
    probes = sum(_sizes(raw / node_id / records.PROBES_FILE for node_id in manifest.nodes))
    return base + per_table_byte * size + per_probe_byte * probes


def available_bytes() -> int | None:
    """Return how much memory can be had without swapping, or None where the system does not say."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def _sizes(files: Iterable[Path]) -> list[int]:
    return [file.stat().st_size for file in files if file.is_file()]
