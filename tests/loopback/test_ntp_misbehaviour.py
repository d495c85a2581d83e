"""An NTP server may misbehave in every way there is: the sample fails by name and has no number."""

from __future__ import annotations

import itertools
import select
import socket
import struct
import threading
import time

import pytest

from node_agent.contract.records import OK
from node_agent.exchange import ntp as ntp_exchange
from node_agent.local.instants import LocalClock

HOST = "127.0.66.123"
S = 1_000_000_000
NTP_UNIX_S = 2_208_988_800
TIMEOUT_S = 0.25
PATIENT_S = 10.0


def stamp(unix_ns):
    seconds, ns = divmod(unix_ns, S)
    return struct.pack("!II", seconds + NTP_UNIX_S, (ns << 32) // S)


def reply(request, *, leap=0, mode=4, stratum=1, reference_id=b"GPS\0", t3_after_ns=1_000, origin=None, t2_ns=None):
    """Return a sane reply to ``request``, spoilt where told."""
    t2_ns = time.time_ns() if t2_ns is None else t2_ns
    return struct.pack(
        "!BBbbII4s8s8s8s8s", leap << 6 | 4 << 3 | mode, stratum, 6, -23, 0, 0, reference_id, stamp(t2_ns - S),
        request[40:48] if origin is None else origin, stamp(t2_ns), stamp(t2_ns + t3_after_ns),
    )  # fmt: skip


class Server:
    """A real UDP server in a thread; ``answer(request, server)`` returns what is sent back to ``server.client``."""

    def __init__(self, answer):
        self._answer = answer
        self._main = self._bound()
        self.other = self._bound()
        self.address = "{}:{}".format(*self._main.getsockname())
        self.client = None
        self.requests = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @staticmethod
    def _bound():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((HOST, 0))
        return sock

    def _serve(self):
        while not self._stopping.is_set():
            if select.select([self._main], [], [], 0.05)[0]:
                request, self.client = self._main.recvfrom(2_048)
                self.requests.append(request)
                for datagram in self._answer(request, self):
                    self._main.sendto(datagram, self.client)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()
        self._main.close()
        self.other.close()


def ask(server, timeout_s=TIMEOUT_S):
    numbers = itertools.count(1)
    return ntp_exchange.NtpServer(server, LocalClock(), 100.0, timeout_s).ask(lambda: f"ntp{next(numbers)}")[-1]


def check_failed(sample, outcome):
    assert sample.outcome == outcome
    assert [sample.offset_ns, sample.bound_ns, sample.raw_at_ns, sample.reference_at_ns] == [None] * 4
    assert sample.raw_before_ns < sample.raw_after_ns


def test_a_sane_server_gives_a_sample_that_contains_this_hosts_own_clock():
    """The control of all that follows: the same server, unspoilt, is believed."""
    with Server(lambda request, _server: [reply(request)]) as server:
        sample = ask(server.address, PATIENT_S)
    assert sample.outcome == OK
    assert (sample.server, sample.address) == (server.address, server.address)
    assert abs(sample.offset_ns) <= sample.bound_ns
    total = sample.bound_delay_ns + sample.bound_precision_ns + sample.bound_drift_ns + sample.bound_stamp_ns
    assert sample.bound_ns == total + 1


SPOILT = {
    "wrong_mode": {"mode": 3},
    "unsynchronised": {"leap": 3},
    "kiss_rate": {"stratum": 0, "reference_id": b"RATE"},
    "kiss_deny": {"stratum": 0, "reference_id": b"DENY"},
    "stratum_0": {"stratum": 0, "reference_id": bytes(4)},
    "stratum_16": {"stratum": 16},
    "t3_before_t2": {"t3_after_ns": -50_000},
    "negative_delay": {"t3_after_ns": 60 * S},
}


@pytest.mark.parametrize("outcome", SPOILT)
def test_a_reply_that_cannot_be_believed_is_a_named_failure(outcome):
    with Server(lambda request, _server: [reply(request, **SPOILT[outcome])]) as server:
        check_failed(ask(server.address, PATIENT_S), outcome)


def test_a_wrong_origin_is_not_ours():
    with Server(lambda request, _server: [reply(request, origin=b"\x01" * 8)]) as server:
        check_failed(ask(server.address), "wrong_origin")


def test_another_clients_reply_is_not_ours():
    """The server mixes two clients up: each gets the answer to the other's request."""
    with Server(lambda _request, server: [reply(server.requests[0])] if len(server.requests) > 1 else []) as server:
        check_failed(ask(server.address), "timeout")
        check_failed(ask(server.address), "wrong_origin")


def test_a_forged_reply_before_the_true_one_does_no_harm():
    with Server(lambda request, _server: [reply(request, origin=b"\x01" * 8), reply(request)]) as server:
        assert ask(server.address, PATIENT_S).outcome == OK


def test_a_reply_from_another_port_is_not_the_servers():
    def from_elsewhere(request, server):
        server.other.sendto(reply(request), server.client)
        return []

    with Server(from_elsewhere) as server:
        check_failed(ask(server.address), "wrong_address")


@pytest.mark.parametrize("size", [0, 1, 47])
def test_a_short_reply_is_a_named_failure(size):
    with Server(lambda request, _server: [reply(request)[:size]]) as server:
        check_failed(ask(server.address, PATIENT_S), "short")


@pytest.mark.parametrize("extra", [1, 2_000])
def test_an_oversized_reply_is_a_named_failure(extra):
    with Server(lambda request, _server: [reply(request) + bytes(extra)]) as server:
        check_failed(ask(server.address, PATIENT_S), "oversized")


def test_a_silent_server_is_a_timeout():
    with Server(lambda _request, _server: []) as server:
        sample = ask(server.address)
    check_failed(sample, "timeout")
    assert sample.raw_after_ns - sample.raw_before_ns >= TIMEOUT_S * S * 0.9


def test_a_late_reply_is_a_timeout_and_does_not_spoil_the_next_query():
    def late_once(request, server):
        if len(server.requests) == 1:
            asked_in_vain.wait(PATIENT_S)
        return [reply(request)]

    asked_in_vain = threading.Event()
    with Server(late_once) as server:
        check_failed(ask(server.address), "timeout")
        asked_in_vain.set()
        assert ask(server.address, PATIENT_S).outcome == OK


def test_nobody_at_that_port_is_a_timeout():
    with Server(lambda _request, _server: []) as server:
        address = server.address
    check_failed(ask(address), "timeout")


def test_a_name_that_does_not_exist_is_unresolved():
    check_failed(ask("no-such-host.invalid:123"), "unresolved")


def test_a_path_that_is_slower_one_way_moves_the_estimate_by_half_the_difference():
    """4.7 ms there and 23.3 ms back: the bound still contains the truth, and T3 - T4, the naive offset, does not."""

    def asymmetric(request, _server):
        time.sleep(0.0047)
        now_ns = time.time_ns()
        answer = reply(request, t2_ns=now_ns, t3_after_ns=0)
        time.sleep(0.0233)
        return [answer]

    with Server(asymmetric) as server:
        samples = [ask(server.address, PATIENT_S) for _ in range(5)]
    for sample in samples:
        assert abs(sample.offset_ns) <= sample.bound_ns
    best = min(samples, key=lambda sample: sample.delay_ns)  # the one that the scheduler disturbed least
    assert best.offset_ns == pytest.approx(-9_300_000, abs=3_000_000)
    assert abs(best.t3_ns - best.t4_ns) > best.bound_ns
