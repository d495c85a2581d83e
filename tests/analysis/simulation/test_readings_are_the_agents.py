"""The simulation chooses the samples that the agent would, stamp by stamp, also where servers fall silent."""

from __future__ import annotations

import pytest

from analysis.simulation.asked import asked_sources
from node_agent.clocks.base import evaluate
from node_agent.clocks.sources import configured
from node_agent.contract.plan import ClocksPlan, NtpPlan
from node_agent.contract.records import NTP, OK, USER, Available, Sample, Stamp

S, MS = 10**9, 10**6
START_NS, AHEAD_NS = 50 * S, 1_700_000_000 * S


def sample(number, server, at_s, offset_ms, address):
    raw = START_NS + int(at_s * S)
    return Sample(
        sample_id=f"s{number}", source=NTP, server=server, address=address, outcome=OK, raw_before_ns=raw - MS,
        raw_after_ns=raw + MS, published_raw_ns=raw + MS, wall_ns=raw + AHEAD_NS, raw_at_ns=raw,
        reference_at_ns=raw + AHEAD_NS + int(offset_ms * MS), bound_ns=2 * MS, root_delay_ns=0, root_dispersion_ns=0,
    )  # fmt: skip


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("liars", [0, 1, 2])
def test_of_several_servers_that_stop_answering_one_after_the_other(count, liars):
    """Each answers every second until it falls silent; a reading stands on what is fresh, of what is configured."""
    names = tuple(f"ntp{place}:123" for place in range(count))
    clocks = ClocksPlan(ntp=NtpPlan(names, query_interval_s=1.0, valid_for_s=2.0))
    said = [
        sample(place * 100 + second, name, second + place / 100, 90 * place if place < liars else 0, f"10.0.0.{place}")
        for place, name in enumerate(names)
        for second in range(3 + 2 * (count - place))
    ]
    said.sort(key=lambda one: one.published_raw_ns)
    asked = asked_sources(said, clocks)[NTP]
    agents = configured(clocks)[NTP]
    seen = set()
    for raw in range(START_NS, START_NS + 16 * S, S // 7):
        stamp = Stamp(raw + AHEAD_NS, raw, 0, USER)
        reading = evaluate(agents, said, stamp)
        assert asked.reading(stamp) == reading, raw
        seen.add(OK if isinstance(reading, Available) else reading.reason)
    assert {OK, "too_few_servers", "stale"} <= seen or count < 3 or liars * 2 >= count
