"""Collect what a node tells of itself: network interface, CPUs, memory limit, PTP clocks, Slurm job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from node_agent.contract.facts import NodeFacts
from node_agent.local import interface, machine
from node_agent.local.cgroup import memory_group
from node_agent.local.resolver import udp_addresses

_CPUS: Final = Path("/sys/devices/system/cpu")
_DEVICES: Final = Path("/dev")
_JOB: Final = "SLURM_JOB_ID"
_LOOK_UP_S: Final = 2.0


def collect(listen_host: str) -> NodeFacts:
    """Return the facts of this node, whose agent binds ``listen_host``."""
    allowed = sorted(os.sched_getaffinity(0))
    name = _interface(listen_host)
    limited, limit_bytes = _memory_limit()
    return NodeFacts(
        interface=name,
        speed_mbps=interface.speed_mbps(name) if name else None,
        driver=interface.driver(name) if name else None,
        time_stamps=interface.time_stamps(name) if name else None,
        ptp_clocks=tuple(sorted(path.name for path in _DEVICES.glob("ptp[0-9]*"))),
        governors=_governors(allowed),
        allowed_cpus=len(allowed),
        cpus=os.cpu_count(),
        memory_limited=limited,
        memory_limit_bytes=limit_bytes,
        slurm_job_id=os.environ.get(_JOB) or None,
    )


def _interface(host: str) -> str | None:
    try:
        addresses = udp_addresses(host, 0, _LOOK_UP_S)
    except OSError:  # a name that nobody knows; the port's own line says so
        return None
    found = (interface.interface_of(address) for address, _port in addresses)
    return next(filter(None, found), None)


def _governors(cpus: list[int]) -> tuple[str, ...] | None:
    """Return the frequency governors of some CPUs, each once; None where the kernel sets no frequencies."""
    found = {machine.read(_CPUS / f"cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus}
    return tuple(sorted(found - {""})) or None


def _memory_limit() -> tuple[bool | None, int | None]:
    """Return whether the memory is limited, and to how many bytes."""
    group = memory_group()
    try:
        limit_bytes = None if group is None else group.limit_bytes()
    except (OSError, ValueError):
        return None, None
    return (None if group is None else limit_bytes is not None), limit_bytes
