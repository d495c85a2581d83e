"""A status is read whole, every value of its type, or refused: what was torn or foreign is never half believed."""

from __future__ import annotations

import json

from hypothesis import given, settings
from mutations import spoilt_json

from node_agent import lifecycle
from node_agent.contract.records import NodeStatus, SourceStatus

FUZZ = settings.get_profile("fuzz")
SOURCE = SourceStatus("ok", -1.5, 0.25, 120.0, 40, 1, "ok")
STATUS = NodeStatus(
    run_id="ab" * 16, node_id="comp11", role="worker", pid=4711, start_ticks=99, boot_id="b", hostname="h", kernel="k",
    python="3.11.2", clock_source="tsc", agent_sha256="cd" * 32, phase="running", outcome=None,
    updated_wall_ns=1_790_000_000_000_000_000, listen="127.0.91.11:9000", counts={"received": 5, "lost": 0},
    sources={"ntp": SOURCE, "chronotick": SourceStatus("stale")}, waiting_for=["ntp: timeout"], detail="",
)  # fmt: skip
SEED = json.loads(STATUS.to_json())


def test_a_true_status_is_read_back() -> None:
    assert NodeStatus.from_json(STATUS.to_json()) == STATUS


@FUZZ
@given(data=spoilt_json(SEED, {**SEED, "outcome": "ok", "sources": {}}))
def test_a_status_is_whole_or_refused(count, data: bytes) -> None:
    try:
        read = NodeStatus.from_json(data.decode("utf-8"))
    except ValueError:
        count("refused")
        return
    again = json.loads(read.to_json())
    assert again == json.loads(data)
    texts = (read.run_id, read.node_id, read.role, read.phase, read.listen, read.detail, *read.waiting_for)
    numbers = (read.pid, read.start_ticks, read.updated_wall_ns, *read.counts.values())
    assert all(type(value) is str for value in texts)
    assert all(type(value) is int for value in numbers)
    for source in read.sources.values():
        assert type(source.status) is str
        assert all(value is None or type(value) in {int, float} for value in (source.offset_ms, source.bound_ms))
    count("read")


def test_a_spoilt_status_file_is_a_problem_not_a_crash(tmp_path) -> None:
    for text in ("", "{", "[" * 100_000, "null", "[]", '{"run_id": 1}', "\ud800", json.dumps({**SEED, "pid": "1"})):
        (tmp_path / "status.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        said = lifecycle.status(tmp_path)
        assert (said["status"], said["alive"]) == (None, False)
        assert said["problem"]
