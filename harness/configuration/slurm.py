"""What a cluster file may say about Slurm, and nodes that are written as a hostlist or as their number."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from ClusterShell.NodeSet import (  # type: ignore[import-untyped]
    RESOLVER_NOGROUP,
    NodeSet,
    NodeSetException,
)
from pydantic import AfterValidator, BeforeValidator, Field

from harness.configuration.yaml_files import Positive, Strict, problem
from node_agent.contract.plan import COORDINATOR, WORKER

AUTO: Final = "auto"
STEP: Final = "step"
SSH: Final = "ssh"
MOST_HOSTS: Final = 10_000
_TIME: Final = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_PATTERN: Final = re.compile(r"(?:[^,\[\]]|\[[^\]]*\])+")
_RANGES: Final = re.compile(r"\[([^\]]*)\]")
_RANGE: Final = re.compile(r"(\d{1,18})-(\d{1,18})(?:/\d+)?")
_OPTION: Final = re.compile(r"[a-z][a-z0-9-]*")
# What the harness says itself: a second word about it would be one too many.
_OURS: Final = (
    "nodes", "nodelist", "time", "partition", "exclusive", "requeue", "no-requeue", "signal", "job-name", "array",
    "parsable", "wrap", "dependency", "output", "error", "open-mode", "test-only", "no-shell", "immediate", "chdir",
    "ntasks",
)  # fmt: skip


def hosts_in(hostlist: str) -> list[str]:
    """Return the hosts of a hostlist as ``ares-comp-[11-12,18]``, sorted as Slurm sorts them. Raises ValueError."""
    if (count := _count(hostlist)) > MOST_HOSTS:  # before they are written out, which takes time and memory
        raise ValueError(f"{count} hosts, more than {MOST_HOSTS}")
    try:
        return [str(host) for host in NodeSet(hostlist, resolver=RESOLVER_NOGROUP)]
    except NodeSetException as error:
        raise ValueError(" ".join(str(error).replace('"', "").split())) from error


def _count(hostlist: str) -> int:
    """Return how many hosts a hostlist names, as far as its ranges can be read; repeats count each time."""
    count = 0
    for pattern in _PATTERN.findall(hostlist):
        hosts = 1
        for ranges in _RANGES.findall(pattern):
            sizes = [_RANGE.fullmatch(one.strip()) for one in ranges.split(",")]
            hosts *= max(1, sum(int(size[2]) - int(size[1]) + 1 if size else 1 for size in sizes))
        count += hosts
    return count


def seconds(text: str) -> float:
    """Return one of Slurm's times (``minutes``, ``h:mm:ss``, ``d-hh``, ``d-hh:mm:ss``...) in s. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a time of Slurm's, as 30 (minutes) or 1:30:00, got {text!r}")
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    if days is not None:
        hours, minutes, rest = first or 0, second or 0, third or 0
    elif third is not None:
        hours, minutes, rest = first or 0, second or 0, third
    else:
        hours, minutes, rest = 0, first or 0, second or 0
    return (((days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def _limit(value: Any) -> Any:
    if value != AUTO:
        try:
            wanted_s = seconds(value) if isinstance(value, str) else 0.0  # without quotes YAML reads 1:30 as 90
        except ValueError:
            wanted_s = 0.0
        if wanted_s <= 0:
            raise problem("", "auto, or a time of Slurm's in quotes, as '90' (minutes) or '1:30:00'", value)
    return value


def _known_options(options: dict[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if not _OPTION.fullmatch(name):
            raise problem(name, "a long option of sbatch, without its --", name)
        if name in _OURS:
            raise problem(name, "no option that the harness says itself (nodes:, slurm:)", value)
        if not isinstance(value, (str, int, bool)) or value == "" or "\n" in str(value):
            raise problem(name, "a word, a number, true or false", value)
    return options


class SlurmConfig(Strict):
    """How a job is asked for. ``time: auto`` is what the run needs; its agents end ``margin_s`` before the job does.

    ``options`` are passed to sbatch and salloc as ``--NAME=VALUE`` (``--NAME`` for true). ``wait_s`` is how long a job
    is waited for. ``launch: step`` starts the agents as steps of the job, ``ssh`` over SSH.
    """

    partition: str | None = None
    time: Annotated[str, BeforeValidator(_limit)] = AUTO
    margin_s: Positive = 120.0
    wait_s: Positive = 600.0
    exclusive: bool = False
    requeue: bool = False
    launch: Literal["step", "ssh"] = STEP
    options: Annotated[dict[str, Any], AfterValidator(_known_options)] = Field(default_factory=dict)


def with_nodes(data: dict[str, Any]) -> dict[str, Any]:
    """Return what a cluster file says with ``nodes``, ``roles`` and ``address`` told of every node by itself.

    A number of nodes, which only Slurm can name, becomes ``node_count``. Raises what pydantic makes lines of.
    """
    data = dict(data)
    nodes, roles, address = data.get("nodes"), data.pop("roles", None), data.get("address")
    if isinstance(nodes, int) and not isinstance(nodes, bool):
        if data.get("scheduler") is None:
            raise problem("nodes", "their list or a hostlist; a number of nodes needs scheduler: slurm", nodes)
        if nodes < 2:
            raise problem("nodes", "2 or more", nodes)
        if roles is not None:
            raise problem("roles", "none where nodes are a number: the job's first is the coordinator", roles)
        data |= {"nodes": [], "node_count": nodes}
    elif isinstance(nodes, str):
        if nodes.strip().isdecimal():
            raise problem("nodes", "a number without quotes, or a hostlist", nodes)
        try:
            hosts = hosts_in(nodes)
        except ValueError as error:
            raise problem("nodes", "a hostlist, as ares-comp-[11-12,18]", f"{nodes} ({error})") from None
        data["nodes"] = nodes_of(hosts, roles, address)
    elif nodes is not None and not isinstance(nodes, list):
        raise problem("nodes", "their list, a hostlist, or with Slurm how many", nodes)
    elif roles is not None:
        raise problem("roles", "none where every node has its role", roles)
    elif isinstance(nodes, list) and isinstance(address, str):
        data["nodes"] = [
            {"address": _filled(address, str(node.get("host"))), **node} if isinstance(node, dict) else node
            for node in nodes
        ]
    return data


def nodes_of(hosts: list[str], roles: Any = None, address: Any = None) -> list[dict[str, Any]]:
    """Return what a cluster file would say of these hosts: the first is the coordinator unless ``roles`` names it."""
    coordinator = hosts[0] if hosts else None
    if roles is not None:
        if not isinstance(roles, dict) or set(roles) != {COORDINATOR}:
            raise problem("roles", "{coordinator: HOST}", roles)
        coordinator = roles[COORDINATOR]
        if coordinator not in hosts:
            raise problem("roles.coordinator", f"one of {', '.join(hosts)}", coordinator)
    nodes = []
    for host in hosts:
        node: dict[str, Any] = {"id": host, "host": host, "role": COORDINATOR if host == coordinator else WORKER}
        if isinstance(address, str):
            node["address"] = _filled(address, host)
        nodes.append(node)
    return nodes


def _filled(address: str, host: str) -> str:
    return address.replace("{host}", host)
