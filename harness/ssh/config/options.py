"""What is in force for one host: one frozen value, whoever read the ssh_config.

OpenSSH's client is asked where there is one (:mod:`harness.ssh.config.openssh`), else the files are read here
(:mod:`harness.ssh.config.reader`). Keywords: ssh_config(5).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import ConfigError
from harness.ssh.config import openssh, reader
from harness.ssh.config.openssh import first
from harness.ssh.config.question import NO_FILE, Question, under_home
from harness.ssh.config.tokens import expanded, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


NONE: Final = "none"
SSH_PORT: Final = 22
AGENT_VARIABLE: Final = "SSH_AUTH_SOCK"
YES: Final = ("yes", "true")
ALGORITHMS: Final = {  # paramiko's word for a list of algorithms, and ssh's
    "keys": "hostkeyalgorithms",
    "ciphers": "ciphers",
    "macs": "macs",
    "kex": "kexalgorithms",
    "pubkeys": "pubkeyacceptedalgorithms",
    "authorities": "casignaturealgorithms",  # ours: paramiko judges no certificate
}

# What decides where a login goes or whether it succeeds, and cannot be given by us: keyword, values that ask for
# nothing, and what to do instead.
_NOT_OURS: Final = (
    ("pkcs11provider", (NONE,), "load the token's keys into the agent: ssh-add -s PROVIDER"),
    ("securitykeyprovider", ("internal", "", NONE), "use a key that needs no token"),
    ("verifyhostkeydns", ("no", "false"), "connect once with ssh, so that known_hosts has the key"),
    ("nohostauthenticationforlocalhost", ("no", "false"), "host keys are always checked here"),
    ("proxyusefdpass", ("no", "false"), "name a ProxyCommand that passes the bytes itself"),
    ("bindinterface", (NONE,), "use BindAddress"),
    ("connectionattempts", ("1",), "it is tried once"),
)
# What would keep a command from being run with its streams (rsync's), and the value under which ssh does.
_COMMANDS_RUN: Final = (
    ("remotecommand", NONE),
    ("sessiontype", "default"),
    ("stdinnull", "no"),
    ("forkafterauthentication", "no"),
    ("permitlocalcommand", "no"),
)
_HOP: Final = re.compile(r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<v6>[^]]+)\]|(?P<host>[^:/]+))(?::(?P<port>\d+))?/?")


@dataclass(frozen=True)
class Hop:
    """A host on the way, as ProxyJump names it; what is None is left to that host's own configuration."""

    host: str
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class SshOptions:
    """What is in force for one host. Names of files are whole: no ``~``, token or variable is left in them."""

    name: str  # as it was asked for; ``host`` is where that is (HostName), in small letters
    host: str
    user: str
    port: int
    identity_files: tuple[str, ...] = ()
    certificate_files: tuple[str, ...] = ()
    identities_only: bool = False
    public_keys: bool = True  # PubkeyAuthentication and PreferredAuthentications leave them in
    agent: str | None = None  # its socket
    jumps: tuple[Hop, ...] = ()
    proxy_command: str | None = None
    host_key_alias: str | None = None
    user_known_hosts: tuple[str, ...] = ()
    global_known_hosts: tuple[str, ...] = ()
    known_hosts_command: str | None = None  # tokens left in: they depend on the key
    revoked_host_keys: str | None = None
    check_host_ip: bool = False
    hash_known_hosts: bool = False
    strict_checking: str = "ask"  # what the user's configuration says; the cluster file decides
    address_family: str = "any"
    bind_address: str | None = None
    connect_timeout_s: int | None = None
    algorithms: tuple[tuple[str, tuple[str, ...]], ...] = ()  # by paramiko's word; none: any that it has
    not_obeyed: tuple[str, ...] = ()
    commands_run: tuple[tuple[str, str], ...] = ()  # to set, so that ssh runs a command as we do

    @property
    def known_as(self) -> str:
        """Return the name that known_hosts has the key under: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""
        if self.host_key_alias is not None:
            return self.host_key_alias
        return self.host.lower() if self.port == SSH_PORT else f"[{self.host.lower()}]:{self.port}"


def in_force(question: Question) -> tuple[SshOptions, tuple[str, ...]]:
    """Return what is in force for a host, and lines that the user should see.

    Raises ConfigError for a configuration that ssh would refuse, naming file and line.
    """
    notes: tuple[str, ...] = ()
    settings, why = None, ""
    if question.config_file != NO_FILE:
        program, why = openssh.client(), "no ssh on this machine to ask"
        try:
            settings = None if program is None else openssh.ask(program, question)
        except openssh.CannotAnswerError as error:
            why = f"cannot ask ssh ({error})"
    if settings is None:
        settings, notes = reader.read(question)
        notes = (f"ssh_config: {why}; its files are read here", *notes) if why else notes
    options = options_from(question.host, settings)
    return options, notes + options.not_obeyed


def options_from(name: str, settings: Mapping[str, Sequence[str]]) -> SshOptions:
    """Return the options that a reader's answer means. Raises ConfigError."""
    jump, command = first(settings, "proxyjump", NONE), first(settings, "proxycommand", NONE)
    jumps = () if jump.lower() == NONE else tuple(hop_of(text) for text in jump.split(","))
    host, user, port = first(settings, "hostname"), first(settings, "user"), int(first(settings, "port"))
    known = tokens(name, host, user, str(port), first(settings, "hostkeyalias"), jumps[-1].host if jumps else "")
    methods = first(settings, "preferredauthentications", "publickey").split(",")

    def paths(keyword: str) -> tuple[str, ...]:
        named = [path for path in settings.get(keyword, []) if path.lower() != NONE]
        return tuple(dict.fromkeys(under_home(expanded(path, known, keyword)) for path in named))

    def known_hosts(keyword: str) -> tuple[str, ...]:
        return tuple(under_home(path) for path in settings.get(keyword, []) if path.lower() != NONE)

    timeout = first(settings, "connecttimeout", NONE)
    revoked = paths("revokedhostkeys")
    return SshOptions(
        name=name,
        host=host,
        user=user,
        port=port,
        identity_files=paths("identityfile"),
        certificate_files=paths("certificatefile"),
        identities_only=first(settings, "identitiesonly", "no") in YES,
        public_keys=first(settings, "pubkeyauthentication", "yes") not in {"no", "false"} and "publickey" in methods,
        agent=_agent(first(settings, "identityagent", AGENT_VARIABLE), known),
        jumps=jumps,
        proxy_command=None if jumps or command.lower() == NONE else expanded(command, known, "proxycommand"),
        host_key_alias=first(settings, "hostkeyalias").lower() or None,
        user_known_hosts=known_hosts("userknownhostsfile"),
        global_known_hosts=known_hosts("globalknownhostsfile"),
        known_hosts_command=_unless_none(first(settings, "knownhostscommand")),
        revoked_host_keys=revoked[0] if revoked else None,
        check_host_ip=first(settings, "checkhostip", "no") in YES,
        hash_known_hosts=first(settings, "hashknownhosts", "no") in YES,
        strict_checking=first(settings, "stricthostkeychecking", "ask").lower(),
        address_family=first(settings, "addressfamily", "any").lower(),
        bind_address=_unless_none(first(settings, "bindaddress")),
        connect_timeout_s=int(timeout) if timeout.isdecimal() and int(timeout) > 0 else None,
        algorithms=_algorithms(settings),
        not_obeyed=tuple(
            f"ssh_config of {name}: {keyword} {first(settings, keyword)} is not obeyed here; {advice}"
            for keyword, nothing, advice in _NOT_OURS
            if first(settings, keyword, nothing[0]).lower() not in nothing
        ),
        commands_run=tuple(pair for pair in _COMMANDS_RUN if first(settings, *pair).lower() != pair[1]),
    )


def hop_of(text: str) -> Hop:
    """Return what one part of a ProxyJump names: ``[user@]host[:port]`` or ``ssh://…``. Raises ConfigError."""
    match = _HOP.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"ssh_config: ProxyJump: expected [user@]host[:port] or ssh://[user@]host[:port], got {text}")
    return Hop(match["v6"] or match["host"], match["user"], int(match["port"]) if match["port"] else None)


def _agent(value: str, known: Mapping[str, str]) -> str | None:
    """Return the agent's socket that IdentityAgent means: a path, ``$NAME``, SSH_AUTH_SOCK, or none."""
    if value.lower() == NONE:
        return None
    if value == AGENT_VARIABLE or (value.startswith("$") and not value.startswith("${")):
        return os.environ.get(value.removeprefix("$")) or None
    return under_home(expanded(value, known, "identityagent"))


def _algorithms(settings: Mapping[str, Sequence[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    lists = ((kind, first(settings, keyword)) for kind, keyword in ALGORITHMS.items())
    return tuple((kind, tuple(text.split(","))) for kind, text in lists if text)


def _unless_none(text: str) -> str | None:
    return None if text.lower() in {"", NONE} else text
