"""What a node says of itself before a run: its facts, its port, and every time service by protocol. Changes nothing."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import shutil
import socket
from typing import TYPE_CHECKING, Any, Final

from node_agent import addresses
from node_agent.clocks import chrony, ntp_packet, self_report
from node_agent.clocks.base import good
from node_agent.clocks.self_report import limits_of
from node_agent.contract.plan import COORDINATOR, ChronyPlan, NtpPlan
from node_agent.contract.records import OK
from node_agent.exchange import chrony as chrony_exchange
from node_agent.exchange.chronotick import ChronoTickClient
from node_agent.exchange.ntp import NtpServer
from node_agent.lifecycle import expand
from node_agent.local import machine
from node_agent.local.instants import LocalClock

if TYPE_CHECKING:
    from pathlib import Path

    from node_agent.contract.plan import NodePlan
    from node_agent.contract.records import Sample

_NTP_SAMPLES: Final = 4  # so that a server that predicts from a node's samples has some
_NTP_TRIES: Final = 12  # a busy node is woken too late for some of its own stamps
_NTP_SILENT: Final = 2  # a server that has not answered by then is not there


def check(plan: NodePlan) -> dict[str, Any]:
    """Return the node's facts and what each service answered; numbers are None where there was no good answer."""
    clock = LocalClock(plan.virtual_clock)
    numbers = itertools.count(1)
    per_server = {
        server: _ask_ntp(server, plan, clock, lambda: f"check{next(numbers)}")
        for server in (plan.clocks.ntp.servers if plan.clocks.ntp else ())
    }
    return {
        "node_id": plan.node_id,
        **dataclasses.asdict(machine.describe()),
        "disk_free_bytes": shutil.disk_usage(_existing(expand(plan.run_dir))).free,
        "listen": _free(plan.listen_host, 0 if plan.role == COORDINATOR else plan.listen_port),
        "probes": None if plan.probes is None else _free(plan.listen_host, plan.probes.port),
        "wall_ns": clock.wall_ns(),
        "sources": {
            "ntp": [_ntp_row(server, samples) for server, samples in per_server.items()],
            "chronotick": _chronotick_rows(
                plan, clock, [s for samples in per_server.values() for s in samples if good(s)]
            ),
            "chrony": _chrony_row(plan, clock),
        },
    }


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _free(host: str, port: int) -> dict[str, Any]:
    """Try to bind a UDP port of the node; 0 lets the kernel choose one, as a coordinator does for the events."""
    problem = None
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            addresses.bind(sock, host, port)
    except OSError as error:
        problem = bind_problem(error, host, port)
    return {"host": host, "port": port, "free": problem is None, "problem": problem}


def bind_problem(error: OSError, host: str, port: int) -> str:
    """Return one line that says why a UDP address cannot be bound, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} on {host} is in use; end the program that holds it or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this node; set the node's address in the cluster file"
    return f"UDP port {port} on {host} cannot be bound: {error.strerror or error}"


def _ask_ntp(server: str, plan: NodePlan, clock: LocalClock, new_id: Any) -> list[Sample]:
    """Ask a server until it has answered well a few times; one that asks not to be asked is not asked again."""
    asked = plan.clocks.ntp or NtpPlan((server,))
    limits = limits_of(plan.clocks, own_clock=asked.own_clock)
    place = NtpServer(server, clock, plan.clocks.max_drift_ppm, asked.timeout_s, limits)
    found: list[Sample] = []
    for tries in range(1, _NTP_TRIES + 1):
        found += place.ask(new_id)
        answered = sum(map(good, found))
        if answered == _NTP_SAMPLES or (answered == 0 and tries == _NTP_SILENT) or place.ended or place.slower > 1:
            break
    return found


def _ntp_row(server: str, samples: list[Sample]) -> dict[str, Any]:
    best = min((s for s in samples if good(s)), key=lambda s: s.bound_ns or 0, default=None)
    last = samples[-1]
    row: dict[str, Any] = {"server": server, "outcome": last.outcome if best is None else OK, "detail": ""}
    row.update(dict.fromkeys(("offset_ms", "bound_ms", "delay_ms", "stratum")))
    if best is None:
        row["detail"] = _why(last) or f"{last.outcome} from {last.address or server}"
        row["stratum"] = last.stratum
    else:
        row.update(
            offset_ms=(best.offset_ns or 0) / 1e6,
            bound_ms=(best.bound_ns or 0) / 1e6,
            delay_ms=(best.delay_ns or 0) / 1e6,
            stratum=best.stratum,
        )
    return row


def _why(sample: Sample) -> str:
    """Return what an NTP server said of its own state, in words, where that is why it is not believed."""
    said = ntp_packet.parse_payload(sample.payload, sample.wall_ns)
    return self_report.describe(sample.outcome, said.report if isinstance(said, ntp_packet.Reply) else None)


def _chrony_row(plan: NodePlan, clock: LocalClock) -> dict[str, Any]:
    """Ask the node's own chronyd, planned for or not: who looks at the check may want to judge it too."""
    asked = plan.clocks.chrony or ChronyPlan()
    sample = chrony_exchange.sample(asked.socket_path, clock, asked.timeout_s, lambda: "check", limits_of(plan.clocks))
    row: dict[str, Any] = {"outcome": sample.outcome, "offset_ms": None, "bound_ms": None, "detail": ""}
    if good(sample):
        row.update(offset_ms=(sample.offset_ns or 0) / 1e6, bound_ms=(sample.bound_ns or 0) / 1e6)
    elif self_report.is_unfit(sample.outcome):
        state = chrony.parse(sample.payload)
        report = state.report(sample.wall_ns) if isinstance(state, chrony.Tracking) else None
        row["detail"] = self_report.describe(sample.outcome, report)
    return row


def _chronotick_rows(plan: NodePlan, clock: LocalClock, ntp_samples: list[Sample]) -> list[dict[str, Any]]:
    tick = plan.clocks.chronotick
    if tick is None:
        return []
    client = ChronoTickClient(
        tick.server, plan.node_id, clock, timeout_s=tick.timeout_s, dual_model=tick.use_dual_model
    )
    try:
        health = client.health()
        sample = client.sample(ntp_samples, lambda: "check")
    finally:
        client.close()
    row: dict[str, Any] = {"server": tick.server, "outcome": sample.outcome, "health_ok": health.ok}
    row.update(dict.fromkeys(("offset_ms", "sigma_ms", "latency_ms")))
    row["detail"] = "" if health.ok else f"health: {health.detail}"
    if good(sample):
        row.update(
            offset_ms=(sample.offset_ns or 0) / 1e6,
            sigma_ms=(sample.sigma_ns or 0) / 1e6,
            latency_ms=(sample.raw_after_ns - sample.raw_before_ns) / 1e6,
        )
    elif sample.payload:
        row["detail"] = sample.payload[:200]
    return [row]
