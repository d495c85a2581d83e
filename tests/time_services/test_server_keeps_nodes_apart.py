"""Who shares a ChronoTick server with somebody hostile does not notice; a server that starts anew is brought back."""

from __future__ import annotations

import json
import time
from itertools import count

import httpx
import pytest

from node_agent.clocks import chronotick
from node_agent.contract.records import NTP, OK, Sample
from node_agent.exchange.chronotick import ChronoTickClient
from node_agent.local.instants import LocalClock
from time_services.chronotick.answer import Service
from time_services.chronotick.node_states import PROVEN_AFTER, Nodes
from time_services.chronotick.request import RequestError, TimeRequest, read_request
from time_services.misbehaviour import misbehaviour
from time_services.models import MODELS

S = 1_000_000_000
DAY = 86_400
KEYS = {"mine": b"k" * 32, "theirs": b"x" * 32}
WALL_S = 1_790_000_000


def asked(at_s, offset_ms=-12.5, seconds=None, *, run="r1", node="comp11", key=None, **more):
    """Return a question at ``at_s`` of the raw clock with a sample per second before."""
    seconds = range(max(1, at_s - 4), at_s) if seconds is None else seconds
    named = {} if key is None else {"tag": chronotick.tag(KEYS[key], run, node)}
    samples = [
        {"server": "s:123", "raw_ns": second * S, "offset_ms": offset_ms, "delay_ms": 0.1, "bound_ms": 0.06}
        for second in seconds
    ]
    return {
        "node_id": node, "run_id": run, "instant_ns": (WALL_S + at_s) * S, "raw_ns": at_s * S, "ntp_samples": samples,
        **named, **more,
    }  # fmt: skip


def request(number, *, tag="", run="r"):
    return TimeRequest(f"n{number}", S, S, [], run, tag)


def use(nodes, asking, address):
    return nodes.of(asking, address, "kalman_bank", MODELS["kalman_bank"])


HOSTILE = {
    "day_ahead": lambda at, **named: asked(at + DAY, 900.0, **named),
    "wall_set": lambda at, **named: asked(at, 900.0, **named) | {"instant_ns": (WALL_S + at + DAY) * S},
    "another_key": lambda at, **named: asked(at + DAY, 900.0, **named, key="theirs"),
    "another_run": lambda at, **named: asked(at + DAY, 900.0, **named | {"run": "r2"}, key="theirs"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_two_runs_with_equal_node_names_do_not_notice_each_other(chronotick_url, how):
    """Answers to a run with a key are the same, number by number, whether or not somebody else uses its names."""
    with httpx.Client(base_url=chronotick_url, timeout=10) as web:

        def answers(run, *, hostile):
            got = []
            for second in range(5, 15):
                if hostile:
                    web.post("/get_time", json=HOSTILE[how](second, run=run, node=how))
                told = web.post("/get_time", json=asked(second, run=run, node=how, key="mine"))
                assert told.status_code == 200
                got.append({name: value for name, value in told.json().items() if name != "run_id"})
            return got

        assert answers("r1", hostile=True) == answers("alone", hostile=False)


def test_a_sample_a_day_ahead_is_refused_in_one_line(chronotick_url):
    told = httpx.post(f"{chronotick_url}/get_time", json=asked(5, seconds=[1, 5 + DAY], node="ahead"))
    assert told.status_code == 400
    assert told.json()["detail"] == (
        f"ntp_samples[1].raw_ns: expected at most the request's own raw_ns {5 * S}, got {(5 + DAY) * S}"
    )


def test_what_was_said_a_day_ahead_in_a_nodes_name_freezes_it_for_one_question(chronotick_url):
    """Without a key and from one address nobody can be told apart; the next questions are answered all the same."""
    with httpx.Client(base_url=chronotick_url, timeout=10) as web:
        web.post("/get_time", json=asked(5 + DAY, 900.0, node="plain"))
        told = web.post("/get_time", json=asked(6, node="plain"))
    assert told.status_code == 200
    assert told.json()["offset_ms"] == pytest.approx(-12.5, abs=0.1)
    assert told.json()["restarts"] >= 1


def test_the_answer_names_its_law(chronotick_url):
    """An answer says what is random, what is not, the drift, until when it holds, and what it has learnt."""
    told = httpx.post(f"{chronotick_url}/get_time", json=asked(6, node="law", key="mine")).json()
    assert (told["node_id"], told["run_id"], told["prediction_time_ns"]) == ("law", "r1", (WALL_S + 6) * S)
    assert told["valid_until_ns"] > told["prediction_time_ns"]
    assert told["confirmed_raw_ns"] == 5 * S
    assert (told["samples"], told["new_samples"]) == (4, 4)
    assert {"uncertainty_ms", "asymmetry_ms", "drift_ppm", "drift_uncertainty_ppm", "model", "calibration"} <= set(told)


def test_nodes_without_a_tag_push_out_none_with_one():
    nodes = Nodes(limit=4)
    kept = use(nodes, request(0, tag="a" * 32), "here")
    for number in range(50):
        use(nodes, request(number), "here")
    assert use(nodes, request(0, tag="a" * 32), "here") is kept
    assert (len(nodes.tagged), len(nodes.untagged)) == (1, 4)


@pytest.mark.parametrize("address", ["here", "elsewhere"])
def test_invented_tags_push_out_each_other(address):
    """Nodes that asked well before stay, whether the flood comes from their own address or from another."""
    nodes = Nodes(limit=8)
    kept = [use(nodes, request(number, tag="a" * 32), "here") for number in range(4)]
    for state in kept:
        state.requests = PROVEN_AFTER
    assert [use(nodes, request(number, tag="a" * 32), "here") for number in range(4)] == kept
    for number in range(50):
        use(nodes, request(number, tag="f" * 32), address)
    assert [use(nodes, request(number, tag="a" * 32), "here") for number in range(4)] == kept
    assert len(nodes) == 8


def sample(second_ns):
    about = {"sample_id": "n", "source": NTP, "server": "s:123", "address": "", "outcome": OK, "wall_ns": 0}
    said = {"raw_at_ns": second_ns, "offset_ns": -12_500_000, "delay_ns": 100_000, "bound_ns": 60_000}
    return Sample(raw_before_ns=second_ns, raw_after_ns=second_ns, **about, **said)


@pytest.mark.parametrize("fresh", [0, 1, 2])
def test_a_node_brings_back_a_server_that_was_started_again(run_service, fresh):
    """A question holds what is not confirmed; after a restart the next but one is answered, with everything learnt.

    That holds as well where the first question after the restart has ``fresh`` samples that nobody confirmed before.
    """
    clock = LocalClock()
    now_ns = clock.raw_ns()
    known = [sample(now_ns - second * S) for second in range(12, 2, -1)]
    options = {"timeout_s": 10.0, "dual_model": True, "run_id": "r1", "tag": chronotick.tag(KEYS["mine"], "r1", "n1")}

    def learnt(asking):
        said = asking.sample(known, lambda: "ct1")
        return said.outcome, said.question_bytes, httpx.Response(200, text=said.payload).json().get("new_samples")

    with run_service("time_services.chronotick_server") as (_, address):
        asking = ChronoTickClient(f"http://{address}", "n1", clock, **options)
        first, second = learnt(asking), learnt(asking)
    assert (first[0], first[2], second[0], second[2]) == (OK, 10, OK, 0)
    assert second[1] < first[1] / 3
    known += [sample(now_ns - second * S) for second in (2, 1)[:fresh]]
    with run_service("time_services.chronotick_server", listen=address):
        outcomes = [learnt(asking) for _ in range(3)]
    asking.close()
    answered = [told for told in outcomes if told[0] == OK]
    assert [told[2] for told in answered] == [10, 0][: len(answered)]
    assert answered[0][1] >= first[1]
    assert [told[0] for told in outcomes[:1]] == ["http_503"] or outcomes[0][0] == "RemoteProtocolError"


def test_an_empty_question_is_about_the_servers_own_clock(run_service, ntp_address):
    """Asked with {}, a server that samples NTP answers for this machine: about 0 from an NTP server beside it."""
    with run_service("time_services.chronotick_server", "--ntp-server", "{}:{}".format(*ntp_address)) as (_, address):
        deadline = time.monotonic() + 250
        while (told := httpx.post(f"http://{address}/get_time", json={})).status_code == 503:
            assert told.json()["status"] == "warming_up"
            assert "offset_ms" not in told.json()
            assert time.monotonic() < deadline, told.text
            time.sleep(0.05)
    body = told.json()
    assert body["scope"] == "server"
    assert abs(body["offset_ms"]) <= 3 * body["uncertainty_ms"] + body["asymmetry_ms"] + 1.0
    assert chronotick.parse(told.text, "n1").scope == "server"


def test_a_server_that_asks_nobody_says_how_to_start_it_for_that(chronotick_url):
    told = httpx.post(f"{chronotick_url}/get_time", json={})
    assert told.status_code == 503
    assert "--ntp-server" in told.json()["detail"]
    assert "offset_ms" not in told.json()


def test_the_metrics_are_prometheus_text(chronotick_url):
    """Every value follows the HELP and TYPE of its family, and requests are counted by status."""
    httpx.post(f"{chronotick_url}/get_time", content=b"x")
    told = httpx.get(f"{chronotick_url}/metrics")
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    kinds, values, family = {}, {}, ""
    for line in told.text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
            kinds[family] = line.split()[3]
        else:
            name, value = line.rsplit(" ", 1)
            assert name.partition("{")[0] == family
            values[name] = float(value)
    assert kinds["chronotick_requests_total"] == "counter"
    assert kinds["chronotick_nodes"] == "gauge"
    assert values['chronotick_requests_total{status="400"}'] >= 1


def test_nodes_behind_one_address_are_limited_one_by_one(run_service):
    """A node of a run with a key keeps its answers when the others of its address have used up the address's rate."""
    with (
        run_service("time_services.chronotick_server", "--client-rate", "10", "--node-rate", "1000") as (_, address),
        httpx.Client(base_url=f"http://{address}", timeout=10) as web,
    ):
        at = count(6)
        for _ in range(PROVEN_AFTER):
            assert web.post("/get_time", json=asked(next(at), key="mine")).status_code == 200
        while web.get("/health").status_code == 200:
            pass
        codes = [web.post("/get_time", json=asked(next(at), key="mine")).status_code for _ in range(30)]
        assert set(codes) == {200}
        invented = [web.post("/get_time", json=asked(6, node=f"n{number}", key="theirs")) for number in range(30)]
        assert sum(told.status_code == 200 for told in invented) <= 15


def test_misbehaving_servers_still_do():
    """A bias of 500 ms is in the answer, and only there."""
    service = Service("kalman_bank", wrong=misbehaviour("biased:500"))
    status, told = service.answer(read_request(json.dumps(asked(6)).encode()), "a")
    assert status == 200
    assert told["offset_ms"] == pytest.approx(487.5, abs=0.1)


@pytest.mark.parametrize(("started", "flag", "model"), [("median", None, "median"), ("median", False, "median"),
                                                        ("median", True, "dual"), ("dual", None, "dual")])  # fmt: skip
def test_the_model_is_the_one_asked_for(started, flag, model):
    """`use_dual_model` is obeyed, and what a request leaves open is the server's choice; the answer names it."""
    more = {} if flag is None else {"use_dual_model": flag}
    _, told = Service(started).answer(read_request(json.dumps(asked(6, **more)).encode()), "a")
    assert told["model"] == model


def test_a_model_that_cannot_be_had_is_refused():
    with pytest.raises(RequestError, match="use_dual_model: expected true"):
        Service("dual").answer(read_request(json.dumps(asked(6, use_dual_model=False)).encode()), "a")
