"""An agent starts once, holds its secret in memory, ends by its own pid, and loses nothing however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from agents import HOST, Crew, run_agent
from awaiting import until

from node_agent import lifecycle
from node_agent.contract import records
from node_agent.contract.plan import KEY_FILE, ChronoTickPlan, ClocksPlan, NtpPlan
from node_agent.datagrams.wire import Wire
from node_agent.local import machine


def events_to(worker, sender, ids):
    wire = Wire(worker.plan.run_id, bytes.fromhex(worker.key))
    for event_id in ids:
        sender.sendto(wire.event(event_id, 5, event_id - 1), (worker.plan.listen_host, worker.plan.listen_port))


def received(worker):
    return worker.status.counts["received"] if worker.status else 0


def started(worker):
    said = worker.start()
    assert said.returncode == 0, said.stderr
    return worker


def test_a_start_reports_the_pid_of_a_process_in_its_own_session_with_closed_streams(crew):
    worker = started(crew.worker())
    pid = worker.started["pid"]
    assert worker.started == {"pid": pid, "start_ticks": machine.start_ticks(pid)}
    assert os.getsid(pid) != os.getsid(0)
    assert {Path(f"/proc/{pid}/fd/{fd}").readlink() for fd in (0, 1, 2)} == {Path(os.devnull)}


def test_the_run_key_is_nowhere_to_be_seen_once_the_agent_runs(crew):
    worker = started(crew.worker())
    pid = worker.started["pid"]
    assert not (worker.run_dir / KEY_FILE).exists()
    worker.await_phase(records.READY)
    for place in (f"/proc/{pid}/cmdline", f"/proc/{pid}/environ", worker.run_dir / records.LOG_FILE):
        seen = Path(place).read_bytes()
        assert worker.key.encode() not in seen
        assert bytes.fromhex(worker.key) not in seen


def test_a_port_in_use_is_one_line_and_no_agent(crew):
    worker = crew.worker()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((worker.plan.listen_host, worker.plan.listen_port))
        said = worker.start()
    assert said.returncode == 3
    assert said.stderr == (
        f"worker: UDP port {worker.plan.listen_port} on {worker.plan.listen_host} is in use; "
        "end the program that holds it or choose another port\n"
    )
    until(lambda: not worker.alive, "the end of an agent that could not bind")
    assert not (worker.run_dir / KEY_FILE).exists()
    again = worker.start()
    assert again.returncode == 2
    assert "a start destroys it, also one that fails; deploy the run again" in again.stderr
    worker.deploy()
    started(worker)


def test_an_address_of_another_host_is_one_line(crew):
    said = crew.worker(host="127.0.66.14", listen_host="203.0.113.7", listen_port=9000).start()
    assert said.returncode == 3
    assert "203.0.113.7 is not an address of this node" in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_a_second_agent_in_a_living_ones_run_folder_is_refused(crew):
    worker = started(crew.worker())
    until(lambda: worker.status, "its first status")
    worker.deploy()
    again = run_agent("worker", "--plan", str(worker.run_dir / "plan.json"), "--detach")
    assert again.returncode == 4
    assert f"an agent is running there already (pid {worker.started['pid']})" in again.stderr
    assert len(again.stderr.splitlines()) == 1
    assert not (worker.run_dir / KEY_FILE).exists()
    assert worker.alive


@pytest.mark.parametrize(
    ("key", "complaint"),
    [(None, "expected the run key"), ("abcd", "expected 64 hex digits"), ("z" * 64, "expected 64 hex digits")],
)
def test_a_plan_without_a_whole_run_key_is_refused(crew, key, complaint):
    worker = crew.worker()
    (worker.run_dir / KEY_FILE).unlink()
    if key is not None:
        (worker.run_dir / KEY_FILE).write_text(key)
    said = worker.start()
    assert (said.returncode, len(said.stderr.splitlines())) == (2, 1)
    assert complaint in said.stderr


@pytest.mark.parametrize(
    ("text", "complaint"), [("{", "plan: expected JSON"), ('{"schema": 1}', "plan: "), (None, "No such file")]
)
def test_an_unusable_plan_is_one_line_and_exit_code_2(tmp_path, text, complaint):
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    for command in (["worker", "--detach"], ["check"]):
        said = run_agent(*command, "--plan", str(path))
        assert (said.returncode, said.stdout, len(said.stderr.splitlines())) == (2, "", 1)
        assert complaint in said.stderr


def test_stop_ends_a_working_agent_and_keeps_its_rows(crew, sender):
    worker = started(crew.worker())
    worker.await_phase(records.READY)
    events_to(worker, sender, range(1, 51))
    until(lambda: received(worker) == 50, "fifty events")
    said = json.loads(run_agent("stop", "--run-dir", str(worker.run_dir)).stdout)
    assert said == {"stopped": True, "was_alive": True, "problem": None, "death": None}
    assert not worker.alive
    assert (worker.status.phase, worker.status.outcome) == (records.FINISHED, records.FINISHED_STOPPED)
    assert len(worker.rows()) == 50


def test_stop_kills_what_does_not_listen(crew):
    worker = started(crew.worker())
    worker.signal(signal.SIGSTOP)
    said = lifecycle.stop(worker.run_dir, timeout_s=0.3)
    assert said["stopped"]
    assert "was killed" in said["problem"]
    assert not worker.alive


def test_a_worker_that_cannot_even_be_sent_to_is_named_as_silent(crew):
    """A send that fails (here: to an address that needs a permission) is no answer, and no failure of its own."""
    worker = crew.worker()
    forbidden = crew.worker("nowhere", "127.0.66.12")
    forbidden.plan = replace(forbidden.plan, listen_host="255.255.255.255")
    coordinator = crew.coordinator([worker, forbidden], 10, (5.0,), hello_timeout_s=0.5)
    crew.agents.remove(forbidden)
    crew.start()
    status = coordinator.await_phase(records.FINISHED)
    assert status.outcome == records.FINISHED_FAILED
    assert status.detail == "no answer to hello within 0.5 s from nowhere"


def test_a_recycled_pid_is_not_killed(tmp_path):
    """The recorded pid belongs to somebody else by now: its start time tells."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        try:
            ticks = machine.start_ticks(bystander.pid)
            record = {"pid": bystander.pid, "start_ticks": ticks - 1}
            (tmp_path / lifecycle.PID_FILE).write_text(json.dumps(record))
            assert lifecycle.stop(tmp_path, timeout_s=1.0) == {
                "stopped": True,
                "was_alive": False,
                "problem": None,
                "death": None,
            }
            assert bystander.poll() is None
        finally:
            bystander.communicate(b"\n")


def test_stop_destroys_a_key_that_was_never_taken(tmp_path):
    (tmp_path / KEY_FILE).write_text("00" * 32)
    lifecycle.stop(tmp_path, timeout_s=1.0)
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"pid": null, "start_ticks": 1}'])
def test_a_damaged_pid_record_kills_nobody_and_says_so(tmp_path, record):
    (tmp_path / lifecycle.PID_FILE).write_text(record)
    said = lifecycle.stop(tmp_path, timeout_s=1.0)
    assert not said["stopped"]
    assert "expected pid and start_ticks" in said["problem"]


def test_status_of_a_folder_where_nothing_worked_says_so(tmp_path):
    said = run_agent("status", "--run-dir", str(tmp_path / "nothing"))
    assert said.returncode == 0
    assert json.loads(said.stdout)["problem"].startswith("no agent has worked in")


def test_an_agent_nobody_stops_ends_with_its_lease(crew):
    worker = started(crew.worker(lease_s=0.8))
    status = worker.await_end()
    assert status.outcome == records.FINISHED_LEASE
    assert "lease" in status.detail


def test_a_killed_agent_leaves_whole_rows_and_checksums(crew, sender):
    worker = started(crew.worker())
    worker.await_phase(records.READY)
    events_to(worker, sender, range(1, 101))
    until(lambda: (worker.run_dir / records.EVENTS_FILE).read_text().count("\n") == 101, "a hundred journaled events")
    worker.signal(signal.SIGKILL)
    until(lambda: not worker.alive, "its death")
    assert [row["event_id"] for row in worker.rows()] == [str(i) for i in range(1, 101)]
    assert all(None not in row.values() and None not in row for row in worker.rows())
    assert records.NodeStatus.from_json((worker.run_dir / records.STATUS_FILE).read_text()).outcome is None
    assert run_agent("checksum", "--run-dir", str(worker.run_dir)).returncode == 0
    subprocess.run(["sha256sum", "--check", "--status", records.CHECKSUMS_FILE], cwd=worker.run_dir, check=True)
    said = json.loads(run_agent("status", "--run-dir", str(worker.run_dir)).stdout)
    assert (said["alive"], said["status"]["outcome"]) == (False, None)


def test_checksum_of_an_empty_folder_is_refused(tmp_path):
    said = run_agent("checksum", "--run-dir", str(tmp_path))
    assert said.returncode == 4
    assert "nothing to checksum" in said.stderr


def test_a_worker_counts_duplicates_once_a_row(crew, sender):
    worker = started(crew.worker())
    worker.await_phase(records.READY)
    events_to(worker, sender, [1, 2, 2, 3, 1])
    status = until(lambda: s if (s := worker.status) and s.counts["duplicate"] == 2 else None, "two duplicates")
    assert status.counts["received"] == 3
    worker.signal(signal.SIGTERM)
    worker.await_end()
    assert [row["event_id"] for row in worker.rows()] == ["1", "2", "3"]


def test_a_worker_says_what_it_waits_for(crew):
    clocks = ClocksPlan(
        ntp=NtpPlan((f"{HOST}:9",), 0.2, timeout_s=0.1),
        chronotick=ChronoTickPlan(f"http://{HOST}:9", 0.2, timeout_s=0.1),
        required=("ntp", "chronotick"),
    )
    worker = started(crew.worker(clocks=clocks))
    expected = ["ntp: timeout", "chronotick: no_connection"]
    status = until(lambda: s if (s := worker.status) and s.waiting_for == expected else None, "what it waits for")
    assert status.phase == records.STARTING


def test_a_coordinator_names_the_workers_that_do_not_answer(crew):
    worker = crew.worker()
    silent = crew.worker("comp12", "127.0.66.12")
    coordinator = crew.coordinator([worker, silent], 10, (5.0,), hello_timeout_s=0.5)
    started(worker)
    started(coordinator)
    status = coordinator.await_end()
    assert status.outcome == records.FINISHED_FAILED
    assert "no answer to hello" in status.detail
    assert "comp12" in status.detail
    assert "comp11" not in status.detail
    assert coordinator.rows() == []


def test_a_worker_without_required_sources_needs_none(crew, sender):
    worker = started(crew.worker())
    worker.await_phase(records.READY)
    events_to(worker, sender, [1])
    until(lambda: received(worker) == 1, "one event")
    worker.signal(signal.SIGINT)
    worker.await_end()
    (row,) = worker.rows()
    assert (row["ntp_status"], row["ct_status"], row["ntp_offset_ms"]) == ("not_configured", "not_configured", "")


def test_check_says_what_every_service_answers_and_changes_nothing(crew, tmp_path):
    clocks = ClocksPlan(
        ntp=NtpPlan((f"{HOST}:9",), timeout_s=0.1), chronotick=ChronoTickPlan(f"http://{HOST}:9", timeout_s=0.1)
    )
    worker = crew.worker(clocks=clocks)
    before = sorted(path.name for path in worker.run_dir.iterdir())
    said = run_agent("check", "--plan", "-", stdin=(worker.run_dir / "plan.json").read_text())
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["listen"] == {
        "host": "127.0.66.11", "port": worker.plan.listen_port, "free": True, "problem": None,
    }  # fmt: skip
    (ntp,), (tick,) = found["sources"]["ntp"], found["sources"]["chronotick"]
    assert (ntp["outcome"], ntp["offset_ms"], ntp["bound_ms"]) == ("timeout", None, None)
    assert (tick["outcome"], tick["health_ok"], tick["offset_ms"], tick["sigma_ms"]) == (
        "no_connection", False, None, None,
    )  # fmt: skip
    assert sorted(path.name for path in worker.run_dir.iterdir()) == before


def test_a_crew_is_gone_when_its_test_is_over(tmp_path):
    crew = Crew(tmp_path)
    worker = started(crew.worker())
    crew.end()
    assert not worker.alive
