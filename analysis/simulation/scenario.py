"""A scenario: what kind of cluster, what is wrong with it, and the verdicts that a judge must then give.

One file of ``configs/scenarios`` each. A position ``at`` is a share of the time from the first event to the last, so
that a scenario fits runs of any length.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from analysis.errors import UsageError, candidates, cause

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).resolve().parents[2] / "configs" / "scenarios"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Delay(_Strict):
    """One direction of a path: never less than the minimum, and an exponential tail of that mean on top, both in us."""

    minimum_us: float = Field(ge=0)
    tail_us: float = Field(ge=0)


class Network(_Strict):
    """How datagrams travel between nodes.

    Each path draws its minimum from ``minimum_us`` and its tail from ``tail_us`` (low, high), for each direction by
    itself.
    ``loss``, ``duplicates`` and ``reordered`` are shares of the datagrams; a reordered one comes ``late_ms`` later.
    """

    minimum_us: tuple[float, float] = (60.0, 250.0)
    tail_us: tuple[float, float] = (10.0, 60.0)
    loss: float = Field(default=0.0, ge=0, lt=1)
    duplicates: float = Field(default=0.0, ge=0, lt=1)
    reordered: float = Field(default=0.0, ge=0, lt=1)
    late_ms: float = Field(default=0.0, ge=0)


class Lie(_Strict):
    """From ``at`` on, the NTP server number ``server`` is wrong by ``error_ms`` (its time - true time)."""

    server: int = Field(ge=0)
    error_ms: float
    at: float = 0.0


class Switching(_Strict):
    """A return path from the NTP servers that changes between two delays, ``times`` times over the run."""

    returns: tuple[Delay, Delay]
    times: int = Field(ge=1)


class Ntp(_Strict):
    """The NTP servers, as many as there are addresses, and the paths to them.

    All are off by ``error_ms`` (their time - true time) and say that by their ``root_delay_ms`` / 2 and
    ``root_dispersion_ms`` they may be; a ``lie`` comes on top and is told to nobody.
    """

    servers: tuple[str, ...] = ("192.0.2.1:123",)
    out: Delay = Delay(minimum_us=180.0, tail_us=40.0)
    back: Delay = Delay(minimum_us=220.0, tail_us=60.0)
    error_ms: float = 0.0
    root_delay_ms: float = Field(default=0.0, ge=0)
    root_dispersion_ms: float = Field(default=0.015259, ge=0)  # one unit of NTP's 16.16 seconds
    switching: Switching | None = None
    lie: Lie | None = None


class ChronoTick(_Strict):
    """A ChronoTick server whose answers have a normal error of the sigma it knows.

    Sigma is drawn anew for each answer, from ``sigma_us`` (low, high); ``misbehave`` says how what it *claims* differs.
    ``overconfident``: claims sigma / ``amount``. ``biased``: adds ``amount`` ms. ``clamped``: offsets never leave
    +-``amount`` ms. ``stale`` and ``frozen``: from ``at`` on it repeats its last answer, with the time that one was of,
    or as if it were new. From ``about_server_from`` on (a position like ``at``) it does not echo the node it was asked
    by, and predicts its own clock, which is right: offsets about 0, whatever the node's clock shows.

    With ``drift_sigma_ppm`` it also states the drift of the node's oscillator, with a normal error of that sigma; an
    ``overconfident`` one claims that too ``amount`` times too small. With ``asymmetry_us`` all its answers about a node
    are off by one number, three quarters of that or more, and it states that. With ``valid_s`` it says how long they
    hold.
    """

    sigma_us: tuple[float, float] = (20.0, 60.0)
    misbehave: Literal["overconfident", "biased", "clamped", "stale", "frozen"] | None = None
    amount: float = 0.0
    at: float = 0.0
    about_server_from: float | None = None
    drift_sigma_ppm: float | None = Field(default=None, ge=0)
    asymmetry_us: float | None = Field(default=None, ge=0)
    valid_s: float | None = Field(default=None, gt=0)


class Clock(_Strict):
    """How far the nodes' clocks are off: each draws its error (ms) and drift (ppm) evenly from +- these, and wanders.

    No drift is nearer to 0 than ``least_drift_ppm``, for faults that only show on a clock that drifts.
    ``swing_ms`` lets every wall clock be slewed to and fro by that much, ``swings`` times over the run.
    """

    error_ms: float = 15.0
    drift_ppm: float = 25.0
    least_drift_ppm: float = Field(default=0.0, ge=0)
    wander_ppm: float = 0.01
    swing_ms: float = 0.0
    swings: int = 4

    @model_validator(mode="after")
    def _in_order(self) -> Clock:
        if self.least_drift_ppm > self.drift_ppm:
            raise ValueError(f"expected least_drift_ppm of at most drift_ppm ({self.drift_ppm:g})")
        return self


class Jump(_Strict):
    """A jump by ``by_ms`` at ``at`` of node number ``node`` (0 is the coordinator, 1 the first worker)."""

    node: int = Field(ge=0)
    at: float
    by_ms: float


class SecondCoordinator(_Strict):
    """Another coordinator that sends ``share`` times as many events to the same workers.

    Its datagrams carry the key of a run of its own (the workers count them as ``bad_tag``), or with ``same_key`` this
    run's key and another run id (``foreign``).
    """

    share: float = Field(gt=0)
    same_key: bool = False


class Expected(_Strict):
    """One verdict: the number at ``metric`` of ``statistics/*.json``, file first as in hypotheses.yaml, and ``value``.

    In a metric, ``*`` stands for every key or entry there is, of which all (at least one) must comply. ``statement``
    says it in words. ``finding`` in place of a metric counts the findings of that code (``*``: of any), of that
    severity, node and source where they are given. ``contains`` is of an interval, None being no end.
    """

    statement: str
    metric: str = ""
    finding: str = ""
    severity: str = ""
    node: str = ""
    source: str = ""
    comparison: Literal["at_least", "at_most", "above", "below", "equals", "between", "contains", "absent"]
    value: Any = None


class Timing(_Strict):
    """Query intervals and commit-wait delays, in s, as in the worker configuration."""

    ntp_query_interval: float = 10.0
    chronotick_query_interval: float = 1.0
    commit_wait_delays: tuple[float, ...] = (30.0, 60.0)
    commit_wait_share: float = 0.1


class Probes(_Strict):
    """The probe mesh."""

    rate_hz: float = 25.0
    mesh: Literal["full", "star"] = "full"
    lead_s: float = 5.0
    trail_s: float = 5.0


class Scenario(_Strict):
    """What one scenario file says."""

    name: str
    wrong: str
    rate_hz: float = Field(default=100.0, gt=0)
    max_drift_ppm: float = Field(default=100.0, gt=0)
    uncertainty_multiplier: float = 3.0
    timing: Timing = Timing()
    probes: Probes = Probes()
    clock: Clock = Clock()
    network: Network = Network()
    ntp: Ntp = Ntp()
    chronotick: ChronoTick = ChronoTick()
    wall_steps: tuple[Jump, ...] = ()
    raw_steps: tuple[Jump, ...] = ()
    second_coordinator: SecondCoordinator | None = None
    expected: tuple[Expected, ...] = ()


Played = TypeVar("Played", bound=Scenario)


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all scenarios."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def read(name: str, folder: Path = FOLDER) -> Scenario:
    """Read a scenario by its name. Raises UsageError naming the file, the key, what was expected and what was got."""
    return validated({"name": name, **content(name, folder)}, Scenario, str(folder / f"{name}.yaml"))


def content(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Return what a scenario's file says, by its name and not yet validated. Raises UsageError."""
    file = folder / f"{name}.yaml"
    if not file.is_file():
        raise UsageError(f"scenario: expected one of {candidates(name, names(folder))}, got {name!r}")
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: expected YAML, got: {cause(error)}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{file}: expected the keys of a scenario, got {data!r:.80}")
    return data


def validated(data: Mapping[str, Any], model: type[Played], where: str) -> Played:
    """Return a scenario of these keys. Raises UsageError naming ``where``, the key, what was expected and got."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {key}: {first['msg']}, got {first['input']!r:.80}") from error
