"""Agents and a real chronyd that follows nothing, or follows one that does: no reading, and everybody says why."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from agents import Crew, run_agent, service
from awaiting import until
from chrony_daemon import chronyd, follow

from node_agent.contract import records
from node_agent.contract.plan import ChronyPlan, ClocksPlan, NtpPlan, to_json
from node_agent.exchange import chrony as chrony_exchange
from node_agent.exchange import ntp as ntp_exchange
from node_agent.exchange.asking import Setting
from node_agent.local.instants import LocalClock

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    shutil.which("chronyd") is None or os.geteuid() != 0, reason="needs chronyd, and the right to run one"
)


def ask_chrony(socket_path: str) -> records.Sample:
    setting = Setting("n1", ClocksPlan(), LocalClock(), lambda: "chrony1", list)
    return chrony_exchange.sample(ChronyPlan(timeout_s=10.0, socket_path=socket_path), setting)


def ask_ntp(server: str) -> records.Sample:
    return ntp_exchange.NtpServer(server, LocalClock(), 100.0, 10.0).ask(lambda: "ntp1")[-1]


@pytest.mark.parametrize("directive", ["local stratum 10", "local stratum 1", "local stratum 8 orphan"])
def test_a_real_chronyd_that_follows_nothing_gives_no_reading(tmp_path: Path, directive: str) -> None:
    with chronyd(tmp_path / "c", directive) as (server, command):
        assert (ask_chrony(command).outcome, ask_chrony(command).bound_ns) == ("local_clock", None)
        assert (ask_ntp(server).outcome, ask_ntp(server).bound_ns) == ("local_clock", None)


def test_a_real_chronyd_that_follows_one_that_follows_nothing_is_seen_by_its_stratum(tmp_path: Path) -> None:
    with (
        chronyd(tmp_path / "first", "local stratum 10", host="127.0.66.91") as (upstream, _),
        chronyd(tmp_path / "second", follow(upstream)) as (server, by),
    ):
        until(lambda: ask_ntp(server).outcome != "unsynchronised", "the second to follow the first")
        assert ask_ntp(server).outcome == ask_chrony(by).outcome == "high_stratum"


def test_a_real_chronyd_that_follows_our_server_is_believed(tmp_path: Path) -> None:
    """Two implementations agree on what a good state looks like."""
    with (
        service("time_services.ntp_server", "127.0.66.92") as (_, upstream),
        chronyd(tmp_path / "c", follow(upstream)) as (server, command),
    ):
        until(lambda: ask_ntp(server).outcome != "unsynchronised", "chronyd to follow our server")
        by_ntp, by_chronyc = ask_ntp(server), ask_chrony(command)
    assert (by_ntp.outcome, by_ntp.stratum) == (by_chronyc.outcome, by_chronyc.stratum) == (records.OK, 2)


def test_an_agent_with_nothing_but_such_sources_never_gets_ready_and_says_why(tmp_path: Path, crew: Crew) -> None:
    with chronyd(tmp_path / "c", "local stratum 10") as (server, command):
        crew.clocks = ClocksPlan(
            ntp=NtpPlan((server,), 0.2), chrony=ChronyPlan(0.2, socket_path=command), required=("ntp", "chrony")
        )
        worker = crew.worker(lease_s=4.0)
        said = run_agent("check", "--plan", "-", stdin=to_json(worker.plan))
        crew.start()
        status = worker.await_end()
    rows = json.loads(said.stdout)["sources"]
    for row in (rows["ntp"][0], rows["chrony"][0]):
        assert row["outcome"] == "local_clock"
        assert "127.127.1.1" in row["detail"]
    assert said.stderr == ""
    assert {name: source.last_outcome for name, source in status.sources.items()} == {
        "ntp": "local_clock", "chrony": "local_clock",
    } | {"chronotick": ""}  # fmt: skip
    samples = worker.rows(records.SAMPLES_FILE)
    assert {row["outcome"] for row in samples} == {"local_clock"}
    assert {row["bound_ns"] for row in samples} == {""}
    assert "Traceback" not in worker.log


def test_the_same_server_is_believed_where_its_own_clock_is_meant(tmp_path: Path, crew: Crew) -> None:
    with chronyd(tmp_path / "c", "local stratum 10") as (server, _):
        crew.clocks = ClocksPlan(ntp=NtpPlan((server,), 0.2, own_clock=True), required=("ntp",))
        worker = crew.worker()
        crew.start()
        status = worker.await_phase(records.READY)
    assert status.sources["ntp"].status == records.OK


def test_a_server_on_a_wildcard_of_a_host_with_many_addresses_serves_an_agent(crew: Crew) -> None:
    """Asked at an address that is not the first of its host, our own server is believed."""
    with service("time_services.ntp_server", "0.0.0.0") as (_, address):  # noqa: S104 - many addresses are the point
        place = f"127.0.66.93:{address.rpartition(':')[2]}"
        crew.clocks = ClocksPlan(ntp=NtpPlan((place,), 0.2), required=("ntp",))
        worker = crew.worker()
        crew.start()
        worker.await_phase(records.READY)
        rows = worker.rows(records.SAMPLES_FILE)
    assert {row["address"] for row in rows} == {place}
    assert "wrong_address" not in {row["outcome"] for row in rows}


def test_ctrl_c_ends_an_agent_by_hand_whose_name_service_is_silent(tmp_path: Path) -> None:
    """A name service of our own, on loopback, that says nothing: a namespace of its own points resolv.conf at it."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.66.94", 53))
        conf = tmp_path / "resolv.conf"
        conf.write_text("nameserver 127.0.66.94\noptions timeout:30 attempts:5\n")
        hosts = tmp_path / "nsswitch.conf"
        hosts.write_text("hosts: files dns\n")
        script = (
            f"mount --bind {conf} /etc/resolv.conf && mount --bind {hosts} /etc/nsswitch.conf && exec "
            f"timeout --foreground --kill-after=4 --signal=INT 5 {shutil.sys.executable} -m node_agent worker "
            f"--listen-host 127.0.66.95 --listen-port 0 --output {tmp_path}/w.csv --ntp-server time.example:123 "
            "--chronotick-server http://tick.example:8124"
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=250, check=False
        )
        asked = silent.recvfrom(512)[0]
    if "mount" in done.stderr:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    assert b"example" in asked
    assert done.returncode == 124, done.stderr  # ended by the interrupt, not by SIGKILL after it
    assert "Traceback" not in done.stderr
    assert "ntp=never_sampled" in done.stderr
