"""How a host is reached: what was asked about it, what is in force, and the host before it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import ConfigError
from harness.ssh.channels import CONNECT_TIMEOUT_S
from harness.ssh.config.options import Hop, SshOptions, in_force
from harness.ssh.config.question import NO_FILE, Question, quoted
from harness.ssh.identities import Secrets
from harness.ssh.trust.host_keys import ACCEPT_NEW, Trust

if TYPE_CHECKING:
    from harness.configuration.cluster import ClusterConfig, SshConfig

MAX_HOPS: Final = 16  # a way that is longer leads in a circle

_KEEP_ALIVE_S: Final = 10


@dataclass(frozen=True)
class Route:
    """One host and the way to it, each hop as ssh would go it."""

    question: Question
    options: SshOptions
    hop: Route | None


@dataclass(frozen=True)
class Given:
    """What was given on fab's command line: ``-S``, ``-i``, ``-t``, and what was typed when asked for."""

    config_file: str | None = None
    identity_files: tuple[str, ...] = ()
    connect_timeout_s: int | None = None
    secrets: Secrets = field(default_factory=Secrets)


class Routes:
    """The routes of one cluster; each host is asked about once. ``notes`` are lines that the user should see."""

    def __init__(self, cluster: ClusterConfig, given: Given) -> None:
        """Prepare. An embedded cluster is reached with nothing but what its configuration says."""
        self._cluster = cluster
        self._given = given
        self._file = NO_FILE if cluster.embedded else given.config_file
        self._known: dict[Question, tuple[SshOptions, tuple[str, ...]]] = {}
        self.trust = Trust(cluster.host_key_policy, cluster.known_hosts_file)

    @property
    def notes(self) -> list[str]:
        """Return what the answers so far had to say, each line once."""
        return list(dict.fromkeys(note for _, notes in self._known.values() for note in notes))

    def gateway(self) -> Route | None:
        """Return the way to the cluster's gateway, if it has one. Raises ConfigError."""
        gateway = self._cluster.gateway
        return None if gateway is None else self._route(self._question(gateway), (gateway.host,))

    def node(self, node: SshConfig, gateway: Route | None) -> Route:
        """Return the way to a node, through the gateway if there is one. Raises ConfigError."""
        if gateway is None:
            return self._route(self._question(node), (node.host,))
        question = self._question(node, ("ProxyCommand", "none"))
        return Route(question, self._ask(question), gateway)

    def _question(self, host: SshConfig, *first: tuple[str, str]) -> Question:
        settings = [*first]
        if host.user is not None:
            settings.append(("User", _one_word(host.user)))
        if host.port is not None:
            settings.append(("Port", str(host.port)))
        files = [] if host.identity_file is None else [host.identity_file]
        settings += [("IdentityFile", _file(path)) for path in (*files, *self._given.identity_files)]
        if files:
            settings.append(("IdentitiesOnly", "yes"))
        if self._cluster.embedded:
            settings += [("IdentityAgent", "none"), ("GlobalKnownHostsFile", NO_FILE)]
        return Question(host.host, self._file, (*settings, *self._everywhere()))

    def _everywhere(self) -> list[tuple[str, str]]:
        """Return what holds for every host on the way."""
        settings = []
        if self._cluster.known_hosts_file is not None:
            path = str(Path(self._cluster.known_hosts_file).expanduser().absolute())
            settings.append(("UserKnownHostsFile", _file(path)))
        if self._given.connect_timeout_s is not None:
            settings.append(("ConnectTimeout", str(self._given.connect_timeout_s)))
        return settings

    def _ask(self, question: Question) -> SshOptions:
        if question not in self._known:
            self._known[question] = in_force(question)
        return self._known[question][0]

    def _route(self, question: Question, passed: tuple[str, ...]) -> Route:
        """Return the way that ProxyJump names: its last host is asked about with the ones before it as its own jump."""
        options = self._ask(question)
        if not options.jumps:
            return Route(question, options, None)
        *before, last = options.jumps
        same = last.host == options.name and (last.user or options.user) == options.user
        if len(passed) > MAX_HOPS or (same and (last.port or 22) == options.port):
            way = " -> ".join((*passed, last.host)[-3:])
            raise ConfigError(f"ssh_config: expected ProxyJump to lead to {passed[0]}, it leads in a circle: {way}")
        settings = [("ProxyJump", ",".join(_jump(hop) for hop in before))] if before else []
        if last.user is not None:
            settings.append(("User", _one_word(last.user)))
        if last.port is not None:
            settings.append(("Port", str(last.port)))
        settings += [("IdentityFile", _file(path)) for path in self._given.identity_files]
        asked = Question(last.host, self._file, (*settings, *self._everywhere()))
        return Route(question, options, self._route(asked, (*passed, last.host)))


def ssh_argv(route: Route, trust: Trust) -> list[str]:
    """Return the ssh command, without the host, that takes this route: for rsync."""
    options = route.options
    words = [] if route.hop is None else ["-o", f"ProxyCommand={_proxy_command(route.hop, trust)}"]
    policy = "accept-new" if trust.policy == ACCEPT_NEW else "yes"
    words += [*route.question.words(), "-o", f"StrictHostKeyChecking={policy}", "-o", "BatchMode=yes"]
    words += ["-o", f"ConnectTimeout={options.connect_timeout_s or CONNECT_TIMEOUT_S}"]
    words += ["-o", f"ServerAliveInterval={_KEEP_ALIVE_S}", "-o", "ClearAllForwardings=yes"]
    words += [word for keyword, value in options.commands_run for word in ("-o", f"{keyword}={value}")]
    return ["ssh", "-T", *words]  # -T: the question is asked with it too, so that no answer tells of RequestTTY


def _proxy_command(hop: Route, trust: Trust) -> str:
    """Return the ProxyCommand that ssh itself would make of a ProxyJump, for a route of any length."""
    inner = " ".join(shlex.quote(word) for word in ssh_argv(hop, trust))
    return f"{inner.replace('%', '%%')} -W '[%h]:%p' {shlex.quote(hop.question.host)}"


def given_by(settings: Any) -> Given:
    """Return what fabric's configuration holds of its command line; of what files say of a login, nothing is taken."""
    if settings is None:
        return Given()
    told = settings.connect_kwargs
    files = told.get("key_filename") or ()
    secrets = Secrets(told.get("passphrase"), told.get("password"))
    names = (files,) if isinstance(files, str) else tuple(str(file) for file in files)
    path = settings._runtime_ssh_path or settings.ssh_config_path  # noqa: SLF001 - `fab -S` tells it nowhere else
    return Given(None if path is None else _config_file(str(path)), names, told.get("timeout"), secrets)


def _config_file(given: str) -> str:
    path = Path(given).expanduser().absolute()
    if not path.is_file() and str(path) != NO_FILE:
        got = "one that is no regular file (it is read more than once)" if path.exists() else "none there"
        raise ConfigError(f"ssh_config: expected a file {given}, got {got}")
    return str(path)


def _file(path: str) -> str:
    return quoted(str(Path(path).expanduser())).replace("%", "%%")


def _one_word(text: str) -> str:
    return quoted(text) if " " in text else text


def _jump(hop: Hop) -> str:
    host = f"[{hop.host}]" if ":" in hop.host else hop.host
    return (f"{hop.user}@" if hop.user else "") + host + (f":{hop.port}" if hop.port else "")
