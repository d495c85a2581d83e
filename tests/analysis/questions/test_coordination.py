"""Rounds of coordination: ambiguity of bounded clocks, repairs of point clocks, readings that are not there."""

from __future__ import annotations

import json

import httpx
import pandas as pd
import pytest
from run_folder import MS, RAW_BEHIND_NS, START_NS, US, Clock, Folder, write, write_csv

from analysis import command, coordination_cost, registry
from analysis.questions.rounds import fewer_in_words
from analysis.run import load
from analysis.run import traffic as polling
from node_agent.clocks import chronotick
from node_agent.contract import records
from node_agent.datagrams import probe


def cost(folder, path):
    return coordination_cost.analyze(write(folder, path))


def test_a_point_clock_pays_for_its_wrong_decisions_and_a_bounded_one_for_its_doubts(tmp_path):
    """Worker b runs 2 ms behind: 10 of 20 are violated. NTP's +-50 us leave all 20 ambiguous at 100 us of delay."""
    run = Folder({"a": Clock(), "b": Clock(wall_error_ns=-2 * MS)})
    causality = cost(run, tmp_path / "r")["tasks"]["causality"]
    assert causality["system"]["point"]["rounds"] == 10
    assert causality["system"]["point"]["wrong_confident"] == 10
    assert causality["ntp"]["interval"]["rounds"] == 20
    assert causality["ntp"]["point"]["rounds"] == 0
    assert causality["chronotick"]["interval"]["rounds"] == 0


def test_a_missing_reading_needs_a_round_and_a_lost_packet_none(tmp_path):
    """Only chronotick of b is gone: of its 9 receipts none can be decided; a's are proved (+-30 us against 100 us)."""
    run = Folder({"a": Clock(), "b": Clock(ct_gone="stale")}, lost={"b": (1,)})
    interval = cost(run, tmp_path / "r")["tasks"]["causality"]["chronotick"]["interval"]
    assert (interval["decisions"], interval["rounds"], interval["without_reading"]) == (19, 9, 9)


def test_who_first_of_a_point_clock_is_not_evaluable_without_a_truth(tmp_path):
    """Worker b receives 20 us later, within NTP's bounds: points decide all 10, and nobody knows how many rightly."""
    run = Folder({"a": Clock(), "b": Clock()}, delays_ns={"b": 120 * US}, truth=False)
    tasks = cost(run, tmp_path / "r")["tasks"]
    point = tasks["who_first"]["ntp"]["point"]
    assert (point["rounds"], point["rounds_per_decision"], point["messages"]) == (None, None, None)
    bounds = point["rounds_at_least"], point["rounds_at_most"]
    assert [one["numerator"] for one in bounds] == [0, 10]
    assert (point["unknown_to_the_judge"], point["wrong_confident"]) == (10, None)
    assert tasks["who_first"]["ntp"]["interval"]["rounds"] == 10


def test_what_no_judge_can_tell_of_an_interval_clock_saves_no_round_either(tmp_path):
    """ChronoTick claims 1 us and decides who was first of all 10: without a judge that is a claim, and no more."""
    clock = Clock(ct_half_ns=1 * US)
    run = Folder({"a": clock, "b": clock}, delays_ns={"b": 120 * US}, truth=False)
    first = cost(run, tmp_path / "r")["tasks"]["who_first"]["chronotick"]["interval"]
    assert [first[name]["numerator"] for name in ("rounds_at_least", "rounds_at_most")] == [0, 10]
    assert first["rounds"] is None


def test_reductions_compare_rounds_over_the_tasks_both_clocks_can_tell(tmp_path):
    """Of causality nobody needs a round, of windows of 100 ms neither; who first nobody decides at 20 us."""
    run = Folder({"a": Clock(), "b": Clock()}, delays_ns={"a": 10 * MS, "b": 10 * MS + 20 * US})
    found = cost(run, tmp_path / "r")
    one = found["reductions"]["chronotick"]["interval_vs_ntp_interval"]
    assert one["tasks"] == ["causality", "who_first", "window_100ms"]
    assert (one["rounds"], one["rounds_against"], one["value"]) == (10, 10, 0.0)
    against_points = found["reductions"]["chronotick"]["interval_vs_ntp_point"]
    assert against_points["value"] is None  # plain NTP needed no round here, so there is nothing to be fewer than
    assert against_points["remark"] == "no room to improve (NTP point needs no round)"


def test_a_reduction_is_between_two_numbers_where_no_judge_can_tell(tmp_path):
    """NTP is 2 ms behind at b: 10 violations, 2 unequal windows. Without a judge all other windows may be wrong."""
    run = Folder({"a": Clock(), "b": Clock(ntp_error_ns=-2 * MS)}, delays_ns={"a": 9 * MS, "b": MS}, truth=False)
    found = cost(run, tmp_path / "r")["reductions"]["chronotick"]["interval_vs_ntp_point"]
    assert found["tasks"] == ["causality", "window_100ms"]
    assert (found["value"], found["rounds"], found["rounds_against"]) == (None, None, None)
    assert (found["rounds_in_words"], found["rounds_against_in_words"]) == ("0 to 10", "12 to 20")
    assert (found["at_least"], found["at_most"]) == pytest.approx((1 - 10 / 12, 1.0))
    assert found["in_words"].startswith("16.7 to 100.0 % fewer rounds: 0 to 10 of 30 decisions; NTP point 12 to 20 of")


@pytest.mark.parametrize("clock", ["point", "interval"])
def test_agreed_and_wrong_everywhere_needs_a_round(tmp_path, clock):
    """Both workers' ChronoTick is 30 ms ahead: 10 ms into a window it is certain of the next, and both are, alike."""
    ahead = Clock(ct_error_ns=30 * MS)
    run = Folder({"a": ahead, "b": ahead}, spacing_ns=50 * MS, delays_ns={"a": 30 * MS, "b": 30 * MS})
    tasks = cost(run, tmp_path / "r")["tasks"]
    found = tasks["window_50ms"]["chronotick"][clock]
    assert (found["rounds"], found["wrong_confident"], found["messages"]) == (10, 10, 20)
    assert tasks["window_50ms"]["ntp"][clock]["rounds"] == 0


def test_the_same_number_has_the_same_interval_wherever_it_stands(tmp_path):
    """Violations of a point clock with all readings there are its rounds: one sample served them all."""
    path = write(Folder({"a": Clock(), "b": Clock(ntp_error_ns=-2 * MS)}), tmp_path / "r")
    found = registry.compute(command.table_of(path)).as_statistics()
    violated = found["causality"]["sources"]["ntp"]["all"]["points"]["violated"]
    assert violated["numerator"] == 10
    assert found["coordination"]["tasks"]["causality"]["ntp"]["point"]["rounds_per_decision"] == violated
    unequal = found["windows"]["sources"]["ntp"]["100"]["agreement"]
    needed = found["coordination"]["tasks"]["window_100ms"]["ntp"]["point"]["rounds_per_decision"]
    assert needed["numerator"] == unequal["denominator"] - unequal["numerator"]
    assert needed["effective_trials"] == unequal["effective_trials"]
    assert needed["interval"] is unequal["interval"] is None


def test_a_source_missing_at_one_end_has_no_cost_at_all(tmp_path):
    run = Folder({"a": Clock(), "b": Clock()}, coordinator=Clock(ct_gone="not_configured"))
    found = cost(run, tmp_path / "r")
    assert found["tasks"]["causality"]["chronotick"]["point"]["rounds_per_decision"] is None
    assert found["reductions"]["chronotick"]["interval_vs_ntp_point"]["value"] is None


def test_bounds_too_narrow_to_be_true_save_no_round(tmp_path):
    """ChronoTick at b is 2 ms behind and claims 1 us: all 10 receipts are "violated", all 10 first-of-two wrong."""
    liar = Clock(ct_error_ns=-2 * MS, ct_half_ns=1 * US)
    run = Folder({"a": Clock(ct_half_ns=1 * US), "b": liar}, delays_ns={"a": 100 * US, "b": 1100 * US})
    tasks = cost(run, tmp_path / "r")["tasks"]
    causality = tasks["causality"]["chronotick"]["interval"]
    assert (causality["rounds"], causality["wrong_confident"]) == (10, 10)
    first = tasks["who_first"]["chronotick"]["interval"]
    assert (first["rounds"], first["wrong_confident"]) == (10, 10)


def test_equal_estimates_of_a_point_clock_cost_a_round_too(tmp_path):
    """The worker's NTP is 100 us behind, as long as the packet took: sent and received at the same instant."""
    run = Folder({"a": Clock(ntp_error_ns=-100 * US), "b": Clock()})
    causality = cost(run, tmp_path / "r")["tasks"]["causality"]["ntp"]["point"]
    assert (causality["undecided"], causality["wrong_confident"], causality["rounds"]) == (10, 0, 10)


def test_a_round_is_two_messages_and_for_windows_two_with_every_other_worker(tmp_path):
    """Three workers receive together, 10 us before a border that NTP's +-50 us reach across: 10 rounds of 2 * 2."""
    run = Folder({f"w{place}": Clock() for place in range(3)}, spacing_ns=100 * MS,
                 delays_ns={f"w{place}": 100 * MS - 10 * US for place in range(3)})  # fmt: skip
    found = cost(run, tmp_path / "r")
    interval = found["tasks"]["window_100ms"]["ntp"]["interval"]
    assert (interval["rounds"], interval["messages"]) == (10, 40)
    assert interval["bytes"] == 40 * found["message_bytes"] == 40 * (64 + 28)
    first = found["tasks"]["who_first"]["ntp"]["interval"]
    assert (first["rounds"], first["messages"]) == (30, 60)


def test_messages_are_of_the_same_tasks_with_every_clock_at_least_and_at_most(tmp_path):
    """Without a judge NTP's and ChronoTick's certain windows may be wrong: a round of 2 messages each, or none."""
    clock = Clock(ct_half_ns=US)
    run = Folder({"a": clock, "b": clock}, delays_ns={"a": 9 * MS, "b": 9 * MS + 20 * US}, truth=False)
    traffic = cost(run, tmp_path / "r")["traffic"]
    told = [traffic["ntp"]["point"], traffic["ntp"]["interval"], traffic["chronotick"]["interval"]]
    assert [one["tasks"] for one in told] == [["causality", "who_first", "window_100ms"]] * 3
    assert [one["decisions"] for one in told] == [40] * 3
    bounds = [(one["rounds_only"]["messages_at_least"], one["rounds_only"]["messages_at_most"]) for one in told]
    assert bounds == [(0, 40), (20, 40), (0, 40)]  # NTP's interval leaves open who was first of all 10
    assert told[0]["rounds_only"]["bytes_at_most"] == 40 * (64 + 28)


def samples(path, node, rows):
    write_csv(path / records.RAW_DIR / node / records.SAMPLES_FILE, records.SAMPLES_COLUMNS, rows)


def sample(number, source, outcome, **changes):
    raw = START_NS - RAW_BEHIND_NS + number * MS
    return {
        "sample_id": f"{source}{number}", "source": source, "server": "s", "outcome": outcome, "raw_before_ns": raw,
        "raw_after_ns": raw + 1000, "published_raw_ns": raw + 2000, "wall_ns": START_NS + number * MS, **changes,
    }  # fmt: skip


NTP_NUMBERS = {"raw_at_ns": 10_000_000_123, "offset_ns": -12_345, "delay_ns": 22_257, "bound_ns": 19_838}


def test_a_sources_own_questions_are_counted_and_a_failure_is_half_a_message_pair(tmp_path):
    """Three NTP questions of which one timed out: 3 and 2 packets of 48 + 28 bytes. One never left the node."""
    path = write(Folder({"a": Clock()}, samples=False), tmp_path / "r")
    outcomes = ("ok", "timeout", "wrong_mode", "send_failed")
    samples(path, "a", [sample(number, "ntp", outcome) for number, outcome in enumerate(outcomes)])
    found = coordination_cost.analyze(path)
    ntp = found["polling"]["ntp"]
    assert (ntp["questions"], ntp["answers"], ntp["bytes_sent"], ntp["bytes_received"]) == (3, 2, 3 * 76, 2 * 76)
    assert found["polling"]["system"]["messages"] == 0
    assert found["polling"]["chronotick"]["status"] == "not_evaluable"
    rounds = found["traffic"]["ntp"]["interval"]
    for end in ("least", "most"):
        assert rounds["own"][f"messages_at_{end}"] == rounds["rounds_only"][f"messages_at_{end}"] + 5
        assert found["traffic"]["chronotick"]["interval"]["own"][f"bytes_at_{end}"] is None


def test_chronoticks_question_is_rebuilt_byte_by_byte(tmp_path):
    """Of a journal without sizes: of 20 NTP samples published before, the newest 16, as agents wrote it then."""
    path = write(Folder({"a": Clock()}, samples=False), tmp_path / "r")
    answer = '{"offset_ms":1.0,"uncertainty_ms":0.1}'
    asked = sample(100, "chronotick", "ok", payload=answer)
    fed = [sample(number, "ntp", "ok", **NTP_NUMBERS | {"delay_ns": 22_000 + 7 * number}) for number in range(20)]
    samples(path, "a", [*fed, asked])
    known = [records.Sample(address="", **{key: row[key] for key in row}) for row in fed]
    question = chronotick.question("a", asked["wall_ns"], asked["raw_before_ns"], known)
    del question["run_id"]
    for item in question["ntp_samples"]:
        del item["server"]
    body = httpx.Request("POST", "http://127.0.0.1:1", json=question).content
    told = polling.of(load.load(path), "chronotick")
    assert (told.questions, told.answers) == (1, 1)
    assert told.bytes_sent == len(body)
    assert told.bytes_received == len(answer)
    assert told.rests_on == "ntp"
    assert json.loads(body)["ntp_samples"][0]["delay_ms"] == 0.022028


def test_a_question_whose_size_was_kept_is_counted_by_it(tmp_path):
    """The agent journals what it sent; nothing is rebuilt."""
    path = write(Folder({"a": Clock()}, samples=False), tmp_path / "r")
    fed = [sample(number, "ntp", "ok", **NTP_NUMBERS) for number in range(5)]
    asked = [sample(100 + n, "chronotick", "ok", payload="{}", question_bytes=200 + n) for n in range(3)]
    samples(path, "a", [*fed, *asked])
    assert polling.of(load.load(path), "chronotick").bytes_sent == 200 + 201 + 202


def test_what_is_known_of_the_agent_is_the_agents_own():
    assert polling.PROBE_BYTES == probe.PROBE_SIZE


def test_probes_are_the_experiments_cost_and_no_sources(tmp_path):
    path = write(Folder({"a": Clock()}), tmp_path / "r")
    rows = [{"peer": "boss", "sequence": n, "direction": way, "wall_ns": 1, "raw_ns": 1, "raw_error_ns": 1,
             "origin": "kernel_tx"} for n in range(3) for way in ("tx", "rx")]  # fmt: skip
    write_csv(path / records.RAW_DIR / "a" / records.PROBES_FILE, records.PROBES_COLUMNS, rows)
    assert coordination_cost.analyze(path)["probes"] == {"probes": 3, "bytes": 3 * 92}


def test_every_sample_of_a_run_is_a_question_or_a_reason(tmp_path):
    """What was asked is at most what is recorded: nothing is counted twice."""
    path = write(Folder({"a": Clock()}, samples=False), tmp_path / "r")
    samples(path, "a", [sample(number, "ntp", "ok", **NTP_NUMBERS) for number in range(5)])
    recorded = pd.read_csv(path / records.RAW_DIR / "a" / records.SAMPLES_FILE)
    assert polling.of(load.load(path), "ntp").questions == len(recorded)


def test_a_source_that_nobody_knows_on_the_wire_is_not_billed_as_ntp(tmp_path):
    path = write(Folder({"a": Clock()}, samples=False), tmp_path / "r")
    samples(path, "a", [sample(number, "gnss", "ok", **NTP_NUMBERS) for number in range(5)])
    told = polling.of(load.load(path), "gnss").as_dict()
    assert told == {"status": "not_evaluable", "reason": polling.NOT_KNOWN}


@pytest.mark.parametrize(
    ("least", "most", "words"),
    [
        (0.25, 0.25, "25.0 % fewer"),
        (0.045, 0.123, "4.5 to 12.3 % fewer"),
        (0.0, 0.0, "0.0 % fewer"),
        (-2.804, -2.804, "3.80 times as many"),
        (-2.804, -0.987, "1.99 to 3.80 times as many"),
        (-0.045, 0.123, "1.04 times as many to 12.3 % fewer"),
        (None, 0.5, "at most 50.0 % fewer"),
        (None, -0.987, "at least 1.99 times as many"),
        (None, None, ""),
    ],
)
def test_more_rounds_are_said_as_a_multiple_and_never_in_percent(least, most, words):
    """98.7 % more are twice as many, near enough; in percent a reader takes it for points, or for less than as many."""
    assert fewer_in_words(least, most) == words
