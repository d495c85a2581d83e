"""What simulated nodes ask their clock sources and are told: one node's samples in the order of their publication.

Every exchange is played in true time, every number a node would compute is computed by the agent's own functions.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.simulation.world import CHRONOTICK_SERVER, EPOCH_NS, START_NS, delay_of
from node_agent.clocks import chronotick, ntp_packet, ntp_sample
from node_agent.clocks.base import Refused
from node_agent.contract.records import CHRONOTICK, CLOCK_STEP, COLUMN_PREFIX, KERNEL_RX, KERNEL_TX, NTP, OK, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from analysis.arrays import Ints
    from analysis.simulation.scenario import ChronoTick
    from analysis.simulation.world import World


_WARM_UP: Final = (0.0, 0.25, 0.5, 0.75)  # s: the agent's first queries come in quick succession
_PRECISION_NS: Final = 120  # of the servers' clocks: 2^-23 s
_HTTP_NS: Final = 900_000


def samples(world: World, place: int) -> list[Sample]:
    """Return all samples of one node, numbered and published in order."""
    taken = [sample for server in range(len(world.scenario.ntp.servers)) for sample in _ntp(world, place, server)]
    taken += _chronotick(world, place)
    taken.sort(key=lambda sample: sample.raw_after_ns)
    dice = world.dice("identity", place, 1)
    published = []
    last_ns = 0
    for number, sample in enumerate(taken, 1):
        last_ns = max(sample.raw_after_ns + int(dice.integers(60_000, 500_000)), last_ns + 1_000)
        name = f"{COLUMN_PREFIX[sample.source]}{number}"
        published.append(replace(sample, sample_id=name, published_raw_ns=last_ns))
    return published


def _asked_at(world: World, interval_s: float, offset_s: float, dice: Generator) -> Ints:
    """Return the true instants of a source's queries: a warm-up, then one every interval."""
    start = EPOCH_NS + START_NS + round(offset_s * 1e9)
    steady = np.arange(_WARM_UP[-1] + interval_s, (world.end_ns - start) / 1e9, interval_s)
    asked = start + np.round(np.concatenate([_WARM_UP, steady]) * 1e9).astype(np.int64)
    return asked + dice.integers(0, 2_000_000, len(asked))


def _ntp(world: World, place: int, server: int) -> Iterator[Sample]:
    dice, ntp = world.dice("ntp", place, server), world.scenario.ntp
    left = _asked_at(world, world.scenario.timing.ntp_query_interval, 0.01 * (server + 1), dice)
    received = left + delay_of(ntp.out, len(left), dice)
    answered = received + dice.integers(8_000, 60_000, len(left))
    arrived = answered + _way_back(world, answered, dice)
    error = _error_of_server(world, server, received)
    root_delay_ns, dispersion_ns = round(ntp.root_delay_ms * 1e6), round(ntp.root_dispersion_ms * 1e6)
    departed, came = world.oscillators[place].stamps(left, dice), world.oscillators[place].stamps(arrived, dice)
    address, limit_ppm = ntp.servers[server], world.scenario.max_drift_ppm
    clock = world.oscillators[place]
    numbers = (received + error, answered + error, clock.raw(left), clock.raw(arrived))
    columns = (*(column.tolist() for column in numbers), departed.each(KERNEL_TX), came.each(KERNEL_RX))
    for t2, t3, before, after, departure, arrival in zip(*columns, strict=True):
        if departure.raw_ns is None or arrival.raw_ns is None:
            yield Sample("", NTP, address, address, CLOCK_STEP, before, after, arrival.wall_ns)
            continue
        reply = ntp_packet.Reply(t2 + 1, t3, 1, _PRECISION_NS, root_delay_ns, dispersion_ns)
        yield ntp_sample.sample_of(address, address, departure, arrival, reply, limit_ppm)


def _way_back(world: World, answered: Ints, dice: Generator) -> Ints:
    switching = world.scenario.ntp.switching
    if switching is None:
        return delay_of(world.scenario.ntp.back, len(answered), dice)
    first, second = (delay_of(path, len(answered), dice) for path in switching.returns)
    share = (answered - world.first_ns) / max(world.last_ns - world.first_ns, 1)
    changes = np.floor(np.clip(share, 0.0, 1.0 - 1e-12) * (switching.times + 1)).astype(np.int64)
    return np.where(changes % 2 == 0, first, second)


def _error_of_server(world: World, server: int, true_ns: Ints) -> Ints:
    lie, honest = world.scenario.ntp.lie, round(world.scenario.ntp.error_ms * 1e6)
    if lie is None or lie.server != server:
        return np.full(len(true_ns), honest, dtype=np.int64)
    begins = EPOCH_NS + round(world.at_s(lie.at) * 1e9) if lie.at > 0 else EPOCH_NS
    return np.where(true_ns >= begins, round(lie.error_ms * 1e6), 0) + honest


def _chronotick(world: World, place: int) -> Iterator[Sample]:
    dice, behaviour = world.dice("chronotick", place), world.scenario.chronotick
    node_id, clock = world.node_ids[place], world.oscillators[place]
    asked = _asked_at(world, world.scenario.timing.chronotick_query_interval, 0.1, dice)
    took = (_HTTP_NS + dice.exponential(300_000, len(asked))).astype(np.int64)
    bracket = dice.integers(60, 400, len(asked))
    sigma_ms = dice.uniform(*behaviour.sigma_us, len(asked)) / 1e3
    wall = clock.wall(asked)
    about_server = asked >= _own_clock_from(world)
    offset_ms = np.where(about_server, 0.0, (asked - wall) / 1e6) + dice.normal(0.0, 1.0, len(asked)) * sigma_ms
    claims = _claims(world, place, asked, wall)
    if behaviour.asymmetry_us is not None:
        off = world.dice("chronotick", place, 2)
        offset_ms += off.choice((-1, 1)) * off.uniform(0.75, 1.0) * behaviour.asymmetry_us / 1e3
    begins = EPOCH_NS + round(world.at_s(behaviour.at) * 1e9)
    kept: dict[str, Any] | None = None
    raw = (clock.raw(asked), clock.raw(asked + took))
    columns = (asked, *raw, wall, bracket, offset_ms, sigma_ms, about_server)
    for true_ns, raw1, raw4, wall1, half, offset, sigma, own, claimed in zip(
        *(column.tolist() for column in columns), claims, strict=True
    ):
        answer: dict[str, Any] = {
            "offset_ms": offset, "uncertainty_ms": sigma, "node_id": node_id, "prediction_time_ns": wall1,
            "model": "simulated", **claimed,
        }  # fmt: skip
        if behaviour.misbehave in {"stale", "frozen"}:
            if kept is None or true_ns < begins:
                kept = answer
            answer = dict(kept) if behaviour.misbehave == "stale" else {**kept, "prediction_time_ns": wall1}
        if own:
            answer = {key: value for key, value in answer.items() if key not in {"node_id", "prediction_time_ns"}}
        answer = _misbehaved(behaviour, answer)
        payload = json.dumps(answer, separators=(",", ":"))
        parsed = chronotick.parse(payload, node_id)
        if isinstance(parsed, Refused):
            raise TypeError(f"a simulated answer must parse, got {parsed.outcome} for {payload}")
        yield Sample(
            "", CHRONOTICK, CHRONOTICK_SERVER, "", OK, raw1, raw4, wall1, bound_stamp_ns=half, payload=payload,
            **parsed.numbers(wall1, raw1, raw4),
        )  # fmt: skip


def _claims(world: World, place: int, asked: Ints, wall: Ints) -> list[dict[str, Any]]:
    """Return what the server states beside offset and sigma, answer by answer, as far as the scenario lets it."""
    behaviour, clock, second = world.scenario.chronotick, world.oscillators[place], 1_000_000_000
    claims: list[dict[str, Any]] = [{} for _ in range(len(asked))]
    if (sigma_ppm := behaviour.drift_sigma_ppm) is not None:
        passed = clock.raw(asked + second) - clock.raw(asked - second)
        known_ppm = 1e6 * (2 * second - passed) / passed  # true time that passes, against the raw oscillator, minus one
        stated = known_ppm + sigma_ppm * world.dice("chronotick", place, 1).normal(0.0, 1.0, len(asked))
        for claim, drift_ppm in zip(claims, stated.tolist(), strict=True):
            claim |= {"drift_ppm": drift_ppm, "drift_uncertainty_ppm": sigma_ppm}
    for claim, wall_ns in zip(claims, wall.tolist(), strict=True):
        if behaviour.asymmetry_us is not None:
            claim["asymmetry_ms"] = behaviour.asymmetry_us / 1e3
        if behaviour.valid_s is not None:
            claim["valid_until_ns"] = wall_ns + round(behaviour.valid_s * 1e9)
    return claims


def _own_clock_from(world: World) -> int:
    """Return the true instant in ns from which on answers are about the server's clock; one after the end for never."""
    at = world.scenario.chronotick.about_server_from
    if at is None:
        return world.end_ns + 1
    return EPOCH_NS + (round(world.at_s(at) * 1e9) if at > 0 else 0)


def _misbehaved(behaviour: ChronoTick, answer: dict[str, Any]) -> dict[str, Any]:
    """Return what the server claims instead of what it knows."""
    if behaviour.misbehave == "overconfident":
        claimed = [key for key in ("uncertainty_ms", "drift_uncertainty_ppm") if key in answer]
        return {**answer, **{key: answer[key] / behaviour.amount for key in claimed}}
    if behaviour.misbehave == "biased":
        return {**answer, "offset_ms": answer["offset_ms"] + behaviour.amount}
    if behaviour.misbehave == "clamped":
        offset_ms = answer["offset_ms"]
        return {**answer, "offset_ms": math.copysign(min(abs(offset_ms), behaviour.amount), offset_ms)}
    return answer
