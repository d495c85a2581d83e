"""Kernel time stamps of datagrams: socket options and ancillary data that CPython has no names for.

Numbers from Linux: include/uapi/asm-generic/socket.h, linux/net_tstamp.h, linux/errqueue.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from node_agent.datagrams import mmsg

if TYPE_CHECKING:
    from collections.abc import Iterable

_SO_TIMESTAMPNS: Final = 35
_SO_TIMESTAMPING: Final = 37
_SO_RXQ_OVFL: Final = 40
_SO_RCVBUFFORCE: Final = 33
_IP_RECVERR: Final = 11  # linux/in.h
_IPV6_RECVERR: Final = 25  # linux/in6.h
_TX_SOFTWARE: Final = 1 << 1
_SOFTWARE: Final = 1 << 4
_OPT_ID: Final = 1 << 7
_OPT_TSONLY: Final = 1 << 11
_ORIGIN_TIMESTAMPING: Final = 4
_TRUNCATED: Final = int(socket.MSG_TRUNC)  # as a plain number: an IntFlag costs a microsecond at every use
_TIMESPEC = struct.Struct("@ll")
_DROPS = struct.Struct("@I")
_EXTENDED_ERROR = struct.Struct("@IBBBBII")
# The ancillary data of nearly every datagram, whole: reading it so takes a third of the time of walking through it.
_USUAL_ARRIVAL = struct.Struct("@Niill")  # a time
# Three times, of which one is there, and an extended error with its offender: an address of IPv4 or of IPv6.
_DEPARTURE: Final = "@Nii6lNiiIBBBBII"
_USUAL_DEPARTURES: Final = {made.size: made for made in map(struct.Struct, (f"{_DEPARTURE}16x", f"{_DEPARTURE}32x"))}
_STAMPS_AT_ONCE: Final = 64
_NETWORK_ERRORS: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})

_SOL_SOCKET: Final = int(socket.SOL_SOCKET)
# A socket of IPv6 tells of its errors by IPv6's own mark, also of what it sent to an IPv4 address.
_ERROR_MARKS: Final = ((int(socket.IPPROTO_IP), _IP_RECVERR), (int(socket.IPPROTO_IPV6), _IPV6_RECVERR))


class Datagram(NamedTuple):
    """One received datagram: ``kernel_ns`` is the host's CLOCK_REALTIME at arrival, None where the kernel gave none."""

    data: bytes
    name: bytes
    kernel_ns: int | None
    drops: int
    truncated: bool

    @property
    def sender(self) -> tuple[str, int]:
        """Return the sender's host and port."""
        return mmsg.address(self.name)


def stamp_arrivals(sock: socket.socket) -> bool:
    """Ask the kernel to stamp every arriving datagram and to count the ones it drops; False where it refuses."""
    return _takes(sock, _SO_TIMESTAMPNS, 1) and _takes(sock, _SO_RXQ_OVFL, 1)


def stamp_departures(sock: socket.socket) -> bool:
    """Ask the kernel to stamp every departing datagram, numbered from 0 in order of sending; False where it refuses."""
    return _takes(sock, _SO_TIMESTAMPING, _TX_SOFTWARE | _SOFTWARE | _OPT_ID | _OPT_TSONLY)


def renumber_departures(sock: socket.socket) -> bool:
    """Let the numbers of departures start from 0 again; False where the kernel refuses."""
    return _takes(sock, _SO_TIMESTAMPING, 0) and stamp_departures(sock)


def _takes(sock: socket.socket, option: int, value: int) -> bool:
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, value)
    except OSError:
        return False
    return True


def ask_receive_buffer(sock: socket.socket, size: int) -> int:
    """Ask for a receive buffer of ``size`` bytes, forced where privileged, and return what was granted, in bytes.

    Nothing is asked for where ``size`` is 0: then it is the kernel's default.
    """
    if size:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def receive(sock: socket.socket, size: int) -> Datagram | None:
    """Receive one datagram with its kernel stamp; None where none is waiting (the socket is non-blocking)."""
    try:
        data, control, flags, sender = sock.recvmsg(size, mmsg.CONTROL_SIZE)
    except (BlockingIOError, ConnectionRefusedError):  # the latter: an earlier datagram of ours met a closed port
        return None
    kernel_ns, drops = _arrival(control)
    return Datagram(data, mmsg.name_of(sender), kernel_ns, drops, bool(flags & _TRUNCATED))


def parse(raw: mmsg.RawDatagram) -> Datagram:
    """Read what ``mmsg.Inbox`` took from a socket; for the thread that judges, not for the one that receives."""
    data, name, control, flags = raw
    if len(control) == _USUAL_ARRIVAL.size:
        _length, level, kind, seconds, nanoseconds = _USUAL_ARRIVAL.unpack(control)
        if level == _SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            return Datagram(data, name, seconds * 1_000_000_000 + nanoseconds, 0, bool(flags & _TRUNCATED))
    kernel_ns, drops = _arrival(mmsg.ancillary(control))
    return Datagram(data, name, kernel_ns, drops, bool(flags & _TRUNCATED))


def _arrival(control: Iterable[tuple[int, int, bytes]]) -> tuple[int | None, int]:
    kernel_ns = None
    drops = 0
    for level, kind, value in control:
        if level != socket.SOL_SOCKET:
            continue
        if kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            kernel_ns = seconds * 1_000_000_000 + nanoseconds
        elif kind == _SO_RXQ_OVFL:
            (drops,) = _DROPS.unpack_from(value)
    return kernel_ns, drops


class DepartureStamps:
    """A socket's error queue, where the kernel puts the stamps of what was sent."""

    def __init__(self, sock: socket.socket) -> None:
        self._inbox = mmsg.Inbox(sock, 1, _STAMPS_AT_ONCE, mmsg.MSG_ERRQUEUE)

    def take(self) -> list[tuple[int, int]]:
        """Return the stamps that have come since, as (number of the send, kernel ns)."""
        found: list[tuple[int, int]] = []
        while True:
            try:
                controls = self._inbox.take_ancillary()
            except OSError as error:
                if error.errno in _NETWORK_ERRORS:
                    continue  # a pending ICMP error is told once; the send's own row says what failed
                raise
            for control in controls:
                stamp = _usual_departure(control) or _departure(mmsg.ancillary(control))
                if stamp is not None:
                    found.append(stamp)
            if len(controls) < _STAMPS_AT_ONCE:
                return found


def _usual_departure(control: bytes) -> tuple[int, int] | None:
    usual = _USUAL_DEPARTURES.get(len(control))
    if usual is None:
        return None
    (_length, level, kind, seconds, nanoseconds, _s, _ns, _s, _ns, _length, error_level, error_kind, _errno, origin,
     _type, _code, _pad, _info, number) = usual.unpack(control)  # fmt: skip
    if (level, kind, origin) != (_SOL_SOCKET, _SO_TIMESTAMPING, _ORIGIN_TIMESTAMPING):
        return None
    if (error_level, error_kind) not in _ERROR_MARKS:
        return None
    return number, seconds * 1_000_000_000 + nanoseconds


def _departure(control: Iterable[tuple[int, int, bytes]]) -> tuple[int, int] | None:
    kernel_ns = number = None
    for level, kind, value in control:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPING:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            kernel_ns = seconds * 1_000_000_000 + nanoseconds
        elif (level, kind) in _ERROR_MARKS:
            _errno, origin, _type, _code, _pad, _info, data = _EXTENDED_ERROR.unpack_from(value)
            if origin == _ORIGIN_TIMESTAMPING:
                number = data
    return (number, kernel_ns) if kernel_ns and number is not None else None
