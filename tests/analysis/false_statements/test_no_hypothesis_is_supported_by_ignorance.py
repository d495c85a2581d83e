"""A clock that knows nothing, one that seldom answers, and a run that lost most of its events support no hypothesis."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from run_folder import MS, US, Clock, Folder, write, write_csv

from analysis import command, registry
from analysis.errors import AnalysisError
from analysis.report import hypotheses, markdown, opening
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate

SOURCES = ("ntp", "chronotick")
INFINITE_NS = 10**12
MESSY_NTP = Clock(ntp_error_ns=-20 * MS)  # of a worker: violates causality, so that anything looks good beside it


def judged(path):
    found = registry.compute(command.table_of(path)).as_statistics()
    return {one.hypothesis.name: one for one in hypotheses.judge(hypotheses.read(), found)}, found


def supported(found):
    return [name for name, one in found.items() if one.status == hypotheses.SUPPORTED]


def edit(path, change, names=("coordinator.csv", "worker_a.csv", "worker_b.csv")):
    """Rewrite tables: ``change`` gets (name, rows) and returns the rows to keep."""
    for name in names:
        with (path / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        write_csv(path / name, list(rows[0]), change(name, rows))
    return path


def rarely(prefix, every):
    """Return a change that leaves a source one answer in ``every`` rows."""

    def change(_name, rows):
        for place, row in enumerate(rows):
            if place % every:
                row.update({column: "" for column in row if column.startswith(f"{prefix}_")})
                row[f"{prefix}_status"] = "stale"
        return rows

    return change


def good(events=120, ntp_wide=True, **changes):
    """Return a run in which ChronoTick is right and narrow, and NTP right but too wide for half of the pairs."""
    half = 450 * MS if ntp_wide else 50 * US
    ntp = Clock(ntp_half_ns=half)
    return replace(
        Folder({"a": ntp, "b": ntp}, coordinator=ntp, events=events, delays_ns={"a": MS, "b": MS}), **changes
    )


def test_knowledge_supports_what_ignorance_may_not(tmp_path):
    """Otherwise the statements below would hold of hypotheses that nothing can support."""
    found, numbers = judged(write(good(), tmp_path / "r"))
    assert {"chronotick-causality-violations", "chronotick-provable"} <= set(supported(found))
    told = numbers["ordering"]["differences"]["chronotick"]["interval"]
    assert told["agreement_minus_ntp_points"] > 25
    decided = numbers["ordering"]["sources"]["ntp"]["interval"]["decided"]["value"]
    assert (found["chronotick-consensus"].status == "supported") == (decided >= 0.1)


@pytest.mark.parametrize("which", [("chronotick",), ("ntp",), SOURCES])
@pytest.mark.parametrize("bad", [Clock(), MESSY_NTP])
def test_a_clock_of_infinite_width_supports_nothing(tmp_path, which, bad):
    width = {("ntp_half_ns" if one == "ntp" else "ct_half_ns"): INFINITE_NS for one in which}
    wide = replace(bad, **width)
    folder = good(workers={"a": wide, "b": replace(Clock(), **width)}, coordinator=replace(Clock(), **width))
    found, _ = judged(write(folder, tmp_path / "r"))
    about = {"chronotick-consensus"} if which == ("ntp",) else {name for name in found if name.startswith("chronotick")}
    assert not about & set(supported(found))
    if "chronotick" in which:
        assert supported(found) == []


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("every", [12, 3, 100])
@pytest.mark.parametrize("bad", [Clock(), MESSY_NTP])
def test_a_clock_that_answers_rarely_supports_nothing_about_itself(tmp_path, source, every, bad):
    folder = good(workers={"a": bad, "b": Clock()}, ntp_wide=False)
    path = edit(write(folder, tmp_path / "r"), rarely({"ntp": "ntp", "chronotick": "ct"}[source], every))
    found, _ = judged(path)
    compared = {"chronotick-consensus", "chronotick-coordination"}
    about = {name for name in found if name.startswith(source)} | compared
    for name in about:
        assert found[name].status != "supported", name


@pytest.mark.parametrize("losing", [("a", "b"), ("a",)])
@pytest.mark.parametrize("how", ["datagrams", "everything"])
def test_a_run_that_lost_most_of_its_events_supports_nothing(tmp_path, losing, how):
    path = write(good(events=200), tmp_path / "r")
    tables = [f"worker_{worker}.csv" for worker in losing]
    edit(path, lambda _name, rows: rows[:: 20 if how == "datagrams" else len(rows)], tables)
    found, numbers = judged(path)
    assert supported(found) == []
    told = numbers["causality"]["received"]
    assert told["denominator"] == 400
    assert f"too little was received: {told['numerator']} of 400" in found["chronotick-provable"].reason


def test_a_worker_that_left_no_file_is_lost_too(tmp_path):
    folder = good(no_file=("b",))
    found, numbers = judged(write(folder, tmp_path / "r"))
    assert numbers["causality"]["received"]["value"] == 0.5
    assert supported(found) == []


def test_a_simulated_run_that_lost_95_percent_supports_nothing(tmp_path):
    told = scenario.read("lossy").model_dump() | {"expected": []}
    told["network"] |= {"loss": 0.95}
    path = simulate(scenario.Scenario.model_validate(told), 3, 1000, rate_hz=50.0, results=tmp_path)
    found, numbers = judged(path)
    assert supported(found) == []
    assert 0.02 < numbers["causality"]["received"]["value"] < 0.1
    assert found["chronotick-causality-violations"].status == "not evaluable"


@pytest.mark.parametrize("deciding", [0, 5, 30, 55])
def test_a_clock_that_decides_almost_nothing_supports_nothing(tmp_path, deciding):
    """Readings are narrow for the first events only; so are they at the coordinator."""

    def widen(_name, rows):
        for row in rows[deciding:]:
            for end, by in (("lower", -INFINITE_NS), ("upper", INFINITE_NS)):
                row[f"ct_{end}_bound_ns"] = int(row["ct_timestamp_ns"]) + by
        return rows

    folder = good(workers={"a": MESSY_NTP, "b": Clock()}, ntp_wide=False)
    found, _ = judged(edit(write(folder, tmp_path / "r"), widen))
    assert [name for name in supported(found) if name.startswith("chronotick")] == []
    reason = found["chronotick-causality-violations"].reason
    assert reason.startswith("too little was decided" if deciding else "nothing was decided")


def test_agreement_by_ambiguous_is_no_agreement(tmp_path):
    """All say ambiguous of every pair with ChronoTick; NTP decides them all, the two workers not always alike."""
    wide = Clock(ct_half_ns=INFINITE_NS)
    folder = Folder({"a": wide, "b": wide}, coordinator=wide, events=30, delays_ns={"a": MS})

    def shuffled(_name, rows):
        """Let the clock of worker b jump to and fro with every event."""
        for place, row in enumerate(rows):
            for name in ("timestamp", "lower_bound", "upper_bound"):
                row[f"ntp_{name}_ns"] = int(row[f"ntp_{name}_ns"]) + (-1) ** place * 400 * MS
        return rows

    found, numbers = judged(edit(write(folder, tmp_path / "r"), shuffled, ["worker_b.csv"]))
    told = numbers["ordering"]["differences"]["chronotick"]["interval"]
    assert told["same_label_minus_ntp_points"] > 25
    assert told["agreement_minus_ntp_points"] < 0
    assert told["in_words"].startswith(f"{told['agreement_minus_ntp_points']:+.2f} percentage points (0 of ")
    assert found["chronotick-consensus"].status != "supported"


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_point_that_agrees_because_nothing_is_evaluable_supports_nothing(tmp_path, source, left):
    prefix = {"ntp": "ntp", "chronotick": "ct"}[source]

    def gone(_name, rows):
        for row in rows[left:]:
            row.update({column: "" for column in row if column.startswith(f"{prefix}_")})
            row[f"{prefix}_status"] = "never_sampled"
        return rows

    found, _ = judged(edit(write(good(ntp_wide=False), tmp_path / "r"), gone))
    compared = {"chronotick-consensus", "chronotick-coordination"}
    for name in {name for name in found if name.startswith(source)} | compared:
        assert found[name].status != "supported", name


def test_every_shipped_hypothesis_asks_what_was_received_evaluable_and_by_how_much():
    for one in hypotheses.read():
        asked = {evidence.metric.rpartition("/")[2]: evidence.at_least_share for evidence in one.evidence}
        assert asked["received"] >= 0.5, one.name
        assert any(
            evidence.metric == "causality/received" and evidence.at_least_share == 0.9 for evidence in one.evidence
        )
        assert asked["evaluable"] >= 0.9, one.name
        assert all(evidence.at_least_share > 0 for evidence in one.evidence), one.name


TEXT = """hypotheses:
  - name: n
    source: s
    statement: t
    metric: a/b
    comparison: at_most
    threshold: 0
    evidence: {metric: a/decided, otherwise: ambiguous%s}
"""


@pytest.mark.parametrize(("decided", "status"), [(0, "not evaluable"), (1, "not evaluable"), (359, "not evaluable"),
                                                 (360, "supported")])  # fmt: skip
def test_evidence_without_a_share_asks_for_nine_tenths(tmp_path, decided, status):
    file = tmp_path / "h.yaml"
    file.write_text(TEXT % "")
    rate = {"numerator": decided, "denominator": 400}
    number = {"numerator": 0, "denominator": 400, "value": 0.0, "interval": [0.0, 0.01], "method": "m"}
    (one,) = hypotheses.judge(hypotheses.read(file), {"a": {"b": number, "decided": rate}})
    assert one.status == status


@pytest.mark.parametrize("share", ["0", "0.0", "-0.1", "1.1", "true", "much"])
def test_a_share_of_nothing_is_no_evidence(tmp_path, share):
    file = tmp_path / "h.yaml"
    file.write_text(TEXT % f", at_least_share: {share}")
    with pytest.raises(AnalysisError, match="hypothesis 'n': expected at_least_share above 0 and at most 1"):
        hypotheses.read(file)


def test_the_report_says_why(tmp_path):
    path = edit(
        write(good(events=100), tmp_path / "r"), lambda _name, rows: rows[::20], ["worker_a.csv", "worker_b.csv"]
    )
    found = registry.compute(command.table_of(path))
    told = hypotheses.judge(hypotheses.read(), found.as_statistics())
    text = markdown.render(opening.of(found, told))
    assert "too little was received: 10 of 200 (the other 190 lost), needed are 90 %" in text
