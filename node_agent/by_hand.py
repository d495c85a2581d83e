"""Agents started by hand, without a plan, a key or a controller: what the options mean, and what is said at the end."""

from __future__ import annotations

import csv
import math
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

from node_agent import lifecycle, serve
from node_agent.addresses import LOOK_UP_S, MAPPED
from node_agent.clocks.sources import KINDS, clocks_plan, column_prefixes
from node_agent.contract import records
from node_agent.contract.plan import WORKER, BroadcastPlan, NodePlan, WorkerAddress
from node_agent.contract.servers import bare_host, check_zone, is_ipv6, join_address, split_address
from node_agent.duplicates import MOST_RANGES
from node_agent.lifecycle import EXIT_USAGE, AgentError
from node_agent.local.resolver import LookUpError, udp_addresses
from node_agent.worker import MOST_SENDERS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from node_agent.clocks.kind import SourceKind
    from node_agent.contract.records import NodeStatus
    from node_agent.local.resolver import Address

_SOON_S: Final = 1.0  # for a name that is asked again with each question
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - started by hand, an agent is told by no one which of its addresses to use
_OF_BOTH_FAMILIES = "::"
_DELAYS_S = (30.0, 60.0)
_OPTIONS = {"listen_port": "--listen-port", "node_id": "--node-id"}  # of a plan's keys


def work(arguments: argparse.Namespace) -> int:
    """Run a hand-started agent until it is done or interrupted, then print a summary."""
    if arguments.output is None:
        raise AgentError("expected --plan PATH, or --output FILE to start by hand", EXIT_USAGE)
    output = lifecycle.expand(arguments.output)
    run_dir = output.with_name(f"{output.stem}.raw")
    for path, what in ((output, "it"), (run_dir, f"the folder of its journals, {run_dir},")):
        if path.exists():
            told = f"--output {arguments.output}: {what} exists already; move it away or name another file"
            raise AgentError(told, EXIT_USAGE)
    asked = _asked(arguments)
    plan = _plan(arguments, run_dir, asked)
    _look_up_names(plan, asked, given=arguments.listen_host is not None)
    try:
        run_dir.mkdir()
    except OSError as error:
        told = f"--output {arguments.output}: the folder of its journals cannot be made: {error.strerror}"
        raise AgentError(told, EXIT_USAGE) from error
    lifecycle.claim(run_dir)
    serve.set_up_log(plan, run_dir)
    columns = _columns(plan)
    try:
        code, status = serve.serve(plan, run_dir, output, columns, None, lambda: _say(_greeting(plan)))
    except AgentError:  # it never started: what was made for it holds nothing
        shutil.rmtree(run_dir)
        output.unlink(missing_ok=True)
        raise
    if plan.role == WORKER:
        _fill_in(plan, output, run_dir)
    _say(_summary(status, output))
    return code


def _asked(arguments: argparse.Namespace) -> list[tuple[SourceKind[Any], Any]]:
    """Return the kinds of clock sources that options ask for, each with its plan."""
    asked = []
    for kind in KINDS:
        text = getattr(arguments, f"source_{kind.name}")
        if text is None:
            continue
        option = kind.by_hand.option
        try:
            plan = kind.by_hand.plan(text)
        except ValueError as error:
            raise AgentError(f"{option}: {_without_key(str(error), option)}", EXIT_USAGE) from error
        if plan is not None:
            asked.append((kind, plan))
    return asked


def _without_key(told: str, option: str) -> str:
    """Return what is expected and was got, without the option, or the plan's key, that it is told of."""
    _, found, rest = told.partition(": expected ")
    return f"expected {rest}" if found else told.replace(f"{option}: ", "")


def _plan(arguments: argparse.Namespace, run_dir: Path, asked: Sequence[tuple[SourceKind[Any], Any]]) -> NodePlan:
    try:
        broadcast = None if arguments.role == WORKER else _broadcast(arguments)
        return NodePlan(
            experiment="by-hand",
            run_id="",
            node_id=arguments.node_id,
            role=arguments.role,
            run_dir=str(run_dir),
            listen_host=_listen_host(arguments.listen_host, broadcast),
            listen_port=arguments.listen_port if arguments.role == WORKER else 0,
            clocks=clocks_plan({kind.name: plan for kind, plan in asked}),
            commit_wait_delays_s=_DELAYS_S,
            log_level=arguments.log_level,
            log_console=True,
            broadcast=broadcast,
        )
    except ValueError as error:
        key, colon, told = str(error).partition(": ")
        raise AgentError(f"{_OPTIONS.get(key, key)}{colon}{told}", EXIT_USAGE) from error


def _look_up_names(plan: NodePlan, asked: Sequence[tuple[SourceKind[Any], Any]], *, given: bool) -> None:
    """Look up every host that an option names, before anything is made.

    Raises AgentError for one that there is not, for a worker that cannot be looked up, and for workers that are one. A
    clock source is asked again and again, so of one that may be found later there is a line.
    """
    found: dict[Address, str] = {}
    for worker in plan.broadcast.workers if plan.broadcast else ():
        name = join_address(worker.host, worker.port)
        for address in _addresses("--workers", worker.host, worker.port):
            if address in found:
                other = found[address]
                got = f"{name} twice" if name == other else f"{other} and {name}, both at {join_address(*address)}"
                raise AgentError(f"--workers: expected each worker once, got {got}", EXIT_USAGE)
            found[address] = name
    if given:
        _addresses("--listen-host", plan.listen_host, plan.listen_port)
    for kind, source in asked:
        for host in kind.by_hand.hosts(source):
            _addresses(kind.by_hand.option, host, 0, asked_again=True)


def _addresses(option: str, host: str, port: int, *, asked_again: bool = False) -> list[Address]:
    """Return a host's addresses; an IPv4 one that is written as IPv6 (RFC 4291 section 2.5.5.2) is that IPv4 one."""
    try:
        found = udp_addresses(host, port, _SOON_S if asked_again else LOOK_UP_S)
    except LookUpError as error:
        told = f"{option}: expected a host that can be looked up, got {host!r}: {error.strerror}"
        if error.known or not asked_again:
            raise AgentError(told, EXIT_USAGE) from error
        _say(f"{told}; it is asked again with each question")
        return []
    return [(address.removeprefix(MAPPED), port) for address, port in found]


def _listen_host(given: str | None, broadcast: BroadcastPlan | None) -> str:
    """Return where to listen. Raises ValueError for a link-local address that does not name its interface."""
    if given is None:
        speaks_ipv6 = broadcast is not None and any(is_ipv6(worker.host) for worker in broadcast.workers)
        return _OF_BOTH_FAMILIES if speaks_ipv6 else _EVERYWHERE
    try:
        check_zone(host := bare_host(given))
    except ValueError as error:
        raise ValueError(f"--listen-host: {error}") from error
    return host


def _broadcast(arguments: argparse.Namespace) -> BroadcastPlan:
    if not arguments.workers:
        raise ValueError("--workers: expected H:P,H:P, got nothing")
    if arguments.num_events < 1:
        raise ValueError(f"--num-events: expected 1 or more, got {arguments.num_events}")
    if not 0 <= arguments.delay_ms < math.inf:
        raise ValueError(f"--delay-ms: expected 0 or more, got {arguments.delay_ms:g}")
    workers = []
    for address in arguments.workers.split(","):
        try:
            host, port = split_address(address)
        except ValueError as error:
            raise ValueError(f"--workers: {_without_key(str(error), '--workers')}") from error
        if not re.search(r":[0-9]+$", address):  # where it is left out, that of NTP is meant
            raise ValueError(f"--workers: expected H:P,H:P, got {address!r}")
        name = f"ipv6-{host.replace(':', '-').replace('%', '-')}" if is_ipv6(host) else host
        workers.append(WorkerAddress(f"{name}-{port}", host, port))
    return BroadcastPlan(tuple(workers), arguments.num_events, (arguments.delay_ms,))


def _columns(plan: NodePlan) -> tuple[str, ...]:
    prefixes = column_prefixes(plan.clocks)
    if plan.role == WORKER:
        return records.worker_columns(_DELAYS_S, prefixes)
    return records.events_columns(plan.role, prefixes)


def _fill_in(plan: NodePlan, output: Path, run_dir: Path) -> None:
    """Put the re-measured uncertainties into the delay columns, which stay empty while the worker runs."""
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    with (
        output.open(encoding="utf-8", newline="") as events,
        (run_dir / records.COMMIT_WAIT_FILE).open(encoding="utf-8", newline="") as waits,
        temporary.open("w", encoding="utf-8", newline="") as joined,
    ):
        writer = csv.DictWriter(joined, _columns(plan), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records.join_commit_wait(csv.DictReader(events), csv.DictReader(waits), _DELAYS_S))
    temporary.replace(output)


def _greeting(plan: NodePlan) -> str:
    if plan.role == WORKER:
        return (
            f"worker {plan.node_id}: no run key, so plain JSON events from anyone are taken, "
            f"on {join_address(plan.listen_host, plan.listen_port)}; Ctrl-C ends"
        )
    count = plan.broadcast.num_events if plan.broadcast else 0
    return f"coordinator {plan.node_id}: {count} plain JSON events, without a run key"


def _summary(status: NodeStatus, output: Path) -> str:
    counts = " ".join(f"{name}={count}" for name, count in status.counts.items())
    sources = " ".join(
        f"{name}={source.status}({source.samples - source.failures}/{source.samples} answers)"
        for name, source in status.sources.items()
    )
    journals = output.with_name(f"{output.stem}.raw")
    said = f"{status.role} {status.node_id}: {counts}{_seen(status.counts)}\nclock sources: {sources}"
    return f"{said}\nrows: {output}\njournals: {journals}"


def _seen(counts: Mapping[str, int]) -> str:
    """Return a line about the sequence numbers that came, "" if none did: no loss is told from numbers of anyone."""
    if "sequence_first" not in counts:
        return ""
    least = "at least " if counts["sequence_ranges"] >= MOST_RANGES else ""
    span = f"from {counts['sequence_first']} to {counts['sequence_last']}"
    told = f"{least}{counts['sequence_distinct']} distinct, {span}"
    if counts["sequence_ranges"] == 1:
        told += ", without a gap"
    else:
        told += f", in {least}{counts['sequence_ranges']} ranges; what is missing between them was lost or never sent"
    if (senders := counts["senders"]) > 1:
        told += f"; {'at least ' if senders >= MOST_SENDERS else ''}{senders} senders, their numbers taken together"
    return f"\nsequence numbers: {told}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is a command line
