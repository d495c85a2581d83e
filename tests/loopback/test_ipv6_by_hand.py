"""One run over IPv6 alone, and agents by hand that speak both families: what IPv4 does, IPv6 does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
from agents import Crew, free_port, run_agent, service
from test_by_hand import worker_by_hand

from node_agent.contract import records
from node_agent.contract.plan import ChronoTickPlan, ClocksPlan, NtpPlan, ProbePeer, ProbesPlan

EVENTS = 20


@pytest.fixture(autouse=True)
def ipv6() -> None:
    try:
        free_port("::1")
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine's loopback: {error}")


def probes(index: int, port: int, peer: str, peer_port: int) -> ProbesPlan:
    return ProbesPlan(index, (ProbePeer(peer, "::1", peer_port, 1 - index),), port, 50.0, 0.1, 0.1)


def test_a_run_over_ipv6_alone_has_every_stamp_sample_and_probe(tmp_path):
    """Events and probes have kernel stamps at both ends, both time services answer, and addresses have brackets."""
    with (
        service("time_services.ntp_server", "::1") as (_, ntp),
        service("time_services.chronotick_server", "::1") as (_, tick),
    ):
        assert ntp.startswith("[::1]:")
        sources = ClocksPlan(
            ntp=NtpPlan((ntp,), query_interval_s=0.2),
            chronotick=ChronoTickPlan(f"http://{tick}", query_interval_s=0.2),
            required=("ntp", "chronotick"),
        )
        crew, ports = Crew(tmp_path / "runs", sources), (free_port("::1"), free_port("::1"))
        try:
            worker = crew.worker(host="::1", probes=probes(0, ports[0], "comp18", ports[1]))
            coordinator = crew.coordinator(
                [worker], EVENTS, (5.0,), listen_host="::1", probes=probes(1, ports[1], "comp11", ports[0])
            )
            crew.start()
            statuses = [agent.await_end() for agent in crew.agents]
        finally:
            crew.end()
    assert [status.outcome for status in statuses] == [records.FINISHED_OK] * 2, statuses
    assert all(status.listen.startswith("[::1]:") for status in statuses)
    assert [row["receive_origin"] for row in worker.rows()] == ["kernel_rx"] * EVENTS
    assert [row["send_origin"] for row in coordinator.rows(records.SENDS_FILE)] == ["kernel_tx"] * EVENTS
    for agent in crew.agents:
        samples = [row for row in agent.rows(records.SAMPLES_FILE) if row["outcome"] == "ok"]
        assert {row["source"] for row in samples} == {"ntp", "chronotick"}
        assert {row["address"] for row in samples if row["source"] == "ntp"} == {ntp}
        origins = {(row["direction"], row["origin"]) for row in agent.rows(records.PROBES_FILE)}
        assert {("tx", "kernel_tx"), ("rx", "kernel_rx")} <= origins


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_a_worker_by_hand_on_every_address_of_both_families_hears_both(tmp_path, host):
    """`--listen-host ::` takes IPv6 and IPv4; a coordinator by hand sends to `[::1]:P` and to `127.0.0.1:P`."""
    with worker_by_hand(tmp_path, host="::") as worker:
        place = f"[{host}]:{worker.port}" if ":" in host else f"{host}:{worker.port}"
        options = ["--workers", place, "--num-events", "5", "--delay-ms", "1", "--output", str(tmp_path / "c.csv")]
        said = run_agent("coordinator", *options)
        assert said.returncode == 0, said.stderr
        worker.await_count("received", 5)
        _code, text = worker.stop(signal.SIGINT)
    assert f"on [::]:{worker.port}" in text
    assert len(worker.rows()) == 5


def test_a_worker_by_hand_on_one_ipv6_address_asks_ntp_by_ipv6(tmp_path):
    """`--listen-host ::1` and `--ntp-server [::1]:P` work as their IPv4 forms do."""
    with (
        service("time_services.ntp_server", "::1") as (_, ntp),
        worker_by_hand(tmp_path, "--ntp-server", ntp, host="[::1]") as worker,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
    ):
        sender.sendto(b'{"event_id":1,"coordinator_timestamp_ns":5,"sequence_number":0}', ("::1", worker.port))
        worker.await_count("received", 1)
        code, said = worker.stop(signal.SIGINT)
    assert (code, "ntp=ok" in said) == (0, True), said
    assert len(worker.rows()) == 1


def test_families_that_do_not_meet_are_one_line(tmp_path):
    """An agent that listens on an IPv4 address cannot send to an IPv6 one, and says what to do."""
    options = ["--listen-host", "127.0.0.1", "--workers", "[::1]:9", "--output", str(tmp_path / "c.csv")]
    said = run_agent("coordinator", *options)
    assert said.returncode == 2
    (line,) = [line for line in said.stderr.splitlines() if "expected an IPv4 address" in line]
    assert "got ::1; give all nodes addresses of one family (by hand: --listen-host :: takes both)" in line


def test_a_machine_without_ipv6_says_so(tmp_path):
    """Where the kernel has no IPv6, binding an address of it is one line, not the C library's words alone."""
    script = (
        "import errno, socket, sys\nreal = socket.socket\n"
        "def made(family=-1, *rest, **more):\n"
        "    if family == socket.AF_INET6: raise OSError(errno.EAFNOSUPPORT, 'Address family not supported')\n"
        "    return real(family, *rest, **more)\n"
        "socket.socket = made\nfrom node_agent.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    arguments = ["worker", "--listen-host", "::1", "--output", str(tmp_path / "w.csv")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 3
    assert "::1 is an IPv6 address and this node has no IPv6" in done.stderr
