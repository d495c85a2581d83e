"""The network interface that has an address: its name, speed and driver, and what it can time-stamp.

Numbers and layouts from Linux: include/uapi/linux/ethtool.h, sockios.h, net_tstamp.h; getifaddrs(3).
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Final

from node_agent.contract.facts import HARDWARE_RX, HARDWARE_TX, SOFTWARE_RX, SOFTWARE_TX
from node_agent.datagrams import mmsg

_NET: Final = Path("/sys/class/net")
_LOOPBACK: Final = 0x8  # of an interface's flags
_SIOCETHTOOL: Final = 0x8946
_GET_DRIVER: Final = 0x3
_GET_TIME_STAMPS: Final = 0x41
_DRIVER = struct.Struct("=I32s160x")  # struct ethtool_drvinfo: command, driver, ...
_TIME_STAMPS = struct.Struct("=IIi32x")  # struct ethtool_ts_info: command, abilities, number of its clock, ...
_REQUEST = struct.Struct("@16sP16x")  # struct ifreq with a pointer
_ABILITIES: Final = {HARDWARE_TX: 1 << 0, HARDWARE_RX: 1 << 2, SOFTWARE_TX: 1 << 1, SOFTWARE_RX: 1 << 3}
_NAME_SIZE: Final = {socket.AF_INET: 16, socket.AF_INET6: 28}  # of a socket address


class _IfAddrs(ctypes.Structure):
    pass


_IfAddrs._fields_ = [
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
    ("other", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
]


def interface_of(address: str) -> str | None:
    """Return the name of the interface that has a numeric address; None if none has, or the system does not tell.

    All of 127.0.0.0/8 is the loopback's, of which only 127.0.0.1 is listed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_IfAddrs)()
    if libc.getifaddrs(ctypes.byref(first)) != 0:
        return None
    host, _percent, zone = address.partition("%")
    loopback = ipaddress.ip_address(host).is_loopback
    try:
        entry = first
        while entry:
            found = entry.contents
            name = found.name.decode()
            own = loopback if found.flags & _LOOPBACK else found.address and _host_at(found.address) == host
            if own and zone in {"", name}:
                return str(name)
            entry = found.next
    finally:
        libc.freeifaddrs(first)
    return None


def speed_mbps(name: str) -> int | None:
    """Return what an interface says of its speed in Mbit/s; a virtual one, or one without a link, says nothing."""
    try:
        speed = int((_NET / name / "speed").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return speed if speed > 0 else None


def driver(name: str) -> str | None:
    """Return the name of an interface's driver."""
    answer = _ethtool(name, _DRIVER.pack(_GET_DRIVER, b""))
    return None if answer is None else _DRIVER.unpack(answer)[1].rstrip(b"\0").decode("ascii", "replace") or None


def time_stamps(name: str) -> tuple[str, ...] | None:
    """Return which packets an interface can stamp, and where."""
    answer = _ethtool(name, _TIME_STAMPS.pack(_GET_TIME_STAMPS, 0, 0))
    if answer is None:
        return None
    _command, abilities, _clock = _TIME_STAMPS.unpack(answer)
    return tuple(ability for ability, flag in _ABILITIES.items() if abilities & flag)


def _ethtool(name: str, command: bytes) -> bytes | None:
    """Return what the kernel makes of an ethtool command; None where it, or the driver, does not know it."""
    data = ctypes.create_string_buffer(command, len(command))
    request = _REQUEST.pack(name.encode(), ctypes.addressof(data))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, _SIOCETHTOOL, request)
    except OSError:
        return None
    return data.raw


def _host_at(pointer: int) -> str | None:
    """Return the host of a socket address in memory; None for one of another family."""
    (family,) = struct.unpack("=H", ctypes.string_at(pointer, 2))
    if family not in _NAME_SIZE:
        return None
    host, _port = mmsg.address(ctypes.string_at(pointer, _NAME_SIZE[family]))
    return host.partition("%")[0]
