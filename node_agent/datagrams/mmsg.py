"""Many datagrams in one system call: recvmmsg(2), and sendto(2), without giving up the interpreter lock.

CPython gives up its lock around every socket call. Beside a busy thread, a loop of such calls then waits a whole
switch interval per datagram to get the lock back. The calls made here never block (MSG_DONTWAIT) and keep the lock, so
draining a socket costs microseconds per datagram whatever the other threads do.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import Final

RawDatagram = tuple[bytes, bytes, bytes, int]  # data, sender's socket address, ancillary data, flags

MSG_ERRQUEUE: Final = 0x2000
CONTROL_SIZE: Final = 256
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)  # as a plain number: an IntFlag costs a microsecond at every use
_NAME_SIZE: Final = 28  # struct sockaddr_in6, the larger
# Their families are in the machine's byte order, their ports and addresses in the network's, a zone in the machine's.
_ADDRESS = struct.Struct("=H2s4s8x")  # struct sockaddr_in
_ADDRESS6 = struct.Struct("=H2s4x16sI")  # struct sockaddr_in6, without flow
_CMSG_HEADER = struct.Struct("@Nii")
_FAMILY6: Final = struct.pack("=H", socket.AF_INET6)
_PARTS6: Final = 4


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("hdr", _MsgHdr), ("len", ctypes.c_uint32))


_SIZE: Final = ctypes.sizeof(_MMsgHdr)
_CONTROLLEN_AT: Final = _MsgHdr.controllen.offset
_FLAGS_AT: Final = _MsgHdr.flags.offset
_LEN_AT: Final = _MMsgHdr.len.offset
_size_t = struct.Struct("@N")
_int = struct.Struct("@i")
_uint = struct.Struct("@I")

_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL: keep the interpreter lock during the call
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendto = _libc.sendto
_sendto.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_sendto.restype = ctypes.c_ssize_t


class Inbox:
    """Takes up to ``count`` waiting datagrams of at most ``size`` bytes from a socket in one call."""

    def __init__(self, sock: socket.socket, size: int, count: int, flags: int = 0) -> None:
        self._sock = sock
        self._flags = flags | _DONTWAIT
        self._count = count
        self._size = size
        self._data = ctypes.create_string_buffer(size * count)
        self._names = ctypes.create_string_buffer(_NAME_SIZE * count)
        self._controls = ctypes.create_string_buffer(CONTROL_SIZE * count)
        self._vectors = (_IoVec * count)()
        self._headers = (_MMsgHdr * count)()
        for i in range(count):
            self._vectors[i].base = ctypes.addressof(self._data) + i * size
            self._vectors[i].len = size
            header = self._headers[i].hdr
            header.name = ctypes.addressof(self._names) + i * _NAME_SIZE
            header.namelen = _NAME_SIZE
            header.iov = ctypes.addressof(self._vectors[i])
            header.iovlen = 1
            header.control = ctypes.addressof(self._controls) + i * CONTROL_SIZE
            header.controllen = CONTROL_SIZE
        self._pristine = bytes(self._headers)
        self._views = (
            memoryview(self._headers).cast("B"),
            memoryview(self._data).cast("B"),
            memoryview(self._names).cast("B"),
            memoryview(self._controls).cast("B"),
        )

    def take(self) -> list[RawDatagram]:
        """Return the datagrams that wait, oldest first; none if none does. Raises OSError for anything else."""
        got = self._receive()
        headers, data, names, controls = self._views
        found = []
        for i in range(got):
            at = i * _SIZE
            (length,) = _uint.unpack_from(headers, at + _LEN_AT)
            (control,) = _size_t.unpack_from(headers, at + _CONTROLLEN_AT)
            (flags,) = _int.unpack_from(headers, at + _FLAGS_AT)
            found.append((
                bytes(data[i * self._size : i * self._size + length]),
                bytes(names[i * _NAME_SIZE : (i + 1) * _NAME_SIZE]),
                bytes(controls[i * CONTROL_SIZE : i * CONTROL_SIZE + control]),
                flags,
            ))  # fmt: skip
        self._make_ready(got)
        return found

    def take_ancillary(self) -> list[bytes]:
        """Return only the ancillary data of the datagrams that wait, otherwise like ``take``."""
        got = self._receive()
        headers, _data, _names, controls = self._views
        found = []
        for i in range(got):
            (control,) = _size_t.unpack_from(headers, i * _SIZE + _CONTROLLEN_AT)
            found.append(bytes(controls[i * CONTROL_SIZE : i * CONTROL_SIZE + control]))
        self._make_ready(got)
        return found

    def _receive(self) -> int:
        got: int = _recvmmsg(self._sock.fileno(), ctypes.addressof(self._headers), self._count, self._flags, None)
        if got < 0:
            number = ctypes.get_errno()
            if number in {errno.EAGAIN, errno.EINTR}:
                return 0
            raise OSError(number, os.strerror(number))
        return got

    def _make_ready(self, got: int) -> None:
        headers = self._views[0]
        headers[: got * _SIZE] = self._pristine[: got * _SIZE]  # the kernel wrote lengths where sizes must stand


def ancillary(control: bytes) -> list[tuple[int, int, bytes]]:
    """Return a datagram's ancillary data as (level, type, value), as ``socket.recvmsg`` does."""
    found = []
    at, header = 0, _CMSG_HEADER.size
    while at + header <= len(control):
        length, level, kind = _CMSG_HEADER.unpack_from(control, at)
        if length < header:
            break
        found.append((level, kind, control[at + header : at + length]))
        at += -(-length // _size_t.size) * _size_t.size
    return found


def address(name: bytes) -> tuple[str, int]:
    """Return a socket address as (host, port); the host of a link-local one names its interface."""
    if name[:2] == _FAMILY6:
        _family, port, host, zone = _ADDRESS6.unpack(name[: _ADDRESS6.size])
        return socket.inet_ntop(socket.AF_INET6, host) + _zone_name(zone), int.from_bytes(port, "big")
    _family, port, host = _ADDRESS.unpack(name[: _ADDRESS.size])
    return socket.inet_ntoa(host), int.from_bytes(port, "big")


def socket_address(host: str, port: int) -> bytes:
    """Return the socket address of a numeric host of either family. Raises OSError where it is none."""
    port_bytes = port.to_bytes(2, "big")
    if ":" not in host:
        return _ADDRESS.pack(socket.AF_INET, port_bytes, socket.inet_aton(host))
    host, _percent, zone = host.partition("%")
    return _ADDRESS6.pack(socket.AF_INET6, port_bytes, socket.inet_pton(socket.AF_INET6, host), _zone_number(zone))


def name_of(found: tuple[str, int] | tuple[str, int, int, int]) -> bytes:
    """Return the socket address that Python's own calls give as a tuple of two (IPv4) or four (IPv6)."""
    host, port = found[:2]
    return socket_address(host.partition("%")[0] + _zone_name(found[3] if len(found) == _PARTS6 else 0), port)


def family_of(host: str) -> socket.AddressFamily:
    """Return the address family of a numeric host."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _zone_name(zone: int) -> str:
    try:
        return f"%{socket.if_indextoname(zone)}" if zone else ""
    except OSError:  # the interface has gone since
        return f"%{zone}"


def _zone_number(zone: str) -> int:
    """Return an interface's number. Raises OSError where there is none of that name."""
    if not zone or zone.isdecimal():
        return int(zone or 0)
    try:
        return socket.if_nametoindex(zone)
    except OSError as error:
        raise OSError(error.errno, f"no interface {zone!r} on this machine") from error


def send(sock: socket.socket, datagram: bytes, target: bytes) -> None:
    """Send one datagram to a ``socket_address``. Raises BlockingIOError where the send buffer is full, else OSError."""
    if _sendto(sock.fileno(), datagram, len(datagram), _DONTWAIT, target, len(target)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
