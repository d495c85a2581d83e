"""Which sources a plan asks for. A new source is registered here, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node_agent.clocks.chronotick import ChronoTickSource
from node_agent.clocks.chrony import ChronySource
from node_agent.clocks.ntp import NtpSource
from node_agent.contract.plan import ClocksPlan, valid_for_ns
from node_agent.contract.records import ALWAYS_IN_ROWS, CHRONOTICK, CHRONY, COLUMN_PREFIX, NTP

if TYPE_CHECKING:
    from node_agent.clocks.base import ClockSource


def configured(clocks: ClocksPlan) -> dict[str, ClockSource]:
    """Return the configured sources by name; a source that is absent here is ``not_configured`` in every row."""
    sources: dict[str, ClockSource] = {}
    if clocks.ntp is not None:
        valid = valid_for_ns(clocks.ntp.query_interval_s, clocks.ntp.valid_for_s)
        sources[NTP] = NtpSource(clocks.ntp.servers, clocks.max_drift_ppm, valid, own_clock=clocks.ntp.own_clock)
    if clocks.chronotick is not None:
        tick = clocks.chronotick
        valid = valid_for_ns(tick.query_interval_s, tick.valid_for_s)
        sources[CHRONOTICK] = ChronoTickSource(tick.server, tick.uncertainty_multiplier, clocks.max_drift_ppm, valid)
    if clocks.chrony is not None:
        valid = valid_for_ns(clocks.chrony.query_interval_s, clocks.chrony.valid_for_s)
        sources[CHRONY] = ChronySource(clocks.max_drift_ppm, valid)
    return sources


def column_prefixes(clocks: ClocksPlan) -> tuple[str, ...]:
    """Return the prefixes of the source columns that a node's rows have, in order."""
    names = configured(clocks)
    return tuple(prefix for name, prefix in COLUMN_PREFIX.items() if name in ALWAYS_IN_ROWS or name in names)
