"""Two workers and a coordinator, from plans to journals, beside real time services: one run, seen from all sides."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from agents import RUN_ID, Agent, Crew, VirtualClock, run_agent, service

from node_agent.clocks.virtual import true_from_wall
from node_agent.contract import records
from node_agent.contract.plan import KEY_FILE, ChronoTickPlan, ClocksPlan, NtpPlan
from node_agent.datagrams.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = 200
DELAYS_MS = (10.0, 5.0, 5.0, 5.0)
ERRORS = {"comp11": (12.5, 18.0), "comp12": (-7.25, -11.0), "comp18": (3.0, 4.0)}
HOSTS = {"comp11": "127.0.66.11", "comp12": "127.0.66.12", "comp18": "127.0.66.18"}
NOISE = 3  # datagrams of each unwanted kind that each worker is sent before the run


@dataclass
class Run:
    """What the run left behind."""

    workers: list[Agent]
    coordinator: Agent
    statuses: dict[str, records.NodeStatus]
    clocks: dict[str, VirtualClock]

    @property
    def agents(self) -> list[Agent]:
        return [*self.workers, self.coordinator]


def make_noise(worker: Agent, sender) -> None:
    """Send what is not of the run: foreign, forged, malformed, oversized; and wait for none of it."""
    key = bytes.fromhex(worker.key)
    foreign = Wire("cd" * 16, key).event(1, 2, 3)
    forged = Wire(RUN_ID, bytes(32)).event(1, 2, 3)
    malformed = Wire(RUN_ID, key)._tag(b"TEST") + b"TEST"
    for datagram in (foreign, forged, malformed, bytes(worker.plan.buffer_size + 1)):
        for _ in range(NOISE):
            sender.sendto(datagram, (worker.plan.listen_host, worker.plan.listen_port))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Iterator[Run]:
    epoch = time.time_ns()
    clocks = {name: VirtualClock(epoch, error, drift) for name, (error, drift) in ERRORS.items()}
    with service("time_services.ntp_server") as (_, ntp), service("time_services.chronotick_server") as (_, tick):
        plan = ClocksPlan(
            ntp=NtpPlan((ntp,), query_interval_s=0.5),
            chronotick=ChronoTickPlan(f"http://{tick}", query_interval_s=0.5),
            required=("ntp", "chronotick"),
        )
        crew = Crew(tmp_path_factory.mktemp("run") / "with a space", plan)
        try:
            workers = [crew.worker(name, HOSTS[name], virtual_clock=clocks[name]) for name in ("comp11", "comp12")]
            for worker in workers:
                assert worker.start().returncode == 0
            for worker in workers:
                worker.await_phase(records.READY)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for worker in workers:
                    make_noise(worker, sender)
            coordinator = crew.coordinator(workers, EVENTS, DELAYS_MS, virtual_clock=clocks["comp18"])
            assert coordinator.start().returncode == 0
            statuses = {agent.node_id: agent.await_end() for agent in crew.agents}
            yield Run(workers, coordinator, statuses, clocks)
        finally:
            crew.end()


def test_every_agent_ends_well(run):
    for status in run.statuses.values():
        assert (status.phase, status.outcome) == (records.FINISHED, records.FINISHED_OK), status.detail


def test_every_event_reaches_every_worker(run):
    assert run.statuses["comp18"].counts["sent"] == EVENTS
    for worker in run.workers:
        counts = run.statuses[worker.node_id].counts
        assert (counts["received"], counts["lost"], counts["kernel_dropped"], counts["duplicate"]) == (EVENTS, 0, 0, 0)
        assert sorted(int(row["event_id"]) for row in worker.rows()) == list(range(1, EVENTS + 1))


def test_the_journals_have_exactly_the_columns_of_the_records(run):
    for agent in run.agents:
        assert agent.columns(records.EVENTS_FILE) == records.events_columns(agent.plan.role)
        assert agent.columns(records.SAMPLES_FILE) == records.SAMPLES_COLUMNS
        assert agent.columns(records.COMMIT_WAIT_FILE) == records.COMMIT_WAIT_COLUMNS
        assert agent.columns(records.CLOCK_PAIRS_FILE) == records.CLOCK_PAIRS_COLUMNS
    assert run.coordinator.columns(records.SENDS_FILE) == records.SENDS_COLUMNS


def test_what_is_not_of_the_run_is_counted_and_makes_no_row(run):
    for worker in run.workers:
        counts = run.statuses[worker.node_id].counts
        seen = {kind: counts[kind] for kind in ("foreign", "bad_tag", "malformed", "oversized")}
        assert seen == dict.fromkeys(seen, NOISE)


def test_every_reading_is_there_and_contains_the_truth(run):
    """Against the injected clock errors: NTP's guarantee always, ChronoTick's three sigmas nearly always."""
    for agent in run.agents:
        clock = run.clocks[agent.node_id]
        stamp = "send" if agent is run.coordinator else "receive"
        inside = Counter()
        rows = agent.stamped()
        for row in rows:
            true_ns = true_from_wall(clock, int(row[f"{stamp}_time_ns"]))
            for prefix in ("ntp", "ct"):
                assert row[f"{prefix}_status"] == records.OK
                low, high = int(row[f"{prefix}_lower_bound_ns"]), int(row[f"{prefix}_upper_bound_ns"])
                inside[prefix] += low <= true_ns + 1 and true_ns <= high
                assert low <= int(row[f"{prefix}_timestamp_ns"]) <= high
        assert inside["ntp"] == len(rows)
        assert inside["ct"] >= 0.9 * len(rows)


def test_bounds_a_hundred_times_narrower_would_not_contain_the_truth(run):
    """The negative control: the test above can fail."""
    outside = 0
    for worker in run.workers:
        for row in worker.stamped():
            true_ns = true_from_wall(run.clocks[worker.node_id], int(row["receive_time_ns"]))
            half = (int(row["ntp_upper_bound_ns"]) - int(row["ntp_lower_bound_ns"])) // 200
            outside += abs(int(row["ntp_timestamp_ns"]) - true_ns) > half
    assert outside > EVENTS / 10


def test_the_offset_column_is_the_estimate_minus_the_local_stamp(run):
    for worker in run.workers:
        for row in worker.stamped():
            offset_ns = int(row["ntp_timestamp_ns"]) - int(row["receive_time_ns"])
            assert float(row["ntp_offset_ms"]) * 1e6 == pytest.approx(offset_ns, abs=1)
        error_ms = ERRORS[worker.node_id][0]
        assert float(worker.stamped()[0]["ntp_offset_ms"]) == pytest.approx(-error_ms, abs=2.0)


def test_stamps_are_the_kernels_and_say_how_wrong_their_raw_half_is(run):
    for worker in run.workers:
        origins = Counter(row["receive_origin"] for row in worker.rows())
        assert origins == {records.KERNEL_RX: EVENTS}
        assert all(int(row["receive_raw_error_ns"]) >= 0 for row in worker.rows())
    origins = Counter(row["send_origin"] for row in run.coordinator.rows(records.SENDS_FILE))
    assert origins[records.KERNEL_TX] >= 0.8 * 2 * EVENTS
    user = origins[records.USER]
    assert user == run.statuses["comp18"].counts["user_stamps"] == 2 * EVENTS - origins[records.KERNEL_TX]


def test_sends_has_one_row_per_event_and_worker(run):
    sends = run.coordinator.rows(records.SENDS_FILE)
    assert Counter((row["event_id"], row["worker_id"]) for row in sends) == Counter(
        (str(event), worker) for event in range(1, EVENTS + 1) for worker in ("comp11", "comp12")
    )
    assert all(row["error"] == "" for row in sends)


def test_an_event_is_sent_when_its_earliest_kernel_stamp_says(run):
    earliest: dict[str, int] = {}
    for row in run.coordinator.rows(records.SENDS_FILE):
        if row["send_origin"] == records.KERNEL_TX:
            at = int(row["send_time_ns"])
            earliest[row["event_id"]] = min(at, earliest.get(row["event_id"], at))
    rows = [row for row in run.coordinator.rows() if row["send_origin"] == records.KERNEL_TX]
    assert [int(row["send_time_ns"]) for row in rows] == [earliest[row["event_id"]] for row in rows]
    assert all(row["workers_sent"] == "comp11;comp12" and row["workers_failed"] == "" for row in run.coordinator.rows())


def test_events_are_planned_on_the_schedule_and_never_sent_before(run):
    rows = run.coordinator.rows()
    planned = [int(row["planned_send_time_ns"]) for row in rows]
    for row, (offset_ns, delay_ms), at in zip(rows, run.coordinator.plan.broadcast.schedule(), planned):
        assert at - planned[0] == pytest.approx(offset_ns, abs=1_000_000)
        assert float(row["pattern_delay_ms"]) == delay_ms
        assert int(row["send_time_ns"]) >= at - 1_000_000
    assert [int(row["sequence_number"]) for row in rows] == list(range(EVENTS))


def test_in_true_time_no_event_arrives_before_it_was_sent(run):
    sent = {
        (row["event_id"], row["worker_id"]): true_from_wall(run.clocks["comp18"], int(row["send_time_ns"]))
        for row in run.coordinator.rows(records.SENDS_FILE)
    }
    for worker in run.workers:
        for row in worker.rows():
            arrived = true_from_wall(run.clocks[worker.node_id], int(row["receive_time_ns"]))
            assert arrived >= sent[row["event_id"], worker.node_id] - 2


def test_a_worker_keeps_the_coordinators_own_stamp_of_the_payload(run):
    kernel = {row["event_id"]: int(row["send_time_ns"]) for row in run.coordinator.rows()}
    for worker in run.workers:
        for row in worker.rows():
            assert 0 <= kernel[row["event_id"]] - int(row["coordinator_send_time_ns"]) < 1_000_000_000


def test_every_event_is_measured_again_after_every_delay_and_not_before(run):
    for agent in run.agents:
        rows = [row for row in agent.rows(records.COMMIT_WAIT_FILE) if row["kind"] == records.REMEASURE]
        for source in ("ntp", "chronotick"):
            times = Counter((row["event_id"], row["delay_s"]) for row in rows if row["source"] == source)
            assert times == Counter((row["event_id"], d) for row in agent.stamped() for d in ("0.3", "0.6"))
        assert all(int(row["done_raw_ns"]) >= int(row["due_raw_ns"]) for row in rows)
        assert all(row["status"] == records.OK and row["uncertainty_ms"] for row in rows)
        assert run.statuses[agent.node_id].counts["remeasured"] == 2 * len(agent.stamped())


def test_held_events_are_released_once_their_timestamp_has_certainly_passed(run):
    for agent in run.agents:
        rows = [row for row in agent.rows(records.COMMIT_WAIT_FILE) if row["kind"] == records.COMMIT]
        for source in ("ntp", "chronotick"):
            ends = {row["event_id"]: row for row in rows if row["source"] == source and row["released_ns"]}
            assert set(ends) == {row["event_id"] for row in rows if row["source"] == source} != set()
            assert all(row["status"] == records.OK for row in ends.values())
            assert all(int(row["released_ns"]) > int(row["assigned_ns"]) for row in ends.values())


def test_remeasurements_join_the_events_as_columns(run):
    worker = run.workers[0]
    joined = list(records.join_commit_wait(worker.rows(), worker.rows(records.COMMIT_WAIT_FILE), (0.3, 0.6)))
    assert [row["event_id"] for row in joined] == [row["event_id"] for row in worker.rows()]
    for row in joined:
        assert bool(row["receive_raw_ns"]) == bool(row["ct_uncertainty_0.3s_ms"]) == bool(row["ct_uncertainty_0.6s_ms"])


def test_every_reading_names_a_good_sample_published_before_its_stamp(run):
    for agent in run.agents:
        samples = {row["sample_id"]: row for row in agent.rows(records.SAMPLES_FILE)}
        stamp = "send" if agent is run.coordinator else "receive"
        for row in agent.stamped():
            for prefix in ("ntp", "ct"):
                sample = samples[row[f"{prefix}_sample_id"]]
                assert sample["outcome"] == records.OK
                assert int(sample["published_raw_ns"]) <= int(row[f"{stamp}_raw_ns"])


def test_clock_pairs_come_five_times_a_second_or_more(run):
    for agent in run.agents:
        raws = [int(row["raw_before_ns"]) for row in agent.rows(records.CLOCK_PAIRS_FILE)]
        assert raws == sorted(raws)
        assert (raws[-1] - raws[0]) / len(raws) <= 200_000_000


def test_the_checksums_are_those_of_sha256sum(run):
    for agent in run.agents:
        assert run_agent("checksum", "--run-dir", str(agent.run_dir)).returncode == 0
        checked = subprocess.run(
            ["sha256sum", "--check", "--strict", "--quiet", records.CHECKSUMS_FILE],
            cwd=agent.run_dir, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
        listed = (agent.run_dir / records.CHECKSUMS_FILE).read_text()
        assert all(name in listed for name in (records.EVENTS_FILE, records.LOG_FILE, records.STATUS_FILE))


def test_a_finished_agent_is_neither_alive_nor_stoppable_and_says_so(run):
    said = json.loads(run_agent("status", "--run-dir", str(run.coordinator.run_dir)).stdout)
    assert (said["alive"], said["problem"], said["status"]["outcome"]) == (False, None, "ok")
    for _ in range(2):
        stopped = json.loads(run_agent("stop", "--run-dir", str(run.coordinator.run_dir)).stdout)
        assert stopped == {"stopped": True, "was_alive": False, "problem": None, "death": None}


def test_the_run_key_is_on_no_disk_after_the_start(run):
    for agent in run.agents:
        assert not (agent.run_dir / KEY_FILE).exists()
        for path in agent.run_dir.iterdir():
            assert agent.key not in path.read_text(), path


def test_what_an_agent_writes_is_for_its_owner_alone(run):
    for agent in run.agents:
        for name in (records.EVENTS_FILE, records.SAMPLES_FILE, records.LOG_FILE, records.STATUS_FILE):
            assert (agent.run_dir / name).stat().st_mode & 0o077 == 0, name


def test_a_status_tells_who_the_node_is(run):
    for agent in run.agents:
        status = run.statuses[agent.node_id]
        assert (status.run_id, status.role) == (RUN_ID, agent.plan.role)
        assert status.listen.startswith(f"{agent.plan.listen_host}:")
        assert status.python == sys.version.split()[0]
        assert status.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert status.sources["ntp"].samples > 0


def test_a_second_agent_in_a_used_run_folder_is_refused(run):
    agent = run.workers[0]
    agent.deploy()
    events = (agent.run_dir / records.EVENTS_FILE).read_bytes()
    said = agent.start()
    assert said.returncode == 4
    assert not (agent.run_dir / KEY_FILE).exists()
    assert "a run has been recorded there" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert (agent.run_dir / records.EVENTS_FILE).read_bytes() == events
