"""Time services that are killed, slow, lying or refusing in the middle of a run: no number without a good answer."""

from __future__ import annotations

import contextlib
import csv
import time
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest
from broken_runs import HOSTS, WORKERS, BrokenRun, healthy

from tests.stamped_rows import stamped

# Answers each request with the answer to the one before it: late, and mostly somebody else's.
SOMEBODY_ELSES = """
import socket
front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
front.bind(("172.20.1.1", 8123))
back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
back.connect(("127.0.0.1", 123))
print("listening", flush=True)
last = b""
while True:
    data, client = front.recvfrom(512)
    back.send(data)
    last, answer = back.recv(512), last
    front.sendto(answer or last[:24] + bytes(8) + last[32:], client)
"""

# Answers every request with the same bytes.
PARROT = """
import http.server, sys
status, body = int(sys.argv[1]), sys.argv[2].encode()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("172.20.1.1", 8124), Handler)
print("listening", flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def instead(testbed, name, code, *arguments):
    """Let a program take a service's place."""
    testbed.services[name].end()
    process = testbed.gateway.start(["python3", "-c", code, *arguments])
    try:
        assert process.stdout.readline() == "listening\n", process.stderr.read()
        yield
    finally:
        process.kill()
        for pid, words in testbed.gateway.processes().items():
            if code in words:
                testbed.gateway.run(["kill", "-9", str(_inside(pid))], check=False)
        process.communicate()


def _inside(pid):
    """Return the id that a process has on its own host."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])


@contextlib.contextmanager
def killed(testbed, name):
    """Kill a service."""
    testbed.services[name].end()
    yield


@contextlib.contextmanager
def late(testbed):
    """Let every node's NTP requests reach the proxy too late to be answered in time."""
    with contextlib.ExitStack() as relays:
        for host in testbed.nodes:
            relays.enter_context(host.relay("172.20.1.1", 8123, forward_s=1.2))
        yield


NTP_FAULTS = {
    "killed": (lambda testbed: killed(testbed, "ntp_proxy"), {"timeout"}),
    "slow": (late, {"timeout", "wrong_origin"}),
    "another client's answers": (lambda testbed: instead(testbed, "ntp_proxy", SOMEBODY_ELSES), {"wrong_origin"}),
}
CHRONOTICK_FAULTS = {
    "killed": (lambda testbed: killed(testbed, "chronotick"), {"connection_failed", "connect_failed"}),
    "garbage": (lambda testbed: instead(testbed, "chronotick", PARROT, "200", '{"offset_ms": NaN}'), set()),
    "refusing": (lambda testbed: instead(testbed, "chronotick", PARROT, "503", "no"), set()),
}
PAIRS = dict(zip(NTP_FAULTS, CHRONOTICK_FAULTS, strict=True))


def outcomes(run, node, source, since_ns):
    """Return how a source's queries ended on a node after an instant of the wall clock."""
    with (run.results / "raw" / node / "samples.csv").open(newline="") as file:
        return {
            row["outcome"] for row in csv.DictReader(file) if row["source"] == source and int(row["wall_ns"]) > since_ns
        }


@pytest.mark.parametrize("ntp_fault", NTP_FAULTS)
def test_without_good_answers_there_are_no_numbers(project, testbed, ntp_fault):
    """Both services go bad at once: readings end with the last good answers' age, each query says what it got."""
    run = BrokenRun(project, testbed, lasting_s=12, goes_stale=True).start().await_rows()
    run.keep()
    make_ntp, ntp_said = NTP_FAULTS[ntp_fault]
    make_chronotick, chronotick_said = CHRONOTICK_FAULTS[PAIRS[ntp_fault]]
    with make_ntp(testbed), make_chronotick(testbed):
        broken_ns = time.time_ns()
        code, printed = run.end()
    assert code == 5, printed
    run.check_degraded(*(f"{node}: {source}: " for node in HOSTS for source in ("ntp", "chronotick")))
    assert [run.lost(worker) for worker in WORKERS] == [[], []]
    for node in HOSTS:
        late_ns = broken_ns + 1_500_000_000
        assert outcomes(run, node, "ntp", late_ns) <= ntp_said
        assert "ok" not in outcomes(run, node, "chronotick", late_ns), chronotick_said
        last = stamped(run.collected(node))[-1]
        assert (last["ntp_status"], last["ct_status"]) == ("stale", "stale")
        assert (last["ntp_offset_ms"], last["ct_offset_ms"], last["ct_lower_bound_ns"]) == ("", "", "")
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()


def test_a_chronotick_that_hangs_for_five_seconds_costs_readings_and_no_event(project, testbed):
    """Readings go stale meanwhile and come back after; NTP does not notice."""
    run = BrokenRun(project, testbed, lasting_s=8, goes_stale=True).start().await_rows()
    run.keep()
    testbed.services["chronotick"].send(SIGSTOP)
    time.sleep(5)
    testbed.services["chronotick"].send(SIGCONT)
    code, printed = run.end()
    assert code == 5, printed
    run.check_degraded(*(f"{node}: chronotick: " for node in HOSTS))
    assert [run.lost(worker) for worker in WORKERS] == [[], []]
    for worker in WORKERS:
        rows = stamped(run.collected(worker))
        statuses = [row["ct_status"] for row in rows]
        assert {"ok", "stale"} == set(statuses)
        assert statuses[-1] == "ok"
        assert {row["ntp_status"] for row in rows} == {"ok"}
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()


def test_afterwards_a_healthy_run_works(project, testbed):
    """Nothing of all this is in the way of the next run."""
    healthy(project, testbed)
