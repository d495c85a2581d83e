"""An independent witness: what the kernel tells a packet capture is what the agent has journaled."""

from __future__ import annotations

import contextlib
import csv
import math
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from capture import capture, events

from harness.bench.crew import Crew
from node_agent.contract import records
from node_agent.contract.plan import ChronoTickPlan, ClocksPlan, NtpPlan

HOSTS = {"comp11": "127.0.79.11", "comp12": "127.0.79.12", "comp18": "127.0.79.18"}
SERVICES = "127.0.79.1"
EVENTS = 1_000
RATE_HZ = 1_000.0
TOLERANCE_NS = 20_000  # the tolerance that the stamps are promised to keep, at p99.9
MUTANT = (sys.executable, str(Path(__file__).with_name("stamp_after_recvmsg.py")))
BURN = "import time; end = time.monotonic() + 20\nwhile time.monotonic() < end: pass"


def may_capture() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
    except (AttributeError, PermissionError):
        return False
    return True


pytestmark = pytest.mark.skipif(not may_capture(), reason="a packet capture needs root (CAP_NET_RAW)")


@contextlib.contextmanager
def burners(count):
    """Keep ``count`` CPUs busy, no longer than the test."""
    processes = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def services_that_hang():
    """Offer an NTP server that is silent and a ChronoTick server that takes the question and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.socket() as stalled:
        silent.bind((SERVICES, 0))
        stalled.bind((SERVICES, 0))
        stalled.listen(64)
        ntp, tick = ("{}:{}".format(*sock.getsockname()) for sock in (silent, stalled))
        yield ClocksPlan(ntp=NtpPlan((ntp,), 0.2, 2.0), chronotick=ChronoTickPlan(f"http://{tick}", 0.2, 2.0))


def differences_ns(folder, clocks=None, programs=None):
    """Run a broadcast under the eyes of a capture; return |recorded - witnessed| of every event, sorted."""
    crew = Crew(folder, clocks or ClocksPlan(), EVENTS, RATE_HZ, (), hosts=HOSTS, programs=programs or {})
    with capture("lo", HOSTS["comp11"]) as witness:
        outcome = crew.run()
        witnessed = events(witness)
    assert not outcome.problem
    assert outcome.statuses["comp11"].counts["lost"] == 0
    with (outcome.folders["comp11"] / records.EVENTS_FILE).open(newline="") as stream:
        recorded = {int(row["event_id"]): int(row["receive_time_ns"]) for row in csv.DictReader(stream)}
    assert set(recorded) == set(witnessed) == set(range(1, EVENTS + 1))
    return sorted(abs(recorded[number] - witnessed[number]) for number in recorded)


def p999(ordered):
    return ordered[math.ceil(0.999 * len(ordered)) - 1]


def test_recorded_stamps_are_those_of_the_witness(tmp_path):
    assert p999(differences_ns(tmp_path)) <= TOLERANCE_NS


def test_busy_cpus_move_no_stamp(tmp_path):
    with burners(2):
        assert p999(differences_ns(tmp_path)) <= TOLERANCE_NS


def test_services_that_hang_move_no_stamp_and_lose_no_event(tmp_path):
    with services_that_hang() as clocks:
        assert p999(differences_ns(tmp_path, clocks)) <= TOLERANCE_NS


def test_a_stamp_taken_after_the_datagram_fails_before_the_witness(tmp_path):
    assert p999(differences_ns(tmp_path, programs={"comp11": MUTANT})) > TOLERANCE_NS
