"""A TCP relay: each direction of a connection is delayed, what is read first is written first, and nothing is lost.

What does not fit into a direction's queue is not read from the sender, as where a window is full. The handshakes are
the relay's own with each end, and take no longer than on a loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final

from harness.localcluster.relays.lane import Delay, until

if TYPE_CHECKING:
    from harness.localcluster.relays.messages import Counts, RelayOrder

LONGEST_QUEUE: Final = 64  # chunks of one direction of a connection
_CHUNK: Final = 64 * 1024


async def serve_stream(order: RelayOrder, counts: Counts) -> tuple[str, int]:
    """Listen, and relay every connection from now on; return where. Raises OSError."""
    there, back = Delay(order.there_ns, order.tail_ns), Delay(order.back_ns, order.tail_ns)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                from_target, to_target = await asyncio.open_connection(*order.target)
            except OSError:  # the client sees a connection that ends without a word
                return
            with contextlib.closing(to_target):
                onward, homeward = (reader, to_target, there), (from_target, writer, back)
                await asyncio.gather(_pass_on(*onward, counts), _pass_on(*homeward, counts))

    server = await asyncio.start_server(relay, order.host, 0, reuse_address=True, backlog=socket.SOMAXCONN)
    return order.host, int(server.sockets[0].getsockname()[1])


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: Delay, counts: Counts) -> None:
    """Pass on what is read, and in the end that it has ended; an end that breaks off ends the whole connection."""
    queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(LONGEST_QUEUE)

    async def read() -> None:
        due_ns = 0
        data = b"-"
        while data:
            try:
                data = await reader.read(_CHUNK)
            except OSError:
                data = b""
            due_ns = delay.due_ns(due_ns, time.monotonic_ns())
            await queue.put((due_ns, data))

    reading = asyncio.ensure_future(read())
    try:
        while True:
            due_ns, data = await queue.get()
            await until(due_ns)
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            counts.passed += 1
    except OSError:  # the receiver is gone: so is, for the sender, the connection
        writer.close()
    finally:
        reading.cancel()
