"""A ChronoTick server may answer anything, or nothing: the sample fails by name and has no number."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from node_agent.clocks import chronotick, ntp
from node_agent.clocks.newest import NewestSource
from node_agent.contract.plan import ChronoTickPlan, ClocksPlan, NtpPlan
from node_agent.contract.records import (
    AS_CLAIMED,
    CHRONOTICK,
    CLOCK_STEP,
    OK,
    STALE,
    USER,
    Sample,
    Stamp,
    Unavailable,
)
from node_agent.exchange.asking import Setting
from node_agent.exchange.chronotick import ChronoTickClient, askers
from node_agent.local.instants import LocalClock

HOST = "127.0.66.124"
TIMEOUT_S = 0.4  # for an answer that never comes
PATIENT_S = 10.0  # for one that does, on a machine that does much else


class Handler(BaseHTTPRequestHandler):
    """Answers as its server is told."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.questions.append(question)
        self.server.connections.add(self.client_address)
        self.server.answer(self, question)

    def do_GET(self):
        self.server.answer(self, None)

    def say(self, body, code=200):
        data = body if isinstance(body, bytes) else body.encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Stub(ThreadingHTTPServer):
    """A real HTTP server whose every answer is ``answer(handler, question)``."""

    daemon_threads: ClassVar = True

    def __init__(self, answer):
        super().__init__((HOST, 0), Handler)
        self.answer = answer
        self.questions = []
        self.connections = set()
        self.released = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self):
        return "http://{}:{}".format(*self.server_address)

    def handle_error(self, *_):
        """Keep quiet where the client has gone: that is what some of these tests are about."""

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


def ask(stub, times=1, timeout_s=PATIENT_S, ntp_samples=()):
    numbers = itertools.count(1)
    client = ChronoTickClient(stub.url, "comp11", LocalClock(), timeout_s=timeout_s, dual_model=True)
    try:
        found = [client.sample(ntp_samples, lambda: f"ct{next(numbers)}") for _ in range(times)]
        return found[0] if times == 1 else found
    finally:
        client.close()


def health(stub):
    client = ChronoTickClient(stub.url, "comp11", LocalClock(), timeout_s=TIMEOUT_S, dual_model=True)
    try:
        return client.health()
    finally:
        client.close()


def check_failed(sample, outcome):
    assert sample.outcome == outcome
    assert [sample.offset_ns, sample.sigma_ns, sample.raw_at_ns, sample.reference_at_ns] == [None] * 4


GOOD = {"offset_ms": -12.5, "uncertainty_ms": 0.25}


def test_a_good_answer_is_a_sample_that_holds_at_the_instant_of_asking():
    with Stub(lambda handler, asked: handler.say(json.dumps({**GOOD, "node_id": asked["node_id"]}))) as stub:
        sample = ask(stub, timeout_s=PATIENT_S)
        (question,) = stub.questions
    assert (sample.outcome, sample.scope, sample.sigma_ns) == (OK, "node", 250_000)
    assert sample.reference_at_ns - question["instant_ns"] == -12_500_000
    assert sample.raw_at_ns == question["raw_ns"] < sample.raw_after_ns


def test_the_prediction_time_a_server_names_is_when_its_offset_holds():
    def later(handler, asked):
        handler.say(json.dumps({**GOOD, "prediction_time_ns": asked["instant_ns"] + 1_000_000}))

    with Stub(later) as stub:
        sample = ask(stub, timeout_s=PATIENT_S)
        (question,) = stub.questions
    assert sample.raw_at_ns == question["raw_ns"] + 1_000_000
    assert sample.reference_at_ns == question["instant_ns"] + 1_000_000 - 12_500_000


def test_what_an_answer_claims_is_in_the_sample_and_is_obeyed():
    """Drift, its sigma, asymmetry and validity, by the wall and raw clock of the exchange."""
    claims = {"drift_ppm": 12.5, "drift_uncertainty_ppm": 0.1, "asymmetry_ms": 0.04}

    def claim(handler, asked):
        handler.say(json.dumps({**GOOD, **claims, "valid_until_ns": asked["instant_ns"] + 2_000_000_000}))

    with Stub(claim) as stub:
        sample = ask(stub, timeout_s=PATIENT_S)
    assert (sample.drift_fs_per_s, sample.drift_sigma_fs_per_s, sample.asymmetry_ns) == (125 * 10**8, 10**8, 40_000)
    assert sample.valid_until_raw_ns == sample.raw_at_ns + 2_000_000_000
    source = NewestSource(CHRONOTICK, "server:s", 100.0, 4_000_000_000, 3.0)
    at = sample.raw_at_ns + 2_000_000_000
    reading = source.read([sample], Stamp(0, at, 0, USER), at)
    assert (reading.law, reading.est_ns - sample.reference_at_ns) == (AS_CLAIMED, 2_000_025_000)
    assert source.read([sample], Stamp(0, at + 1, 0, USER), at + 1) == Unavailable(STALE)


@pytest.mark.parametrize("wrong", [{"drift_ppm": "0"}, {"drift_uncertainty_ppm": -1}, {"valid_until_ns": 1.5}])
def test_one_malformed_claim_fails_the_whole_answer(wrong):
    """Nobody knows what else in it is meant otherwise."""
    with Stub(lambda handler, _asked: handler.say(json.dumps({**GOOD, **wrong}))) as stub:
        sample = ask(stub, timeout_s=PATIENT_S)
    assert next(iter(wrong)) in sample.outcome
    check_failed(sample, sample.outcome)


def test_the_question_carries_the_nodes_own_newest_ntp_samples():
    samples = [
        Sample(
            f"ntp{i}",
            "ntp",
            "s:1",
            "",
            OK,
            0,
            0,
            0,
            raw_at_ns=i,
            offset_ns=1_500_000,
            delay_ns=200_000,
            bound_ns=110_000,
        )
        for i in range(20)
    ]
    with Stub(lambda handler, _asked: handler.say(json.dumps(GOOD))) as stub:
        ask(stub, ntp_samples=samples, timeout_s=PATIENT_S)
        (question,) = stub.questions
    assert set(question) == {"node_id", "run_id", "instant_ns", "raw_ns", "use_dual_model", "ntp_samples"}
    assert [said["raw_ns"] for said in question["ntp_samples"]] == list(range(4, 20))
    numbers = {"raw_ns": 19, "offset_ms": 1.5, "delay_ms": 0.2, "bound_ms": 0.11}
    assert question["ntp_samples"][-1] == {"server": "s:1", **numbers}


def test_the_question_leaves_out_no_server():
    """Of more samples than it holds it has as many of each server, else those asked last are a majority."""
    at = {"outcome": OK, "raw_before_ns": 0, "raw_after_ns": 0, "wall_ns": 0, "offset_ns": 0, "delay_ns": 0}
    raws = {"s:1": range(8), "s:2": range(8, 16), "s:3": range(16, 24), "s:4": range(24, 25)}
    samples = [
        Sample(f"ntp{raw_ns}", "ntp", server, "", raw_at_ns=raw_ns, **at)
        for server, instants in raws.items()
        for raw_ns in instants
    ]
    told = chronotick.question("comp11", 1, 1, samples)["ntp_samples"]
    newest = [*range(3, 8), *range(11, 16), *range(19, 25)]
    assert [said["raw_ns"] for said in told] == newest
    assert Counter(said["server"] for said in told) == {"s:1": 5, "s:2": 5, "s:3": 5, "s:4": 1}


@pytest.mark.parametrize(("servers", "bound_ms"), [(("s:1",), 0.11), (("s:1", "s:2"), 0.66)])
def test_with_several_servers_the_question_carries_the_bound_to_utc(servers, bound_ms):
    """The root distance, half the root delay and the dispersion, is in it: by that bound the NTP source selects."""
    instants = {"raw_before_ns": 0, "raw_after_ns": 0, "wall_ns": 0, "raw_at_ns": 1, "reference_at_ns": 1}
    said = {"delay_ns": 200_000, "bound_ns": 110_000, "root_delay_ns": 900_001, "root_dispersion_ns": 99_999}
    sample = Sample("ntp1", "ntp", "s:1", "", outcome=OK, offset_ns=0, **instants, **said)
    clocks = ClocksPlan(ntp=NtpPlan(servers))
    with Stub(lambda handler, _asked: handler.say(json.dumps(GOOD))) as stub:
        plan = ChronoTickPlan(stub.url, timeout_s=PATIENT_S)
        (asker,) = askers(plan, Setting("comp11", clocks, LocalClock(), lambda: "ct1", lambda: [sample]))
        with contextlib.closing(asker):
            asker.ask()
        (question,) = stub.questions
    assert question["ntp_samples"][0]["bound_ms"] == bound_ms
    assert ntp.bound_ns(sample, to_utc=len(servers) > 1) == round(bound_ms * 1e6)


class Stepping(LocalClock):
    """A wall clock that is set ahead when told to."""

    step_ns = 0

    def pair(self):
        now = super().pair()
        return now._replace(wall_ns=now.wall_ns + self.step_ns)


def test_after_a_step_no_answer_counts_until_ntp_has_been_heard_again():
    """The server predicts the clock that the NTP samples describe, and that one is no more."""
    clock = Stepping()

    def ntp():
        now = clock.pair()
        return Sample("ntp1", "ntp", "s:1", "", OK, now.raw_ns, now.raw_ns, now.wall_ns, raw_at_ns=now.raw_ns)

    with Stub(lambda handler, _asked: handler.say(json.dumps(GOOD))) as stub:
        client = ChronoTickClient(stub.url, "comp11", clock, timeout_s=PATIENT_S, dual_model=True)
        with contextlib.closing(client):
            heard = [ntp()]
            outcomes = [client.sample(heard, lambda: "ct1").outcome]
            clock.step_ns = 40_000_000
            outcomes += [client.sample(heard, lambda: "ct2").outcome for _ in range(2)]
            outcomes.append(client.sample([*heard, ntp()], lambda: "ct3").outcome)
    assert outcomes == [OK, CLOCK_STEP, CLOCK_STEP, OK]


@pytest.mark.parametrize(
    ("body", "code", "outcome"),
    [
        ("{}", 200, "missing_offset_ms"),
        ("<html><body>It works!</body></html>", 200, "not_json"),
        ('{"offset_ms": NaN, "uncertainty_ms": 1}', 200, "not_finite_offset_ms"),
        ('{"offset_ms": 1, "uncertainty_ms": -1}', 200, "negative_uncertainty_ms"),
        (json.dumps({**GOOD, "node_id": "comp12"}), 200, "wrong_node_id"),
        ("", 200, "not_json"),
        (b"\xff\xfe\x00", 200, "not_json"),
        ("[" * 60_000, 200, "not_json"),
        ("x" * 70_000, 200, "oversized"),
        (json.dumps(GOOD), 500, "http_500"),
        (json.dumps(GOOD), 404, "http_404"),
        ('{"status": "warming_up", "detail": "2 of 3 samples"}', 503, "http_503"),
    ],
    ids=["{}", "HTML", "NaN", "negative", "another node", "empty", "no text", "nested", "huge", "500", "404", "503"],
)
def test_an_answer_that_cannot_be_believed_is_a_named_failure(body, code, outcome):
    with Stub(lambda handler, _asked: handler.say(body, code)) as stub:
        sample = ask(stub, timeout_s=PATIENT_S)
    check_failed(sample, outcome)
    if outcome != "oversized":
        assert sample.payload == (body if isinstance(body, str) else body.decode(errors="replace"))


def test_a_stalled_server_is_a_timeout():
    with Stub(lambda handler, _asked: handler.server.released.wait(PATIENT_S)) as stub:
        check_failed(ask(stub, timeout_s=TIMEOUT_S), "timeout")


def test_a_server_that_drips_is_a_timeout_too():
    """Every byte comes in time, the answer never does."""

    def drip(handler, _asked):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not handler.server.released.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    with Stub(drip) as stub:
        sample = ask(stub, timeout_s=TIMEOUT_S)
    check_failed(sample, "timeout")
    assert sample.raw_after_ns - sample.raw_before_ns < PATIENT_S * 1e9


@pytest.mark.parametrize("question", [lambda stub: ask(stub, timeout_s=TIMEOUT_S), lambda stub: health(stub).detail])
def test_a_server_that_never_comes_to_the_end_of_its_headers_is_a_timeout(question):
    """Every byte of the headers comes in time, and they would go on for hours; `health` gives up as well."""

    def drip(handler, _asked):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        handler.wfile.flush()
        with contextlib.suppress(OSError):
            while not handler.server.released.wait(0.05):
                handler.wfile.write(b"x")
                handler.wfile.flush()

    with Stub(drip) as stub:
        said = question(stub)
    assert "timeout" in {said, getattr(said, "outcome", None)}


@pytest.mark.parametrize("place", ["http://[", "h127.0.0.1:1/x", "http://127.0.66.125:9/elsewhere", "\xff"])
def test_a_redirection_is_a_named_failure_wherever_it_leads(place):
    """Nobody goes there, and a place that is none harms nobody."""

    def redirect(handler, _asked):
        handler.send_response(302)
        handler.send_header("Location", place)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with Stub(redirect) as stub:
        check_failed(ask(stub), "http_302")


def test_a_small_answer_that_unpacks_to_a_huge_one_is_not_unpacked():
    """What comes is taken as it is; the server was told so, and a packed answer is no JSON."""

    def pack(handler, _asked):
        body = gzip.compress(b" " * 20_000_000)
        assert handler.headers["Accept-Encoding"] == "identity"
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        handler.wfile.flush()

    with Stub(pack) as stub:
        check_failed(ask(stub), "not_json")


def test_a_connection_closed_before_the_answer_is_a_named_failure():
    with Stub(lambda handler, _asked: setattr(handler, "close_connection", True)) as stub:
        check_failed(ask(stub), "RemoteProtocolError")


def test_nobody_at_that_port_is_no_connection():
    with Stub(lambda handler, _asked: handler.say("{}")) as stub:
        pass
    check_failed(ask(stub), "no_connection")


def test_one_connection_serves_many_queries():
    with Stub(lambda handler, _asked: handler.say(json.dumps(GOOD))) as stub:
        samples = ask(stub, times=5, timeout_s=PATIENT_S)
        assert len(stub.connections) == 1
    assert [sample.outcome for sample in samples] == [OK] * 5


def test_a_failed_query_does_not_spoil_the_next():
    def first_fails(handler, _asked):
        handler.say("<html>", 502) if len(handler.server.questions) == 1 else handler.say(json.dumps(GOOD))

    with Stub(first_fails) as stub:
        assert [s.outcome for s in ask(stub, times=2, timeout_s=PATIENT_S)] == ["http_502", OK]


@pytest.mark.parametrize(
    ("body", "code", "ok"),
    [('{"status": "healthy"}', 200, True), ('{"status": "ill"}', 200, False), ("[]", 200, False),
     ("<html>", 200, False), ('{"status": "healthy"}', 503, False)],
)  # fmt: skip
def test_health_is_what_the_server_says_and_nothing_else(body, code, ok):
    with Stub(lambda handler, _asked: handler.say(body, code)) as stub:
        assert health(stub).ok is ok


def test_nobody_there_is_not_healthy():
    with Stub(lambda _handler, _asked: None) as stub:
        pass
    assert not health(stub).ok
