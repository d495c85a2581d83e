"""Two whole runs with equal names at one ChronoTick server, one of them hostile: the honest one does not notice.

The hostile run has another key. Its agents' wall clocks are a day ahead, and its NTP server is wrong by 900 ms. Besides
somebody floods the server from the same address in the honest nodes' names, until that address's rate is used up.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass, field

import httpx
import pytest
from agents import RUN_ID, Agent, Crew, VirtualClock, service
from awaiting import until

from node_agent.clocks.virtual import true_from_wall
from node_agent.contract import records
from node_agent.contract.plan import ChronoTickPlan, ClocksPlan, NtpPlan
from time_services.chronotick.node_states import PROVEN_AFTER

EVENTS = 300
DELAYS_MS = (25.0,)
ERRORS = {"comp11": (12.5, 18.0), "comp12": (-7.25, -11.0), "comp18": (3.0, 4.0)}
DAY_MS = 86_400_000.0
LIE_MS = 900.0
RATE = 30  # requests a second that one address may make at this server; six agents make 24
FLOOD_RATE = 75  # of each who floods, at most, a second
FLOODING = 4  # at once, so that a busy machine, too, uses the rate up
HONEST = {"comp11": "127.0.66.31", "comp12": "127.0.66.32", "comp18": "127.0.66.38"}
HOSTILE = {"comp11": "127.0.66.41", "comp12": "127.0.66.42", "comp18": "127.0.66.48"}
MS = 1_000_000


@dataclass
class Seen:
    """What a run saw: the shares of readings available and of those that hold the truth, by node and source."""

    available: dict[tuple[str, str], float] = field(default_factory=dict)
    coverage: dict[tuple[str, str], float] = field(default_factory=dict)
    errors_ms: list[float] = field(default_factory=list)  # of ChronoTick's estimates
    failures: set[str] = field(default_factory=set)  # outcomes of questions to ChronoTick, once there was an answer
    restarts: set[int] = field(default_factory=set)


class Flood(threading.Thread):
    """Asks in the honest nodes' names, with a tag of no key or none, and talks nonsense, as fast as it is answered."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._over = threading.Event()
        self.statuses: set[int] = set()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10, trust_env=False) as web:
            for count in itertools.count():
                if self._over.wait(1 / FLOOD_RATE):
                    break
                self.statuses.add(web.post("/get_time", content=self._question(count)).status_code)

    def _question(self, count: int) -> bytes:
        if count % 3 == 0:
            return b'{"node_id": "comp11", "instant_ns": '
        raw_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) + count
        sample = {"raw_ns": raw_ns, "offset_ms": LIE_MS, "delay_ms": 0.01, "bound_ms": 0.01}
        tagged = {"tag": "f" * 32} if count % 3 == 1 else {}
        asked = {
            "node_id": list(HONEST)[count // 3 % len(HONEST)], "run_id": RUN_ID, "raw_ns": raw_ns,
            "instant_ns": time.time_ns() + int(DAY_MS) * MS, "use_dual_model": True, "ntp_samples": [sample], **tagged,
        }  # fmt: skip
        return json.dumps(asked).encode()

    def end(self) -> None:
        self._over.set()
        self.join(30)
        assert not self.is_alive()


def crew_at(folder, ntp: str, tick: str) -> Crew:
    clocks = ClocksPlan(
        ntp=NtpPlan((ntp,), query_interval_s=0.25, valid_for_s=3.0),
        chronotick=ChronoTickPlan(f"http://{tick}", query_interval_s=0.25, valid_for_s=3.0),
        required=("ntp", "chronotick"),
    )
    return Crew(folder, clocks)


def begin(crew: Crew, hosts: dict[str, str], clocks: dict[str, VirtualClock]) -> None:
    """Start the agents of a run: its workers, and when they are ready its coordinator."""
    workers = [crew.worker(name, hosts[name], virtual_clock=clocks[name]) for name in ("comp11", "comp12")]
    for worker in workers:
        assert worker.start().returncode == 0
    for worker in workers:
        worker.await_phase(records.READY)
    changes = {"listen_host": hosts["comp18"], "virtual_clock": clocks["comp18"]}
    assert crew.coordinator(workers, EVENTS, DELAYS_MS, **changes).start().returncode == 0


def answers(agent: Agent) -> int:
    """Return how many good answers of ChronoTick an agent says it has had."""
    known = agent.status and agent.status.sources.get("chronotick")
    return known.samples - known.failures if known else 0


def seen_by(crew: Crew, clocks: dict[str, VirtualClock]) -> Seen:
    """Judge what a run's agents stamped by the errors of their clocks."""
    seen = Seen()
    for agent in crew.agents:
        stamp = "send" if agent.node_id == "comp18" else "receive"
        rows = agent.stamped()
        for prefix in ("ntp", "ct"):
            good = [row for row in rows if row[f"{prefix}_status"] == records.OK]
            truths = [true_from_wall(clocks[agent.node_id], int(row[f"{stamp}_time_ns"])) for row in good]
            ends = [(int(row[f"{prefix}_lower_bound_ns"]), int(row[f"{prefix}_upper_bound_ns"])) for row in good]
            held = [low <= true + 1 and true <= high for (low, high), true in zip(ends, truths, strict=True)]
            seen.available[agent.node_id, prefix] = len(good) / len(rows)
            seen.coverage[agent.node_id, prefix] = sum(held) / len(held)
            if prefix == "ct":
                estimates = [int(row["ct_timestamp_ns"]) for row in good]
                seen.errors_ms += [(est - true) / MS for est, true in zip(estimates, truths, strict=True)]
        asked = [row for row in agent.rows(records.SAMPLES_FILE) if row["source"] == "chronotick"]
        outcomes = [row["outcome"] for row in asked]
        seen.failures |= set(outcomes[outcomes.index(records.OK) :]) - {records.OK}
        seen.restarts |= {json.loads(row["payload"])["restarts"] for row in asked if row["outcome"] == records.OK}
    return seen


def metrics_of(tick: str) -> dict[str, float]:
    """Return the server's counts; its answer is waited for until the address has a request left."""
    told = until(lambda: (said := httpx.get(f"http://{tick}/metrics")).status_code == 200 and said, "the metrics")
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in told.text.splitlines() if not line.startswith("#"))
    }


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "beside a hostile run"])
def honest(request, tmp_path_factory):
    """Yield whether a run was beside a hostile one, what it saw, what that one saw, and the server's counts."""
    beside, folder, epoch = request.param, tmp_path_factory.mktemp("runs"), time.time_ns()
    clocks = {name: VirtualClock(epoch, error, drift) for name, (error, drift) in ERRORS.items()}
    ahead = {name: VirtualClock(epoch, error + DAY_MS, -drift) for name, (error, drift) in ERRORS.items()}
    limits = ("--client-rate", str(RATE))
    with (
        service("time_services.ntp_server") as (_, ntp),
        service("time_services.ntp_server", arguments=("--error-ms", str(LIE_MS))) as (_, wrong_ntp),
        service("time_services.chronotick_server", arguments=limits) as (_, tick),
    ):
        mine, theirs = crew_at(folder / "mine", ntp, tick), crew_at(folder / "theirs", wrong_ntp, tick)
        floods = [Flood(f"http://{tick}") for _ in range(FLOODING)]
        try:
            if beside:
                begin(theirs, HOSTILE, ahead)
            begin(mine, HONEST, clocks)
            until(lambda: all(answers(agent) > PROVEN_AFTER for agent in mine.agents), "the honest nodes are known")
            for flood in floods if beside else ():
                flood.start()
            for agent in mine.agents:
                assert agent.await_end().outcome == records.FINISHED_OK, agent.status
            for flood in floods if beside else ():
                flood.end()
            for agent in theirs.agents:
                agent.await_end()
            hostile = seen_by(theirs, ahead) if beside else None
            flooded = set().union(*(flood.statuses for flood in floods))
            yield beside, seen_by(mine, clocks), hostile, metrics_of(tick), flooded
        finally:
            mine.end()
            theirs.end()


def test_the_honest_run_reads_both_clocks_all_the_time(honest):
    _, seen, *_ = honest
    assert seen.available == dict.fromkeys(seen.available, 1.0)
    assert len(seen.available) == 6


def test_its_intervals_hold_the_truth(honest):
    """NTP's guarantee always, ChronoTick's three sigmas nearly always; no estimate is drawn to the other's samples."""
    _, seen, *_ = honest
    for (_node, prefix), share in seen.coverage.items():
        assert share >= {"ntp": 1.0, "ct": 0.9}[prefix], (
            seen.coverage
        )  # the coordinator's first answers are of few samples
    assert max(map(abs, seen.errors_ms)) < 1.0


def test_no_question_of_it_is_refused_and_nothing_begins_anew(honest):
    _, seen, *_ = honest
    assert seen.failures == set()
    assert seen.restarts == {0}


def test_the_hostile_run_has_answers_of_its_own(honest):
    """The negative control: what the other run feeds is a day and 900 ms away, and the server learnt it."""
    beside, _, hostile, *_ = honest
    if beside:
        assert hostile.available["comp11", "ct"] > 0
        assert hostile.errors_ms == pytest.approx([LIE_MS] * len(hostile.errors_ms), abs=1.0)


def test_the_server_counts_whom_it_refused_and_whom_it_knows(honest):
    beside, _, _, counts, flooded = honest
    assert counts['chronotick_nodes{kind="tagged"}'] == (9 if beside else 3)
    assert counts['chronotick_nodes{kind="untagged"}'] == (3 if beside else 0)
    if beside:
        assert flooded >= {400, 429}
        assert counts['chronotick_requests_total{status="400"}'] > 0
        assert counts['chronotick_requests_total{status="429"}'] > 0
    else:
        assert 'chronotick_requests_total{status="429"}' not in counts
