"""What ``worker_config.yaml`` may say of clock sources, and what all files together say of each."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import Field, create_model

from harness.configuration.yaml_files import Positive, Strict
from node_agent.clocks.sources import KINDS
from node_agent.clocks.wall_offset import MAX_WALL_OFFSET_S
from node_agent.contract.plan import MAX_STRATUM
from node_agent.contract.records import CHRONOTICK, NTP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.configuration.cluster import ClusterConfig
    from harness.configuration.experiment import WorkerConfig
    from node_agent.clocks.kind import SourceKind

    Source = str
else:
    Source = Literal[tuple(kind.name for kind in KINDS)]


class SourceConfig(Strict):
    """How long to wait for one answer, and how old one may serve (null: 3 query intervals + 1 s), in seconds."""

    timeout_s: Positive = 1.0
    valid_for_s: Positive | None = None


class PolledConfig(SourceConfig):
    """A source whose options are all in one place: how often it is asked besides, and what else its plan holds."""

    query_interval_s: Positive = 1.0


def config_of(kind: SourceKind[Any]) -> type[PolledConfig]:
    """Return the model of ``clocks.NAME`` of one kind."""
    hints, options = get_type_hints(kind.plan_type), {}
    for spec in dataclasses.fields(kind.plan_type):
        if spec.name not in PolledConfig.model_fields:
            hint = hints[spec.name]
            listed = list[get_args(hint)[0]] if get_origin(hint) is tuple else hint  # type: ignore[misc]  # not static
            options[spec.name] = (listed, ... if spec.default is dataclasses.MISSING else spec.default)
    model: type[PolledConfig] = create_model(f"{kind.name}Config", __base__=PolledConfig, **options)  # type: ignore[call-overload]  # as above
    return model


class CommonClocksConfig(Strict):
    """What is assumed of every oscillator, and which sources a run may not start without.

    A run is degraded where less than ``min_available_share`` of a node's readings of a required source are available.
    A source that says of itself that it is further than ``max_root_distance_ms`` from UTC, or beyond ``max_stratum``,
    is not believed. `check` and the report name a node whose wall clock is further than ``max_wall_offset_s`` from NTP,
    or from the other nodes.
    """

    max_drift_ppm: Positive = 100.0
    max_root_distance_ms: Positive = 1000.0
    max_stratum: int = Field(default=9, ge=1, le=MAX_STRATUM)
    max_wall_offset_s: Positive = MAX_WALL_OFFSET_S
    ntp: SourceConfig = SourceConfig()
    chronotick: SourceConfig = SourceConfig()
    required: list[Source] = Field(default_factory=lambda: [NTP, CHRONOTICK])
    min_available_share: float = Field(default=0.98, ge=0, le=1)


if TYPE_CHECKING:
    ClocksConfig = CommonClocksConfig
else:
    # Every other kind has a key of its own; "auto" asks one on every node on which `check` found it.
    ClocksConfig = create_model(
        "ClocksConfig",
        __base__=CommonClocksConfig,
        **{
            kind.name: (config_of(kind) | (Literal["auto"] if kind.absent else None) | None, None)
            for kind in KINDS
            if kind.name not in CommonClocksConfig.model_fields
        },
    )


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the configuration says of a source: under which key, the fields of its plan, or None where it is not asked.

    ``where_found`` asks it only on the nodes on which `check` found it.
    """

    key: str
    options: Mapping[str, Any] | None
    where_found: bool = False


def asked(cluster: ClusterConfig, worker: WorkerConfig) -> dict[str, Asked]:
    """Return what the configuration says of every kind of source, by name."""
    clocks, ntp, chronotick = worker.clocks, None, None
    if cluster.ntp_server:
        ntp = {
            **clocks.ntp.model_dump(),
            "servers": cluster.ntp_server,
            "query_interval_s": worker.timing.ntp_query_interval,
            "own_clock": cluster.ntp_own_clock,
        }
    if cluster.chronotick_server is not None:
        chronotick = {
            **clocks.chronotick.model_dump(),
            **worker.chronotick.model_dump(),
            "server": cluster.chronotick_server,
            "query_interval_s": worker.timing.chronotick_query_interval,
        }
    sources = {
        NTP: Asked(f"cluster {cluster.name}: ntp_server", ntp),
        CHRONOTICK: Asked(f"cluster {cluster.name}: chronotick_server", chronotick),
    }
    for name in [kind.name for kind in KINDS if kind.name not in sources]:
        config = getattr(clocks, name)
        options = {} if config == "auto" else config and config.model_dump()
        sources[name] = Asked(f"worker configuration: clocks.{name}", options, where_found=config == "auto")
    return sources
