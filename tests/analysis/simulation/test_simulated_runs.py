"""A simulated run is what its arguments say: the same bytes again, in pieces as in one, and honest about what it is."""

from __future__ import annotations

import hashlib
import json

import pytest

from analysis import command, registry
from analysis.by_event.readings import table
from analysis.checks import replay
from analysis.errors import UsageError
from analysis.run import load
from analysis.simulation import expectation, scenario, simulate, world
from analysis.simulation.simulate import simulate as make
from node_agent.contract import records


def digests(folder):
    """Return the checksum of every file of a run folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_equal_arguments_make_equal_bytes_and_another_seed_others(tmp_path):
    first, again, other = (
        make("lossy", 3, 200, seed=seed, experiment="run", results=tmp_path / name)
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )
    assert digests(first) == digests(again)
    assert digests(first)["worker_comp11.csv"] != digests(other)["worker_comp11.csv"]


def test_processes_of_their_own_write_the_same_bytes(tmp_path, monkeypatch):
    alone = make("honest", 3, 100, experiment="run", results=tmp_path / "alone")
    monkeypatch.setattr(simulate, "WORTH_PROCESSES", 0)
    many = make("honest", 3, 100, experiment="run", results=tmp_path / "many")
    assert digests(alone) == digests(many)


def test_a_run_made_in_pieces_loses_no_event_and_keeps_the_order_of_arrival(tmp_path, monkeypatch):
    monkeypatch.setattr(world, "CHUNK", 7)
    run = load.load(make("lossy", 3, 300, results=tmp_path))
    for node_id, frame in run.workers.items():
        counts = run.manifest.nodes[node_id].status["counts"]
        assert frame["event_id"].is_unique
        assert counts["received"] + counts["lost"] == 300
        assert counts["received"] == len(frame)
        assert frame["receive_raw_ns"].is_monotonic_increasing or (
            frame["receive_raw_ns"].diff().dropna().min() > -2 * frame["receive_raw_error_ns"].max()
        )
        assert not frame["sequence_number"].is_monotonic_increasing, "reordered datagrams come in the wrong order"
    assert replay.replay(run.path).differences == ()


def test_a_probe_that_arrived_is_one_that_left_and_never_came_before_it_left(tmp_path):
    run = load.load(make("lossy", 3, 100, rate_hz=50.0, results=tmp_path))
    clocks = {node: (entry.virtual_clock, run.probes[node]) for node, entry in run.manifest.nodes.items()}
    for node, (_clock, frame) in clocks.items():
        for peer, (_other, theirs) in clocks.items():
            if peer == node:
                continue
            left = frame[(frame["peer"] == peer) & (frame["direction"] == "tx")]
            came = theirs[(theirs["peer"] == node) & (theirs["direction"] == "rx")]
            assert len(left) > 200
            assert set(came["sequence"]) < set(left["sequence"]), "some are lost, none appears from nowhere"


def test_the_manifest_says_that_nothing_of_it_happened(tmp_path):
    folder = make("honest", 2, 20, seed=9, results=tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["cluster"] == "simulated"
    assert manifest["config"]["scenario"]["name"] == "honest"
    assert manifest["config"]["scenario"]["seed"] == 9
    assert manifest["argv"][:4] == ["invoke", "simulate", "--scenario", "honest"]
    assert all(node["virtual_clock"] is not None for node in manifest["nodes"].values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"scenario": "nonesuch"}, "scenario: expected one of"),
        ({"nodes": 1}, "nodes: expected 2"),
        ({"events": 0}, "events: expected 1"),
        ({"rate_hz": 0.0}, "rate-hz: expected"),
        ({"seed": -1}, "seed: expected"),
        ({"experiment": "../x"}, "experiment name: expected"),
        ({"scenario": "wall-step", "nodes": 2, "experiment": "taken"}, "expected a new name"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(tmp_path, arguments, said):
    (tmp_path / "taken").mkdir()
    wanted = {"scenario": "honest", "nodes": 3, "events": 10} | arguments
    with pytest.raises(UsageError, match=said):
        make(**wanted, results=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_an_honest_run_is_not_what_a_faulty_one_must_be(tmp_path):
    honest = registry.compute(command.table_of(make("honest", 3, 600, rate_hz=20.0, results=tmp_path)))
    numbers = honest.as_statistics()
    missed = {
        name: expectation.unmet(scenario.read(name).expected, numbers, honest.findings)
        for name in scenario.names()
        if name != "honest"
    }
    assert all(missed.values()), "every scenario asks for something that an honest run does not show"


def test_an_expectation_of_something_that_was_not_measured_is_not_met():
    wanted = scenario.Expected(statement="a width", metric="clock_quality/ntp/*/width", comparison="at_most", value=1)
    assert expectation.unmet([wanted], {"clock_quality": {"ntp": {}}}, []) == [
        "a width: clock_quality/ntp/*/width: expected at_most 1, got None"
    ]


def test_more_events_than_the_disk_holds_are_refused_before_anything_is_written(tmp_path):
    """A size that no disk has room for is one line, and no folder is made."""
    for events, rate_hz in ((20_000_000_000, 100.0), (20_000_000, 0.001)):  # by its events, and by its probes
        with pytest.raises(
            UsageError, match=rf"events: expected room for about .* GB .*, for {events:,} at 3 nodes, got"
        ):
            make("honest", 3, events, rate_hz=rate_hz, results=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_without_one_workers_table_is_still_judged(tmp_path):
    """Where a worker's table is gone, its commit-waits have no known root distance, and the rest is judged."""
    folder = make("honest", 3, 150, results=tmp_path)
    (folder / records.worker_file("comp11")).unlink()
    results = registry.compute(table(load.load(folder)))
    assert list(results.table.heard) == ["comp12"]
    assert any(finding.severity == "error" for finding in results.findings)
