"""Everything a simulated run has in common, drawn from its seed: nodes, clocks, paths, and when what happens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.errors import UsageError
from analysis.simulation.oscillator import Oscillator
from node_agent.contract import plan as plans
from node_agent.contract.records import CHRONOTICK, NTP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

    from analysis.arrays import Ints
    from analysis.simulation.scenario import Clock, Delay, Jump, Scenario


EPOCH_NS: Final = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z: a simulated run happens then, whenever it is made
START_NS: Final = 2_000_000_000  # from the epoch to the agents' first queries
READY_NS: Final = 5_000_000_000  # from there to the first probe
CHUNK: Final = 50_000  # events made at a time: what bounds the memory

COORDINATOR_ID: Final = "comp18"
CHRONOTICK_SERVER: Final = "http://192.0.2.9:8000"
EVENT_PORT: Final = 9000
PROBE_PORT: Final = 9001
_SEND_SETUP_NS: Final = 15_000  # from the payload's stamp to the first datagram's departure
_SEND_EACH_NS: Final = 22_000  # from one worker's datagram to the next one's

# What a stream of random numbers is for; each (seed, purpose, ...) has its own, whoever asks first.
PURPOSES: Final = ("clocks", "paths", "sends", "receipts", "probes", "ntp", "chronotick", "waits", "pairs", "identity")


@dataclass(frozen=True)
class Size:
    """How large a run is: nodes (the coordinator among them), events, and how many a second."""

    nodes: int
    events: int
    rate_hz: float
    seed: int

    def __post_init__(self) -> None:
        if self.nodes < 2 or self.nodes > 254:
            raise UsageError(f"nodes: expected 2 to 254 (one of them the coordinator), got {self.nodes}")
        if self.events < 1:
            raise UsageError(f"events: expected 1 or more, got {self.events}")
        if not 0 < self.rate_hz <= 20_000:
            raise UsageError(f"rate-hz: expected more than 0 and at most 20000, got {self.rate_hz:g}")
        if self.seed < 0:
            raise UsageError(f"seed: expected 0 or more, got {self.seed}")


@dataclass(frozen=True)
class Sends:
    """Some broadcast events in true time (ns): payload stamp, planned instant, and departures by worker (rows)."""

    sequence: Ints
    planned: Ints
    begun: Ints
    left: Ints


@dataclass(frozen=True)
class World:
    """One simulated run. Nodes are numbered: 0 is the coordinator, workers follow."""

    scenario: Scenario
    size: Size
    experiment: str

    def dice(self, purpose: str, *numbers: int) -> Generator:
        """Return the random numbers for one purpose; the same ones for the same seed."""
        return np.random.default_rng([self.size.seed, PURPOSES.index(purpose), *numbers])

    @cached_property
    def node_ids(self) -> tuple[str, ...]:
        """Return the nodes' names: the coordinator, then the workers."""
        numbers = (11 + place + (place >= 7) for place in range(self.size.nodes - 1))  # 18 is the coordinator's
        return (COORDINATOR_ID, *(f"comp{number}" for number in numbers))

    @cached_property
    def run_id(self) -> str:
        """Return the run id, 32 hex digits."""
        return self.dice("identity").bytes(16).hex()

    @cached_property
    def broadcast(self) -> plans.BroadcastPlan:
        """Return what the coordinator sends: one event every 1 / rate."""
        workers = tuple(plans.WorkerAddress(name, self.address(place), EVENT_PORT) for place, name in self.workers)
        return plans.BroadcastPlan(workers, self.size.events, (1e3 / self.size.rate_hz,))

    @property
    def workers(self) -> list[tuple[int, str]]:
        """Return the workers' numbers and names."""
        return list(enumerate(self.node_ids))[1:]

    def address(self, node: int) -> str:
        """Return a node's address in TEST-NET-2, which nobody has (RFC 5737)."""
        return f"198.51.100.{node + 1}"

    @property
    def gap_ns(self) -> int:
        """Return the time between two events, as the plan rounds it."""
        return round(self.broadcast.delays_ms[0] * 1e6)

    @property
    def first_ns(self) -> int:
        """Return when the first event is planned for."""
        return EPOCH_NS + START_NS + READY_NS + round(self.scenario.probes.lead_s * 1e9)

    @property
    def last_ns(self) -> int:
        """Return when the last event is planned for."""
        return self.first_ns + (self.size.events - 1) * self.gap_ns

    @property
    def end_ns(self) -> int:
        """Return when the agents stop: after probes and re-measurements."""
        tail_s = max([self.scenario.probes.trail_s, *self.scenario.timing.commit_wait_delays])
        return self.last_ns + round((tail_s + 1.0) * 1e9)

    def at_s(self, share: float) -> float:
        """Return a share of the time from the first to the last event as seconds after the epoch."""
        return (self.first_ns + share * (self.last_ns - self.first_ns) - EPOCH_NS) / 1e9

    @cached_property
    def oscillators(self) -> tuple[Oscillator, ...]:
        """Return every node's clocks."""
        return tuple(self._oscillator(place) for place in range(self.size.nodes))

    def _oscillator(self, place: int) -> Oscillator:
        clock, dice = self.scenario.clock, self.dice("clocks", place)
        horizon_s = (self.end_ns - EPOCH_NS) / 1e9 + 60.0
        virtual = plans.VirtualClock(
            epoch_ns=EPOCH_NS,
            error_ms=round(float(dice.uniform(-clock.error_ms, clock.error_ms)), 6),
            drift_ppm=_drift_ppm(clock, dice),
            random_walk=plans.RandomWalk(int(dice.integers(1 << 31)), clock.wander_ppm) if clock.wander_ppm else None,
            steps=self._steps(self.scenario.wall_steps, place),
            slews=self._slews(place) if clock.swing_ms else (),
            raw_steps=self._steps(self.scenario.raw_steps, place),
            horizon_s=horizon_s,
        )
        return Oscillator(virtual, int(dice.integers(10**14, 10**15)))

    def _steps(self, jumps: Sequence[Jump], place: int) -> tuple[plans.Step, ...]:
        return tuple(plans.Step(self.at_s(jump.at), jump.by_ms) for jump in jumps if jump.node == place)

    def _slews(self, place: int) -> tuple[plans.Slew, ...]:
        """Return slews that lead the wall clock to and fro, every node in its own phase."""
        clock = self.scenario.clock
        quarter_s = (self.last_ns - self.first_ns) / 1e9 / clock.swings / 4
        signs = [1, -1, -1, 1]
        start_s = self.at_s(0.0) - (place % 4) * quarter_s / 4
        return tuple(
            plans.Slew(start_s + number * quarter_s, quarter_s, clock.swing_ms * signs[number % 4])
            for number in range(4 * clock.swings)
        )

    def plan(self, place: int) -> plans.NodePlan:
        """Return the plan that a node of this run would have been given."""
        return plans.NodePlan(
            experiment=self.experiment,
            run_id=self.run_id,
            node_id=self.node_ids[place],
            role=plans.WORKER if place else plans.COORDINATOR,
            run_dir=f"~/chronotick-harness/runs/{self.experiment}/{self.node_ids[place]}",
            listen_host=self.address(place),
            listen_port=EVENT_PORT,
            clocks=self.clocks_plan,
            commit_wait_delays_s=self.scenario.timing.commit_wait_delays,
            commit_wait_share=self.scenario.timing.commit_wait_share,
            virtual_clock=self.oscillators[place].clock,
            broadcast=None if place else self.broadcast,
            probes=self._probes_plan(place),
        )

    @cached_property
    def clocks_plan(self) -> plans.ClocksPlan:
        """Return which sources every node asks."""
        timing = self.scenario.timing
        return plans.ClocksPlan(
            plans.NtpPlan(self.scenario.ntp.servers, timing.ntp_query_interval),
            plans.ChronoTickPlan(
                CHRONOTICK_SERVER,
                timing.chronotick_query_interval,
                uncertainty_multiplier=self.scenario.uncertainty_multiplier,
            ),
            self.scenario.max_drift_ppm,
            (NTP, CHRONOTICK),
        )

    def _probes_plan(self, place: int) -> plans.ProbesPlan | None:
        probes = self.scenario.probes
        named = ((peer, self.node_ids[peer], self.address(peer)) for peer in self.peers(place))
        peers = tuple(plans.ProbePeer(node_id, address, PROBE_PORT, peer) for peer, node_id, address in named)
        times = (probes.rate_hz, probes.lead_s, probes.trail_s)
        return plans.ProbesPlan(place, peers, PROBE_PORT, *times) if peers else None

    def peers(self, place: int) -> list[int]:
        """Return with whom a node exchanges probes: everyone, or in a star the coordinator."""
        others = [peer for peer in range(self.size.nodes) if peer != place]
        return [peer for peer in others if self.scenario.probes.mesh == "full" or 0 in {peer, place}]

    def path(self, source: int, target: int) -> tuple[float, float]:
        """Return one direction of one path: its least delay and the mean of the tail on top, in ns."""
        dice, network = self.dice("paths", source, target), self.scenario.network
        return float(dice.uniform(*network.minimum_us)) * 1e3, float(dice.uniform(*network.tail_us)) * 1e3

    def delays(self, source: int, target: int, count: int, dice: Generator) -> Ints:
        """Return the delays of so many datagrams on a path, in ns, at least 1."""
        return _drawn(*self.path(source, target), count, dice)

    def chunks(self) -> list[tuple[int, int]]:
        """Return the events' numbers in pieces [first, end)."""
        return [(first, min(first + CHUNK, self.size.events)) for first in range(0, self.size.events, CHUNK)]

    def sends(self, first: int, end: int) -> Sends:
        """Return the broadcast of the events from ``first`` to before ``end``."""
        dice = self.dice("sends", first)
        count = end - first
        sequence = np.arange(first, end, dtype=np.int64)
        planned = self.first_ns + sequence * self.gap_ns
        most = max(self.gap_ns - _SEND_SETUP_NS - _SEND_EACH_NS * (self.size.nodes - 1), 1_000)
        # a send never runs into the next
        begun = planned + np.minimum(3_000 + dice.exponential(20_000, count).astype(np.int64), most)
        workers = self.size.nodes - 1
        each = _SEND_EACH_NS * np.arange(workers)[:, None] + dice.integers(0, 4_000, (workers, count))
        return Sends(sequence, planned, begun, begun + _SEND_SETUP_NS + each)


def _drift_ppm(clock: Clock, dice: Generator) -> float:
    """Return a drift whose size is between the clock's least and most, of either sign."""
    room = clock.drift_ppm - clock.least_drift_ppm
    drawn = float(dice.uniform(-room, room))
    return round(drawn + math.copysign(clock.least_drift_ppm, drawn), 3)


def delay_of(delay: Delay, count: int, dice: Generator) -> Ints:
    """Return so many delays of one direction of a path, in ns."""
    return _drawn(delay.minimum_us * 1e3, delay.tail_us * 1e3, count, dice)


def _drawn(least: float, mean: float, count: int, dice: Generator) -> Ints:
    drawn: Ints = np.maximum((least + dice.exponential(mean, count)).astype(np.int64), 1)
    return drawn
