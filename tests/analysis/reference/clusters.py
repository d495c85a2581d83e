"""Clusters that never were: oscillators, paths and stamps of which everything is known, as the run they would leave.

True time runs from 0 in ns. An oscillator shows ``boot + T + error(T)``; its error is a chain of straight pieces, one
per second, and steps. Every packet is stamped at its true departure and arrival, wrong by at most the stated error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.run import load
from node_agent.contract import records

SECOND = 1_000_000_000
MS = 1_000_000
US = 1_000


@dataclass
class Oscillator:
    """A node's raw oscillator and wall clock. ``steps`` and ``wall_steps`` are (true instant, by) in ns."""

    boot: int
    slopes_ppb: list[int]
    wall_error: int = 0
    steps: list[tuple[int, int]] = field(default_factory=list)
    wall_steps: list[tuple[int, int]] = field(default_factory=list)

    def raw(self, true):
        true = np.asarray(true, dtype=np.int64)
        slopes = np.array(self.slopes_ppb, dtype=np.int64)
        piece = np.clip(true // SECOND, 0, len(slopes) - 1)
        at_knots = np.concatenate([[0], np.cumsum(slopes)])[:-1]  # a slope in ppb is ns per second
        error = at_knots[piece] + (true - piece * SECOND) * slopes[piece] // SECOND
        return self.boot + true + error + sum(by * (true >= at) for at, by in self.steps)

    def wall(self, true):
        true = np.asarray(true, dtype=np.int64)
        return 1_795_000_000 * SECOND + true + self.wall_error + sum(by * (true >= at) for at, by in self.wall_steps)


@dataclass
class Cluster:
    """Nodes, one-way delays per ordered pair as (least, mean of the rest) in ns, and what is stamped how well."""

    oscillators: dict[str, Oscillator]
    delays: dict[tuple[str, str], tuple[int, int]]
    seconds: float = 3.0
    rate_hz: float = 30.0
    loss: float = 0.0
    stamp_error: int = 300
    seed: int = 1
    pairs: list[tuple[str, str]] | None = None

    def __post_init__(self):
        self.nodes = list(self.oscillators)
        self.dice = np.random.default_rng(self.seed)
        count = int(self.seconds * self.rate_hz)
        self.probes = {}
        self.longest_gap = 0
        for a, b in self.directions():
            gap = int(SECOND / self.rate_hz)
            sent = np.arange(count, dtype=np.int64) * gap + self.dice.integers(0, gap, count)
            least, more = self.delays[a, b]
            delay = least + self.dice.exponential(more, count).astype(np.int64)
            arrives = self.dice.random(count) >= self.loss
            self.probes[a, b] = (sent, sent + delay, arrives)
            kept = sent[arrives]
            self.longest_gap = max(self.longest_gap, int(np.diff(kept).max()) if len(kept) > 1 else 0)

    def directions(self):
        return [
            (a, b)
            for a in self.nodes
            for b in self.nodes
            if a != b and (self.pairs is None or (a, b) in self.pairs or (b, a) in self.pairs)
        ]

    def round_trip(self):
        """Return the longest round trip of all, as probes can tell it: with stamp errors, and drift between probes."""
        longest = {way: int((came - left).max()) for way, (left, came, _) in self.probes.items()}
        delays = max(longest[a, b] + longest[b, a] for a, b in longest)
        return delays + 8 * self.stamp_error + 2 * self.longest_gap // 2500  # two gaps, at 2 x 200 ppm

    def drop_steps_that_no_probe_shows(self):
        """Drop the steps that the probes of a pair cannot tell from none (METHODOLOGY, "what it cannot prove").

        Of the oscillator's times before and after a step, a probe was sent in the one in which it was ahead, and one
        was received in the other, each within a time in which neither node stepped.
        """
        while hidden := [step for way in self.directions() for step in self._steps_not_shown(*way)]:
            for clock in self.oscillators.values():
                clock.steps = [step for step in clock.steps if step not in hidden]

    def _steps_not_shown(self, a, b):
        """Return the steps of either node that no two probes, one each way and on either side of them, show."""
        steps = [(at, -by, by) for at, by in self.oscillators[a].steps]
        steps = sorted(steps + [(at, by, by) for at, by in self.oscillators[b].steps])
        edges = [0, *(at for at, _, _ in steps), int(self.seconds * SECOND)]
        hidden = []
        for place, (at, theta_by, by) in enumerate(steps):
            before, after = (edges[place], at), (at, edges[place + 2])
            low, high = (before, after) if theta_by > 0 else (after, before)
            if not (self._probed((a, b), *low) and self._probed((b, a), *high)):
                hidden.append((at, by))
        return hidden

    def _probed(self, way, begin, end):
        left, came, arrives = self.probes[way]
        return bool((arrives & (left > begin) & (came < end)).any())

    def stamp(self, node, true):
        """Return raw stamps of true instants, wrong by at most ``stamp_error``, and that bound."""
        error = self.dice.integers(0, self.stamp_error + 1, len(true))
        sign = self.dice.choice(np.array([-1, 1]), len(true))
        return self.oscillators[node].raw(true) + sign * error, np.full(len(true), self.stamp_error)

    def run(self):
        """Return the run that this cluster leaves."""
        rows = {node: [] for node in self.nodes}
        for (a, b), (left, came, arrives) in self.probes.items():
            sequence = np.arange(len(left))
            rows[a].append(self._rows(a, b, "tx", sequence, left))
            rows[b].append(self._rows(b, a, "rx", sequence[arrives], came[arrives]))
        probes = {node: pd.concat(parts, ignore_index=True) for node, parts in rows.items() if parts}
        head, *workers = self.nodes
        events = np.sort(self.dice.integers(0, int(self.seconds * SECOND), 60))
        sends, receipts = [], {}
        for worker in workers:
            least, more = self.delays[head, worker]
            came = events + least + self.dice.exponential(more, len(events)).astype(np.int64)
            sends.append(self._stamped(head, events, "send") | {"worker_id": worker, "event_id": np.arange(60)})
            receipts[worker] = pd.DataFrame(
                self._stamped(worker, came, "receive") | {"event_id": np.arange(60), "node_id": worker}
            )
        pairs = {}
        for node, clock in self.oscillators.items():
            true = np.arange(0, int(self.seconds * SECOND), 100 * MS)
            pairs[node] = _integers(
                {
                    "raw_before_ns": clock.raw(true) - 200,
                    "wall_ns": clock.wall(true),
                    "raw_after_ns": clock.raw(true) + 200,
                }
            )
        return load.Run(
            path=Path("in-memory"),
            manifest=self.manifest(),
            coordinator=pd.DataFrame({"event_id": np.arange(60)}),
            workers=receipts,
            sends=pd.concat([_integers(part) for part in sends], ignore_index=True) if sends else pd.DataFrame(),
            samples={},
            commit_wait={},
            clock_pairs=pairs,
            probes=probes,
        )

    def manifest(self, **status):
        nodes = {
            node: records.NodeManifest(
                node_id=node,
                role="worker" if place else "coordinator",
                host=node,
                status={"boot_id": status.get("boot_id", f"boot-{node}")},
            )
            for place, node in enumerate(self.nodes)
        }
        return records.Manifest(
            run_id="ab" * 16,
            experiment="in-memory",
            cluster="test",
            phase=records.COLLECTED,
            outcome=records.RUN_OK,
            created_utc="2026-11-23T20:00:00Z",
            code_version={},
            argv=[],
            config={},
            nodes=nodes,
        )

    def _rows(self, node, peer, direction, sequence, true):
        raw, error = self.stamp(node, true)
        frame = _integers(
            {
                "sequence": sequence,
                "wall_ns": self.oscillators[node].wall(true),
                "raw_ns": raw,
                "raw_error_ns": error,
            }
        )
        origin = records.KERNEL_TX if direction == "tx" else records.KERNEL_RX
        return frame.assign(
            peer=pd.array([peer] * len(frame), dtype="string"),
            direction=pd.array([direction] * len(frame), dtype="string"),
            origin=origin,
        )

    def _stamped(self, node, true, kind):
        raw, error = self.stamp(node, true)
        return {
            f"{kind}_time_ns": self.oscillators[node].wall(true),
            f"{kind}_raw_ns": raw,
            f"{kind}_raw_error_ns": error,
        }


def _integers(columns):
    return pd.DataFrame(
        {
            name: pd.array(values, dtype="Int64") if not isinstance(values, str) else values
            for name, values in columns.items()
        }
    )


APART, CLOSE, ENDS, BACK = "apart", "close", "ends", "back"


def _when(dice, number, where):
    """Draw the instant of a step, in s of 3: apart from the others, close to them, near an end, or anywhere."""
    if where == CLOSE:
        return 1.5 + dice.normal(0, 0.1)
    if where == ENDS:
        return 0.3 * dice.random() + 2.7 * (dice.random() < 0.5)
    if where == BACK:
        return 3.0 * dice.random()
    return 0.6 + 1.2 * number + 0.6 * dice.random()


def random_cluster(seed, *, count=None, steps=0, where=APART, wall_steps=0, loss=None, stamp_error=None, pairs=None):
    """Draw a cluster whose oscillators stay within 200 ppm of each other, save for steps of 3 to 300 round trips.

    Steps are ``where`` says; with BACK each is undone within 0.3 s. Those that no probe shows are left out.
    """
    dice = np.random.default_rng(seed)
    count = int(dice.integers(2, 9)) if count is None else count
    nodes = [f"n{place}" for place in range(count)]
    seconds = 3.0
    clocks = {
        node: Oscillator(
            boot=int(dice.integers(0, 10**15)),
            slopes_ppb=dice.integers(-99_000, 99_001, int(seconds) + 2).tolist(),
            wall_error=int(dice.integers(-100 * MS, 100 * MS)),
        )
        for node in nodes
    }
    delays = {
        (a, b): (int(dice.integers(0, 200 * US)), int(dice.integers(1, 200 * US)))
        for a in nodes
        for b in nodes
        if a != b
    }
    cluster = Cluster(
        clocks,
        delays,
        seconds=seconds,
        rate_hz=float(dice.uniform(20, 50)),
        loss=float(dice.uniform(0, 0.3)) if loss is None else loss,
        stamp_error=int(dice.integers(0, 2 * US)) if stamp_error is None else stamp_error,
        seed=seed,
        pairs=pairs,
    )
    for number in range(steps):
        clock = clocks[nodes[int(dice.integers(0, count))]]
        size = int(cluster.round_trip() * 10 ** dice.uniform(np.log10(3), 2.5))
        at = int(_when(dice, number, where) * SECOND)
        by = size if dice.random() < 0.5 else -size
        clock.steps.append((at, by))
        if where == BACK:
            clock.steps.append((at + int(0.3 * dice.random() ** 2 * SECOND), -by))
    cluster.drop_steps_that_no_probe_shows()
    for _ in range(wall_steps):
        clock = clocks[nodes[int(dice.integers(0, count))]]
        size = int(dice.integers(5 * MS, 500 * MS))
        clock.wall_steps.append((int(dice.uniform(0.3, 2.7) * SECOND), size if dice.random() < 0.5 else -size))
    return cluster
