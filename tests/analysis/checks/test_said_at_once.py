"""What a reader should know before any number stands in the report's head, one line each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from run_folder import Clock, Folder, write

from analysis import pipeline
from analysis.checks.clocks import independence, wall_offsets
from analysis.run import load
from node_agent.contract import records

S = 1_000_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load.load(write(Folder({"a": Clock(), "b": Clock()}), tmp_path_factory.mktemp("said") / "r"))


def changed(run, *, boots=(), **cluster):
    """Return the run with these boot ids, in the nodes' order, and these keys of the cluster's configuration."""
    manifest = run.manifest
    nodes = dict(manifest.nodes)
    for (node_id, node), boot in zip(manifest.nodes.items(), boots, strict=bool(boots)):
        nodes[node_id] = replace(node, status={"boot_id": boot})
    return replace(run, manifest=replace(manifest, nodes=nodes, config=manifest.config | {"cluster": cluster}))


def sampled(run, node, offsets_s, source=records.NTP, server="10.0.0.1:123"):
    """Return the run with these good samples of a node."""
    rows = [
        {"source": source, "server": server, "outcome": records.OK, "offset_ns": offset_s * S, "bound_ns": 1_000_000}
        for offset_s in offsets_s
    ]
    frame = pd.DataFrame(rows, columns=[*records.SAMPLES_COLUMNS]).astype({"offset_ns": "Int64", "bound_ns": "Int64"})
    return replace(run, samples={**run.samples, node: frame})


@pytest.mark.parametrize(("cluster", "severity"), [({}, "warning"), ({"embedded": True}, "note")])
def test_nodes_of_one_boot_are_named(run, cluster, severity):
    """On hosts of their own that is a mistake; in an embedded cluster it is so by design, and true all the same."""
    (finding,) = [f for f in independence.find(changed(run, boots=("x", "y", "x"), **cluster)) if f.code == "one-boot"]
    assert (finding.severity, finding.numbers["nodes"]) == (severity, ["boss", "b"])
    assert [f for f in independence.find(changed(run, boots=("x", "y", "z"))) if f.code == "one-boot"] == []


def test_a_second_ntp_server_is_another_opinion(run):
    """Only a node that asked one server alone is named."""
    two = sampled(run, "a", [0])
    two.samples["a"].loc[len(two.samples["a"])] = {"source": "ntp", "server": "10.0.0.9:123", "outcome": "ok"}
    (finding,) = [f for f in independence.find(two) if f.code == "one-ntp-server"]
    assert finding.numbers["nodes"] == ["boss", "b"]


@pytest.mark.parametrize(
    ("offset_s", "said"),
    [(49, "49.000 s behind NTP"), (-49, "49.000 s ahead of NTP"), (-1_262_304_000, "40.0 years ahead of NTP"), (1, "")],
)
def test_a_wall_clock_far_from_ntp_is_named(run, offset_s, said):
    """A second is allowed; beyond it, surely, the finding says how far and which way."""
    found = [f.message for f in wall_offsets.find(sampled(run, "a", [offset_s] * 3))]
    assert [said in message for message in found] == ([True] if said else [])


def test_the_limit_is_the_configurations(run):
    config = {"worker": {"clocks": {"max_wall_offset_s": 60.0}}}
    allowed = replace(run, manifest=replace(run.manifest, config=config))
    assert list(wall_offsets.find(sampled(allowed, "a", [49]))) == []


def test_without_ntp_the_majority_of_the_nodes_tells(run):
    """The one that the others contradict is named, and not the others."""
    wall = {"boss": 0, "a": 0, "b": 49 * S}

    class Probed:
        def walls(self, scale, node, raw_ns, _error_ns):
            shown = raw_ns + wall[scale]
            known = np.ones(len(raw_ns), dtype=bool)
            return type("Walls", (), {"low_ns": shown - 1000, "high_ns": shown + 1000, "known": known})

    raw = np.arange(5, dtype=np.int64) * S
    pairs = {
        node: pd.DataFrame({"raw_before_ns": raw, "wall_ns": raw + offset, "raw_after_ns": raw})
        for node, offset in wall.items()
    }
    without_ntp = replace(run, samples={}, clock_pairs=pairs)
    (finding,) = wall_offsets.find(without_ntp, Probed())
    assert (finding.node, finding.message.partition(",")[0]) == ("b", "its wall clock is 49.000 s ahead of boss")


def test_the_reports_head_has_them(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_drawings", lambda _found: {})
    path = write(Folder({"a": Clock(), "b": Clock()}), tmp_path / "r")
    report = pipeline.run_all(path).report.read_text(encoding="utf-8")
    head = report[: report.index("| hypothesis |")]
    assert "> - boss, a, b asked no other NTP server than 10.0.0.1:123" in head
