"""The way to a host's sshd: every address of its name in turn, or a ProxyCommand."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import paramiko

if TYPE_CHECKING:
    from harness.ssh.config.options import SshOptions

_FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def connect(options: SshOptions, timeout_s: float) -> socket.socket:
    """Return a connection to the first address that takes one, each given ``timeout_s``. Raises OSError.

    AddressFamily and BindAddress are those of ssh_config.
    """
    family = _FAMILIES.get(options.address_family, socket.AF_UNSPEC)
    errors: dict[tuple[str, int] | tuple[str, int, int, int], Exception] = {}
    for found, kind, protocol, _, address in socket.getaddrinfo(options.host, options.port, family, socket.SOCK_STREAM):
        sock = socket.socket(found, kind, protocol)
        try:
            sock.settimeout(timeout_s)
            if options.bind_address is not None:
                sock.bind(socket.getaddrinfo(options.bind_address, 0, found, kind)[0][4])
            sock.connect(address)
        except OSError as error:
            sock.close()
            errors[str(address[0]), options.port] = error
        else:
            return sock
    if all(isinstance(error, TimeoutError) for error in errors.values()):
        raise TimeoutError
    raise paramiko.ssh_exception.NoValidConnectionsError(errors)
