"""What a node tells of itself before a run: what its stamps and its share of the machine depend on."""

# No `from __future__ import annotations` here: `json_objects` reads the field types at run time, on Python 3.9 too.

from dataclasses import dataclass
from typing import Final, Optional

HARDWARE_TX: Final = "hardware tx"
HARDWARE_RX: Final = "hardware rx"
SOFTWARE_TX: Final = "software tx"
SOFTWARE_RX: Final = "software rx"


@dataclass(frozen=True)
class NodeFacts:
    """The facts of one node. None is what the node cannot tell; nothing is assumed.

    ``interface`` has the address that the agent binds; speed, driver and ``time_stamps`` (which packets it can stamp,
    and where) are its own. ``governors`` are those of the allowed CPUs, each once. ``memory_limit_bytes`` is the least
    limit of the agent's control group and those above, None also where there is none: then ``memory_limited`` is False.
    """

    interface: Optional[str] = None
    speed_mbps: Optional[int] = None
    driver: Optional[str] = None
    time_stamps: Optional[tuple[str, ...]] = None
    ptp_clocks: Optional[tuple[str, ...]] = None
    governors: Optional[tuple[str, ...]] = None
    allowed_cpus: Optional[int] = None
    cpus: Optional[int] = None
    memory_limited: Optional[bool] = None
    memory_limit_bytes: Optional[int] = None
    slurm_job_id: Optional[str] = None
