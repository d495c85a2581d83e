"""A name may have many addresses, some of them dead, or a name service that is silent: asked in turn, in time."""

from __future__ import annotations

import http.server
import io
import itertools
import json
import socket
import threading
import time
from contextlib import contextmanager, redirect_stderr
from typing import ClassVar

import pytest
from played_server import PlayedServer, answer

from node_agent.__main__ import main
from node_agent.addresses import bound, look_up
from node_agent.check import check
from node_agent.clocks import ntp
from node_agent.clocks.ntp import NtpSource
from node_agent.contract.plan import ClocksPlan, NodePlan, NtpPlan, PlanError, ProbePeer, WorkerAddress
from node_agent.contract.records import NTP, OK
from node_agent.contract.servers import split_address
from node_agent.datagrams import mmsg
from node_agent.exchange import ntp as ntp_exchange
from node_agent.exchange.chronotick import ChronoTickClient
from node_agent.lifecycle import AgentError
from node_agent.local import resolver
from node_agent.local.instants import LocalClock
from node_agent.sampler import Sampler

PATIENT_S = 20.0
NAME = "time.example"


def known(monkeypatch, *places, family=socket.AF_INET):
    """Let the name service say that NAME is at these places, and nothing else; no real one is ever asked."""
    real = socket.getaddrinfo

    def getaddrinfo(host, port, wanted=0, kind=0, *_rest, **_more):
        if host[0].isdigit():
            return real(host, port, wanted, kind, 0, socket.AI_NUMERICHOST)
        if host != NAME or wanted not in (0, family):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, kind, 0, "", tuple(place)) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@contextmanager
def silent_name_service(monkeypatch, function="getaddrinfo"):
    """Let the name service not answer before the block is over; yields the names asked for, and its threads."""
    over, asked, threads = threading.Event(), [], set()

    def unanswered(host, *_, **__):
        asked.append(host)
        threads.add(threading.current_thread())
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, function, unanswered)
    try:
        yield asked, threads
    finally:
        over.set()
        for thread in threads - {threading.current_thread()}:
            thread.join()


def server_at(server, timeout_s=PATIENT_S):
    return ntp_exchange.NtpServer(server, LocalClock(), 100.0, timeout_s)


def numbered():
    numbers = itertools.count(1)
    return lambda: f"ntp{next(numbers)}"


def ask(server, timeout_s=PATIENT_S):
    return ntp_exchange.NtpServer(server, LocalClock(), 100.0, timeout_s).ask(numbered())[-1]


# --- NTP: every address ----------------------------------------------------------------------------------------------

NOBODY = ("127.0.67.250", 9)
NO_WAY = ("255.255.255.255", 123)  # the kernel refuses to send there
DEAD = {
    "a closed port": [NOBODY],
    "an address that cannot be sent to": [NO_WAY],
    "two dead ones": [NOBODY, NO_WAY],
    "three dead ones": [NOBODY, ("127.0.67.251", 9), NO_WAY],
}


@pytest.mark.parametrize("what", DEAD)
def test_a_dead_address_does_not_hide_the_living_one(monkeypatch, what):
    with PlayedServer(answer) as server:
        known(monkeypatch, *DEAD[what], server.place)
        sample = ask(f"{NAME}:123", 1.5)
    assert (sample.outcome, sample.server, sample.address) == (OK, f"{NAME}:123", server.address)


UNWANTED = {
    "a silent one": lambda _request: None,
    "an unsynchronised one": lambda request: answer(request, leap=3),
    "one with a reference time of 0": lambda request: answer(request, set_at=bytes(8)),
    "a local clock": lambda request: answer(request, reference_id=b"LOCL"),
    "one that says rubbish": lambda _request: b"rubbish",
    "one that answers somebody else": lambda _request: answer(bytes(48)),
}


@pytest.mark.parametrize("what", UNWANTED)
def test_an_address_with_a_bad_server_does_not_hide_the_good_one(monkeypatch, what):
    with PlayedServer(UNWANTED[what], "127.0.67.3") as bad, PlayedServer(answer) as good:
        known(monkeypatch, bad.place, good.place)
        sample = ask(f"{NAME}:123", 1.5)
    assert (sample.outcome, sample.address) == (OK, good.address)
    assert len(bad.asked_s) == 1


def test_every_question_is_a_sample_and_the_one_that_counts_is_the_last(monkeypatch):
    """What was asked in vain costs the network too, so it is a row of samples.csv."""
    with PlayedServer(lambda _request: None, "127.0.67.3") as dead, PlayedServer(answer) as good:
        known(monkeypatch, dead.place, good.place)
        samples = server_at(NAME, 1.0).ask(numbered())
    assert [(sample.outcome, sample.address) for sample in samples] == [
        ("timeout", dead.address), (OK, good.address),
    ]  # fmt: skip
    assert [sample.sample_id for sample in samples] == ["ntp1", "ntp2"]


def test_the_address_that_answers_is_kept(monkeypatch):
    with PlayedServer(lambda _request: None, "127.0.67.3") as dead, PlayedServer(answer) as good:
        known(monkeypatch, dead.place, good.place)
        server, new_id = server_at(NAME, 1.0), numbered()
        outcomes = [server.ask(new_id)[-1].outcome for _ in range(4)]
    assert outcomes == [OK] * 4
    assert (len(dead.asked_s), len(good.asked_s)) == (1, 4)


def test_a_kept_address_that_dies_gives_way_and_a_name_that_moves_is_followed(monkeypatch):
    mute = threading.Event()
    say = {"first": lambda request: None if mute.is_set() else answer(request)}
    with PlayedServer(say["first"], "127.0.67.3") as first, PlayedServer(answer) as second:
        known(monkeypatch, first.place, second.place)
        server, new_id = server_at(NAME, 1.0), numbered()
        assert server.ask(new_id)[-1].address == first.address
        mute.set()
        assert server.ask(new_id)[-1].address == second.address
        mute.clear()
        assert server.ask(new_id)[-1].address == second.address
        known(monkeypatch, first.place)  # the second is no address of that name any more
        assert server.ask(new_id)[-1].address == first.address


def test_a_name_with_many_addresses_is_asked_at_a_few_at_once_and_at_all_in_the_end(monkeypatch):
    dead = [(f"127.0.67.{100 + number}", 9) for number in range(9)]
    with PlayedServer(answer) as server:
        known(monkeypatch, *dead, server.place)
        asked, new_id = server_at(NAME, 0.4), numbered()
        rounds = [asked.ask(new_id) for _ in range(3)]
    assert max(map(len, rounds)) <= ntp_exchange.MAX_ADDRESSES
    assert rounds[-1][-1].outcome == OK


def test_only_the_address_that_refused_is_left_alone(monkeypatch):
    def refuse(request):
        return answer(request, stratum=0, reference_id=b"DENY")

    with PlayedServer(refuse, "127.0.67.3") as first, PlayedServer(answer) as second:
        known(monkeypatch, first.place, second.place)
        server, new_id = server_at(NAME), numbered()
        outcomes = [server.ask(new_id)[-1].outcome for _ in range(3)]
        assert outcomes == ["kiss_deny", OK, OK]
        assert not server.ended
    assert len(first.asked_s) == 1


def test_a_late_first_answer_still_counts(monkeypatch):
    """The second address is asked while the first may still answer."""
    go_on = threading.Event()

    def late(request):
        go_on.wait()
        return answer(request)

    def silent(_request):
        go_on.set()

    with PlayedServer(late, "127.0.67.3") as first, PlayedServer(silent) as second:
        known(monkeypatch, first.place, second.place)
        sample = ask(NAME, 1.2)
    assert (sample.outcome, sample.address) == (OK, first.address)


# --- names: in time, and off the thread that must stop ---------------------------------------------------------------


def test_a_silent_name_service_costs_no_more_than_the_deadline(monkeypatch):
    """The name service answers only after the sample is made: who waited for it would wait for ever."""
    with silent_name_service(monkeypatch):
        sample = ask(f"{NAME}:123", 0.2)
        assert (sample.outcome, sample.address) == ("unresolved", "")


def test_a_name_service_that_falls_silent_does_not_take_a_known_server_along(monkeypatch):
    with PlayedServer(answer) as server:
        known(monkeypatch, server.place)
        asked, new_id = server_at(NAME, 1.0), numbered()
        assert asked.ask(new_id)[-1].outcome == OK
        with silent_name_service(monkeypatch):
            assert asked.ask(new_id)[-1].outcome == OK


def test_the_sampler_stops_while_the_name_service_is_silent(monkeypatch):
    with silent_name_service(monkeypatch) as (asked, _threads):
        plan = ClocksPlan(ntp=NtpPlan(tuple(f"h{number}.example" for number in range(12)), 0.1, 0.3))
        sampler = Sampler("n1", plan, {NTP: NtpSource(plan.ntp.servers, 100.0, 10**9)}, LocalClock(), Lines())
        sampler.start()
        while sampler.tally(NTP).samples < 24:
            time.sleep(0.01)
        sampler.stop()
        assert not any(thread.is_alive() for thread in sampler._threads)
        assert sampler.tally(NTP).last_outcome == "unresolved"
        assert len(asked) <= resolver.MAX_THREADS  # the others wait for their turn


class Lines:
    def write(self, lines):
        pass


def test_look_ups_of_one_name_are_one_and_threads_are_few(monkeypatch):
    with silent_name_service(monkeypatch) as (asked, threads):
        for host in ("a.example", "a.example", "b.example", "c.example", "a.example"):
            with pytest.raises(resolver.LookUpError, match="no answer from the name service"):
                resolver.udp_addresses(host, 123, 0.02, few)
        assert sorted(asked) == ["a.example", "b.example"]
        assert len(threads) == 2


few = resolver.Resolver(max_threads=2)


@pytest.mark.parametrize("error", [UnicodeError("label too long"), socket.gaierror(-2, "not known"), OSError("down")])
def test_whatever_a_name_service_raises_is_unresolved(monkeypatch, error):
    def raising(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", raising)
    assert ask(f"{NAME}:123").outcome == "unresolved"


def test_a_check_is_over_while_the_name_service_is_silent(monkeypatch, tmp_path):
    with silent_name_service(monkeypatch):
        plan = NodePlan("x", "00" * 16, "n1", "worker", str(tmp_path), "127.0.0.1", 0,
                        clocks=ClocksPlan(ntp=NtpPlan((NAME,), 1.0, 0.2)))  # fmt: skip
        (row,) = check(plan)["sources"]["ntp"]
    assert row["outcome"] == "unresolved"


@pytest.mark.parametrize("place", [WorkerAddress("b", NAME, 9000), ProbePeer("b", NAME, 9000, 3)])
def test_another_node_is_looked_up_within_a_deadline(monkeypatch, place):
    monkeypatch.setattr("node_agent.addresses.LOOK_UP_S", 0.1)
    told = f"node b: cannot look up '{NAME}': no answer from the name service"
    with silent_name_service(monkeypatch), pytest.raises(AgentError, match=told):
        look_up(place, None)


def test_a_name_that_no_host_can_have_is_one_line():
    with pytest.raises(AgentError, match=r"node b: cannot look up 'aaaa.*no host can have this name"):
        look_up(WorkerAddress("b", "a" * 80 + ".example", 9000), None)


def test_a_socket_is_bound_to_the_address_of_the_name_that_is_this_nodes(monkeypatch):
    known(monkeypatch, ("192.0.2.1", 0), ("127.0.67.9", 0))
    with bound(NAME, 0) as sock:
        assert sock.getsockname()[0] == "127.0.67.9"


# --- IPv6 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["::1", "fe80::1%eth0", "2001:db8::7:5", "::1:123"])
def test_an_ipv6_address_without_brackets_is_one_line(server, tmp_path):
    """Its port could be the address's own last group."""
    with pytest.raises(ValueError, match="expected an IPv6 address in brackets"):
        split_address(server)
    with pytest.raises(PlanError, match="expected an IPv6 address in brackets"):
        NtpPlan((server,))
    said = io.StringIO()
    with redirect_stderr(said):
        assert main(["worker", "--output", str(tmp_path / "w.csv"), "--ntp-server", server]) == 2
        assert main(["coordinator", "--output", str(tmp_path / "c.csv"), "--workers", server]) == 2
    assert said.getvalue().count("expected an IPv6 address in brackets") == 2
    assert "Traceback" not in said.getvalue()


def test_a_link_local_address_names_its_interface(tmp_path):
    """It means another host on every interface; one that names an interface is used, as far as there is that one."""
    with pytest.raises(ValueError, match="expected a link-local address with its interface, as in fe80::1%eth0"):
        split_address("[fe80::1]:123")
    assert split_address("[fe80::1%lo]:123") == ("fe80::1%lo", 123)
    assert resolver.udp_addresses("fe80::1%lo", 123, 1.0) == (("fe80::1%lo", 123),)
    with pytest.raises(resolver.LookUpError, match="no interface 'nowhere0' on this machine"):
        resolver.udp_addresses("fe80::1%nowhere0", 123, 1.0)
    said = io.StringIO()
    with redirect_stderr(said):
        assert main(["worker", "--output", str(tmp_path / "w.csv"), "--listen-host", "fe80::1"]) == 2
    assert "--listen-host: expected a link-local address with its interface" in said.getvalue()


NO_ADDRESS = ["[]:123", "a:b:1", "[1.2.3.4", ":123", "a:", "a:0", "a:65536", "[time]x:1", "a:\u0661"]


@pytest.mark.parametrize("server", NO_ADDRESS)
def test_what_is_no_address_at_all_is_still_said_so(server):
    with pytest.raises(ValueError, match="expected host:port"):
        split_address(server)


@contextmanager
def played6():
    try:
        server = PlayedServer(answer, "::1")
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine's loopback: {error}")
    with server:
        yield server


def test_ntp_is_asked_at_the_ipv6_address_of_a_name(monkeypatch):
    """The sample's address has its brackets, and it counts for 48 bytes of headers where IPv4 has 28."""
    with played6() as server:
        known(monkeypatch, server.place, family=socket.AF_INET6)
        sample = ask(f"{NAME}:123")
    assert (sample.outcome, sample.address) == (OK, f"[::1]:{server.place[1]}")
    assert ntp.KIND.traffic("n1", [sample]).bytes_sent == 48 + 8 + 40


def test_both_families_of_a_name_are_tried_ipv4_first(monkeypatch):
    """What was asked before IPv6 was known is asked first still."""
    with played6() as server, PlayedServer(lambda _request: None) as silent:
        places = [(socket.AF_INET6, *server.place), (socket.AF_INET, *silent.place)]
        found = [(family, socket.SOCK_DGRAM, 0, "", place) for family, *place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        samples = server_at(NAME, 1.0).ask(numbered())
    assert [(sample.outcome, sample.address) for sample in samples] == [
        ("timeout", silent.address), (OK, f"[::1]:{server.place[1]}"),
    ]  # fmt: skip


def test_a_node_at_two_addresses_is_sent_to_where_there_is_a_way(monkeypatch):
    known(monkeypatch, NO_WAY, ("127.0.67.9", 9000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert mmsg.address(look_up(WorkerAddress("b", NAME, 9000), sock)) == ("127.0.67.9", 9000)


# --- ChronoTick ------------------------------------------------------------------------------------------------------


class Predictor(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hosts: ClassVar[list[str]] = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.hosts.append(self.headers["Host"])
        body = json.dumps({"offset_ms": 0.5, "uncertainty_ms": 0.1}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def predictor(host="127.0.67.5", kind=http.server.ThreadingHTTPServer):
    with kind((host, 0), Predictor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Predictor.hosts = []
        try:
            yield server.server_address[:2]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def full_listener():
    """Yield a TCP port where a connection is neither taken nor refused: its queue is full, the kernel silent."""
    with socket.socket() as listener:
        listener.bind(("127.0.67.6", 0))
        listener.listen(0)
        held = []
        try:
            for _ in range(2):
                sock = socket.socket()
                held.append(sock)
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
            yield listener.getsockname()
        finally:
            for sock in held:
                sock.close()


@contextmanager
def client(server, timeout_s=PATIENT_S):
    made = ChronoTickClient(server, "n1", LocalClock(), timeout_s=timeout_s, dual_model=True)
    try:
        yield made
    finally:
        made.close()


def test_chronotick_is_found_behind_a_dead_address_and_kept(monkeypatch):
    with predictor() as place, client(f"http://{NAME}:8124") as tick:
        known(monkeypatch, ("127.0.67.250", 9), place)
        assert [tick.sample([], numbered()).outcome for _ in range(3)] == [OK] * 3
        assert tick._places()[0].host == place[0]
    assert Predictor.hosts == [f"{NAME}:8124"] * 3  # it is told its name, not its address


def test_chronotick_is_found_behind_an_address_that_stays_silent(monkeypatch):
    with full_listener() as silent, predictor() as place, client(f"http://{NAME}:8124", 3.0) as tick:
        known(monkeypatch, silent, place)
        assert [tick.sample([], numbered()).outcome for _ in range(2)] == [OK] * 2


def test_chronotick_by_a_silent_name_service_is_unresolved_in_time(monkeypatch):
    with silent_name_service(monkeypatch), client(f"http://{NAME}:8124", 0.2) as tick:
        assert tick.sample([], numbered()).outcome == "unresolved"
        assert tick.health().detail == "unresolved"


def test_chronotick_at_an_ipv6_address_is_asked():
    try:
        context = predictor("::1", Server6)
        with context as place, client(f"http://[::1]:{place[1]}") as tick:
            assert tick.sample([], numbered()).outcome == OK
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine's loopback: {error}")


def test_chronotick_with_no_living_address_has_its_old_reason(monkeypatch):
    with client(f"http://{NAME}:8124") as tick:
        known(monkeypatch, ("127.0.67.250", 9), ("127.0.67.251", 9))
        assert tick.sample([], numbered()).outcome == "no_connection"
