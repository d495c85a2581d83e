"""What a source says of its own state is judged before its time is believed: NTP servers, chronyd, kiss codes."""

from __future__ import annotations

import functools
import io
import itertools
import os
import stat
import time
from contextlib import ExitStack, redirect_stdout

import pytest
from played_server import PlayedServer, answer

from node_agent.__main__ import main
from node_agent.check import check
from node_agent.clocks import ntp_packet, self_report
from node_agent.clocks.base import evaluate
from node_agent.clocks.ntp import NtpSource
from node_agent.contract.plan import ChronyPlan, ClocksPlan, NodePlan, NtpPlan, from_json, to_json
from node_agent.contract.records import NEVER_SAMPLED, NTP, OK, Unavailable
from node_agent.exchange import chrony as chrony_exchange
from node_agent.exchange import ntp as ntp_exchange
from node_agent.exchange.asking import Setting
from node_agent.local.instants import LocalClock, user_stamp
from node_agent.sampler import Sampler

PATIENT_S = 10.0
HOUR_S = 3_600.0

UNFIT = {
    "nine hours of root dispersion": ({"root_dispersion_s": 9 * HOUR_S}, "root_distance"),
    "a root delay of four seconds": ({"root_delay_s": 4.0}, "root_distance"),
    "both together are too much": ({"root_delay_s": 1.2, "root_dispersion_s": 0.5}, "root_distance"),
    "a reference time of 0": ({"set_at": bytes(8)}, "no_reference_time"),
    "a reference time in an hour": ({"set_s_ago": -HOUR_S}, "future_reference_time"),
    "a reference time in ten years": ({"set_s_ago": -10 * 8_766 * HOUR_S}, "future_reference_time"),
    "a reference time of two days ago": ({"set_s_ago": 48 * HOUR_S}, "old_reference_time"),
    "a reference time of years ago": ({"set_s_ago": 5 * 8_766 * HOUR_S}, "old_reference_time"),
    "LOCL at stratum 1": ({"stratum": 1, "reference_id": b"LOCL"}, "local_clock"),
    "LOCL further down": ({"stratum": 6, "reference_id": b"LOCL"}, "local_clock"),
    "an old ntpd's LCL": ({"stratum": 4, "reference_id": b"LCL\0"}, "local_clock"),
    "chronyd's local stratum 10": ({"stratum": 10, "reference_id": b"\x7f\x7f\x01\x01"}, "local_clock"),
    "chronyd's local stratum 1": ({"stratum": 1, "reference_id": b"\x7f\x7f\x01\x01"}, "local_clock"),
    "ntpd's local clock driver": ({"stratum": 6, "reference_id": b"\x7f\x7f\x01\x00"}, "local_clock"),
    "an orphan": ({"stratum": 5, "reference_id": b"\x7f\x00\x00\x01"}, "orphan"),
    "an orphan at stratum 1": ({"stratum": 1, "reference_id": b"LOOP"}, "orphan"),
    "INIT": ({"reference_id": b"INIT"}, "refid_init"),
    "STEP": ({"stratum": 3, "reference_id": b"STEP"}, "refid_step"),
    "XFAC": ({"stratum": 1, "reference_id": b"XFAC"}, "refid_xfac"),
    "a kiss code for a reference": ({"stratum": 1, "reference_id": b"RATE"}, "refid_rate"),
    "no reference": ({"reference_id": bytes(4)}, "no_reference"),
    "follows a stratum 10": ({"stratum": 11}, "high_stratum"),
    "follows a long chain": ({"stratum": 15}, "high_stratum"),
    "leap 3": ({"leap": 3}, "unsynchronised"),
}
FIT = {
    "a stratum 2": {},
    "GPS": {"stratum": 1, "reference_id": b"GPS\0"},
    "a refclock driver that is no local clock": {"reference_id": b"\x7f\x7f\x14\x00"},
    "this project's own server": {"stratum": 1, "reference_id": b"XHST", "set_s_ago": 0.0},
    "stratum 9": {"stratum": 9},
    "a leap second to come": {"leap": 1},
    "a distance below the limit": {"root_delay_s": 0.8, "root_dispersion_s": 0.4},
    "set this morning": {"set_s_ago": 20 * HOUR_S},
}


def ask(address, limits=self_report.USUAL):
    numbers = itertools.count(1)
    server = ntp_exchange.NtpServer(address, LocalClock(), 100.0, PATIENT_S, limits)
    return server.ask(lambda: f"ntp{next(numbers)}")[-1]


def asked(limits=self_report.USUAL, **spoilt):
    with PlayedServer(functools.partial(answer, **spoilt)) as server:
        return ask(server.address, limits)


def has_no_number(sample):
    return [sample.offset_ns, sample.bound_ns, sample.raw_at_ns, sample.reference_at_ns, sample.delay_ns] == [None] * 5


@pytest.mark.parametrize("what", UNFIT)
def test_a_server_that_says_it_cannot_be_believed_is_not(what):
    spoilt, outcome = UNFIT[what]
    sample = asked(**spoilt)
    assert sample.outcome == outcome
    assert has_no_number(sample)


@pytest.mark.parametrize("what", UNFIT)
def test_no_reading_comes_of_it(what):
    """Neither `ok` nor `guaranteed` nor `utc`: as if the server had said nothing."""
    lines = []
    with ExitStack() as servers:
        places = [
            servers.enter_context(PlayedServer(lambda request: answer(request, **UNFIT[what][0]))) for _ in range(3)
        ]
        plan = ClocksPlan(ntp=NtpPlan(tuple(place.address for place in places), 0.05, PATIENT_S))
        source = NtpSource(plan.ntp.servers, 100.0, 10**12)
        sampler = Sampler("n1", plan, {NTP: source}, LocalClock(), Journal(lines))
        sampler.start()
        try:
            await_that(lambda: sampler.tally(NTP).samples >= 6)
        finally:
            sampler.stop()
    stamp = user_stamp(LocalClock().pair())
    assert evaluate(source, sampler.snapshot().samples[NTP], stamp) == Unavailable(NEVER_SAMPLED)
    assert all(UNFIT[what][1] in line for line in lines)


@pytest.mark.parametrize("what", FIT)
def test_a_server_with_nothing_against_it_is_believed(what):
    sample = asked(**FIT[what])
    assert sample.outcome == OK
    assert sample.bound_ns > 0


def test_the_limits_are_the_plans():
    far = {"root_dispersion_s": 2.0, "stratum": 12}
    assert asked(self_report.Limits(max_root_distance_ms=3_000.0, max_stratum=12), **far).outcome == OK
    assert asked(self_report.Limits(max_root_distance_ms=1_500.0, max_stratum=12), **far).outcome == "root_distance"
    assert asked(self_report.Limits(max_root_distance_ms=3_000.0, max_stratum=11), **far).outcome == "high_stratum"


def test_an_own_clock_is_believed_where_it_is_meant_to_be_the_truth():
    own = self_report.Limits(own_clock=True)
    local = {"stratum": 10, "reference_id": b"\x7f\x7f\x01\x01"}
    assert asked(own, **local).outcome == OK
    assert asked(own, **local, root_dispersion_s=9 * HOUR_S).outcome == "root_distance"
    assert asked(own, **local, set_at=bytes(8)).outcome == "no_reference_time"


def test_servers_that_serve_their_hosts_clocks_are_no_utc():
    with ExitStack() as servers:

        def say(request):
            return answer(request, stratum=1, reference_id=b"XHST")

        places = [servers.enter_context(PlayedServer(say)).address for _ in range(3)]
        samples = [ask(place) for place in places]
    source = NtpSource(tuple(places), 100.0, 10**12)
    reading = source.read(samples, user_stamp(LocalClock().pair()), samples[-1].raw_at_ns)
    assert reading.reference == "own_clocks"
    real = [
        sample.__class__(**{**vars(sample), "payload": ""}) for sample in samples
    ]  # as an earlier version kept them
    assert source.read(real, user_stamp(LocalClock().pair()), samples[-1].raw_at_ns).reference == "utc"


def test_what_a_server_said_is_kept_and_can_be_judged_again():
    sample = asked(root_dispersion_s=9 * HOUR_S, stratum=3)
    kept = ntp_packet.parse_payload(sample.payload, sample.wall_ns)
    assert (kept.stratum, kept.t2_ns, kept.root_dispersion_ns) == (3, sample.t2_ns, sample.root_dispersion_ns)
    assert self_report.unfit(kept.report, self_report.USUAL) == sample.outcome


# --- kiss codes ------------------------------------------------------------------------------------------------------


class Journal:
    def __init__(self, lines):
        self.lines = lines

    def write(self, lines):
        self.lines.extend(lines)


def await_that(condition):
    """Wait until a condition holds; the test's own deadline is the limit."""
    while not condition():
        time.sleep(0.01)


def kiss(code):
    return lambda request: answer(request, stratum=0, reference_id=code, leap=3)


def run_sampler(*servers, interval_s):
    plan = ClocksPlan(ntp=NtpPlan(tuple(server.address for server in servers), interval_s, PATIENT_S))
    lines = []
    sampler = Sampler("n1", plan, {NTP: NtpSource(plan.ntp.servers, 100.0, 10**12)}, LocalClock(), Journal(lines))
    sampler.start()
    return sampler, lines


@pytest.mark.parametrize("code", [b"DENY", b"RSTR"])
def test_a_server_that_refuses_is_not_asked_again(code):
    with PlayedServer(kiss(code)) as server, PlayedServer(answer, "127.0.67.2") as other:
        sampler, lines = run_sampler(server, other, interval_s=0.05)
        try:
            await_that(lambda: len(other.asked_s) >= 12)  # there was time enough to ask the first one as often
        finally:
            sampler.stop()
    assert len(server.asked_s) == 1
    assert sum(f"kiss_{code.decode().lower()}" in line for line in lines) == 1


def test_a_server_that_asks_for_it_is_asked_less_and_less_often():
    """Not eight times in two seconds: each RATE doubles the interval, from the configured one on."""
    interval_s = 0.1
    with PlayedServer(kiss(b"RATE")) as server:
        sampler, lines = run_sampler(server, interval_s=interval_s)
        try:
            await_that(lambda: len(server.asked_s) >= 4)
        finally:
            sampler.stop()
    gaps = [later - earlier for earlier, later in zip(server.asked_s, server.asked_s[1:])]
    for number, gap in enumerate(gaps, 1):
        assert gap >= 0.99 * interval_s * 2**number
    assert all("kiss_rate" in line for line in lines)


def test_one_rate_in_passing_slows_down_for_the_run():
    """A server that answers again later keeps the longer interval: it asked for it."""
    interval_s = 0.1
    kisses = iter([kiss(b"RATE")])

    def say(request):
        return next(kisses, answer)(request)

    with PlayedServer(say) as server:
        sampler, _ = run_sampler(server, interval_s=interval_s)
        try:
            await_that(lambda: len(server.asked_s) >= 4)
        finally:
            sampler.stop()
    assert min(b - a for a, b in zip(server.asked_s, server.asked_s[1:])) >= 0.99 * 2 * interval_s


@pytest.mark.parametrize("code", [b"XYZZ", b"NKEY"])
def test_other_kiss_codes_are_failures_and_no_more(code):
    """RFC 5905 section 7.4: codes of experiments are ignored, the others mean nothing to the protocol."""
    with PlayedServer(kiss(code)) as server:
        sampler, _ = run_sampler(server, interval_s=0.05)
        try:
            await_that(lambda: len(server.asked_s) >= 6)
        finally:
            sampler.stop()


def test_a_kiss_to_somebody_else_does_nothing():
    """Whoever cannot see the question cannot end the asking: the origin is looked at first."""

    def forged(request):
        return answer(bytes(48), stratum=0, reference_id=b"DENY")

    with PlayedServer(forged) as server:
        place = ntp_exchange.NtpServer(server.address, LocalClock(), 100.0, 0.3)
        (sample,) = place.ask(lambda: "ntp1")
    assert sample.outcome == "wrong_origin"
    assert not place.ended


# --- check, chronyd, plans -------------------------------------------------------------------------------------------


def node_plan(tmp_path, **clocks):
    return NodePlan("x", "00" * 16, "n1", "worker", str(tmp_path), "127.0.0.1", 0, clocks=ClocksPlan(**clocks))


@pytest.mark.parametrize("code", [b"DENY", b"RSTR", b"RATE"])
def test_a_check_asks_once_where_it_is_told_not_to_ask(tmp_path, code):
    with PlayedServer(kiss(code)) as server:
        (row,) = check(node_plan(tmp_path, ntp=NtpPlan((server.address,), 1.0, PATIENT_S)))["sources"]["ntp"]
    assert row["outcome"] == f"kiss_{code.decode().lower()}"
    assert "asked" in row["detail"]
    assert len(server.asked_s) == 1


def test_a_check_says_what_the_server_said_of_itself(tmp_path):
    with PlayedServer(lambda request: answer(request, stratum=10, reference_id=b"\x7f\x7f\x01\x01")) as server:
        (row,) = check(node_plan(tmp_path, ntp=NtpPlan((server.address,), 1.0, PATIENT_S)))["sources"]["ntp"]
    assert (row["outcome"], row["offset_ms"], row["stratum"]) == ("local_clock", None, 10)
    assert "its own clock is its reference" in row["detail"]
    assert "127.127.1.1" in row["detail"]


def tracking(reference_id="0A000007", stratum="2", set_s_ago=16.0, delay="0.0004", dispersion="0.0001", leap="Normal"):
    set_at = "0.000000000" if set_s_ago is None else f"{time.time() - set_s_ago:.9f}"
    return (
        f"{reference_id},name,{stratum},{set_at},0.000012345,-0.000001,0.000002,-7.5,0.01,0.05,{delay},{dispersion},"
        f"16.3,{leap}"
    )


def chronyd_says(tmp_path, monkeypatch, line):
    program = tmp_path / "chronyc"
    program.write_text(f"#!/bin/sh\necho '{line}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def ask_chronyd():
    setting = Setting("n1", ClocksPlan(), LocalClock(), lambda: "chrony1", list)
    return chrony_exchange.sample(ChronyPlan(timeout_s=PATIENT_S), setting)


CHRONY_UNFIT = {
    "local stratum 10": (tracking("7F7F0101", "10", 0.0, "0.0", "0.0"), "local_clock"),
    "local stratum 1": (tracking("7F7F0101", "1", 0.0, "0.0", "0.0"), "local_clock"),
    "a refclock named LOCL": (tracking("4C4F434C", "1"), "local_clock"),
    "nine hours of dispersion": (tracking(dispersion="32400.0"), "root_distance"),
    "a root delay of four seconds": (tracking(delay="4.0"), "root_distance"),
    "never set": (tracking(set_s_ago=None), "no_reference_time"),
    "set in an hour": (tracking(set_s_ago=-HOUR_S), "future_reference_time"),
    "set two days ago": (tracking(set_s_ago=48 * HOUR_S), "old_reference_time"),
    "follows a local stratum 10": (tracking(stratum="11"), "high_stratum"),
    "no reference": (tracking("00000000"), "no_reference"),
    "stratum 0": (tracking(stratum="0"), "stratum_0"),
    "stratum 16": (tracking(stratum="16"), "stratum_16"),
    "not synchronised": (tracking(leap="Not synchronised"), "unsynchronised"),
}


@pytest.mark.parametrize("what", CHRONY_UNFIT)
def test_a_chronyd_that_follows_nothing_has_no_number(tmp_path, monkeypatch, what):
    line, outcome = CHRONY_UNFIT[what]
    chronyd_says(tmp_path, monkeypatch, line)
    sample = ask_chronyd()
    assert sample.outcome == outcome
    assert has_no_number(sample)
    (row,) = check(node_plan(tmp_path, chrony=ChronyPlan(timeout_s=PATIENT_S)))["sources"]["chrony"]
    assert (row["outcome"], row["bound_ms"]) == (outcome, None)


@pytest.mark.parametrize("line", [tracking(), tracking("7F000001"), tracking("50505300", "1")])
def test_a_chronyd_that_follows_a_server_or_a_refclock_is_believed(tmp_path, monkeypatch, line):
    """127.0.0.1 is where it follows a server on its own host; chronyd's orphans say 127.127.1.1."""
    chronyd_says(tmp_path, monkeypatch, line)
    assert ask_chronyd().outcome == OK


def test_a_plan_of_an_earlier_version_judges_nothing_of_this():
    plan = NodePlan("x", "00" * 16, "n1", "worker", "r", "127.0.0.1", clocks=ClocksPlan(ntp=NtpPlan(("a:1",))))
    assert from_json(to_json(plan)) == plan
    assert self_report.limits_of(plan.clocks) == self_report.USUAL
    lines = [line for line in to_json(plan).splitlines() if "max_root_distance_ms" not in line]
    earlier = from_json("\n".join(line for line in lines if "max_stratum" not in line))
    assert self_report.limits_of(earlier.clocks) is None
    assert asked(None, root_dispersion_s=9 * HOUR_S).outcome == OK


@pytest.mark.parametrize("changes", [{"max_root_distance_ms": 0.0}, {"max_stratum": 16}, {"max_stratum": 0}])
def test_a_limit_that_cannot_be_meant_is_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        ClocksPlan(**changes)


def test_a_check_of_an_unfit_server_is_one_json_line(tmp_path):
    """The command line too: no traceback, and the reason in the row."""
    with PlayedServer(lambda request: answer(request, set_at=bytes(8))) as server:
        path = tmp_path / "plan.json"
        path.write_text(to_json(node_plan(tmp_path, ntp=NtpPlan((server.address,), 1.0, PATIENT_S))))
        said = io.StringIO()
        with redirect_stdout(said):
            assert main(["check", "--plan", str(path)]) == 0
    assert "no_reference_time" in said.getvalue()
    assert "Traceback" not in said.getvalue()
