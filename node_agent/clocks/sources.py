"""All kinds of clock sources, and which of them a plan asks for. A new kind is registered here, once."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from node_agent.clocks import chronotick, chronotick_shm, chrony, clockbound, kernel, ntp
from node_agent.contract.plan import ClocksPlan, PlanError, valid_for_ns
from node_agent.contract.records import ALWAYS_IN_ROWS

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from node_agent.clocks.base import ClockSource
    from node_agent.clocks.kind import SourceKind

KINDS: Final[tuple[SourceKind[Any], ...]] = (  # as in rows; fed after feeding
    ntp.KIND, chronotick.KIND, chrony.KIND, chronotick_shm.KIND, clockbound.KIND, kernel.KIND,
)  # fmt: skip
BY_NAME: Final = {kind.name: kind for kind in KINDS}


def clocks_plan(plans: Mapping[str, Any], **limits: Any) -> ClocksPlan:
    """Return the plan that asks these sources, given by kind, within ``limits``, its other fields."""
    own = {spec.name for spec in dataclasses.fields(ClocksPlan)}
    others = {name: dataclasses.asdict(plan) for name, plan in plans.items() if name not in own}
    return ClocksPlan(**{name: plan for name, plan in plans.items() if name in own}, **limits, others=others)


def planned(clocks: ClocksPlan) -> dict[str, Any]:
    """Return the plans of the sources that are asked, by kind, in order. Raises PlanError for one of no kind."""
    for name in clocks.others:
        if name not in BY_NAME:
            raise PlanError(f"plan.clocks.others: expected of {', '.join(BY_NAME)}, got {name!r}")
    plans = {kind.name: kind.plan_of(clocks) for kind in KINDS}
    return {name: plan for name, plan in plans.items() if plan is not None}


def configured(clocks: ClocksPlan) -> dict[str, ClockSource]:
    """Return the configured sources by name; a source that is absent here is ``not_configured`` in every row."""
    return {
        name: BY_NAME[name].reader(plan, clocks.max_drift_ppm, valid_for_ns(plan.query_interval_s, plan.valid_for_s))
        for name, plan in planned(clocks).items()
    }


def in_rows(names: Container[str]) -> tuple[SourceKind[Any], ...]:
    """Return the kinds that have columns in the rows of a node that asks the sources ``names``, in order."""
    return tuple(kind for kind in KINDS if kind.name in ALWAYS_IN_ROWS or kind.name in names)


def column_prefixes(clocks: ClocksPlan) -> tuple[str, ...]:
    """Return the prefixes of the source columns that a node's rows have, in order."""
    return tuple(kind.prefix for kind in in_rows(planned(clocks)))
