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
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    RawDatagram = tuple[bytes, bytes, bytes, int]  # data, sender's socket address, ancillary data, flags

MSG_ERRQUEUE: Final = 0x2000
CONTROL_SIZE: Final = 256
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)  # as a plain number: an IntFlag costs a microsecond at every use
_NAME_SIZE: Final = 16  # struct sockaddr_in
_ADDRESS = struct.Struct("!2xH4s8x")
_CMSG_HEADER = struct.Struct("@Nii")
_FAMILY = struct.Struct("@H")


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
    """Return an IPv4 socket address as (host, port)."""
    port, host = _ADDRESS.unpack(name)
    return socket.inet_ntoa(host), port


def socket_address(host: str, port: int) -> bytes:
    """Return the socket address of a numeric IPv4 host."""
    return _FAMILY.pack(socket.AF_INET) + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)


def send(sock: socket.socket, datagram: bytes, target: bytes) -> None:
    """Send one datagram to a ``socket_address``. Raises BlockingIOError where the send buffer is full, else OSError."""
    if _sendto(sock.fileno(), datagram, len(datagram), _DONTWAIT, target, len(target)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
