"""What the configuration files may say: strict models, one per file of ``configs/``.

Unknown keys, wrong types and impossible values are refused (``yaml_files`` says how). The models are frozen;
the embedded cluster returns a changed copy (``ClusterConfig.model_copy(update=...)``) with real ports and epochs in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.configuration.clocks import ClocksConfig
from harness.configuration.cluster import ClusterConfig
from harness.configuration.yaml_files import NotNegative, Positive, Strict, load, problem

CONFIGS: Final = Path("configs")
CLUSTERS: Final = CONFIGS / "clusters"
COORDINATOR_CONFIG: Final = "coordinator_config.yaml"
WORKER_CONFIG: Final = "worker_config.yaml"

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Stream = Literal["slow", "medium", "fast"]
MOST_EVENTS: Final = 100_000_000
MOST_DAYS: Final = 31


# --- configs/coordinator_config.yaml ---------------------------------------------------------------------------------


class LoggingConfig(Strict):
    """The agents' log. ``console`` repeats it on standard error, which only an agent started by hand has."""

    level: LogLevel = "INFO"
    console: bool = False


class ExperimentConfig(Strict):
    """How many events over how long. ``duration_minutes: null`` means bursts back to back."""

    num_events: int = Field(ge=1, le=MOST_EVENTS)
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


class ProbesConfig(Strict):
    """The probe mesh: who exchanges probes with whom (`auto`: full up to 8 nodes, else star), where and how often.

    ``rate_hz`` is per pair and direction; ``lead_s`` and ``trail_s`` are before the first and after the last event.
    """

    mesh: Literal["auto", "full", "star"] = "auto"
    port: int = Field(default=9001, ge=1, le=65535)
    rate_hz: float = Field(default=50.0, ge=20, le=50)
    lead_s: NotNegative = 5.0
    trail_s: NotNegative = 5.0
    stamps: Literal["kernel", "user"] = "kernel"


class CoordinatorConfig(Strict):
    """The broadcast, and the probes that go on beside it (null: none)."""

    experiment: ExperimentConfig
    broadcast_pattern: BroadcastPatternConfig
    broadcast: BroadcastConfig = BroadcastConfig()
    probes: ProbesConfig | None = ProbesConfig()
    logging: LoggingConfig = LoggingConfig()

    @model_validator(mode="after")
    def _bursts_fit_their_slots(self) -> Self:
        delays = self.broadcast_pattern.delays_s()
        minutes = self.experiment.duration_minutes
        events_s = minutes * 60 if minutes is not None else self.experiment.num_events * sum(delays) / len(delays)
        if events_s > MOST_DAYS * 86_400:
            key = "num_events" if minutes is None else "duration_minutes"
            raise problem(f"experiment.{key}", f"at most {MOST_DAYS} days of events", round(events_s / 86_400, 1))
        if minutes is None:
            return self
        bursts = -(-self.experiment.num_events // len(delays))
        slot_s = minutes * 60 / bursts
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
    """Where every agent listens (UDP), the longest datagram it reads and the receive buffer it asks for, in bytes.

    The kernel holds events in the receive buffer until the agent reads them; 0 leaves the kernel's default.
    """

    listen_port: int = Field(default=9000, ge=1, le=65535)
    buffer_size: int = Field(default=4096, ge=512, le=65535)
    receive_buffer_bytes: int = Field(default=32 << 20, ge=0, le=1 << 30)


class TimingConfig(Strict):
    """How often the clocks are asked and events measured again, in seconds; what share of the events really waits."""

    ntp_query_interval: Positive = 10.0
    chronotick_query_interval: Positive = 1.0
    commit_wait_delays: list[Positive] = Field(default_factory=lambda: [30.0, 60.0])
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
