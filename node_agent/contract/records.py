"""What comes out of a node and of a run: file names, columns, readings, status and manifest keys, each defined once.

Instants are int nanoseconds; an absent number is an empty cell (``None``) whose ``_status`` column says why.
"""

# No `from __future__ import annotations` here: `json_objects` reads the field types at run time, on Python 3.9 too.

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, NamedTuple, Optional, Union

from node_agent.contract import json_objects

# --- outcomes and phases -------------------------------------------------------------------------------------------

OK: Final = "ok"
NOT_CONFIGURED: Final = "not_configured"
NEVER_SAMPLED: Final = "never_sampled"
STALE: Final = "stale"
NOT_YET_VALID: Final = "not_yet_valid"
CLOCK_STEP: Final = "clock_step"
NO_TLS: Final = "no_tls"  # https:// where something else is spoken
UNTRUSTED_CERTIFICATE: Final = "untrusted_certificate"
STAMP_GAP: Final = "stamp_gap"
INCONSISTENT: Final = "inconsistent"
TOO_FEW_SERVERS: Final = "too_few_servers"
DISRUPTED: Final = "disrupted"  # the clock was, and what its source said before is void

KERNEL_TX: Final = "kernel_tx"
KERNEL_RX: Final = "kernel_rx"
USER: Final = "user"

GUARANTEED: Final = "guaranteed"
PROBABILISTIC: Final = "probabilistic"

# The laws of holdover, from a sample to a later stamp: by the run's drift limit, or by what the sample itself claims.
DRIFT_LIMIT, AS_CLAIMED = "drift_limit", "as_claimed"

# Agent phases, in order. `hello` and `broadcasting` are the coordinator's; a worker runs from its first hello on,
# a node of a watch once it is ready.
STARTING, READY, HELLO, BROADCASTING, RUNNING, DRAINING, TAIL, FINISHED = (
    "starting", "ready", "hello", "broadcasting", "running", "draining", "tail", "finished",
)  # fmt: skip

# Agent outcomes (set with phase `finished`).
FINISHED_OK, FINISHED_STOPPED, FINISHED_LEASE, FINISHED_FAILED = "ok", "stopped", "lease_expired", "failed"

# --- files of a run ------------------------------------------------------------------------------------------------

MANIFEST_FILE: Final = "manifest.json"
CONFIGS_DIR: Final = "configs"
RAW_DIR: Final = "raw"
MERGED_FILE: Final = "data/merged_analysis.csv"
FIGURES_DIR: Final = "figures"
STATISTICS_DIR: Final = "statistics"
REPORT_FILE: Final = "report/experiment_report.md"
PAGE_FILE: Final = "report/index.html"
COORDINATOR_FILE: Final = "coordinator.csv"

EVENTS_FILE: Final = "events.csv"
SAMPLES_FILE: Final = "samples.csv"
COMMIT_WAIT_FILE: Final = "commit_wait.csv"
CLOCK_PAIRS_FILE: Final = "clock_pairs.csv"
PROBES_FILE: Final = "probes.csv"
SENDS_FILE: Final = "sends.csv"
READINGS_FILE: Final = "readings.csv"  # of a watch, which has no events
LOG_FILE: Final = "agent.log"
STATUS_FILE: Final = "status.json"
STEP_LOG: Final = "step.log"  # of an agent that is a step of a Slurm job: what the step said, and how it ended
STATUS_MARK: Final = "chronotick: status "  # before a status that an agent says
CHECKSUMS_FILE: Final = "SHA256SUMS"

# What an experiment may be called: its run folders bear the name, at home and on the nodes.
LATEST: Final = "latest"  # the link to the newest experiment
NAME_FORM: Final = f"letters, digits, '_', '.', '-', at most 64, starting with a letter or digit, and not '{LATEST}'"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# A run of a sweep: the sweep, the number of its cell, which repeat (block) it is, and which attempt, after the first.
SWEEP_RUN: Final = re.compile(
    r"(?P<first>(?P<sweep>[A-Za-z0-9_-]+)\.c(?P<cell>\d{3})\.r(?P<repeat>\d{2}))(?:\.a(?P<attempt>[1-9]\d*))?"
)
SWEEP_CONFIG: Final = "sweep.yaml"  # the sweep's file among the configuration files that a run keeps


def is_experiment_name(name: str) -> bool:
    """Return whether an experiment may have this name."""
    return _NAME.fullmatch(name) is not None and name != LATEST


def worker_file(node_id: str) -> str:
    """Return the name of a worker's assembled file in the run folder."""
    return f"worker_{node_id}.csv"


def table_file(node_id: str, role: str) -> str:
    """Return the name of a node's assembled file in the run folder."""
    return COORDINATOR_FILE if role == "coordinator" else worker_file(node_id)


# --- columns -------------------------------------------------------------------------------------------------------

SOURCE_FIELDS: Final = (
    "status", "offset_ms", "uncertainty_ms", "timestamp_ns", "lower_bound_ns", "upper_bound_ns",
    "kind", "level", "reference", "age_ms", "sample_id", "asymmetry_ms", "law",
)  # fmt: skip


class _Prefixes(dict[str, str]):
    """The column prefixes of sources by name; a source that is not in here goes by its name."""

    def __missing__(self, source: str) -> str:
        return source


# `system` is the stamp itself and needs no columns of its own. The first two have columns in every row, empty where
# they are not configured; all other sources have columns where they are configured.
SYSTEM: Final = "system"
NTP: Final = "ntp"
CHRONOTICK: Final = "chronotick"
CHRONY: Final = "chrony"
CHRONOTICK_SHM: Final = "chronotick_shm"
CLOCKBOUND: Final = "clockbound"
KERNEL: Final = "kernel"
COLUMN_PREFIX: Final = _Prefixes({
    NTP: "ntp", CHRONOTICK: "ct", CHRONY: "chrony", CHRONOTICK_SHM: "cts", CLOCKBOUND: "clockbound", KERNEL: "kernel",
})  # fmt: skip
ALWAYS_IN_ROWS: Final = (NTP, CHRONOTICK)
SOURCE_PREFIXES: Final = tuple(COLUMN_PREFIX[name] for name in ALWAYS_IN_ROWS)


def source_columns(prefix: str) -> tuple[str, ...]:
    """Return the columns of one source."""
    return tuple(f"{prefix}_{name}" for name in SOURCE_FIELDS)


def is_later(column: str) -> bool:
    """Tell whether tables of earlier versions lack a column: they knew one law of holdover, and of no asymmetry."""
    return column.endswith(("asymmetry_ms", "_law")) or column in LATER_SAMPLES_COLUMNS


def _all_sources(prefixes: Sequence[str]) -> tuple[str, ...]:
    return tuple(column for prefix in prefixes for column in source_columns(prefix))


RECEIVE_COLUMNS: Final = (
    "event_id", "node_id", "sequence_number", "coordinator_send_time_ns", "receive_time_ns", "receive_raw_ns",
    "receive_raw_error_ns", "receive_origin",
)  # fmt: skip
SEND_COLUMNS: Final = (
    "event_id", "sequence_number", "planned_send_time_ns", "send_time_ns", "send_raw_ns", "send_raw_error_ns",
    "send_origin", "pattern_delay_ms",
)  # fmt: skip
SEND_TAIL_COLUMNS: Final = ("workers_sent", "workers_failed")
SENDS_COLUMNS: Final = (
    "event_id", "sequence_number", "worker_id", "send_time_ns", "send_raw_ns", "send_raw_error_ns", "send_origin",
    "error",
)  # fmt: skip
COMMIT_WAIT_COLUMNS: Final = (
    "event_id", "source", "kind", "due_raw_ns", "done_raw_ns", "delay_s", "status", "offset_ms", "uncertainty_ms",
    "asymmetry_ms", "sample_id", "assigned_ns", "released_ns", "spins",
)  # fmt: skip
REMEASURE: Final = "remeasure"
COMMIT: Final = "commit_wait"
PER_EVENT: Final = "per_event"
READINGS_COLUMNS: Final = ("reading_id", "node_id", "wall_ns", "raw_ns", "raw_error_ns")  # those of every source follow
CLOCK_PAIRS_COLUMNS: Final = ("raw_before_ns", "wall_ns", "raw_after_ns")
PROBES_COLUMNS: Final = ("peer", "sequence", "direction", "wall_ns", "raw_ns", "raw_error_ns", "origin")
PROBE_TX, PROBE_RX = "tx", "rx"  # a's tx to b and b's rx from a of one sequence number are one probe


def delay_column(delay_s: float) -> str:
    """Return the worker column of one commit-wait delay: 30.0 -> ``ct_uncertainty_30s_ms``."""
    return f"{COLUMN_PREFIX[CHRONOTICK]}_uncertainty_{delay_s:g}s_ms"


def events_columns(role: str, prefixes: Sequence[str] = SOURCE_PREFIXES) -> tuple[str, ...]:
    """Return the columns of ``raw/<node>/events.csv`` for ``role`` ("worker" or "coordinator")."""
    if role == "coordinator":
        return (*SEND_COLUMNS, *_all_sources(prefixes), *SEND_TAIL_COLUMNS)
    return (*RECEIVE_COLUMNS, *_all_sources(prefixes))


def readings_columns(prefixes: Sequence[str] = SOURCE_PREFIXES) -> tuple[str, ...]:
    """Return the columns of a watch's ``raw/<node>/readings.csv``."""
    return (*READINGS_COLUMNS, *_all_sources(prefixes))


def worker_columns(delays_s: Sequence[float], prefixes: Sequence[str] = SOURCE_PREFIXES) -> tuple[str, ...]:
    """Return the columns of an assembled ``worker_<id>.csv``."""
    return (*events_columns("worker", prefixes), *(delay_column(delay) for delay in delays_s))


def join_commit_wait(
    events: Iterable[Mapping[str, str]], commit_waits: Iterable[Mapping[str, str]], delays_s: Sequence[float]
) -> Iterator[dict[str, str]]:
    """Yield each event row with the re-measured ChronoTick uncertainty of every delay; absent stays an empty cell.

    ``events`` are rows of a worker's events.csv, ``commit_waits`` rows of its commit_wait.csv, both as read by
    ``csv.DictReader``. The result is what ``worker_<id>.csv`` holds.
    """
    names = {f"{delay:g}": delay_column(delay) for delay in delays_s}
    remeasured: dict[tuple[str, str], str] = {}
    for row in commit_waits:
        if row["kind"] == REMEASURE and row["source"] == CHRONOTICK and row["status"] == OK:
            remeasured[row["event_id"], f"{float(row['delay_s']):g}"] = row["uncertainty_ms"]
    for row in events:
        joined = dict(row)
        for name, column in names.items():
            joined[column] = remeasured.get((row["event_id"], name), "")
        yield joined


# --- samples -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One query of one source and what came of it; a failure is a sample too, with its reason as ``outcome``.

    ``raw_before_ns`` / ``raw_after_ns`` are the local raw instants around the exchange, ``published_raw_ns`` is taken
    under the lock that publishes the sample: it serves no stamp before. A good sample ties the reference time
    ``reference_at_ns`` to the raw instant ``raw_at_ns``; ``offset_ns`` is reference - wall clock there. ``bound_ns`` is
    the half-width against the server, the sum of its components; root delay and dispersion come on top for UTC.
    ``sigma_ns`` is a predicting source's one sigma, ``asymmetry_ns`` the half-width of what no averaging removes. A
    source may state its drift, the rate of the reference against the raw oscillator minus one, and one sigma of it, in
    fs/s (1 ppm is 10^9); one that states a bound may state instead by how much that grows at most, ``max_drift_ppb``.
    Past ``valid_until_raw_ns`` it says nothing. ``question_bytes`` is the size of what it was asked with. t1..t4 are
    the wall-clock stamps of NTP's on-wire protocol.
    """

    sample_id: str
    source: str
    server: str
    address: str
    outcome: str
    raw_before_ns: int
    raw_after_ns: int
    wall_ns: int
    published_raw_ns: int = 0
    t1_ns: Optional[int] = None
    t2_ns: Optional[int] = None
    t3_ns: Optional[int] = None
    t4_ns: Optional[int] = None
    raw_at_ns: Optional[int] = None
    reference_at_ns: Optional[int] = None
    offset_ns: Optional[int] = None
    delay_ns: Optional[int] = None
    bound_ns: Optional[int] = None
    bound_delay_ns: Optional[int] = None
    bound_precision_ns: Optional[int] = None
    bound_drift_ns: Optional[int] = None
    bound_stamp_ns: Optional[int] = None
    root_delay_ns: Optional[int] = None
    root_dispersion_ns: Optional[int] = None
    stratum: Optional[int] = None
    sigma_ns: Optional[int] = None
    asymmetry_ns: Optional[int] = None
    drift_fs_per_s: Optional[int] = None
    drift_sigma_fs_per_s: Optional[int] = None
    max_drift_ppb: Optional[int] = None
    valid_until_raw_ns: Optional[int] = None
    question_bytes: Optional[int] = None
    scope: str = ""
    payload: str = ""


SAMPLES_COLUMNS: Final = tuple(spec.name for spec in fields(Sample))
LATER_SAMPLES_COLUMNS: Final = frozenset(
    {"asymmetry_ns", "drift_fs_per_s", "drift_sigma_fs_per_s", "max_drift_ppb", "valid_until_raw_ns", "question_bytes"}
)


# --- stamps and readings -------------------------------------------------------------------------------------------


# Named tuples: every event makes several of them, and they cost a quarter of a frozen dataclass.


class Stamp(NamedTuple):
    """One node's local instant for one event, in both time domains.

    ``raw_ns`` is None where the kernel's wall-clock stamp could not be carried to the raw oscillator; ``problem`` says
    why (``clock_step``, ``stamp_gap``) and every reading of such a stamp is unavailable for that reason.
    """

    wall_ns: int
    raw_ns: Optional[int]
    raw_error_ns: int
    origin: str
    problem: str = ""


class Available(NamedTuple):
    """What a source says about one stamp: the reference time lies in [earliest, latest], est is the best guess.

    ``uncertainty_ns`` is what the source claims (ntp: half-width; ct: one sigma); ``level`` is the probability of the
    interval: 1.0 if guaranteed. ``reference`` names what the interval refers to: ``server:H:P`` or ``utc``.
    ``asymmetry_ns`` is the systematic part that the source claims, None where it claims none; ``law`` is the law of
    holdover.
    """

    est_ns: int
    earliest_ns: int
    latest_ns: int
    kind: str
    level: float
    reference: str
    uncertainty_ns: float
    age_ns: int
    sample_id: str
    asymmetry_ns: Optional[int] = None
    law: str = DRIFT_LIMIT


class Unavailable(NamedTuple):
    """Why a source has nothing to say about a stamp."""

    reason: str


Reading = Union[Available, Unavailable]

# --- status --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceStatus:
    """One clock source as seen just now. Numbers are None where the source has none; ``status`` says why."""

    status: str
    offset_ms: Optional[float] = None
    bound_ms: Optional[float] = None
    age_ms: Optional[float] = None
    samples: int = 0
    failures: int = 0
    last_outcome: str = ""

    @classmethod
    def from_reading(
        cls, reading: Reading, wall_ns: int, samples: int, failures: int, last_outcome: str
    ) -> "SourceStatus":
        """Return the status of a source that reads so now, at ``wall_ns``, after so many samples."""
        asked = (samples, failures, last_outcome)
        if not isinstance(reading, Available):
            return cls(reading.reason, None, None, None, *asked)
        offset_ms, bound_ms = (reading.est_ns - wall_ns) / 1e6, (reading.latest_ns - reading.earliest_ns) / 2e6
        return cls(OK, offset_ms, bound_ms, reading.age_ns / 1e6, *asked)


@dataclass(frozen=True)
class SourceCheck:
    """What one server answered a node's `check`: reference - local in ms, and the reason where there is no number.

    ``sigma_ms`` is that of a source that predicts, ``asymmetry_ms`` what it claims besides that no averaging removes;
    ``health_ok`` is None where nobody asks for it.
    """

    server: str
    outcome: str
    health_ok: Optional[bool]
    offset_ms: Optional[float]
    bound_ms: Optional[float]
    sigma_ms: Optional[float]
    delay_ms: Optional[float]
    stratum: Optional[int]
    detail: str
    asymmetry_ms: Optional[float] = None


@dataclass(frozen=True)
class NodeStatus:
    """One agent's state, rewritten atomically twice a second to status.json.

    ``counts`` of a worker: received, duplicate, malformed, foreign, bad_tag, oversized, lost (known once `end` told
    the total), kernel_dropped, user_stamps, ntp_unavailable, ct_unavailable, remeasured; of a coordinator: planned,
    sent, send_errors, user_stamps, ntp_unavailable, ct_unavailable; of a node of a watch: planned, readings, missed,
    ntp_unavailable, ct_unavailable; of a node of the probe mesh also those of ``node_agent.probes``, which begin with
    probe_. A worker without a run key has no lost, since anyone may have made up the numbers it got, but
    sequence_distinct, sequence_repeated, sequence_ranges (without a gap), sequence_first, sequence_last and senders.
    Source names key ``sources``.
    ``waiting_for`` names what keeps it from the next phase. ``detail`` is a free sentence for people.
    """

    run_id: str
    node_id: str
    role: str
    pid: int
    start_ticks: int
    boot_id: str
    hostname: str
    kernel: str
    python: str
    clock_source: str
    agent_sha256: str
    phase: str
    outcome: Optional[str]
    updated_wall_ns: int
    listen: str
    counts: dict[str, int] = field(default_factory=dict)
    sources: dict[str, SourceStatus] = field(default_factory=dict)
    waiting_for: list[str] = field(default_factory=list)
    detail: str = ""

    def to_json(self) -> str:
        """Write the status as JSON text."""
        return json_objects.write(self)

    @classmethod
    def from_json(cls, text: str) -> "NodeStatus":
        """Read a status; raises ValueError on anything else, so that a torn or foreign file is never half believed."""
        return json_objects.read(cls, text, STATUS_FILE, whole=True)


# --- manifest ------------------------------------------------------------------------------------------------------

# Run phases and outcomes, as the manifest tells them.
EXPERIMENT, WATCH, SERIES = "experiment", "watch", "series"  # kinds of runs; a series was imported
DEPLOYED, RUN_RUNNING, RUN_FINISHED, COLLECTED, IMPORTED = "deployed", "running", "finished", "collected", "imported"
RUN_OK, RUN_DEGRADED, RUN_FAILED = "ok", "degraded", "failed"


@dataclass
class NodeManifest:
    """What the manifest keeps of one node: the plan it was given and the last NodeStatus seen, as dicts, or None.

    ``facts`` are the NodeFacts that `check` saw, None in runs of earlier versions.
    """

    node_id: str
    role: str
    host: str
    virtual_clock: Optional[dict[str, Any]] = None
    plan: Optional[dict[str, Any]] = None
    status: Optional[dict[str, Any]] = None
    collected_by: Optional[str] = None
    checksums_verified: bool = False
    problems: list[str] = field(default_factory=list)
    facts: Optional[dict[str, Any]] = None


@dataclass
class Manifest:
    """manifest.json: what was run, with what, how it ended.

    ``config`` has the keys cluster, coordinator, worker, and watch in a run of that ``kind``.
    """

    run_id: str
    experiment: str
    cluster: str
    phase: str
    outcome: Optional[str]
    created_utc: str
    code_version: dict[str, Any]
    argv: list[str]
    config: dict[str, Any]
    nodes: dict[str, NodeManifest]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what is worth knowing and does not touch the outcome
    phase_seconds: dict[str, float] = field(default_factory=dict)
    imported: Optional[dict[str, Any]] = None
    job: Optional[dict[str, Any]] = None  # of Slurm, which lent the nodes: harness.slurm.job says what is in it
    predecessor: Optional[str] = None  # the experiment that this one repeats, since its job was taken away
    assembled: dict[str, str] = field(default_factory=dict)  # sha256 of the tables made at home, by file
    kind: str = EXPERIMENT  # or WATCH, SERIES
    schema: int = 1

    @property
    def coordinator_id(self) -> str:
        """Return the coordinator's node id."""
        return next(node_id for node_id, node in self.nodes.items() if node.role == "coordinator")

    @property
    def worker_ids(self) -> list[str]:
        """Return the workers' node ids, in configured order."""
        return [node_id for node_id, node in self.nodes.items() if node.role == "worker"]

    def to_json(self) -> str:
        """Write the manifest as JSON text (keys in declaration order, nodes in configured order)."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read a manifest; raises ValueError where keys are missing or unknown, or values of another type."""
        return json_objects.read(cls, text, MANIFEST_FILE)
