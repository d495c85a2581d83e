"""A firewall between two nodes is found by `check`, on real hosts: one line with the nodes, the port, the direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from broken_runs import until

from node_agent.listener import LISTEN_S

if TYPE_CHECKING:
    from harness.testbed.testbed import Testbed
    from tests.cluster.conftest import Project

COORDINATOR, WORKER = "172.20.101.18", "172.20.101.11"
ADVICE = "is a firewall in between?"


def refusals(project: Project) -> list[str]:
    """Return what a check said after its tables that found a way closed."""
    code, printed = project.fab("ares", "check")
    assert code == 3, printed
    assert "Traceback" not in printed
    lines = printed.strip().splitlines()
    after = next(index for index, line in enumerate(lines) if "ways between the nodes tried" in line)
    assert "not on each did datagrams arrive" in lines[after]
    return lines[after + 1 :]


@pytest.mark.parametrize(
    ("host", "match", "line"),
    [
        (
            "ares-comp-12",
            f"ip saddr {WORKER} udp dport 9001",
            "comp11 -> comp12: UDP port 9001: expected 3 datagrams to arrive, got 0",
        ),
        (
            "ares-comp-12",
            "udp dport 9000",
            "comp18 -> comp12: UDP port 9000: expected 3 datagrams to arrive, got 0",
        ),
        (
            "ares-comp-18",
            f"ip saddr {WORKER} udp sport 9000",
            "comp11 -> comp18: answers from UDP port 9000: expected 3 datagrams to arrive, got 0",
        ),
        ("ares-comp-12", "udp dport 9001", "comp12: UDP port 9001: nothing arrives from comp18, comp11"),
    ],
)
def test_a_port_that_is_closed_one_way_is_one_line(
    testbed: Testbed, project: Project, host: str, match: str, line: str
) -> None:
    testbed.hosts[host].line.lose(100, match)
    assert refusals(project) == [f"{line}; {ADVICE}"]


def test_what_a_node_may_not_send_is_told_with_its_reason(testbed: Testbed, project: Project) -> None:
    table = "table inet faults { chain leaving { type filter hook output priority 0; policy accept; }\n}\n"
    rule = f"add rule inet faults leaving ip daddr {COORDINATOR} udp dport 9001 drop\n"
    testbed.hosts["ares-comp-11"].line.nft(table + rule)
    (line,) = refusals(project)
    assert line.startswith("comp11 -> comp18: UDP port 9001: expected 3 datagrams to arrive, got 0 (comp11 cannot send")
    assert "Operation not permitted" in line


def test_where_a_port_is_taken_nothing_is_sent(testbed: Testbed, project: Project) -> None:
    with testbed.hosts["ares-comp-12"].socket() as sock:
        sock.bind(("172.20.101.12", 9001))
        code, printed = project.fab("ares", "check")
    assert code == 3, printed
    assert "ways between the nodes" not in printed
    assert "UDP port 9001 on 172.20.101.12 is in use" in printed


def test_a_check_leaves_no_listener_behind(testbed: Testbed, project: Project) -> None:
    testbed.hosts["ares-comp-12"].line.lose(100, "udp dport 9001")
    assert refusals(project)

    def listeners() -> list[str]:
        hosts = (testbed.hosts[name] for name in ("ares-comp-18", "ares-comp-11", "ares-comp-12"))
        commands = (" ".join(words) for host in hosts for words in host.processes().values())
        return [command for command in commands if "--listen" in command]

    until(
        lambda: not listeners(), "no listener is left", LISTEN_S / 2
    )  # ended, not forgotten until they end themselves
