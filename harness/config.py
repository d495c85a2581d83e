"""What the configuration files may say: strict models, one per file of ``configs/``.

Unknown keys, wrong types and impossible values are refused (``harness.yaml_files`` says how). The models are frozen;
the embedded cluster returns a changed copy (``ClusterConfig.model_copy(update=...)``) with real ports and epochs in it.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from harness.yaml_files import load, problem
from node_agent.plan import COORDINATOR, NODE_ID_PATTERN, WORKER, PlanError, VirtualClock, virtual_clock_from
from node_agent.records import CHRONOTICK, NTP

CONFIGS: Final = Path("configs")
CLUSTERS: Final = CONFIGS / "clusters"
COORDINATOR_CONFIG: Final = "coordinator_config.yaml"
WORKER_CONFIG: Final = "worker_config.yaml"

_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.:-]*[A-Za-z0-9_.])?")
_REMOTE_PATH: Final = re.compile(r"(~|/)?[A-Za-z0-9_./+@-]+")

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Stream = Literal["slow", "medium", "fast"]


class Strict(BaseModel):
    """The strictness every model shares: no unknown key, no coercion, no NaN, no change afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


# --- configs/clusters/NAME.yaml --------------------------------------------------------------------------------------


class VirtualClockConfig(Strict):
    """The clock of a test node by its error = local - true. ``epoch_ns`` is set when the embedded cluster starts.

    What the nested keys may hold is said once, by ``node_agent.plan.VirtualClock``, and checked by it.
    """

    error_ms: float = 0.0
    drift_ppm: float = Field(default=0.0, gt=-500_000, lt=500_000)
    sine: dict[str, Any] | None = None
    random_walk: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = []
    slews: list[dict[str, Any]] = []
    freezes: list[dict[str, Any]] = []
    raw_steps: list[dict[str, Any]] = []
    horizon_s: Positive = 7200.0
    epoch_ns: int | None = None

    @model_validator(mode="after")
    def _a_plan_could_hold_it(self) -> Self:
        self.at(self.epoch_ns or 0)
        return self

    def at(self, epoch_ns: int) -> VirtualClock:
        """Return the clock that starts at ``epoch_ns`` (true time)."""
        try:
            return virtual_clock_from(self.model_dump() | {"epoch_ns": epoch_ns})
        except PlanError as error:
            raise problem("", "a virtual clock", str(error)) from None


class SshConfig(Strict):
    """How to reach one host. What is left out comes from the user's ssh_config."""

    host: str
    user: str | None = Field(default=None, min_length=1)
    port: Port | None = None
    identity_file: str | None = Field(default=None, min_length=1)

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, host: str) -> str:
        if not _HOST.fullmatch(host):
            raise problem("", "a host name or address", host)
        return host


class NodeConfig(SshConfig):
    """One node. ``address`` is where the others reach it and what its agent binds (else ``host``)."""

    id: str
    role: Literal["worker", "coordinator"]
    address: str | None = None
    virtual_clock: VirtualClockConfig | None = None

    @field_validator("id")
    @classmethod
    def _id_fits_file_names(cls, node_id: str) -> str:
        if not NODE_ID_PATTERN.fullmatch(node_id):
            raise problem("", "letters, digits, '_', '.', '-'", node_id)
        return node_id

    @field_validator("address")
    @classmethod
    def _address_is_narrow(cls, address: str | None) -> str | None:
        if address is not None and not _HOST.fullmatch(address):
            raise problem("", "a host name or address", address)
        if address is not None and is_wildcard(address):
            raise problem("", "the address of one interface", address)
        return address


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


def _name_or_mapping(value: Any) -> Any:
    return {"host": value} if isinstance(value, str) else value


class ClusterConfig(Strict):
    """A cluster: who plays which part, how to get there, and which time services the nodes ask.

    Service ports may be 0 (a free one is chosen at start) only where ``embedded`` says that this process starts them.
    """

    name: str
    embedded: bool = False
    gateway: Annotated[SshConfig | None, BeforeValidator(_name_or_mapping)] = None
    nodes: Annotated[list[NodeConfig], Field(min_length=2)]
    remote_base: str
    remote_python: str
    ntp_server: Annotated[list[str], BeforeValidator(_one_or_many)]
    chronotick_server: str | None
    host_key_policy: Literal["reject", "accept-new"]
    known_hosts_file: str | None = None

    @property
    def coordinator(self) -> NodeConfig:
        """Return the one coordinator."""
        return next(node for node in self.nodes if node.role == COORDINATOR)

    @property
    def workers(self) -> list[NodeConfig]:
        """Return the workers, in configured order."""
        return [node for node in self.nodes if node.role == WORKER]

    def node(self, node_id: str) -> NodeConfig:
        """Return a node by its id. Raises KeyError."""
        return {node.id: node for node in self.nodes}[node_id]

    @field_validator("remote_base", "remote_python")
    @classmethod
    def _path_needs_no_quotes(cls, path: str) -> str:
        if not _REMOTE_PATH.fullmatch(path) or ".." in path.split("/"):
            raise problem("", "a path of letters, digits, '_', '.', '-', '/', with no '..'", path)
        return path

    @field_validator("ntp_server")
    @classmethod
    def _servers_are_addresses(cls, servers: list[str]) -> list[str]:
        for server in servers:
            split_host_port(server)
        return servers

    @field_validator("chronotick_server")
    @classmethod
    def _server_is_a_url(cls, server: str | None) -> str | None:
        if server is not None:
            split_url(server)
        return server

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        coordinators = [node.id for node in self.nodes if node.role == COORDINATOR]
        if len(coordinators) != 1:
            raise problem("nodes", "exactly one node with role coordinator", coordinators)
        for key in ("id", "place"):
            seen: set[str] = set()
            for index, node in enumerate(self.nodes):
                value = node.id if key == "id" else node.address or node.host
                if value in seen:
                    name = "id" if key == "id" else "host"
                    raise problem(f"nodes.{index}.{name}", "one that no other node has", value)
                seen.add(value)
        if not self.embedded:
            for index, node in enumerate(self.nodes):
                if node.virtual_clock is not None:
                    raise problem(
                        f"nodes.{index}.virtual_clock", "none outside an embedded cluster", node.virtual_clock
                    )
            for key, port in self._service_ports():
                if port == 0:
                    raise problem(key, "a port > 0 outside an embedded cluster", port)
        return self

    def _service_ports(self) -> list[tuple[str, int]]:
        ports = [("ntp_server", split_host_port(server)[1]) for server in self.ntp_server]
        if self.chronotick_server is not None:
            ports.append(("chronotick_server", split_url(self.chronotick_server)[1]))
        return ports


def split_host_port(server: str) -> tuple[str, int]:
    """Split ``host:port`` of a service; a missing port is NTP's 123."""
    host, colon, port = server.rpartition(":")
    if not colon:
        host, port = server, "123"
    if not _HOST.fullmatch(host) or not port.isdecimal() or int(port) > 65535:
        raise problem("", "host:port", server)
    return host, int(port)


def split_url(url: str) -> tuple[str, int]:
    """Split an ``http(s)://host:port`` base URL into host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise problem("", "http://host:port", url) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise problem("", "http://host:port", url)
    default = 443 if parts.scheme == "https" else 80
    return parts.hostname, default if port is None else port


def is_wildcard(address: str) -> bool:
    """Return whether an address means "every interface"."""
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


# --- configs/coordinator_config.yaml ---------------------------------------------------------------------------------


class LoggingConfig(Strict):
    """The agents' log. ``console`` repeats it on standard error, which only an agent started by hand has."""

    level: LogLevel = "INFO"
    console: bool = False


class ExperimentConfig(Strict):
    """How many events over how long. ``duration_minutes: null`` means bursts back to back."""

    num_events: int = Field(ge=1)
    duration_minutes: Positive | None
    min_received_share: float = Field(default=0.98, ge=0, le=1)


class BroadcastPatternConfig(Strict):
    """One burst: the stream of each event, and each stream's delay after an event, in seconds."""

    pattern: Annotated[list[Stream], Field(min_length=1)]
    fast_stream: NotNegative
    medium_stream: NotNegative
    slow_stream: NotNegative

    def delays_s(self) -> list[float]:
        """Return the delay after each event of one burst, in s."""
        streams = {"fast": self.fast_stream, "medium": self.medium_stream, "slow": self.slow_stream}
        return [streams[stream] for stream in self.pattern]


class BroadcastConfig(Strict):
    """How long the coordinator waits for the workers' hello, and for the last datagrams after ``end``, in seconds."""

    hello_timeout_s: Positive = 15.0
    drain_s: NotNegative = 1.0


class CoordinatorConfig(Strict):
    """The broadcast."""

    experiment: ExperimentConfig
    broadcast_pattern: BroadcastPatternConfig
    broadcast: BroadcastConfig = BroadcastConfig()
    logging: LoggingConfig = LoggingConfig()

    @model_validator(mode="after")
    def _bursts_fit_their_slots(self) -> Self:
        delays = self.broadcast_pattern.delays_s()
        if self.experiment.duration_minutes is None:
            return self
        bursts = -(-self.experiment.num_events // len(delays))
        slot_s = self.experiment.duration_minutes * 60 / bursts
        longest_s = sum(delays[: min(len(delays), self.experiment.num_events)])
        if longest_s > slot_s:
            raise problem(
                "experiment.duration_minutes",
                f"slots of at least {longest_s:g} s, the length of a burst",
                f"{bursts} slots of {slot_s:g} s",
            )
        return self


# --- configs/worker_config.yaml --------------------------------------------------------------------------------------


class NetworkConfig(Strict):
    """Where every agent listens (UDP) and the size of its receive buffer in bytes."""

    listen_port: int = Field(default=9000, ge=1, le=65535)
    buffer_size: int = Field(default=4096, ge=512, le=65535)


class TimingConfig(Strict):
    """How often the clocks are asked and events measured again, in seconds; what share of the events really waits."""

    ntp_query_interval: Positive = 10.0
    chronotick_query_interval: Positive = 1.0
    commit_wait_delays: list[Positive] = [30.0, 60.0]
    commit_wait_share: float = Field(default=0.1, ge=0, le=1)

    @field_validator("commit_wait_delays")
    @classmethod
    def _delays_differ(cls, delays: list[float]) -> list[float]:
        if len({f"{delay:g}" for delay in delays}) != len(delays):
            raise problem("", "delays that differ", delays)
        return delays


class ChronoTickConfig(Strict):
    """What is asked of ChronoTick and when, and how many of its sigma make an interval."""

    use_dual_model: bool = True
    uncertainty_multiplier: Positive = 3.0
    mode: Literal["interval", "per_event"] = "interval"


class SourceConfig(Strict):
    """How long to wait for one answer, and how old one may serve (null: 3 query intervals + 1 s), in seconds."""

    timeout_s: Positive = 1.0
    valid_for_s: Positive | None = None


class ChronyConfig(SourceConfig):
    """The node's own chronyd: how often it is asked, and its command socket where it is not the usual one."""

    query_interval_s: Positive = 1.0
    socket_path: str = ""


class ClocksConfig(Strict):
    """What is assumed of every oscillator, and which sources a run may not start without; chrony only if asked for."""

    max_drift_ppm: Positive = 100.0
    ntp: SourceConfig = SourceConfig()
    chronotick: SourceConfig = SourceConfig()
    chrony: ChronyConfig | None = None
    required: list[Literal["ntp", "chronotick", "chrony"]] = [NTP, CHRONOTICK]


class AgentConfig(Strict):
    """How long an agent may outlive its planned end before it stops by itself, in seconds."""

    lease_margin_s: Positive = 600.0


class WorkerConfig(Strict):
    """How every node listens and measures (the coordinator's node as well)."""

    network: NetworkConfig = NetworkConfig()
    timing: TimingConfig = TimingConfig()
    chronotick: ChronoTickConfig = ChronoTickConfig()
    clocks: ClocksConfig = ClocksConfig()
    agent: AgentConfig = AgentConfig()
    logging: LoggingConfig = LoggingConfig()


# --- reading them ----------------------------------------------------------------------------------------------------


def load_cluster(path: Path) -> ClusterConfig:
    """Read a cluster file; the cluster is named after it. Raises ConfigError."""
    return load(path, ClusterConfig, name=path.stem)


def load_coordinator(path: Path) -> CoordinatorConfig:
    """Read a coordinator configuration. Raises ConfigError."""
    return load(path, CoordinatorConfig)


def load_worker(path: Path) -> WorkerConfig:
    """Read a worker configuration. Raises ConfigError."""
    return load(path, WorkerConfig)
