"""A source that said of itself that it cannot be believed is a finding where that lasted, and is judged again."""

from __future__ import annotations

import struct
from dataclasses import replace

import pandas as pd
import pytest
from run_folder import Clock, Folder, write

from analysis.checks import replayed_samples as sample_checks
from analysis.checks import samples as sample_findings
from analysis.run import load
from node_agent.clocks import ntp_packet
from node_agent.clocks.holdover import drift_bound_ns
from node_agent.contract.plan import ChronyPlan, ClocksPlan, NodePlan, NtpPlan, from_json, to_json
from node_agent.contract.records import CHRONY, NTP, OK, SAMPLES_COLUMNS, Sample

SERVER = "10.0.0.1:123"
S = 1_000_000_000
NTP_UNIX_S = 2_208_988_800
WALL_NS = 1_800_000_000 * S


def plan(**changes):
    clocks = ClocksPlan(ntp=NtpPlan((SERVER,)), chrony=ChronyPlan(), **changes)
    return NodePlan("r", "0" * 32, "w", "worker", "/nowhere", "127.0.0.1", clocks=clocks)


def earlier_plan():
    """Return the plan as a version without the limits wrote it."""
    keys = ("max_root_distance_ms", "max_stratum")
    return from_json("\n".join(line for line in to_json(plan()).splitlines() if not any(key in line for key in keys)))


def found(tmp_path, outcomes, source=NTP):
    run = load.load(write(Folder({"w": Clock()}), tmp_path / "r"))
    told = pd.DataFrame({"source": source, "server": SERVER, "outcome": outcomes})
    frame = told.reindex(columns=list(SAMPLES_COLUMNS))
    return [one for one in sample_findings.find(replace(run, samples={"w": frame})) if one.code == "unfit-source"]


@pytest.mark.parametrize(
    ("outcomes", "count"),
    [
        (["local_clock"] * 5, 5),
        (["ok", "root_distance", "root_distance", "root_distance", "ok"], 3),
        (["ok", "ok", "no_reference_time"], 1),
        (["ok", "kiss_rate", "ok"], 1),
        (["ok", "kiss_deny"], 1),
        (["orphan"] * 3 + ["ok"], 3),
        (["unsynchronised"] * 4, 4),
        (["refid_init"] * 4, 4),
    ],
)
def test_what_lasted_is_a_finding_with_its_reason(tmp_path, outcomes, count):
    (finding,) = found(tmp_path, outcomes)
    assert (finding.severity, finding.node, finding.source) == ("warning", "w", NTP)
    assert (finding.numbers["answers"], finding.numbers["of"]) == (count, len(outcomes))
    assert finding.numbers["outcome"] in finding.message
    assert SERVER in finding.message


@pytest.mark.parametrize(
    "outcomes", [["ok"] * 5, ["timeout"] * 5, ["unsynchronised", "ok", "ok"], ["wrong_origin"] * 4]
)
def test_what_passed_or_is_no_word_of_the_source_is_none(tmp_path, outcomes):
    assert not found(tmp_path, outcomes)


def test_a_chronyd_is_a_source_too(tmp_path):
    (finding,) = found(tmp_path, ["local_clock"] * 4, CHRONY)
    assert finding.source == CHRONY
    assert "its own clock is its reference" in finding.message


def ntp(reference_id=b"GPS\0", dispersion=0):
    """Return a good sample of an exchange that took 200 us, with the answer that it kept."""
    stamp = struct.pack("!II", WALL_NS // S + NTP_UNIX_S, 0)
    answer = struct.pack(
        "!BBbbII4s8s8s8s8s", 36, 1, 6, -23, 0, dispersion, reference_id, stamp, b"transmit", stamp, stamp
    )
    reply = ntp_packet.parse(answer, b"transmit", WALL_NS)
    assert isinstance(reply, ntp_packet.Reply)
    drift = drift_bound_ns(200_000, 100.0)
    parts = (100_000, reply.precision_ns + 1, drift, 20)
    return Sample(
        "ntp1", NTP, SERVER, SERVER, OK, 0, 200_000, WALL_NS + 100_000, 250_000, WALL_NS - 100_000, WALL_NS, WALL_NS,
        WALL_NS + 100_000, 100_000, WALL_NS, 0, 200_000, sum(parts) + 1, *parts, 0, reply.root_dispersion_ns, 1,
        payload=ntp_packet.payload(answer),
    )  # fmt: skip


def chrony(reference_id="7F7F0101"):
    line = f"{reference_id},,2,{WALL_NS // S}.0,0.000000000,0.0,0.0,0.0,0.0,0.0,0.000000000,0.000000000,0.0,Normal"
    return Sample(
        "chrony1", CHRONY, "chronyd", "", OK, 0, 1_000, WALL_NS, 2_000, raw_at_ns=0, reference_at_ns=WALL_NS,
        offset_ns=0, delay_ns=1_000, bound_ns=22, bound_stamp_ns=20, root_delay_ns=1, root_dispersion_ns=1,
        payload=line,
    )  # fmt: skip


def test_a_kept_answer_is_judged_again():
    assert not list(sample_checks.check([ntp()], plan()))
    assert list(sample_checks.check([ntp(b"LOCL")], plan())) == [("ntp1", "outcome", OK, "local_clock")]
    assert list(sample_checks.check([ntp(dispersion=9 << 16)], plan())) == [("ntp1", "outcome", OK, "root_distance")]
    assert not list(sample_checks.check([ntp(dispersion=9 << 16)], plan(max_root_distance_ms=10_000.0)))
    assert not list(sample_checks.check([chrony("0A000001")], plan()))
    assert list(sample_checks.check([chrony()], plan())) == [("chrony1", "outcome", OK, "local_clock")]


@pytest.mark.parametrize(("column", "value"), [("t2_ns", 1), ("stratum", 2), ("root_dispersion_ns", 7)])
def test_a_number_that_is_not_what_the_answer_said_is_found(column, value):
    changed = {name for _, name, _, _ in sample_checks.check([replace(ntp(), **{column: value})], plan())}
    assert column in changed


def test_a_payload_that_is_no_answer_is_found():
    (wrong,) = sample_checks.check([replace(ntp(), payload="no answer")], plan())
    assert wrong[1] == "payload"


def test_a_run_of_an_earlier_version_replays_as_it_was_judged_then():
    """Its plan has no limit, its NTP samples kept no answers, and its chronyd could be anything."""
    samples = [replace(ntp(), payload=""), replace(chrony(), published_raw_ns=300_000)]
    assert not list(sample_checks.check(samples, earlier_plan()))
