"""What comes out of a node is read back as it was written, and an absent number stays an empty cell."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.contract import records
from node_agent.contract.cells import reading_cells
from node_agent.contract.records import (
    GUARANTEED,
    Available,
    Manifest,
    NodeManifest,
    NodeStatus,
    SourceStatus,
    Unavailable,
    join_commit_wait,
)

TEXT = st.text(max_size=12)
COUNTS = st.dictionaries(TEXT, st.integers(min_value=0), max_size=3)
FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
source_statuses = st.builds(SourceStatus, TEXT, FLOATS, FLOATS, FLOATS, st.integers(), st.integers(), TEXT)
statuses = st.builds(
    NodeStatus, TEXT, TEXT, TEXT, st.integers(), st.integers(), TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT,
    st.none() | TEXT, st.integers(), TEXT, COUNTS, st.dictionaries(TEXT, source_statuses, max_size=2),
    st.lists(TEXT, max_size=2), TEXT,
)  # fmt: skip
manifests = st.builds(
    Manifest, TEXT, TEXT, TEXT, TEXT, st.none() | TEXT, TEXT, COUNTS, st.lists(TEXT, max_size=2),
    st.just({"cluster": {}, "coordinator": {}, "worker": {}}),
    st.dictionaries(
        TEXT, st.builds(NodeManifest, TEXT, TEXT, TEXT, st.none() | COUNTS, status=st.none() | COUNTS), max_size=3
    ),
    problems=st.lists(TEXT, max_size=2),
)  # fmt: skip


@given(statuses)
def test_a_status_is_the_same_after_the_way_through_json(status):
    assert NodeStatus.from_json(status.to_json()) == status


def written_status():
    return SAMPLE_STATUS.to_json()


SAMPLE_STATUS = NodeStatus(
    "ab", "comp11", "worker", 1, 2, "b", "h", "k", "3.9", "tsc", "f", "ready", None, 5, "x:1",
    sources={"ntp": SourceStatus("ok", 1.0, 2.0, 3.0)},
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", written_status()[:-10],
        json.dumps({**json.loads(written_status()), "colour": "red"}),
        json.dumps({k: v for k, v in json.loads(written_status()).items() if k != "pid"}),
        json.dumps({**json.loads(written_status()), "sources": []}),
        json.dumps({**json.loads(written_status()), "sources": {"ntp": {"colour": "red"}}}),
        json.dumps({**json.loads(written_status()), "sources": {"ntp": None}}),
    ],
)  # fmt: skip
def test_a_torn_or_foreign_status_is_refused_whole(text):
    with pytest.raises(ValueError, match=r"."):
        NodeStatus.from_json(text)


@given(manifests)
def test_a_manifest_is_the_same_after_the_way_through_json(manifest):
    read = Manifest.from_json(manifest.to_json())
    assert read == manifest
    assert list(read.nodes) == list(manifest.nodes)


def test_a_manifest_names_its_coordinator_and_its_workers_in_order():
    nodes = {n: NodeManifest(n, role, "h") for n, role in [("b", "worker"), ("c", "coordinator"), ("a", "worker")]}
    manifest = Manifest("r", "x", "local", "deployed", None, "", {}, [], {}, nodes)
    assert (manifest.coordinator_id, manifest.worker_ids) == ("c", ["b", "a"])


@pytest.mark.parametrize("columns", [
    records.events_columns("worker"), records.events_columns("coordinator"), records.worker_columns((30.0, 60.0)),
    records.SAMPLES_COLUMNS, records.SENDS_COLUMNS, records.COMMIT_WAIT_COLUMNS, records.CLOCK_PAIRS_COLUMNS,
    records.PROBES_COLUMNS,
])  # fmt: skip
def test_no_column_is_named_twice(columns):
    assert len(set(columns)) == len(columns)


def test_the_columns_of_a_delay_are_named_as_the_design_says():
    assert records.worker_columns((30.0, 60.0))[-2:] == ("ct_uncertainty_30s_ms", "ct_uncertainty_60s_ms")
    assert records.delay_column(0.3) == "ct_uncertainty_0.3s_ms"


def as_rows(columns, *lines):
    return list(csv.DictReader(io.StringIO("\n".join([columns, *lines]))))


WAITS = "event_id,source,kind,due_raw_ns,done_raw_ns,delay_s,status,offset_ms,uncertainty_ms"


def test_remeasured_uncertainties_stand_beside_their_event():
    events = as_rows("event_id,node_id", "1,a", "2,a", "3,a")
    waits = as_rows(
        WAITS,
        "1,chronotick,remeasure,0,0,30,ok,0.1,0.25",
        "1,chronotick,remeasure,0,0,60,ok,0.1,0.50",
        "2,chronotick,remeasure,0,0,30,stale,,",
        "2,ntp,remeasure,0,0,30,ok,0.1,9.99",
        "2,chronotick,commit_wait,0,0,60,ok,0.1,9.99",
    )
    joined = list(join_commit_wait(events, waits, (30.0, 60.0)))
    assert joined == [
        {"event_id": "1", "node_id": "a", "ct_uncertainty_30s_ms": "0.25", "ct_uncertainty_60s_ms": "0.50"},
        {"event_id": "2", "node_id": "a", "ct_uncertainty_30s_ms": "", "ct_uncertainty_60s_ms": ""},
        {"event_id": "3", "node_id": "a", "ct_uncertainty_30s_ms": "", "ct_uncertainty_60s_ms": ""},
    ]


def test_an_unavailable_reading_has_its_reason_and_no_number():
    cells = reading_cells(Unavailable("stale"), 5).split(",")
    assert cells == ["stale"] + [""] * (len(records.SOURCE_FIELDS) - 1)


@given(
    st.integers(min_value=0, max_value=1 << 62), st.integers(min_value=0, max_value=10**12),
    st.integers(min_value=-(10**12), max_value=10**12), st.integers(min_value=0, max_value=10**12),
)  # fmt: skip
def test_instants_are_written_to_the_nanosecond_and_the_offset_is_added_to_local(est_ns, half_ns, off_ns, age_ns):
    reading = Available(est_ns, est_ns - half_ns, est_ns + half_ns, GUARANTEED, 1.0, "utc", half_ns, age_ns, "ntp1")
    written = dict(zip(records.SOURCE_FIELDS, reading_cells(reading, est_ns - off_ns).split(",")))
    assert int(written["timestamp_ns"]) == est_ns
    assert int(written["lower_bound_ns"]) == est_ns - half_ns
    assert int(written["upper_bound_ns"]) == est_ns + half_ns
    assert float(written["offset_ms"]) * 1e6 == pytest.approx(off_ns, abs=1)
    assert (written["status"], written["kind"], written["level"], written["sample_id"]) == (
        "ok",
        GUARANTEED,
        "1",
        "ntp1",
    )
