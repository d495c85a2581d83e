"""What a file of ``configs/clusters/`` may say: hosts, how to get there, and which time services they ask."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from harness.configuration.slurm import STEP, SlurmConfig, with_nodes
from harness.configuration.yaml_files import Port, Positive, Strict, problem
from node_agent.contract.paths import NetworkPath, in_words
from node_agent.contract.plan import COORDINATOR, NODE_ID_PATTERN, WORKER, VirtualClock, virtual_clock_from
from node_agent.contract.servers import URL_PATTERN, bare_host, check_zone, is_ipv6, split_address

LONGEST_MS: Final = 1000.0  # of a delay, and of a mean queueing delay: longer than any clock source is waited for


class PathConfig(Strict):
    """One path; ``node_agent.contract.paths.NetworkPath`` says what the keys mean."""

    delay_ms: float = Field(ge=0, le=LONGEST_MS)
    tail_ms: float = Field(default=0.0, ge=0, le=LONGEST_MS)
    asymmetry: float = Field(default=1.0, ge=0.01, le=100)


class PathsConfig(Strict):
    """The paths between two nodes (``lan``) and from the nodes to each time service; None is the plain loopback."""

    lan: PathConfig | None = None
    ntp: PathConfig | None = None
    chronotick: PathConfig | None = None

    @property
    def given(self) -> dict[str, NetworkPath]:
        """Return the paths that are given, by name."""
        configs = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: NetworkPath(**config.model_dump()) for name, config in configs.items() if config is not None}


_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_REMOTE_BASE: Final = re.compile(r"(?!(.*/)?\.\.(/|$))(~/|/|\$[A-Za-z_][A-Za-z0-9_]*/)?[A-Za-z0-9_./+@-]+")
_REMOTE_PATH: Final = re.compile(r"(?!(.*/)?\.\.(/|$))(~/|/)?[A-Za-z0-9_./+@-]+")
LARGEST_ERROR_MS: Final = 1e12  # 31 years, of an NTP server that is wrong on purpose


class VirtualClockConfig(Strict):
    """The clock of a test node by its error = local - true. ``epoch_ns`` is set when the embedded cluster starts.

    What the nested keys may hold is said once, by ``node_agent.contract.plan.VirtualClock``, and checked by it.
    """

    error_ms: float = 0.0
    drift_ppm: float = Field(default=0.0, gt=-500_000, lt=500_000)
    sine: dict[str, Any] | None = None
    random_walk: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = Field(default_factory=list)
    slews: list[dict[str, Any]] = Field(default_factory=list)
    freezes: list[dict[str, Any]] = Field(default_factory=list)
    raw_steps: list[dict[str, Any]] = Field(default_factory=list)
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
        except ValueError as error:
            raise problem("", "a virtual clock", str(error)) from None


def _host_name(host: str) -> str:
    host = bare_host(host)
    if not is_ipv6(host) and not _HOST.fullmatch(host):
        raise problem("", "a host name or address", host)
    try:
        check_zone(host)
    except ValueError:
        raise problem("", f"a link-local address with its interface, as in {host}%eth0", host) from None
    return host


def _folder_of_its_own(path: str) -> str:
    """Refuse what is no folder below another: everything of ours is kept, and cleaned, below it."""
    if not any(part not in {"", ".", "~"} and not part.startswith("$") for part in path.split("/")):
        raise problem("", "a folder of its own, as ~/chronotick-harness", path)
    return path


def _spelt(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    """Return what refuses a text that does not fit a pattern."""

    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise problem("", expected, text)
        return text

    return AfterValidator(check)


HostName = Annotated[str, AfterValidator(_host_name)]
RemotePath = Annotated[str, _spelt(_REMOTE_PATH, "a path of letters, digits, '_', '.', '-', '/', with no '..'")]
RemoteBase = Annotated[
    str,
    _spelt(_REMOTE_BASE, "a path of letters, digits, '_', '.', '-', '/', with no '..', or one below $NAME/"),
    AfterValidator(_folder_of_its_own),
]
ShellLine = Annotated[str, _spelt(re.compile(r"[^\n\x00]*\S[^\n\x00]*"), "a line of /bin/sh")]
NotEmpty = Annotated[str, Field(min_length=1)]


class SshConfig(Strict):
    """How to log in to one host. What is left out comes from the user's ssh_config."""

    host: HostName
    user: NotEmpty | None = None
    port: Port | None = None
    identity_file: NotEmpty | None = None


class NodeConfig(SshConfig):
    """One node. ``address`` is where the others reach it and what its agent binds (else ``host``).

    ``user``, ``port`` and ``identity_file`` are for SSH alone, if that is how the node is reached.
    """

    id: Annotated[str, _spelt(NODE_ID_PATTERN, "letters, digits, '_', '.', '-'")]
    role: Literal["worker", "coordinator"]
    address: str | None = None
    virtual_clock: VirtualClockConfig | None = None

    @field_validator("address")
    @classmethod
    def _address_is_narrow(cls, address: str | None) -> str | None:
        if address is None:
            return None
        if is_wildcard(host := _host_name(address)):
            raise problem("", "the address of one interface", address)
        return host


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


def _name_or_mapping(value: Any) -> Any:
    return {"host": value} if isinstance(value, str) else value


class ClusterConfig(Strict):
    """A cluster: who plays which part, how to get there, and which time services the nodes ask.

    Service ports may be 0 (a free one is chosen at start) only where ``embedded`` says that this process starts them.
    ``testbed`` says that these are the hosts of ``fab testbed-up``: their clocks may be virtual, too. ``ntp_own_clock``
    says that the NTP server's own clock, set by nothing, is meant to be the truth of this cluster. ``ntp_error_ms``:
    by how much each NTP server of an embedded cluster is ahead of the truth on purpose (empty: none is wrong).
    ``paths``: how long packets take in an embedded cluster (None: as long as on a loopback). ``setup``: lines of
    /bin/sh that every command on a node begins with, as ``module load python/3.11``. With a ``scheduler``, nodes are
    those of a job (see ``SlurmConfig``): a file may name their number alone, ``node_count`` then, and ``nodes`` is
    empty until there is a job. ``address``: the name by which the others reach a node, with ``{host}`` in it.
    ``agent_bundle``: a file of ``fab bundle`` on this machine, used instead of building one.
    """

    name: str
    scheduler: Literal["slurm"] | None = None
    slurm: SlurmConfig | None = None
    embedded: bool = False
    testbed: bool = False
    gateway: Annotated[SshConfig | None, BeforeValidator(_name_or_mapping)] = None
    nodes: list[NodeConfig]
    node_count: int | None = None
    address: str | None = None
    remote_base: RemoteBase
    remote_python: RemotePath
    setup: list[ShellLine] = Field(default_factory=list)
    ntp_server: Annotated[list[str], BeforeValidator(_one_or_many)]
    ntp_own_clock: bool = False
    ntp_error_ms: list[Annotated[float, Field(ge=-LARGEST_ERROR_MS, le=LARGEST_ERROR_MS)]] = Field(default_factory=list)
    chronotick_server: str | None
    host_key_policy: Literal["reject", "accept-new"]
    known_hosts_file: str | None = None
    paths: PathsConfig | None = None
    agent_bundle: NotEmpty | None = None

    @property
    def job(self) -> SlurmConfig:
        """Return how a job is asked for; by default where the file does not say."""
        return self.slurm or SlurmConfig()

    @property
    def asked_for(self) -> list[str] | int:
        """Return the hosts that a job is asked for, or their number."""
        return self.node_count or [node.host for node in self.nodes]

    @property
    def coordinator(self) -> NodeConfig:
        """Return the one coordinator."""
        return next(node for node in self.nodes if node.role == COORDINATOR)

    @property
    def workers(self) -> list[NodeConfig]:
        """Return the workers, in configured order."""
        return [node for node in self.nodes if node.role == WORKER]

    @property
    def paths_in_words(self) -> str:
        """Return between which ends packets are made to take how long; empty where they go as they go."""
        return in_words(None if self.paths is None else self.paths.model_dump())

    def node(self, node_id: str) -> NodeConfig:
        """Return a node by its id. Raises KeyError."""
        return {node.id: node for node in self.nodes}[node_id]

    @field_validator("ntp_server")
    @classmethod
    def _servers_are_addresses(cls, servers: list[str]) -> list[str]:
        for server in servers:
            split_host_port(server)
        if len(set(servers)) < len(servers):
            raise problem("", "each server once: named twice, a wrong one is a majority", servers)
        return servers

    @field_validator("chronotick_server")
    @classmethod
    def _server_is_a_url(cls, server: str | None) -> str | None:
        if server is not None:
            split_url(server)
        return server

    @model_validator(mode="before")
    @classmethod
    def _nodes_are_told_of_one_by_one(cls, data: Any) -> Any:
        return with_nodes(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _scheduler_fits(self) -> Self:
        if self.address is not None and "{host}" not in self.address:
            raise problem("address", "a name with {host} in it, as '{host}-40g'", self.address)
        if self.remote_base.startswith("$") and (self.scheduler is None or self.job.launch != STEP):
            raise problem("remote_base", "no variable, but where agents are steps of a Slurm job", self.remote_base)
        if self.scheduler is None:
            if self.slurm is not None:
                raise problem("slurm", "none without scheduler: slurm", "options")
            return self
        for key in ("embedded", "testbed"):
            if getattr(self, key):
                raise problem(key, "none with scheduler: slurm", True)
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.node_count is not None and not self.nodes:
            return self
        if self.node_count not in {None, len(self.nodes)}:
            raise problem("node_count", f"{len(self.nodes)}, as many as nodes, or none", self.node_count)
        if len(self.nodes) < 2:
            got = ", ".join(node.host for node in self.nodes)
            raise problem("nodes", "at least 2 item(s)", f"{len(self.nodes)}{f' ({got})' if got else ''}")
        coordinators = [node.id for node in self.nodes if node.role == COORDINATOR]
        if len(coordinators) != 1:
            raise problem("nodes", "exactly one node with role coordinator", coordinators)
        if self.ntp_own_clock and len(self.ntp_server) != 1:
            raise problem("ntp_own_clock", "one ntp_server, whose clock is the truth", self.ntp_server)
        if self.ntp_error_ms and not self.embedded:
            raise problem(
                "ntp_error_ms", "none outside an embedded cluster, which starts its servers", self.ntp_error_ms
            )
        if self.ntp_error_ms and len(self.ntp_error_ms) != len(self.ntp_server):
            expected = f"a number for each of {len(self.ntp_server)} in ntp_server, 0 for one that is right"
            raise problem("ntp_error_ms", expected, self.ntp_error_ms)
        places = [node.address or node.host for node in self.nodes]
        for key, values in (("id", [node.id for node in self.nodes]), ("host", places)):
            for index, value in enumerate(values):
                if value in values[:index]:
                    raise problem(f"nodes.{index}.{key}", "one that no other node has", value)
        if self.paths is not None:
            if not self.embedded:
                raise problem("paths", "none outside an embedded cluster: packets go as the network lets them", "paths")
            for name, service in (("ntp", self.ntp_server), ("chronotick", self.chronotick_server)):
                if getattr(self.paths, name) is not None and not service:
                    raise problem(f"paths.{name}", f"none without {name}_server", "a path")
        if not self.embedded:
            for index, node in enumerate(self.nodes):
                if node.virtual_clock is not None and not self.testbed:
                    key = f"nodes.{index}.virtual_clock"
                    raise problem(key, "none outside an embedded cluster", node.virtual_clock)
            ports = [("ntp_server", split_host_port(server)[1]) for server in self.ntp_server]
            if self.chronotick_server is not None:
                ports.append(("chronotick_server", split_url(self.chronotick_server)[1]))
            for key, port in ports:
                if port == 0:
                    raise problem(key, "a port > 0 outside an embedded cluster", port)
        return self


def split_host_port(server: str) -> tuple[str, int]:
    """Split ``host:port`` of a service; a missing port is NTP's 123."""
    try:
        host, port = split_address(server, least_port=0)
    except ValueError as error:
        expected = str(error).removeprefix("server: ").removeprefix("expected ").rpartition(", got ")[0]
        raise problem("", expected, server) from None
    if not is_ipv6(host) and not _HOST.fullmatch(host):
        raise problem("", "host:port", server)
    return host, port


def split_url(url: str) -> tuple[str, int]:
    """Split an ``http(s)://host:port`` base URL into host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise problem("", "http://host:port", url) from None
    if not URL_PATTERN.fullmatch(url) or not parts.hostname:
        raise problem("", "http://host:port", url)
    _host_name(parts.hostname)
    default = 443 if parts.scheme == "https" else 80
    return parts.hostname, default if port is None else port


def is_wildcard(address: str) -> bool:
    """Return whether an address means "every interface"."""
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False
