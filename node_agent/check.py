"""What a node says of itself before a run: its facts, its port, and every time service by protocol. Changes nothing."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from node_agent import addresses
from node_agent.clocks.base import good
from node_agent.clocks.sources import KINDS
from node_agent.contract.records import Sample, SourceCheck
from node_agent.exchange import asking
from node_agent.exchange.asking import Asker, Health, Setting
from node_agent.lifecycle import expand
from node_agent.local import facts as local_facts
from node_agent.local import machine
from node_agent.local.instants import LocalClock

if TYPE_CHECKING:
    from node_agent.clocks.kind import SourceKind
    from node_agent.contract.plan import NodePlan

_SILENT: Final = 2  # tries; a server that has not answered by then is not there


def check(plan: NodePlan) -> dict[str, Any]:
    """Return the node's facts and what each service answered; numbers are None where there was no good answer.

    ``wall_ns`` is its wall clock at the end, and ``took_ns`` how long after the beginning that was.
    """
    begun_ns = time.monotonic_ns()
    clock = LocalClock(plan.virtual_clock)
    folder = expand(plan.run_dir)
    while not folder.exists():
        folder = folder.parent
    facts = {
        "node_id": plan.node_id,
        **machine.describe(),
        "disk_free_bytes": shutil.disk_usage(folder).free,
        "listen": _free(plan.listen_host, plan.events_port),
        "probes": None if plan.probes is None else _free(plan.listen_host, plan.probes.port),
        "facts": dataclasses.asdict(local_facts.collect(plan.listen_host)),
        "sources": _sources(plan, clock),
    }
    return {**facts, "wall_ns": clock.wall_ns(), "took_ns": time.monotonic_ns() - begun_ns}


def _free(host: str, port: int) -> dict[str, Any]:
    """Try to bind a UDP port of the node; 0 lets the kernel choose one, as a coordinator does for the events."""
    problem = None
    try:
        addresses.bound(host, port).close()
    except OSError as error:
        problem = addresses.bind_problem(error, host, port)
    return {"host": host, "port": port, "free": problem is None, "problem": problem}


def _sources(plan: NodePlan, clock: LocalClock) -> dict[str, list[dict[str, Any]]]:
    """Ask every server of every kind in turn, so that one that predicts from samples is given some."""
    numbers = itertools.count(1)
    heard: dict[str, list[Sample]] = {"": []}
    rows: dict[str, list[dict[str, Any]]] = {}
    for kind in KINDS:
        fed = list(filter(good, heard[kind.fed_by]))
        setting = Setting(plan.node_id, plan.clocks, clock, lambda: f"check{next(numbers)}", partial(list, fed))
        wanted = kind.plan_of(plan.clocks) or (kind.plan_type() if kind.absent else None)
        heard[kind.name], rows[kind.name] = [], []
        for asker in asking.askers(kind, wanted, setting) if wanted else ():
            health, samples = _answers(asker)
            heard[kind.name] += samples
            rows[kind.name].append(dataclasses.asdict(_row(kind, asker.server, health, samples)))
    return rows


def _answers(asker: Asker) -> tuple[Health | None, list[Sample]]:
    """Ask a server until it has answered well a few times; one that asks not to be asked is not asked again."""
    samples: list[Sample] = []
    try:
        health = asker.health()
        for tries in range(1, asker.tries + 1):
            samples += asker.ask()
            answered, silent = sum(map(good, samples)), tries == _SILENT
            if answered == asker.enough or (not answered and silent) or asker.pace.ended or asker.pace.slower > 1:
                break
    finally:
        asker.close()
    return health, samples


def _row(kind: SourceKind[Any], server: str, health: Health | None, samples: list[Sample]) -> SourceCheck:
    best = min(filter(good, samples), key=lambda sample: sample.bound_ns or 0, default=None)
    last = best or samples[-1]
    ill = "" if health is None or health.ok else f"health: {health.detail}"
    numbers = {name: getattr(last, f"{name}_ns") for name in ("offset", "bound", "sigma", "delay", "asymmetry")}
    return SourceCheck(
        server=server,
        outcome=last.outcome,
        health_ok=None if health is None else health.ok,
        **{f"{name}_ms": None if value_ns is None else value_ns / 1e6 for name, value_ns in numbers.items()},
        stratum=last.stratum,
        detail=ill if best else kind.explain(last) or ill,
    )
