"""Numbers of the reference are of what it knows, with how much that is; none is a mark for what it does not know."""

from __future__ import annotations

import json
import math

import pytest

from analysis import command, pipeline, reference, registry
from analysis.figures import reference as reference_figure
from analysis.run import load
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate

FAR_US = 1e9  # 1000 s: no width, age or step of these runs is as large


def told(**changes):
    plain = scenario.read("honest")
    return plain.model_copy(update=changes)


CLUSTERS = {
    "star": told(probes=scenario.Probes(mesh="star", rate_hz=10.0)),
    "star with a step": told(
        probes=scenario.Probes(mesh="star", rate_hz=10.0), raw_steps=(scenario.Jump(node=1, at=0.5, by_ms=50.0),)
    ),
    "a step of one": told(raw_steps=(scenario.Jump(node=1, at=0.5, by_ms=50.0),)),
    "a step back": told(raw_steps=(scenario.Jump(node=2, at=0.4, by_ms=-80.0),)),
    "steps of all": told(
        raw_steps=tuple(scenario.Jump(node=node, at=0.2 + 0.2 * node, by_ms=10.0 * (node + 1)) for node in range(3))
    ),
    "steps near both ends": told(
        raw_steps=(scenario.Jump(node=1, at=0.01, by_ms=30.0), scenario.Jump(node=1, at=0.99, by_ms=30.0))
    ),
    "rare probes": told(probes=scenario.Probes(rate_hz=0.5)),
    "lost probes": told(network=scenario.Network(loss=0.6)),
    "one-way delays of seconds": told(network=scenario.Network(minimum_us=(1e6, 2e6))),
}


def numbers(data, path=()):
    if isinstance(data, dict):
        for key, value in data.items():
            yield from numbers(value, (*path, key))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            yield from numbers(value, (*path, str(place)))
    elif isinstance(data, (int, float)) and not isinstance(data, bool):
        yield path, data


@pytest.mark.parametrize("name", list(CLUSTERS))
@pytest.mark.parametrize("seed", [501, 502])
def test_every_number_is_of_something_known(tmp_path, name, seed):
    folder = simulate(CLUSTERS[name], 4, 200, rate_hz=20.0, seed=seed, results=tmp_path)
    built = reference.build(load.load(folder))
    for path, value in numbers(built.as_statistics()):
        assert math.isfinite(value), path
        assert abs(value) < FAR_US, path
    for pair in built.pairs:
        for spread in (pair.half_width_us, pair.support_age_ms, pair.hidden_step_us):
            assert (spread.median is None) == (spread.count == 0)
        if pair.half_width_us.count:
            assert pair.half_width_us.median > 1.0, "paths are never shorter than 30 us each way"
            assert 0 < pair.known_share <= 1
    for envelope in built.envelopes.values():
        _, half = reference_figure.known_half_widths(envelope)
        assert not len(half) or (half.min() > 0 and half.max() < FAR_US)
    sheet = reference_figure.draw(built)
    for axes in sheet.figure(7.0).axes if sheet.drawn else ():
        assert max(map(abs, axes.get_ylim())) < FAR_US
        assert max(map(abs, axes.get_xlim())) < FAR_US


def test_a_stepped_pair_says_of_which_share_of_the_time_its_width_is(tmp_path):
    folder = simulate(CLUSTERS["a step of one"], 3, 200, rate_hz=20.0, seed=503, results=tmp_path)
    found = registry.compute(command.table_of(folder))
    grid = found.texts()["reference_pairs"]
    shares = [row[grid.columns.index("known of the probed time")] for row in grid.rows]
    assert any(share != "100.0 %" for share in shares)
    assert all(share.endswith(" %") for share in shares)


def test_the_whole_report_of_a_star_has_no_number_beyond_its_run(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_drawings", lambda _found: {})
    folder = simulate(CLUSTERS["star with a step"], 4, 200, rate_hz=20.0, seed=504, results=tmp_path)
    pipeline.run_all(folder)
    data = json.loads((folder / "statistics" / "reference_stats.json").read_text())
    assert max(abs(value) for _, value in numbers(data)) < FAR_US
