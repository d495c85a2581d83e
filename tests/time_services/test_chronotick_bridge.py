"""The bridge: the ChronoTick daemon's record over HTTP, as the agent's own ChronoTick source reads it."""

from __future__ import annotations

import httpx
import pytest
from segments import ChronoTickRecord, chronotick_now, daemon

from node_agent.clocks import chronotick
from node_agent.exchange.chronotick import ChronoTickClient
from node_agent.local.instants import LocalClock


@pytest.fixture
def record(tmp_path):
    return tmp_path / "record"


@pytest.fixture
def web(record, run_service):
    """Return a client of a running bridge."""
    with (
        run_service("time_services.chronotick_bridge", "--shm", str(record)) as (_, address),
        httpx.Client(base_url=f"http://{address}", timeout=10) as client,
    ):
        yield client


def test_a_request_gets_what_the_record_says_or_the_reason_why_nothing(web, record):
    """Also the original worker's own request, an empty object; and who is named is answered by that name."""
    assert (web.get("/health").status_code, web.get("/health").json()["status"]) == (503, "no_segment")
    written = chronotick_now()
    record.write_bytes(written.image())
    body = web.post("/get_time", json={}).json()
    assert body["offset_ms"] == pytest.approx(0.25)
    assert body["uncertainty_ms"] == pytest.approx(0.01)
    assert body["drift_uncertainty_ppm"] == pytest.approx(0.5)
    assert body["prediction_time_ns"] == pytest.approx(written.system_s * 1e9, abs=500)
    assert body["valid_until_ns"] - body["prediction_time_ns"] == pytest.approx(30e9, abs=1_000)
    assert 0.000_238 <= body["asymmetry_ms"] < 0.1
    assert "node_id" not in body
    assert web.post("/get_time", json={"node_id": "comp11"}).json()["node_id"] == "comp11"
    assert web.get("/health").json()["status"] == "healthy"
    for changes, reason in (({"flags": 0b0111}, "warming_up"), ({"source": 0}, "no_source"),
                            ({"corrected_s": 1.0}, "inconsistent"), ({"system_s": 1.7e9}, "dead")):  # fmt: skip
        record.write_bytes(ChronoTickRecord(**{"system_s": written.system_s, **changes}).image())
        answer = web.post("/get_time", json={"node_id": "comp11"})
        assert (answer.status_code, answer.json()) == (503, {"status": reason, "node_id": "comp11"})
    assert web.post("/get_time", content="[").status_code == 400
    assert web.post("/get_time", content=b" " * 70_000).status_code == 413


def test_the_agents_chronotick_source_reads_it_as_claimed(web, record):
    with daemon(record, chronotick_now):
        client = ChronoTickClient(str(web.base_url), "comp11", LocalClock(), timeout_s=5.0, dual_model=True)
        sample = client.sample([], lambda: "ct1")
        client.close()
    assert (sample.outcome, sample.scope, sample.offset_ns) == ("ok", "node", 250_000)
    assert sample.drift_sigma_fs_per_s == 500_000_000
    assert isinstance(chronotick.parse(sample.payload, "comp11"), chronotick.Prediction)
