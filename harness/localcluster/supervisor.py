"""The process that holds an embedded cluster together, and takes all of it along when it ends.

It ends when its standard input does. That is a pipe whose other end only the parent holds, so the parent may close it,
be interrupted, crash or be killed: the cluster goes in every case.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import asyncssh

from harness.errors import cause
from harness.localcluster.embedded_host import EmbeddedHost
from harness.localcluster.keys import make_key, write_key, write_private
from harness.localcluster.messages import MARK, Host, Order, Ready, Report
from harness.localcluster.processes import Children, become_subreaper, reader_of
from harness.localcluster.relays.messages import LONGEST_LINE
from harness.localcluster.services import RelayProcess, StartError, start_relays, start_service
from node_agent.contract import json_objects
from node_agent.contract.servers import join_address

LOG = logging.getLogger(__name__)

USER = "experimenter"
FOLDER_PREFIX = "chronotick-cluster-"
PATIENCE_S = 3.0
CLOSE_PATIENCE_S = 2.0


async def supervise() -> int:
    """Read an order, serve the cluster until standard input ends, clean up; return the exit status."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    lifeline = await reader_of(sys.stdin, LONGEST_LINE)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end.set)
    line = await lifeline.readline()
    if not line:
        return 0
    order = json_objects.read(Order, line.decode(), "order")
    root = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    try:
        logging.basicConfig(filename=root / "cluster.log", format="%(asctime)s %(name)s %(levelname)s %(message)s")
        return await _serve(order, root, lifeline, end)
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def _serve(order: Order, root: Path, lifeline: asyncio.StreamReader, end: asyncio.Event) -> int:
    become_subreaper()
    children = Children(asyncio.get_running_loop())
    hosts: list[EmbeddedHost] = []
    watch = asyncio.ensure_future(_until_over(lifeline, end))
    start = asyncio.ensure_future(_start(order, root, children, hosts))
    try:
        await asyncio.wait({watch, start}, timeout=order.deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if watch.done():  # the parent changed its mind
            return 0
        if not start.done():
            return _say(Report(None, f"not ready within {order.deadline_s:g} s"))
        try:
            ready, relays = start.result()
        except (OSError, StartError) as error:
            return _say(Report(None, cause(error) if isinstance(error, OSError) else str(error)))
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        watch = asyncio.ensure_future(_until_over(lifeline, end, relays))
        _say(Report(ready))
        await watch
        return 0
    finally:
        for task in (watch, start):
            task.cancel()
        await asyncio.gather(watch, start, return_exceptions=True)
        await _stop(children, hosts)


async def _start(
    order: Order, root: Path, children: Children, hosts: list[EmbeddedHost]
) -> tuple[Ready, RelayProcess | None]:
    epoch_ns = time.time_ns()
    client_key = make_key()
    identity_file, known_hosts_file = root / "id_ed25519", root / "known_hosts"
    write_key(identity_file, client_key)
    starting = [asyncio.ensure_future(start_service(service, root, children)) for service in order.services]
    relays = await start_relays(root, children) if order.relays else None
    try:
        for host_order in order.hosts:
            host = EmbeddedHost(host_order, root / "hosts" / host_order.node_id, USER, client_key, children)
            hosts.append(host)
            try:
                await host.start()
            except OSError as error:
                where = join_address(host_order.address, host_order.port)
                raise StartError(f"cannot serve SSH for {host_order.node_id} on {where}: {error.strerror}") from error
        services = await asyncio.gather(*starting)
    finally:
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
    write_private(known_hosts_file, b"".join(host.known_host_line() for host in hosts))
    ready = Ready(
        root=str(root),
        epoch_ns=epoch_ns,
        user=USER,
        identity_file=str(identity_file),
        known_hosts_file=str(known_hosts_file),
        hosts=[Host(host.order.node_id, host.order.address, host.port, str(host.home)) for host in hosts],
        services={ordered.name: service for ordered, service in zip(order.services, services, strict=True)},
        relays_pid=relays.pid if relays else None,
    )
    return ready, relays


async def _stop(children: Children, hosts: list[EmbeddedHost]) -> None:
    """End the hosts first, so that nothing new begins, and then every descendant."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*(host.close() for host in hosts)), CLOSE_PATIENCE_S)
    left = await children.end_all(PATIENCE_S)
    if left:
        print(f"embedded cluster: could not end {left}", file=sys.stderr)  # noqa: T201 - the parent shows it


async def _until_over(lifeline: asyncio.StreamReader, end: asyncio.Event, relays: RelayProcess | None = None) -> None:
    """Hand what the parent asks to the relays, until it is gone (or asks where there are none) or a signal says so."""
    waiting = [asyncio.ensure_future(_pass_on(lifeline, relays)), asyncio.ensure_future(end.wait())]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _pass_on(lifeline: asyncio.StreamReader, relays: RelayProcess | None) -> None:
    while (line := await lifeline.readline()) and relays is not None:
        answer = await relays.ask(line)
        with contextlib.suppress(BrokenPipeError):  # it is gone, which is what comes next
            print(MARK + answer, flush=True)  # noqa: T201 - as below


def _say(report: Report) -> int:
    """Tell the parent, if it still listens; return the exit status that goes with it."""
    with contextlib.suppress(BrokenPipeError):
        print(MARK + json_objects.write(report), flush=True)  # noqa: T201 - standard output is the line to the parent
    return 0 if report.ready else 1


def main() -> int:
    """Run the supervisor."""
    os.umask(0o022)  # as on a host; folders and keys that are private say so themselves
    asyncssh.set_log_level(logging.WARNING)
    return asyncio.run(supervise())
