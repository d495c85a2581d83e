"""What `check` found, as the cells of its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node_agent.clocks.self_report import is_unfit

if TYPE_CHECKING:
    from harness.check.preflight import NodeCheck
    from node_agent.contract.facts import NodeFacts
    from node_agent.contract.records import SourceCheck


def node_row(node: NodeCheck) -> list[str]:
    """Return the cells of one node: role, place, Python, disk, ports, clock, and whether it is fit."""
    if node.python is None:
        return [node.node_id, node.role, node.host, "", "", "", "", "no"]
    disk = "" if node.disk_free_bytes is None else f"{node.disk_free_bytes / 1e9:.1f} GB"
    port = f"{node.listen} {_free(node.port_free)}"
    if node.probe_port is not None:
        port += f", {node.probe_port} {_free(node.probe_port_free)}"
    fit = "no" if node.problems else "yes"
    return [node.node_id, node.role, node.host, node.python, disk, port, node.clock_source or "", fit]


def _free(free: bool | None) -> str:
    return "free" if free else "in use"


def source_row(answer: SourceCheck) -> dict[str, str]:
    """Return the cells of one server, by the heading of ``CheckTable``, in the order they are shown in.

    The answer has what the source said of itself, where that is why it is not believed.
    """
    unfit = is_unfit(answer.outcome) and answer.detail
    width = answer.bound_ms if answer.sigma_ms is None else answer.sigma_ms
    return {
        "server": answer.server,
        "health": "healthy" if answer.health_ok else "not healthy",
        "answer": f"{answer.outcome}: {answer.detail}" if unfit else answer.outcome,
        "offset": "" if answer.offset_ms is None or width is None else f"{answer.offset_ms:+.3f} ± {width:.3f}",
        "asymmetry": "" if answer.asymmetry_ms is None else f"{answer.asymmetry_ms:.3f}",
        "delay": "" if answer.delay_ms is None else f"{answer.delay_ms:.3f}",
        "stratum": "" if answer.stratum is None else str(answer.stratum),
    }


FACTS: Final = ("interface", "Mbit/s", "driver", "time stamps", "PTP", "governor", "CPUs", "memory limit", "Slurm job")


def facts_in_words(facts: NodeFacts) -> dict[str, str]:
    """Return the cells of a node's facts by their heading (``FACTS``); what the node cannot tell is empty."""
    memory = "" if facts.memory_limited is None else "none"
    if facts.memory_limit_bytes is not None:
        memory = f"{facts.memory_limit_bytes / 1e6:.0f} MB"
    cpus = "" if facts.allowed_cpus is None else f"{facts.allowed_cpus} of {facts.cpus or '?'}"
    names = ("time_stamps", "ptp_clocks", "governors")
    stamps, ptp, governors = (_none_or_all(getattr(facts, name)) for name in names)
    speed = "" if facts.speed_mbps is None else str(facts.speed_mbps)
    cells = (facts.interface or "", speed, facts.driver or "", stamps, ptp, governors, cpus, memory)
    return dict(zip(FACTS, (*cells, facts.slurm_job_id or ""), strict=True))


def _none_or_all(names: tuple[str, ...] | None) -> str:
    return "" if names is None else ", ".join(names) or "none"
