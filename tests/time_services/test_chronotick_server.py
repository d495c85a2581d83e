"""The ChronoTick server over real HTTP: its protocol, its limits, and its honesty about a real clock."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import statistics
import struct
import time
from fractions import Fraction

import httpx
import pytest

from time_services import chronotick_server
from time_services.chronotick.request import RequestError, read_request
from time_services.client_limits import MAX_CLIENTS, Limits, Rates
from time_services.http_messages import MAX_BODY_BYTES
from time_services.ntp_packet import NTP_EPOCH_OFFSET_S

SAMPLE = {"raw_ns": 1_000_000_000, "offset_ms": -12.5, "delay_ms": 0.1, "bound_ms": 0.06}
ASKED = {
    "node_id": "comp11",
    "instant_ns": 1_790_000_000_000_000_000,
    "raw_ns": 5_000_000_000,
    "use_dual_model": True,
    "ntp_samples": [],
}


@pytest.fixture
def web(chronotick_url):
    """Return a client of the running server."""
    with httpx.Client(base_url=chronotick_url, timeout=10) as client:
        yield client


def sampled(*seconds: int) -> list[dict]:
    return [{**SAMPLE, "raw_ns": second * 1_000_000_000} for second in seconds]


def test_health(web):
    """GET /health says healthy, and nothing else is asked of it."""
    answer = web.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")


def test_a_prediction_names_what_it_is_about(web):
    """After three samples the answer names node and instant, and says offset and one sigma in ms."""
    asked = {**ASKED, "node_id": "named", "ntp_samples": sampled(1, 2, 3, 4)}
    answer = web.post("/get_time", json=asked)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["node_id"], body["prediction_time_ns"]) == ("named", asked["instant_ns"])
    assert body["offset_ms"] == pytest.approx(-12.5, abs=0.01)
    assert 0 < body["uncertainty_ms"] < 0.1


def test_too_few_samples_are_503_without_a_number(web):
    """Warming up is a status and a reason; there is no offset in it. Other nodes' samples do not count."""
    web.post("/get_time", json={**ASKED, "node_id": "other", "ntp_samples": sampled(1, 2, 3)})
    answer = web.post("/get_time", json={**ASKED, "node_id": "cold", "ntp_samples": sampled(1, 2)})
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "warming_up",
        "detail": "2 of 3 samples of this node",
        "node_id": "cold",
        "run_id": "",
        "samples": 2,
    }


WRONG = {
    "not JSON": b"<html>",
    "empty": b"",
    "a list": b"[]",
    "NaN": b'{"node_id": NaN}',
    "deep": b"[" * 20_000,
    "missing key": {key: value for key, value in ASKED.items() if key != "raw_ns"},
    "unknown key": {**ASKED, "truth_ns": 1},
    "later sample": {**ASKED, "ntp_samples": sampled(1, 6)},
    "run id": {**ASKED, "run_id": "a b"},
    "tag": {**ASKED, "tag": "x"},
    "server": {**ASKED, "ntp_samples": [{**SAMPLE, "server": 1}]},
    "node id": {**ASKED, "node_id": "../x"},
    "float instant": {**ASKED, "instant_ns": 1.5},
    "bool instant": {**ASKED, "raw_ns": True},
    "huge instant": {**ASKED, "raw_ns": 2**63},
    "flag": {**ASKED, "use_dual_model": 1},
    "samples": {**ASKED, "ntp_samples": {}},
    "many samples": {**ASKED, "ntp_samples": sampled(*range(65))},
    "sample key": {**ASKED, "ntp_samples": [{**SAMPLE, "drift": 1}]},
    "negative delay": {**ASKED, "ntp_samples": [{**SAMPLE, "delay_ms": -1.1}]},
    "text offset": {**ASKED, "ntp_samples": [{**SAMPLE, "offset_ms": "1"}]},
    "huge offset": {**ASKED, "ntp_samples": [{**SAMPLE, "offset_ms": 10**400}]},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_400_with_a_reason(web, name: str):
    """Whatever is wrong, the answer is 400 and one JSON sentence, and the server lives on."""
    wrong = WRONG[name]
    answer = web.post("/get_time", content=wrong) if isinstance(wrong, bytes) else web.post("/get_time", json=wrong)
    assert answer.status_code == 400
    assert answer.json()["status"] == "bad_request"
    assert ": expected" in answer.json()["detail"] or "key" in answer.json()["detail"]
    assert web.get("/health").status_code == 200


def test_other_refusals_are_json_too(web):
    """An oversized body, an unknown path and a wrong method are refused in JSON with their own status."""
    answers = [
        web.post("/get_time", content=b"x" * (MAX_BODY_BYTES + 1)),
        web.get("/nowhere"),
        web.get("/get_time"),
    ]
    assert [answer.status_code for answer in answers] == [413, 404, 405]
    assert {answer.json()["status"] for answer in answers} == {"refused"}


def test_a_connection_is_kept(chronotick_url):
    """Query after query travels over one connection."""
    host, _, port = chronotick_url.removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        ports = set()
        for _ in range(20):
            connection.request("GET", "/health")
            connection.getresponse().read()
            ports.add(connection.sock.getsockname())
        assert len(ports) == 1
    finally:
        connection.close()


def test_a_delay_below_zero_by_precision_means_zero():
    """Two clocks of finite precision may measure a delay just below zero; that is no reason to refuse the sample."""
    asked = {**ASKED, "ntp_samples": [{**SAMPLE, "delay_ms": -0.0002}]}
    assert read_request(json.dumps(asked).encode()).samples[0].delay_ms == 0.0


def test_reading_a_request_names_the_sample():
    """A wrong value inside a sample is named by its place."""
    body = (
        b'{"node_id": "a", "instant_ns": 1, "raw_ns": 1, "ntp_samples": [{"raw_ns": 1, "offset_ms": 0, "delay_ms": 0}]}'
    )
    with pytest.raises(RequestError, match=r"ntp_samples\[0\]: key 'bound_ms' is missing"):
        read_request(body)


@pytest.fixture
def strict(run_service):
    """Return the address of a server with narrow limits: 4 connections, 5 requests a second (or 10 at once), 0.5 s."""
    limits = ("--client-connections", "4", "--client-rate", "5", "--request-seconds", "0.5")
    with run_service("time_services.chronotick_server", *limits) as (_, address):
        host, _, port = address.rpartition(":")
        yield host, int(port)


def other_client(address):
    """Ask for the health of a server from another address; return the status."""
    connection = http.client.HTTPConnection(*address, timeout=10, source_address=("127.0.77.2", 0))
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_client_that_asks_too_often_is_told_so_and_the_others_are_served(strict):
    """Of 40 requests at once about ten are answered, the rest is 429 until the bucket has filled again."""
    with httpx.Client(base_url="http://{}:{}".format(*strict), timeout=10) as client:
        begun = time.monotonic()
        answers = [client.get("/health") for _ in range(40)]
        took_s = time.monotonic() - begun
        codes = [answer.status_code for answer in answers]
        assert set(codes) == {200, 429}
        assert 10 <= codes.count(200) <= 10 + 5 * took_s + 1
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert (refused.json()["status"], refused.headers["Retry-After"]) == ("refused", "1")
        assert other_client(strict) == 200
        deadline = time.monotonic() + 250
        while client.get("/health").status_code == 429:
            assert time.monotonic() < deadline, "the bucket never filled again"
            time.sleep(0.05)


def test_a_client_with_too_many_connections_is_refused_and_the_others_are_served(strict):
    """The fifth connection of an address is told why and closed; once one of the four is closed there is room again."""
    held = [http.client.HTTPConnection(*strict, timeout=10) for _ in range(4)]
    try:
        for connection in held:
            connection.request("GET", "/health")
            assert connection.getresponse().read()
        with socket.create_connection(strict, timeout=10) as fifth:
            said = b""
            while more := fifth.recv(4096):
                said += more
        assert said.startswith(b"HTTP/1.1 503 ")
        assert json.loads(said.partition(b"\r\n\r\n")[2])["status"] == "refused"
        assert other_client(strict) == 200
    finally:
        for connection in held:
            connection.close()
    deadline = time.monotonic() + 250
    while True:
        with socket.create_connection(strict, timeout=10) as again:
            again.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if not again.recv(4096).startswith(b"HTTP/1.1 503 "):
                return
        assert time.monotonic() < deadline, "a closed connection still counts"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /hea", b"POST /get_time HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"],
    ids=["nothing", "half a line", "half a body"],
)
def test_a_request_that_does_not_come_to_its_end_is_cut_off(strict, begun):
    """However little of a request is sent, its connection is not held for longer than a request may take."""
    with socket.create_connection(strict, timeout=10) as slow:
        slow.sendall(begun)
        with contextlib.suppress(ConnectionResetError):  # which is cut off as well
            assert slow.recv(4096) == b""
        assert other_client(strict) == 200


def test_a_kept_connection_may_be_idle_for_longer_than_a_request_may_take(strict):
    connection = http.client.HTTPConnection(*strict, timeout=10)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
        port = connection.sock.getsockname()
        time.sleep(1.0)  # the promise is that nothing happens
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        assert connection.sock.getsockname() == port
    finally:
        connection.close()


def test_headers_that_go_on_and_on_are_refused(strict):
    with socket.create_connection(strict, timeout=10) as client:
        try:
            client.sendall(b"GET /health HTTP/1.1\r\nX: " + b"x" * 100_000)
            said = client.recv(4096)
        except ConnectionResetError:
            said = b""
    assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
    assert other_client(strict) == 200


def test_the_clients_remembered_are_bounded():
    rates = Rates(Limits())
    for number in range(MAX_CLIENTS + 50):
        assert rates.allow(str(number))
    assert len(rates) == MAX_CLIENTS


@pytest.mark.parametrize("option", ["--client-rate", "--client-connections", "--request-seconds"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "inf", "nan"])
def test_a_limit_that_is_none_is_refused_in_one_line(option, value):
    with pytest.raises(SystemExit) as ended:
        chronotick_server.main(["--listen", "127.0.77.1:0", option, value])
    assert ended.value.code == 2


ERROR_MS, DRIFT_PPM = 12.5, 100.0


def _both_clocks() -> tuple[int, int]:
    """Read (monotonic, wall) in ns, again where the machine was busy elsewhere between the two."""
    for _ in range(1000):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after - before < 20_000:
            return before, wall
    raise AssertionError("both clocks could not be read within 20 us of each other in 1000 tries")


def test_a_drifting_node_is_tracked_over_real_ntp(ntp_address, web):
    """A node with a bent clock, sampled by real NTP: 3 sigma + asymmetry contain the truth, 1/100 does not."""
    epoch_ns = time.time_ns()

    def bent(instant_ns: int, elapsed_ns: int) -> int:
        return instant_ns + elapsed_ns * round(DRIFT_PPM * 1000) // 10**9

    def wall_of(now_ns: int) -> int:
        return bent(now_ns, now_ns - epoch_ns) + round(ERROR_MS * 1e6)

    raw_epoch_ns = time.monotonic_ns()

    def raw_of(now_ns: int) -> int:
        return bent(now_ns, now_ns - raw_epoch_ns)

    samples, rows = [], []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(ntp_address)
        for _ in range(100):
            raw_ns, sent_ns = _both_clocks()
            t1 = wall_of(sent_ns)
            client.send(bytes([0x23]) + bytes(39) + os.urandom(8))
            t2, t3 = (
                Fraction(stamp, 2**32) * 10**9 - NTP_EPOCH_OFFSET_S * 10**9
                for stamp in struct.unpack_from("!QQ", client.recv(48), 32)
            )
            t4 = wall_of(time.time_ns())
            delay_ms = float((t4 - t1) - (t3 - t2)) / 1e6
            samples.append(
                {
                    "raw_ns": raw_of(raw_ns),
                    "offset_ms": float((t2 - t1) + (t3 - t4)) / 2e6,
                    "delay_ms": delay_ms,
                    "bound_ms": delay_ms / 2 + 1e-3,
                }
            )
            raw_ns, true_ns = _both_clocks()
            asked_ns = wall_of(true_ns)
            asked = {
                "raw_ns": raw_of(raw_ns),
                "instant_ns": asked_ns,
                "ntp_samples": samples[-16:],
            }
            answer = web.post("/get_time", json={"node_id": "bent", **asked})
            if answer.status_code == 200:
                said = answer.json()
                error_ms = said["offset_ms"] - (true_ns - asked_ns) / 1e6
                rows.append((abs(error_ms), 3 * said["uncertainty_ms"] + said["asymmetry_ms"]))
            time.sleep(0.02)  # the pace of the queries
    assert len(rows) == 98
    covered = statistics.mean(error <= half for error, half in rows)
    shrunk = statistics.mean(error <= half / 100 for error, half in rows)
    assert covered >= 0.95, statistics.median(half for _, half in rows)
    assert shrunk < 0.95


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--ntp-interval", "5"], "--ntp-interval: expected --ntp-server beside it, got none"),
        (["--ntp-server", "127.0.0.1:1", "--ntp-server", "127.0.0.1:1"], "expected each one once, got 127.0.0.1:1"),
        (["--ntp-server", "[::1]:1", "--ntp-server", "[::1]:1"], r"expected each one once, got [::1]:1"),
    ],
)
def test_options_without_effect_are_refused(options, expected, capsys):
    """An interval of questions that nobody asks, and a server that would have two votes."""
    with pytest.raises(SystemExit) as ended:
        chronotick_server.main(["--listen", "127.0.77.1:0", *options])
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
