"""The hosts of a testbed, their addresses, the files that make a machine one of them, and what a running one tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.bundle import user_cache
from harness.errors import PreflightError
from node_agent.contract import json_objects

if TYPE_CHECKING:
    from pathlib import Path

USER: Final = "experimenter"
USER_ID: Final = 61_818  # nobody's: a file of theirs is a file of the testbed
HOME: Final = f"/home/{USER}"
GATEWAY: Final = "ares"
INSIDE: Final = "eth0"  # every host's interface to the others
OUTSIDE: Final = "eth1"  # the gateway's interface to the controller
NTP_PORT: Final = 8123
CHRONOTICK_PORT: Final = 8124
RELAY_MARK: Final = 61_818  # on packets that a relay sent on


@dataclass(frozen=True)
class HostSpec:
    """A host: its name, and its address in the cluster's own network."""

    name: str
    address: str


@dataclass(frozen=True)
class Network:
    """The addresses of one family: the hosts' own, the line between gateway and controller, and each host's loopback.

    The hosts of a testbed have those of one family alone; ``pattern`` is all of them in an ssh_config.
    """

    hosts: tuple[HostSpec, ...]
    prefix_length: int
    pattern: str
    gateway_outside: str
    controller_outside: str
    outside_prefix_length: int
    loopback: str


def _hosts(*addresses: str) -> tuple[HostSpec, ...]:
    names = (GATEWAY, "ares-comp-11", "ares-comp-12", "ares-comp-18")
    return tuple(map(HostSpec, names, addresses))


NETWORKS: Final = {
    "ipv4": Network(
        hosts=_hosts("172.20.1.1", "172.20.101.11", "172.20.101.12", "172.20.101.18"),
        prefix_length=16,
        pattern="172.20.*",
        gateway_outside="172.31.255.1",
        controller_outside="172.31.255.2",
        outside_prefix_length=30,
        loopback="127.0.0.1",
    ),
    "ipv6": Network(  # unique local addresses (RFC 4193)
        hosts=_hosts("fd20::1:1", "fd20::101:11", "fd20::101:12", "fd20::101:18"),
        prefix_length=64,
        pattern="fd20::*",
        gateway_outside="fd31::1",
        controller_outside="fd31::2",
        outside_prefix_length=64,
        loopback="::1",
    ),
}
IPV4, IPV6 = NETWORKS

SSHD_CONFIG: Final = f"""\
Port 22
AddressFamily any
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers {USER}
Banner /etc/ssh/banner
Subsystem sftp /usr/lib/openssh/sftp-server
"""  # MaxStartups and MaxSessions are left at OpenSSH's own, as on any cluster

# Files in /etc: root, sshd's own user, and the one who may log in. Nobody has a password, which is not the same as a
# locked account.
PASSWD_FILE: Final = f"""\
root:x:0:0:root:/root:/bin/sh
sshd:x:103:65534::/run/sshd:/usr/sbin/nologin
{USER}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP_FILE: Final = f"root:x:0:\n{USER}:x:{USER_ID}:\nnogroup:x:65534:\n"
SHADOW_FILE: Final = "".join(f"{name}:*:20000:0:99999:7:::\n" for name in ("root", "sshd", USER, "nobody"))


def hosts_file(own: HostSpec, network: Network) -> str:
    """Return /etc/hosts of a host, with Debian's habit of calling oneself 127.0.1.1."""
    others = [f"{host.address} {host.name}" for host in network.hosts if host is not own]
    return "\n".join([f"{network.loopback} localhost", f"127.0.1.1 {own.name}", *others]) + "\n"


def ssh_config(folder: Path, proxy_command: str, network: Network) -> str:
    """Return an ssh_config that says where ``ares`` is, who logs in, and which keys are known; ProxyJump to the rest.

    ``proxy_command`` brings ssh into the controller's side of the testbed, which is no network of this machine.
    """
    common = f'    User {USER}\n    IdentityFile "{folder}/id_ed25519"\n    IdentitiesOnly yes\n'
    common += f'    UserKnownHostsFile "{folder}/known_hosts"\n'
    nodes = f" {network.pattern}" if network is NETWORKS[IPV6] else ""
    return (
        f"Host {GATEWAY}\n    HostName {network.gateway_outside}\n"
        f"    ProxyCommand {proxy_command}\n{common}\n"
        f"Host {GATEWAY}-comp-*{nodes}\n    ProxyJump {GATEWAY}\n{common}"
    )


STATE_FILE: Final = "testbed.json"
DEFAULT_NAME: Final = "testbed"


@dataclass(frozen=True)
class State:
    """Who holds it (process ids, and the owner's start in clock ticks), since when (ns since 1970), how to get in."""

    owner_pid: int
    owner_start_ticks: int
    supervisor_pid: int
    started_ns: int
    ssh_config: str
    hosts: dict[str, int]


def place(name: str = DEFAULT_NAME) -> Path:
    """Return the folder of the testbed that ``fab testbed-up`` calls by this name."""
    return user_cache() / "testbeds" / name


def read_state(folder: Path) -> State:
    """Return the state of the testbed in ``folder``. Raises PreflightError if there is none."""
    try:
        return json_objects.read(State, (folder / STATE_FILE).read_text(encoding="utf-8"), STATE_FILE)
    except FileNotFoundError:
        raise PreflightError(f"testbed: expected one in {folder}, got none; fab testbed-up makes it") from None
    except ValueError as error:
        raise PreflightError(f"testbed: {folder}: {error}") from error
