"""A plan survives the way to a node unchanged, and one that does not fit is refused by the name of what is wrong."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.contract import plan as plans
from node_agent.contract.plan import (
    INTERVAL,
    PER_EVENT,
    BroadcastPlan,
    ChronoTickPlan,
    ChronyPlan,
    ClocksPlan,
    NodePlan,
    NtpPlan,
    PlanError,
    ProbePeer,
    ProbesPlan,
    VirtualClock,
    WorkerAddress,
)

SECONDS = st.floats(min_value=0.0, max_value=1e6)
LASTING = st.floats(min_value=1e-3, max_value=1e6)
NAMES = st.from_regex(plans.NODE_ID_PATTERN, fullmatch=True)
TEXT = st.text(max_size=20)
PORTS = st.integers(min_value=1, max_value=65_535)
HOSTS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True),
    st.ip_addresses(v=6).filter(lambda address: not address.is_link_local).map(lambda address: f"[{address}]"),
)
SERVERS = st.one_of(HOSTS, st.tuples(HOSTS, PORTS).map(lambda place: f"{place[0]}:{place[1]}"))
URLS = st.tuples(st.sampled_from(("http", "https")), SERVERS, st.sampled_from(("", "/", "/a.b/~c"))).map(
    lambda url: f"{url[0]}://{url[1]}{url[2]}"
)

clocks = st.builds(
    ClocksPlan,
    ntp=st.none()
    | st.builds(
        NtpPlan,
        servers=st.lists(SERVERS, min_size=1, max_size=3, unique=True).map(tuple),
        query_interval_s=SECONDS,
        timeout_s=SECONDS,
        valid_for_s=st.none() | SECONDS,
    ),
    chronotick=st.none()
    | st.builds(ChronoTickPlan, URLS, use_dual_model=st.booleans(), mode=st.sampled_from([INTERVAL, PER_EVENT])),
    chrony=st.none() | st.builds(ChronyPlan, SECONDS, SECONDS, st.none() | SECONDS, TEXT),
    max_drift_ppm=SECONDS,
    required=st.lists(TEXT, max_size=2).map(tuple),
)
broadcasts = st.builds(
    BroadcastPlan,
    workers=st.lists(st.builds(WorkerAddress, NAMES, TEXT, PORTS), min_size=1, max_size=4).map(tuple),
    num_events=st.integers(min_value=1, max_value=10**9),
    delays_ms=st.lists(SECONDS, min_size=1, max_size=12).map(tuple),
    duration_s=st.none() | SECONDS,
)


@st.composite
def probes(draw):
    own, *others = draw(st.lists(st.integers(min_value=0, max_value=65_535), min_size=2, max_size=5, unique=True))
    names = draw(st.lists(NAMES, min_size=len(others), max_size=len(others), unique=True))
    return ProbesPlan(
        index=own,
        peers=tuple(ProbePeer(name, draw(TEXT), draw(PORTS), index) for name, index in zip(names, others)),
        port=0,
        rate_hz=draw(LASTING),
        lead_s=draw(SECONDS),
        trail_s=draw(SECONDS),
        stamps=draw(st.sampled_from([plans.KERNEL_STAMPS, plans.USER_STAMPS])),
    )


@st.composite
def node_plans(draw):
    role = draw(st.sampled_from([plans.WORKER, plans.COORDINATOR]))
    return NodePlan(
        experiment=draw(TEXT),
        run_id=draw(TEXT),
        node_id=draw(NAMES),
        role=role,
        run_dir=draw(TEXT),
        listen_host=draw(TEXT),
        listen_port=draw(PORTS),
        clocks=draw(clocks),
        commit_wait_delays_s=draw(st.lists(SECONDS, max_size=3).map(tuple)),
        lease_s=draw(st.none() | SECONDS),
        log_console=draw(st.booleans()),
        virtual_clock=draw(
            st.none()
            | st.builds(
                VirtualClock,
                st.integers(min_value=0, max_value=1 << 62),
                SECONDS,
                SECONDS,
                sine=st.none() | st.builds(plans.Sine, SECONDS, LASTING),
                steps=st.lists(st.builds(plans.Step, SECONDS, SECONDS), max_size=2).map(tuple),
                slews=st.lists(st.builds(plans.Slew, SECONDS, LASTING, SECONDS), max_size=2).map(tuple),
            )
        ),
        broadcast=draw(broadcasts) if role == plans.COORDINATOR else None,
        probes=draw(st.none() | probes()),
    )


@pytest.mark.parametrize("spoil", [",", '"', "'", "\n", "\r", " ", "\0", ";", "$(id)", "@", "\u0661"])
def test_a_name_that_would_break_a_csv_file_or_a_log_line_is_refused(spoil):
    """Servers' names stand in cells and log lines as they are, so they are plain from the start."""
    for make in (
        lambda: NtpPlan((f"ntp{spoil}.example:123",)),
        lambda: ChronoTickPlan(f"http://tick{spoil}.example:8124"),
        lambda: ChronoTickPlan(f"http://tick.example:8124/{spoil}"),
        lambda: WorkerAddress(f"comp{spoil}11", "10.0.0.1", 9000),
    ):
        with pytest.raises(PlanError, match="expected"):
            make()


@given(node_plans())
def test_a_plan_is_the_same_after_the_way_through_json(plan):
    assert plans.from_json(plans.to_json(plan)) == plan


@given(node_plans())
def test_whole_numbers_typed_for_floats_are_taken_as_floats(plan):
    data = json.loads(plans.to_json(plan))
    data["clocks"]["max_drift_ppm"] = 100
    assert type(plans.from_json(json.dumps(data)).clocks.max_drift_ppm) is float


WORKER = NodePlan(
    "x", "ab" * 16, "comp11", plans.WORKER, "~/run", "127.0.0.11", clocks=ClocksPlan(ntp=NtpPlan(("h:1",)))
)
COORDINATOR = dataclasses.replace(
    WORKER,
    role=plans.COORDINATOR,
    broadcast=BroadcastPlan((WorkerAddress("comp11", "127.0.0.11", 9000),), 10, (100.0, 10.0)),
)
ABSENT = object()

REFUSALS = [
    ("unknown key", ["colour"], "red", "plan: unknown key 'colour'"),
    ("unknown nested key", ["clocks", "ntp", "colour"], "red", r"plan\.clocks\.ntp: unknown key 'colour'"),
    ("missing key", ["run_id"], ABSENT, "plan: .*run_id"),
    ("missing nested key", ["clocks", "ntp", "servers"], ABSENT, r"plan\.clocks\.ntp: .*servers"),
    ("text for a number", ["listen_port"], "9000", r"plan\.listen_port: expected int, got '9000'"),
    ("fraction for an int", ["listen_port"], 9000.5, r"plan\.listen_port: expected int"),
    ("bool for an int", ["listen_port"], True, r"plan\.listen_port: expected int"),
    ("bool for a float", ["clocks", "max_drift_ppm"], False, r"plan\.clocks\.max_drift_ppm: expected float"),
    ("number for a bool", ["log_console"], 1, r"plan\.log_console: expected bool"),
    ("null for text", ["run_dir"], None, r"plan\.run_dir: expected str"),
    ("null for an object", ["clocks"], None, r"plan\.clocks: expected an object"),
    ("list for an object", ["clocks"], [], r"plan\.clocks: expected an object"),
    ("text for a list", ["clocks", "required"], "ntp", r"plan\.clocks\.required: expected a list"),
    ("number in a list of texts", ["clocks", "ntp", "servers"], ["a:1", 7], r"servers\[1\]: expected str"),
    ("NaN", ["clocks", "max_drift_ppm"], float("nan"), r"plan\.clocks\.max_drift_ppm: expected a finite number"),
    ("a whole number that no float holds", ["lease_s"], 10**400, r"plan\.lease_s: expected float, got 1000"),
    ("infinity", ["lease_s"], float("inf"), r"plan\.lease_s: expected a finite number"),
    ("another schema", ["schema"], 2, "schema: expected 1, got 2"),
    ("path in a node id", ["node_id"], "../x", "node_id: .*'../x'"),
    ("empty node id", ["node_id"], "", "node_id: "),
    ("a role nobody has", ["role"], "observer", "role: .*'observer'"),
    ("a mode there is not", ["clocks", "chronotick"], {"server": "http://x", "mode": "often"}, "mode: .*'often'"),
    ("a port no host has", ["listen_port"], 65_536, "listen_port: .*65536"),
]  # fmt: skip


def altered(plan, path, value):
    data = json.loads(plans.to_json(plan))
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is ABSENT:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(("path", "value", "message"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_what_does_not_fit_is_refused_by_name(path, value, message):
    with pytest.raises(PlanError, match=message):
        plans.from_json(altered(WORKER, path, value))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["broadcast"], None, "broadcast: "),
        (["broadcast", "num_events"], 0, "num_events: .*0"),
        (["broadcast", "delays_ms"], [], "delays_ms: "),
        (["broadcast", "delays_ms"], [10.0, -1.0], "delays_ms: .*-1"),
        (["broadcast", "workers"], [], "workers: "),
        (["broadcast", "workers"], [{"node_id": "a"}], r"plan\.broadcast\.workers\[0\]: "),
    ],
)
def test_a_broadcast_that_cannot_be_sent_is_refused(path, value, message):
    with pytest.raises(PlanError, match=message):
        plans.from_json(altered(COORDINATOR, path, value))


PROBED = dataclasses.replace(
    WORKER, probes=ProbesPlan(0, (ProbePeer("a", "127.0.0.1", 9001, 1), ProbePeer("b", "127.0.0.2", 9001, 2)))
)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["peers"], [], "probes: peers: expected at least one"),
        (["peers", 0, "index"], 0, r"probes: expected an index .*each one once, got \[0, 0, 2\]"),
        (["peers", 1, "index"], 65_536, "probes: expected an index from 0 to 65535"),
        (["index"], -1, "probes: expected an index from 0"),
        (["peers", 1, "node_id"], "a", "probes: peers: expected each node once"),
        (["peers", 1, "host"], None, r"plan\.probes\.peers\[1\]\.host: expected str"),
        (["port"], 65_536, "probes: port: .*65536"),
        (["port"], 9000, "probes: port: expected another than the events' 9000"),
        (["rate_hz"], 0, "probes: rate_hz: expected more than 0"),
        (["lead_s"], -1, "probes: lead_s, trail_s: expected 0 or more, got -1"),
        (["stamps"], "hardware", "probes: stamps: expected 'kernel' or 'user', got 'hardware'"),
        (["colour"], "red", r"plan\.probes: unknown key 'colour'"),
    ],
)
def test_probes_that_cannot_be_exchanged_are_refused(path, value, message):
    with pytest.raises(PlanError, match=message):
        plans.from_json(altered(PROBED, ["probes", *path], value))


def test_a_worker_with_a_broadcast_is_refused():
    with pytest.raises(PlanError, match="broadcast"):
        dataclasses.replace(COORDINATOR, role=plans.WORKER)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"plan"'])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(PlanError, match="plan: expected"):
        plans.from_json(text)


def test_a_sample_serves_three_intervals_and_a_second_unless_told_otherwise():
    assert plans.valid_for_ns(10.0, None) == 31_000_000_000
    assert plans.valid_for_ns(10.0, 0.5) == 500_000_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: plans.Slew(1.0, 0.0, 5.0),
        lambda: plans.Freeze(1.0, 0.0),
        lambda: plans.Sine(50.0, 0.0),
        lambda: plans.RandomWalk(1, 0.1, 0.0),
    ],
)
def test_a_virtual_clock_refuses_what_would_take_no_time(make):
    with pytest.raises(plans.PlanError, match="expected more than 0"):
        make()


def test_a_time_server_named_twice_is_refused():
    """Of three, fewer than half may be wrong: one that votes twice would be the majority."""
    with pytest.raises(plans.PlanError, match="each one once, got a:1, b:1, a:1"):
        plans.NtpPlan(("a:1", "b:1", "a:1"))
