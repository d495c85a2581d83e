"""What a node is told to do: one frozen plan per node and run, JSON both ways.

The controller writes a plan, the agent reads it; nothing else about a run crosses to a node, except the run key, which
travels in a file of its own so that no plan, log or argv ever holds a secret.
"""

# No `from __future__ import annotations` here: `json_objects` reads the field types at run time, on Python 3.9 too.

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Optional

from node_agent.contract import json_objects
from node_agent.contract.json_objects import ABSENT
from node_agent.contract.servers import HOST_PORT_PATTERN, MAX_PORT, URL_PATTERN, is_ipv6, split_address

PLAN_SCHEMA: Final = 1
PLAN_FILE: Final = "plan.json"
KEY_FILE: Final = "run.key"

WORKER: Final = "worker"
COORDINATOR: Final = "coordinator"

INTERVAL: Final = "interval"
PER_EVENT: Final = "per_event"

KERNEL_STAMPS: Final = "kernel"
USER_STAMPS: Final = "user"

_MAX_INDEX: Final = 65_535
LEAST_EVERY_S: Final = 0.1  # between two readings of a watch
MAX_STRATUM: Final = 15  # RFC 5905 figure 11: 16 is unsynchronised
NODE_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class PlanError(ValueError):
    """A plan that cannot be carried out: what, expected, got."""


def _demand(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise PlanError(f"{name}: expected {expected}, got {got!r}")


def _positive(name: str, value: float) -> None:
    _demand(value > 0, name, "more than 0", value)


def _demand_node_id(name: str, node_id: str) -> None:
    _demand(NODE_ID_PATTERN.fullmatch(node_id) is not None, name, "letters, digits, '_', '.', '-'", node_id)


@dataclass(frozen=True)
class Step:
    """A jump of a clock by ``by_ms``, ``at_s`` seconds after the epoch."""

    at_s: float
    by_ms: float


@dataclass(frozen=True)
class Slew:
    """A gradual shift of a wall clock by ``by_ms``, evenly over ``over_s`` from ``at_s`` on."""

    at_s: float
    over_s: float
    by_ms: float

    def __post_init__(self) -> None:
        _positive("slew: over_s", self.over_s)


@dataclass(frozen=True)
class Freeze:
    """A clock that stands still for ``for_s`` from ``at_s`` on."""

    at_s: float
    for_s: float

    def __post_init__(self) -> None:
        _positive("freeze: for_s", self.for_s)


@dataclass(frozen=True)
class Sine:
    """An oscillator whose error swings by ``amplitude_us`` with ``period_s``."""

    amplitude_us: float
    period_s: float

    def __post_init__(self) -> None:
        _positive("sine: period_s", self.period_s)


@dataclass(frozen=True)
class RandomWalk:
    """An oscillator whose frequency takes a normal step of ``step_ppm`` (one sigma) every ``every_s``."""

    seed: int
    step_ppm: float
    every_s: float = 1.0

    def __post_init__(self) -> None:
        _positive("random_walk: every_s", self.every_s)


@dataclass(frozen=True)
class VirtualClock:
    """The clock of a test node, given by its error = local - true.

    ``drift_ppm``, ``sine`` and ``random_walk`` bend the oscillator, and with it both time domains, from ``epoch_ns``
    (true time, the host's CLOCK_REALTIME in ns) on. ``error_ms``, ``steps`` and ``slews`` act on the wall clock only.
    ``freezes`` and ``raw_steps`` break an assumption that bounds rest on. What swings or wanders does so for
    ``horizon_s``, and keeps its last error after.
    """

    epoch_ns: int
    error_ms: float = 0.0
    drift_ppm: float = 0.0
    sine: Optional[Sine] = None
    random_walk: Optional[RandomWalk] = None
    steps: tuple[Step, ...] = ()
    slews: tuple[Slew, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    raw_steps: tuple[Step, ...] = ()
    horizon_s: float = 7200.0


@dataclass(frozen=True)
class NtpPlan:
    """Which NTP servers to ask ("host:port"), how often, how long to wait, and how old an answer may serve.

    ``own_clock``: a server's own clock, set by nothing, is meant to be the truth; readings are in its terms, not UTC's.
    """

    servers: tuple[str, ...]
    query_interval_s: float = 10.0
    timeout_s: float = 1.0
    valid_for_s: Optional[float] = None
    own_clock: bool = False

    def __post_init__(self) -> None:
        for server in self.servers:
            try:
                split_address(server, least_port=0)
            except ValueError as error:
                raise PlanError(f"ntp {error}") from None
            if not HOST_PORT_PATTERN.fullmatch(server):
                raise PlanError(f"ntp server: expected host:port, got {server!r}")
        named = [split_address(server, least_port=0) for server in self.servers]
        if len(set(named)) < len(named):  # or one falseticker, named twice, is the majority
            raise PlanError(f"ntp servers: expected each one once, got {', '.join(self.servers)}")


@dataclass(frozen=True)
class ChronoTickPlan:
    """Which ChronoTick server (base URL) to ask, and how to read its sigma.

    In ``mode`` "per_event" it is asked for every event besides, off the receive path.
    """

    server: str
    query_interval_s: float = 1.0
    timeout_s: float = 1.0
    valid_for_s: Optional[float] = None
    use_dual_model: bool = True
    uncertainty_multiplier: float = 3.0
    mode: str = INTERVAL

    def __post_init__(self) -> None:
        match = URL_PATTERN.fullmatch(self.server)
        if match is None or (match[1].startswith("[") and not is_ipv6(match[1][1:-1])):
            raise PlanError(f"chronotick server: expected http://HOST:PORT, got {self.server!r}")


@dataclass(frozen=True)
class SourcePlan:
    """How often to ask a clock source, how long to wait for an answer, and how old one may serve, in seconds."""

    query_interval_s: float = 1.0
    timeout_s: float = 1.0
    valid_for_s: Optional[float] = None


@dataclass(frozen=True)
class ChronyPlan(SourcePlan):
    """How to ask the node's own chronyd; ``socket_path`` is its command socket where it is not the usual one."""

    socket_path: str = ""


def valid_for_ns(query_interval_s: float, valid_for_s: Optional[float]) -> int:
    """Return how long a sample may serve, in ns: as configured, else 3 query intervals + 1 s."""
    seconds = 3.0 * query_interval_s + 1.0 if valid_for_s is None else valid_for_s
    return round(seconds * 1e9)


@dataclass(frozen=True)
class ClocksPlan:
    """The clock sources of a node. An absent source is reported as ``not_configured``.

    A source that says of itself that it is further than ``max_root_distance_ms`` from UTC, or beyond ``max_stratum``,
    is not believed. Both are None in a plan of an earlier version, which judged nothing that a source says of itself.
    ``others`` holds the options of sources without a field, by the name of their kind, which reads them.
    """

    ntp: Optional[NtpPlan] = None
    chronotick: Optional[ChronoTickPlan] = None
    max_drift_ppm: float = 100.0
    required: tuple[str, ...] = ()
    chrony: Optional[ChronyPlan] = None
    max_root_distance_ms: Optional[float] = field(default=1000.0, metadata={ABSENT: None})
    max_stratum: Optional[int] = field(default=9, metadata={ABSENT: None})
    others: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_root_distance_ms is not None:
            _positive("clocks: max_root_distance_ms", self.max_root_distance_ms)
        if self.max_stratum is not None:
            within = 1 <= self.max_stratum <= MAX_STRATUM
            _demand(within, "clocks: max_stratum", f"1 to {MAX_STRATUM}", self.max_stratum)


@dataclass(frozen=True)
class WorkerAddress:
    """Where the coordinator finds one worker."""

    node_id: str
    host: str
    port: int

    def __post_init__(self) -> None:
        _demand_node_id("worker: node_id", self.node_id)


@dataclass(frozen=True)
class BroadcastPlan:
    """What the coordinator sends, to whom and when.

    One pass of ``delays_ms`` is a burst; burst k of B = ceil(num_events / len(delays_ms)) starts at k * duration / B.
    With ``duration_s`` None the bursts follow each other back to back. ``delays_ms[i]`` is the delay after event i.
    """

    workers: tuple[WorkerAddress, ...]
    num_events: int
    delays_ms: tuple[float, ...]
    duration_s: Optional[float] = None
    hello_timeout_s: float = 15.0
    drain_s: float = 1.0

    def __post_init__(self) -> None:
        _demand(bool(self.workers), "workers", "at least one", self.workers)
        _demand(self.num_events >= 1, "num_events", "1 or more", self.num_events)
        delays = list(self.delays_ms)
        _demand(bool(delays) and min(delays) >= 0, "delays_ms", "one or more delays, none negative", delays)

    @property
    def bursts(self) -> int:
        """Return the number of bursts, B."""
        return math.ceil(self.num_events / len(self.delays_ms))

    def schedule(self) -> Iterator[tuple[int, float]]:
        """Yield, per event in order, its planned offset from the first event in ns and the delay after it in ms."""
        delays_ns = [round(delay * 1e6) for delay in self.delays_ms]
        duration_ns = None if self.duration_s is None else round(self.duration_s * 1e9)
        offset_ns = 0
        for index in range(self.num_events):
            burst, place = divmod(index, len(delays_ns))
            if place == 0 and duration_ns is not None:
                offset_ns = burst * duration_ns // self.bursts
            yield offset_ns, self.delays_ms[place]
            offset_ns += delays_ns[place]

    @property
    def planned_ns(self) -> int:
        """Return the time from the first event to the end of the delay after the last, in ns."""
        bursts, delays_ns = self.bursts, [round(delay * 1e6) for delay in self.delays_ms]
        last_burst_ns = sum(delays_ns[: self.num_events - (bursts - 1) * len(delays_ns)])
        if self.duration_s is None:
            return (bursts - 1) * sum(delays_ns) + last_burst_ns
        return (bursts - 1) * round(self.duration_s * 1e9) // bursts + last_burst_ns


@dataclass(frozen=True)
class ProbePeer:
    """One other node of the probe mesh: where it listens for probes, and the number it has in their datagrams."""

    node_id: str
    host: str
    port: int
    index: int


@dataclass(frozen=True)
class ProbesPlan:
    """With whom a node exchanges probes: ``rate_hz`` to each peer, from ``lead_s`` before the first event.

    They end ``trail_s`` after the last, and go from and to the UDP ``port`` of the node's listen address. ``index`` is
    the node's own number in the datagrams. ``stamps`` "user" leaves the kernel's stamps aside, as a host does that
    has none.
    """

    index: int
    peers: tuple[ProbePeer, ...]
    port: int = 9001
    rate_hz: float = 25.0
    lead_s: float = 5.0
    trail_s: float = 5.0
    stamps: str = KERNEL_STAMPS

    def __post_init__(self) -> None:
        indices = [self.index, *(peer.index for peer in self.peers)]
        names = [peer.node_id for peer in self.peers]
        _demand(bool(names), "probes: peers", "at least one", names)
        once = len(set(indices)) == len(indices) and 0 <= min(indices) <= max(indices) <= _MAX_INDEX
        _demand(once, "probes", f"an index from 0 to {_MAX_INDEX} per node, each one once", indices)
        _demand(len(set(names)) == len(names), "probes: peers", "each node once", names)
        _demand(0 <= self.port <= MAX_PORT, "probes: port", f"0 to {MAX_PORT}", self.port)
        _positive("probes: rate_hz", self.rate_hz)
        least_s = min(self.lead_s, self.trail_s)
        _demand(least_s >= 0, "probes: lead_s, trail_s", "0 or more", least_s)
        known = {KERNEL_STAMPS, USER_STAMPS}
        _demand(self.stamps in known, "probes: stamps", f"'{KERNEL_STAMPS}' or '{USER_STAMPS}'", self.stamps)


@dataclass(frozen=True)
class WatchPlan:
    """A watch in place of events: every source is read ``every_s`` for ``duration_s``, at the begin for the first time.

    The n-th reading is due n * ``every_s`` after the first.
    """

    duration_s: float
    every_s: float = 10.0

    def __post_init__(self) -> None:
        _demand(self.every_s >= LEAST_EVERY_S, "watch: every_s", f"{LEAST_EVERY_S:g} or more", self.every_s)
        at_least = f"at least every_s, {self.every_s:g}"
        _demand(self.duration_s >= self.every_s, "watch: duration_s", at_least, self.duration_s)

    @property
    def every_ns(self) -> int:
        """Return the time from one reading to the next, in ns."""
        return round(self.every_s * 1e9)

    @property
    def readings(self) -> int:
        """Return how many readings there are to be on each node, the one at the begin and the last included."""
        return round(self.duration_s * 1e9) // self.every_ns + 1


@dataclass(frozen=True)
class NodePlan:
    """Everything one agent needs. ``run_dir`` is where it journals; paths may start with ``~``.

    In a ``watch`` no node sends or receives events, whatever its role.
    """

    experiment: str
    run_id: str
    node_id: str
    role: str
    run_dir: str
    listen_host: str
    listen_port: int = 9000
    buffer_size: int = 4096
    receive_buffer_bytes: int = 32 << 20  # asked of the kernel for the socket of events; 0 leaves its default
    clocks: ClocksPlan = field(default_factory=ClocksPlan)
    commit_wait_delays_s: tuple[float, ...] = (30.0, 60.0)
    commit_wait_share: float = 0.1  # of the events, but at most 100 a second, wait until their timestamp has passed
    lease_s: Optional[float] = None  # None only for an agent started by hand
    log_level: str = "INFO"
    log_console: bool = False
    virtual_clock: Optional[VirtualClock] = None
    broadcast: Optional[BroadcastPlan] = None
    probes: Optional[ProbesPlan] = None
    watch: Optional[WatchPlan] = None
    schema: int = PLAN_SCHEMA

    def __post_init__(self) -> None:
        if self.schema != PLAN_SCHEMA:
            raise PlanError(f"schema: expected {PLAN_SCHEMA}, got {self.schema}; deploy this controller's own agent")
        _demand_node_id("node_id", self.node_id)
        _demand(self.role in {WORKER, COORDINATOR}, "role", f"'{WORKER}' or '{COORDINATOR}'", self.role)
        _demand(0 <= self.listen_port <= MAX_PORT, "listen_port", f"0 to {MAX_PORT}", self.listen_port)
        _demand(self.receive_buffer_bytes >= 0, "receive_buffer_bytes", "0 or more", self.receive_buffer_bytes)
        _demand(0 <= self.commit_wait_share <= 1, "commit_wait_share", "a share from 0 to 1", self.commit_wait_share)
        if tick := self.clocks.chronotick:
            modes = f"'{INTERVAL}' or '{PER_EVENT}'"
            _demand(tick.mode in {INTERVAL, PER_EVENT}, "clocks.chronotick.mode", modes, tick.mode)
        sends = self.broadcast is not None
        wanted = self.role == COORDINATOR and self.watch is None
        _demand(
            sends == wanted, "broadcast", "for the coordinator of a run with events and nobody else", self.broadcast
        )
        if self.probes is not None and self.events_port != 0:
            other = f"another than the events' {self.listen_port}"
            _demand(self.probes.port != self.listen_port, "probes: port", other, self.probes.port)

    @property
    def events_port(self) -> int:
        """Return the UDP port that events come to; 0 where the kernel chooses one for their answers, or none come."""
        return self.listen_port if self.role == WORKER and self.watch is None else 0


def to_json(plan: NodePlan) -> str:
    """Write a plan as JSON text; ``from_json(to_json(p)) == p``."""
    return json.dumps(dataclasses.asdict(plan), indent=1, sort_keys=True)


def from_json(text: str) -> NodePlan:
    """Read a plan. Raises PlanError, naming the key, for anything that does not fit the types above."""
    try:
        return json_objects.read(NodePlan, text, "plan")
    except ValueError as error:
        raise PlanError(str(error)) from error


def virtual_clock_from(data: Any) -> VirtualClock:
    """Read a virtual clock from its JSON form, as manifest.json holds it. Raises ValueError."""
    return json_objects.build(VirtualClock, data, "virtual_clock")
