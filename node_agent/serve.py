"""One agent's life, from a plan to its end: socket, node, signals, log."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from node_agent import addresses, lifecycle
from node_agent.clocks.sources import column_prefixes
from node_agent.contract import records
from node_agent.contract.plan import COORDINATOR, KERNEL_STAMPS, WORKER, NodePlan
from node_agent.contract.servers import join_address
from node_agent.coordinator import Coordinator
from node_agent.datagrams import kernel_stamps, mmsg
from node_agent.lifecycle import EXIT_FAILED, EXIT_UNFIT, EXIT_USAGE, AgentError
from node_agent.local import machine
from node_agent.node import Node
from node_agent.probes import PROBE_BUFFER_BYTES, ProbeMesh
from node_agent.watcher import Watcher
from node_agent.worker import Worker

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from node_agent.contract.records import NodeStatus
    from node_agent.node import Part

log = logging.getLogger(__name__)

# How long a thread that computes may hold up one that is due, not 5 ms. Shorter still where a send is due.
_SWITCH_INTERVAL_S: Final = {WORKER: 0.000_5, COORDINATOR: 0.000_1}
SAY_EVERY_S: Final = 1.0
_CODES: Final = {records.FINISHED_OK: 0, records.FINISHED_STOPPED: 0}


def from_plan(
    plan: NodePlan,
    report: Callable[[dict[str, Any]], None],
    *,
    attended: bool = False,
    say_status: bool = False,
) -> int:
    """Run the agent of a plan in its run folder, report once it is bound, return the exit code.

    ``attended``: it ends where nobody says anything on standard input any more. ``say_status``: whoever attends to it
    cannot read its files, and hears of its status once a second.
    """
    run_dir = lifecycle.expand(plan.run_dir)
    os.umask(0o077)
    lifecycle.claim(run_dir)
    key = lifecycle.take_key(run_dir)
    if key is None:
        told = "a start destroys it, also one that fails; deploy the run again"
        raise AgentError(f"{run_dir}: expected the run key beside the plan; {told}", EXIT_USAGE)
    set_up_log(plan, run_dir)
    prefixes = column_prefixes(plan.clocks)
    rows, columns = run_dir / records.EVENTS_FILE, records.events_columns(plan.role, prefixes)
    if plan.watch is not None:
        rows, columns = run_dir / records.READINGS_FILE, records.readings_columns(prefixes)
    ready = {"pid": os.getpid(), "start_ticks": machine.own_start_ticks()}
    if say_status:
        threading.Thread(target=_say_statuses, args=(run_dir,), name="status", daemon=True).start()
    code, status = serve(plan, run_dir, rows, columns, key, lambda: report(ready), attended=attended)
    if say_status:
        _say(status.to_json())
    return code


def _say_statuses(run_dir: Path) -> None:
    said = ""
    while True:
        time.sleep(SAY_EVERY_S)
        with contextlib.suppress(FileNotFoundError):  # it has none yet
            text = (run_dir / records.STATUS_FILE).read_text(encoding="utf-8")
            if text != said:
                _say(text)
            said = text


def _say(status: str) -> None:
    sys.stdout.write(f"{records.STATUS_MARK}{' '.join(status.split())}\n")
    sys.stdout.flush()


def serve(
    plan: NodePlan,
    run_dir: Path,
    rows: Path,
    columns: Sequence[str],
    key: bytes | None,
    ready: Callable[[], None],
    *,
    attended: bool = False,
) -> tuple[int, NodeStatus]:
    """Run a node until it ends; return its exit code and last status. Raises AgentError if it cannot start.

    ``rows`` is the file of its events, or of a watch's readings, with these ``columns``.
    """
    with contextlib.ExitStack() as sockets:
        sock = probe_sock = None
        if plan.watch is None:
            stamped = plan.role == WORKER
            sock = sockets.enter_context(
                _bind(plan.listen_host, plan.events_port, plan.receive_buffer_bytes, stamped=stamped)
            )
        if probes := plan.probes:
            stamped = probes.stamps == KERNEL_STAMPS
            probe_sock = sockets.enter_context(
                _bind(plan.listen_host, probes.port, PROBE_BUFFER_BYTES, stamped=stamped)
            )
        try:
            node = Node(plan, run_dir, rows, columns, key)
        except OSError as error:
            raise AgentError(f"{error.filename}: {error.strerror}; a run never writes into another's files") from error
        if listening := sock or probe_sock:
            node.listen = join_address(*mmsg.address(mmsg.name_of(listening.getsockname())))
        part = _part(node, sock, key)
        if probe_sock is not None and key is not None:
            node.mesh = ProbeMesh(node, probe_sock, key)
        _end_on_signals(node)
        if attended:
            _end_unattended(node)
        threading.excepthook = lambda died: _died(node, died)
        sys.setswitchinterval(_SWITCH_INTERVAL_S[plan.role])
        gc.collect()
        gc.freeze()  # what lives now lives until the end; the collector need not look at it again
        told = (plan.role, node.listen, os.getpid(), key is not None, plan.run_id)
        log.info("bound role=%s listen=%s pid=%d keyed=%s run_id=%s", *told)
        ready()
        ending = node.run(part)
        return _CODES.get(ending.outcome, EXIT_FAILED), node.status(part, ending)


def _part(node: Node, sock: socket.socket | None, key: bytes | None) -> Part:
    """Return what the node is to do beside its clocks: there is a socket of events unless it is to watch."""
    if sock is None:
        return Watcher(node)
    return Coordinator(node, sock, key) if node.plan.role == COORDINATOR else Worker(node, sock, key)


def _end_on_signals(node: Node) -> None:
    """Let a thread of its own wait for SIGTERM and SIGINT: a handler could meet the main thread inside a lock."""
    numbers = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # before any other thread is started: they inherit it

    def wait() -> None:
        node.end(records.FINISHED_STOPPED, signal.Signals(signal.sigwait(numbers)).name)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def _end_unattended(node: Node) -> None:
    """Let a thread of its own wait until nobody attends to this process any more, and then end it."""

    def wait() -> None:
        node.end(records.FINISHED_STOPPED, lifecycle.await_unattended(sys.stdin.fileno()))

    threading.Thread(target=wait, name="attended", daemon=True).start()


def _died(node: Node, died: threading.ExceptHookArgs) -> None:
    """End the node with its reason: an agent that lost a thread must not look alive."""
    name = died.thread.name if died.thread else "unknown"
    log.critical("died thread=%s", name, exc_info=died.exc_value)
    node.end(records.FINISHED_FAILED, f"thread {name!r} died: {died.exc_value!r}")


def _bind(host: str, port: int, buffer_bytes: int, *, stamped: bool) -> socket.socket:
    granted, stamps = 0, False

    def prepare(sock: socket.socket) -> None:
        nonlocal granted, stamps
        sock.setblocking(False)
        granted = kernel_stamps.ask_receive_buffer(sock, buffer_bytes)
        stamps = stamped and kernel_stamps.stamp_arrivals(sock)

    try:
        sock = addresses.bound(host, port, prepare)
    except OSError as error:
        raise AgentError(addresses.bind_problem(error, host, port), EXIT_UNFIT) from error
    log.info("socket port=%d receive_buffer_bytes=%d kernel_stamps=%s", sock.getsockname()[1], granted, stamps)
    return sock


def set_up_log(plan: NodePlan, run_dir: Path) -> None:
    """Log to the run folder, one event a line, and to standard error where the plan says so."""
    handlers: list[logging.Handler] = [logging.FileHandler(run_dir / records.LOG_FILE, encoding="utf-8")]
    if plan.log_console:
        handlers.append(logging.StreamHandler())
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=plan.log_level, handlers=handlers, force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    faulthandler.enable(handlers[0].stream)  # type: ignore[attr-defined]  # a FileHandler has a stream
    sys.excepthook = lambda kind, error, trace: log.critical("died", exc_info=(kind, error, trace))
