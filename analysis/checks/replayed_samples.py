"""What one row of samples.csv says twice must agree: every number is recomputed from the stamps or the answer it is of.

A reading rests on few of a sample's cells. The others are how a reader convinces himself that those few are right, so a
replay checks them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node_agent.clocks.sources import BY_NAME
from node_agent.contract.records import OK, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from node_agent.contract.plan import NodePlan

Wrong = tuple[str, str, Any, Any]  # sample_id, column, recorded, recomputed


def check(samples: Sequence[Sample], plan: NodePlan) -> Iterator[Wrong]:
    """Yield what is off in one node's samples, in the order of its journal."""
    yield from _publication(samples, plan)
    for sample in samples:
        kind = BY_NAME.get(sample.source)
        if kind is None or sample.outcome != OK:
            continue
        for column, value in kind.recompute(sample, plan).items():
            recorded = getattr(sample, column)
            if recorded != value:
                yield sample.sample_id, column, recorded, value


def _publication(samples: Sequence[Sample], plan: NodePlan) -> Iterator[Wrong]:
    """Check that every sample has a name of its own and was published after it was taken and in the journal's order."""
    clock = plan.virtual_clock
    if clock is not None and (clock.raw_steps or clock.freezes):
        return  # an oscillator that leaps or stands still has no order to keep
    named: set[str] = set()
    last_ns = 0
    for sample in samples:
        if sample.sample_id in named:
            yield sample.sample_id, "sample_id", sample.sample_id, "an id of its own"
        named.add(sample.sample_id)
        earliest_ns = max(last_ns, sample.raw_after_ns)
        if sample.published_raw_ns < earliest_ns:
            yield sample.sample_id, "published_raw_ns", sample.published_raw_ns, f"{earliest_ns} or later"
        last_ns = max(last_ns, sample.published_raw_ns)
