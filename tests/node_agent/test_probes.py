"""The probe mesh of one node: when it sends, which stamps it keeps, and what it counts and drops."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from node_agent.contract import records
from node_agent.contract.plan import KERNEL_STAMPS, USER_STAMPS, WORKER, NodePlan, ProbePeer, ProbesPlan
from node_agent.datagrams import kernel_stamps, mmsg
from node_agent.datagrams.probe import ProbeWire
from node_agent.local.instants import ClockPair, LocalClock, anchor
from node_agent.probes import ProbeMesh

HOSTS = {"a": "127.0.90.1", "b": "127.0.90.2", "c": "127.0.90.3"}
RUN, KEY = "ab" * 16, bytes(range(32))
DEADLINE_S = 30.0
MS = 1_000_000


@dataclass
class Kept:
    """A journal in memory."""

    lines: list = field(default_factory=list)

    def write(self, lines):
        self.lines.extend(lines)


class StandIn:
    """What a mesh needs of its node: a plan, a phase, a clock and a journal."""

    def __init__(self, plan, clock):
        self.plan = plan
        self.clock = clock
        self.phase = records.RUNNING
        self.kept = Kept()

    def add_journal(self, name, columns):
        assert (name, columns) == (records.PROBES_FILE, records.PROBES_COLUMNS)
        return self.kept


class Place:
    """Nodes with sockets of their own on loopback, each with its mesh."""

    def __init__(self):
        self.sockets = {}
        for name, host in HOSTS.items():
            self.sockets[name] = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind((host, 0))

    def address(self, name):
        return self.sockets[name].getsockname()

    def mesh(self, name, clock=None, **changes):
        peers = tuple(ProbePeer(peer, *self.address(peer), index) for index, peer in enumerate(HOSTS) if peer != name)
        probes = ProbesPlan(list(HOSTS).index(name), peers, **changes)
        plan = NodePlan("x", RUN, name, WORKER, "~/x", HOSTS[name], probes=probes)
        if probes.stamps == KERNEL_STAMPS:
            kernel_stamps.stamp_arrivals(self.sockets[name])
        return ProbeMesh(StandIn(plan, clock or LocalClock()), self.sockets[name], KEY)


@pytest.fixture
def place():
    made = Place()
    yield made
    for sock in made.sockets.values():
        sock.close()


def rows(mesh):
    return [dict(zip(records.PROBES_COLUMNS, line.split(","))) for line in mesh._node.kept.lines + mesh._lines]


def until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


def simulate(mesh, monkeypatch, from_s, to_s):
    """Let the mesh send from one simulated instant to another; return the instants of each peer's probes, in ms."""
    sent = {peer.node_id: [] for peer in mesh._peers.values()}
    now_ns = 0
    monkeypatch.setattr(mesh, "_send", lambda peer, _before: sent[peer.node_id].append(now_ns / MS))
    for now_ns in range(round(from_s * 1e9), round(to_s * 1e9), MS):
        mesh._send_due(now_ns)
    return sent


def test_every_peer_is_probed_at_the_rate_with_jitter_and_without_long_gaps(place, monkeypatch):
    sent = simulate(place.mesh("a", rate_hz=25.0), monkeypatch, 0, 200)
    for instants in sent.values():
        gaps = [later - earlier for earlier, later in zip(instants, instants[1:])]
        assert len(instants) == pytest.approx(200 * 25, rel=0.03)
        assert min(gaps) >= 19
        assert max(gaps) <= 61
        assert len({round(gap) for gap in gaps}) >= 35  # of the 41 there are: no rhythm that an event could share
    assert set(sent["b"][:50]) != set(sent["c"][:50])


def test_a_thread_that_was_held_up_catches_up_with_nothing(place, monkeypatch):
    mesh = place.mesh("a", rate_hz=25.0)
    before = simulate(mesh, monkeypatch, 0, 1)
    sent = []
    monkeypatch.setattr(mesh, "_send", lambda peer, _before: sent.append(peer.node_id))
    mesh._send_due(10_000 * MS)
    assert sorted(sent) == sorted(before)  # one each, not the 225 that were missed
    mesh._send_due(10_001 * MS)
    assert len(sent) == len(before)


@pytest.mark.parametrize("phase", [records.STARTING, records.READY])
def test_nothing_is_sent_before_the_coordinators_hello(place, monkeypatch, phase):
    mesh = place.mesh("a")
    mesh._node.phase = phase
    assert simulate(mesh, monkeypatch, 0, 5) == {"b": [], "c": []}
    assert mesh.pending == 1


def test_probing_goes_on_for_the_trail_after_the_last_event_and_then_ends(place, monkeypatch):
    mesh = place.mesh("a", trail_s=2.0)
    simulate(mesh, monkeypatch, 0, 1)
    mesh._node.phase = records.DRAINING
    instants = simulate(mesh, monkeypatch, 1, 10)
    assert mesh.pending == 0
    for peer in instants.values():
        assert 2_900 <= max(peer) <= 3_000
    mesh._node.phase = records.TAIL
    assert simulate(mesh, monkeypatch, 10, 20) == {"b": [], "c": []}


@pytest.mark.parametrize("stamps", [KERNEL_STAMPS, USER_STAMPS])
def test_two_nodes_journal_both_ends_of_every_probe_and_none_arrives_before_it_left(place, stamps):
    a, b = place.mesh("a", stamps=stamps, rate_hz=50.0), place.mesh("b", stamps=stamps, rate_hz=50.0)
    try:
        for mesh in (a, b):
            mesh.start()
        until(lambda: min(a.counts()["probe_received"], b.counts()["probe_received"]) >= 10, "ten probes each way")
    finally:
        for mesh in (a, b):
            mesh.stop()
    for here, there, names in ((a, b, "ab"), (b, a, "ba")):
        left = {row["sequence"]: row for row in rows(here) if (row["peer"], row["direction"]) == (names[1], "tx")}
        came = {row["sequence"]: row for row in rows(there) if (row["peer"], row["direction"]) == (names[0], "rx")}
        assert len(came) >= 10
        assert set(came) <= set(left)
        for sequence, row in came.items():
            assert int(row["wall_ns"]) >= int(left[sequence]["wall_ns"])
            least = -int(row["raw_error_ns"]) - int(left[sequence]["raw_error_ns"])
            assert int(row["raw_ns"]) - int(left[sequence]["raw_ns"]) >= least
        origins = {"tx": {row["origin"] for row in left.values()}, "rx": {row["origin"] for row in came.values()}}
        if stamps == USER_STAMPS:
            assert origins == {"tx": {records.USER}, "rx": {records.USER}}
        else:
            assert origins == {"tx": {records.KERNEL_TX}, "rx": {records.KERNEL_RX}}
    counts = a.counts()
    written = Counter((row["direction"]) for row in rows(a))
    assert (written["tx"], written["rx"]) == (counts["probe_sent"], counts["probe_received"])
    assert counts["probe_user_stamps"] == (sum(written.values()) if stamps == USER_STAMPS else 0)


class Watched(LocalClock):
    """A clock that tells when it is read, of a socket that tells when it is sent on."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.order = []
        monkeypatch.setattr(mmsg, "send", lambda *_: self.order.append("send"))

    def pair(self):
        self.order.append("read")
        return super().pair()


def test_a_user_stamp_is_taken_before_every_single_send(place, monkeypatch):
    """Else a transmit stamp could be later than the arrival, and the reference would exclude the truth."""
    clock = Watched(monkeypatch)
    mesh = place.mesh("a", clock, stamps=USER_STAMPS)
    mesh._send_due(0)
    clock.order.clear()
    mesh._send_due(1_000 * MS)
    assert clock.order == ["read", "send", "read", "send"]


def test_a_kernel_stamp_from_before_its_send_is_another_datagrams(place):
    mesh = place.mesh("a")
    peer = mesh._peers[1]
    before = mesh._node.clock.pair()
    mesh._send(peer, before)
    departure = mesh._waiting[0]
    mesh._depart(departure, before.wall_ns - 10 * MS, mesh._node.clock.pair())
    (row,) = rows(mesh)
    assert (row["origin"], int(row["wall_ns"]), int(row["raw_ns"])) == (records.USER, before.wall_ns, before.raw_ns)


def test_a_probe_whose_stamp_never_comes_has_the_one_taken_before_it_left(place):
    mesh = place.mesh("a")
    mesh._send(mesh._peers[1], mesh._node.clock.pair())
    before = mesh._waiting[0].before
    mesh._give_up_waiting(before.raw_ns - 1)
    assert rows(mesh) == []
    mesh._give_up_waiting(before.raw_ns)
    (row,) = rows(mesh)
    assert (row["direction"], row["origin"], int(row["wall_ns"])) == ("tx", records.USER, before.wall_ns)
    assert not mesh._waiting


def test_a_failed_send_has_no_row_and_its_number_is_not_used_again(place, monkeypatch):
    """Had it left after all, the next of that number would be dropped as its duplicate, or joined with it."""
    mesh = place.mesh("a", stamps=USER_STAMPS)
    failures = [OSError(101, "Network is unreachable")]

    def send(*_):
        if failures:
            raise failures.pop()

    monkeypatch.setattr(mmsg, "send", send)
    for _ in range(2):
        mesh._send(mesh._peers[1], mesh._node.clock.pair())
    assert [row["sequence"] for row in rows(mesh)] == ["1"]
    assert (mesh.counts()["probe_send_errors"], mesh.counts()["probe_sent"]) == (1, 1)


def test_an_arrival_while_the_wall_clock_steps_has_no_raw_instant(place):
    mesh = place.mesh("a")
    pair = ClockPair(1_000, 5_000_000_000, 1_100)
    later = ClockPair(1_001_000, 9_000_000_000, 1_001_100)
    datagram = kernel_stamps.Datagram(ProbeWire(RUN, KEY, 1).seal(0, 0), b"", 9_000_000_000 - 50, 0, False)
    mesh._arrive(datagram, later, anchor(later, pair))
    (row,) = rows(mesh)
    assert (row["raw_ns"], row["origin"]) == ("", records.KERNEL_RX)
    assert mesh.counts()["probe_unusable_stamps"] == 1


def test_what_is_not_the_runs_is_counted_and_makes_no_row(place):
    a = place.mesh("a")
    b = ProbeWire(RUN, KEY, 1)
    good = b.seal(0, 5)
    unwanted = {
        "malformed": [b"x", bytes(64), good + b"\0"],
        "foreign": [ProbeWire("cd" * 16, KEY, 1).seal(0, 5), b.seal(2, 5), ProbeWire(RUN, KEY, 9).seal(0, 5)],
        "bad_tag": [ProbeWire(RUN, bytes(32), 1).seal(0, 5)],
        "duplicate": [good, good],
    }
    a._node.phase = records.READY
    a.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.90.4", 0))
            for datagram in [good, *(datagram for kind in unwanted.values() for datagram in kind), b.seal(0, 8)]:
                assert select.select([], [sender], [], DEADLINE_S)[1]
                sender.sendto(datagram, place.address("a"))
        until(lambda: a.counts()["probe_received"] == 2, "the last datagram")
    finally:
        a.stop()
    counts = a.counts()
    assert {kind: counts[f"probe_{kind}"] for kind in unwanted} == {kind: len(sent) for kind, sent in unwanted.items()}
    assert [(row["peer"], row["sequence"], row["direction"]) for row in rows(a)] == [("b", "5", "rx"), ("b", "8", "rx")]
    assert counts["probe_lost"] == 2  # 6 and 7


def test_every_count_is_named_after_the_probes(place):
    mesh = place.mesh("a")
    assert all(name.startswith("probe_") and type(count) is int for name, count in mesh.counts().items())
