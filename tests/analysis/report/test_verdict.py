"""The verdict in one sentence says what the statistics say, and whose truth the proofs were held against."""

from __future__ import annotations

import json

import pytest

from analysis import pipeline
from analysis.report import verdict
from analysis.report.verdict import ClockVerdict, Proofs, Verdict
from analysis.simulation import scenario as scenarios
from analysis.simulation.simulate import simulate
from node_agent.contract import records


@pytest.fixture(scope="module", params=["honest", "overconfident"])
def statistics(request, tmp_path_factory):
    folder = simulate(scenarios.read(request.param), 3, 200, seed=3, results=tmp_path_factory.mktemp("results"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_drawings", lambda _found: {})
        outcome = pipeline.run_all(folder)
    said = {path.name: json.loads(path.read_text()) for path in (folder / records.STATISTICS_DIR).glob("*.json")}
    assert outcome.verdict == said[verdict.FILE]["sentence"]
    assert f"2. {outcome.verdict[0].upper()}{outcome.verdict[1:]}." in outcome.report.read_text(encoding="utf-8")
    return said


def test_its_numbers_are_those_of_the_statistics(statistics):
    """Points, proofs and wrong proofs of both clocks are the counts of the causality and window statistics."""
    said = statistics[verdict.FILE]
    width = str(said["window_ms"])
    for source in (records.NTP, records.CHRONOTICK):
        clock = said["clocks"][source]
        causality = statistics["causality_stats.json"]["sources"][source]["all"]
        window = statistics["window_stats.json"]["sources"][source][width]
        assert clock["received_before_sent"] == causality["points"]["violated"]["numerator"]
        assert clock["messages"] == causality["points"]["violated"]["denominator"]
        proved, violated = causality["intervals"]["proved"], causality["intervals"]["violated"]
        assert violated["numerator"] == causality["intervals"]["against"]["injected_truth"]["wrong"]["numerator"]
        assert clock["causality"] == {
            "asked": proved["denominator"],
            "proved": proved["numerator"] + violated["numerator"],
            "wrong": violated["numerator"],
        }
        provable, of_windows = window["provable_agreement"], clock["windows"]
        assert of_windows["asked"] == provable["denominator"]
        assert of_windows["wrong"] == window["truth"]["wrong_certain"]
        assert 0 <= of_windows["proved"] - provable["numerator"] <= of_windows["wrong"]


def test_what_was_proved_wrongly_is_among_what_was_proved(statistics):
    for clock in statistics[verdict.FILE]["clocks"].values():
        for proofs in (clock["causality"], clock["windows"]):
            assert 0 <= proofs["wrong"] <= proofs["proved"] <= proofs["asked"]


def clock(proved: int, wrong: int | None, windows: Proofs, before: int = 0) -> ClockVerdict:
    return ClockVerdict(400, before, (0.5, 0.51), Proofs(400, proved, wrong), windows)


@pytest.mark.parametrize(
    ("ntp", "chronotick", "said"),
    [
        (
            clock(0, 0, Proofs(200, 80, 0), before=37),
            clock(120, 1, Proofs(200, 190, 1)),
            (
                "of 400 messages, by NTP's points 37 and by ChronoTick's none were received before they were sent; "
                "NTP's intervals (± 0.50 to 0.51 ms) proved the order of none and one 50-ms window for 80 of 200 "
                "events, ChronoTick's (± 0.50 to 0.51 ms) the order of 120 and one 50-ms window for 190 of 200 events; "
                "2 of these proofs were wrong by the injected truth"
            ),
        ),
        (
            clock(0, 0, Proofs(200, 0, 0)),
            clock(0, 0, Proofs(200, 0, 0)),
            "no clock proved anything, so nothing was proved wrongly",
        ),
        (
            clock(3, 0, Proofs(200, 0, 0)),
            clock(0, 0, Proofs(200, 0, 0)),
            "none of these proofs was wrong by the injected truth",
        ),
        (
            clock(3, 2, Proofs(200, 0, None)),
            clock(0, 0, Proofs(200, 0, None)),
            (
                "2 of the proofs of order were wrong, for none is received before it is sent; of those of windows "
                "nobody can tell, since no truth was injected"
            ),
        ),
        (
            clock(3, None, Proofs(200, 0, None)),
            clock(0, None, Proofs(200, 0, None)),
            "how many of these proofs were wrong nobody can tell, since no truth was injected",
        ),
    ],
)
def test_the_sentence_says_what_is_so(ntp, chronotick, said):
    """Nothing proved is said as that, wrong proofs are counted, and without a truth nobody says there are none."""
    assert Verdict(50, {records.NTP: ntp, records.CHRONOTICK: chronotick}).sentence.endswith(said)


def test_a_clock_without_intervals_is_not_said_to_have_proved_none_of_0():
    """Points alone, as of an imported run: no proofs, and no word about wrong ones."""
    points = ClockVerdict(5991, 1456, None, Proofs(0, 0, None), Proofs(0, 0, None))
    assert Verdict(50, {records.NTP: points}).sentence == (
        "of 5,991 messages, by NTP's points 1,456 were received before they were sent; "
        "NTP gave no interval that could prove anything"
    )


def test_a_run_without_these_clocks_has_no_verdict():
    assert Verdict(50, {}).sentence == ""
