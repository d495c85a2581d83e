"""Names of other nodes are looked up once; one that nobody knows ends the agent with its name."""

from __future__ import annotations

import socket

import pytest

from node_agent.addresses import look_up
from node_agent.contract.plan import ProbePeer, WorkerAddress
from node_agent.datagrams import mmsg
from node_agent.lifecycle import AgentError


@pytest.mark.parametrize("place", [WorkerAddress("b", "127.0.90.7", 9000), ProbePeer("b", "127.0.90.7", 9000, 3)])
def test_a_node_is_where_its_plan_says(place):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert mmsg.address(look_up(place, sock)) == ("127.0.90.7", 9000)


def test_a_name_that_nobody_knows_is_named(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(AgentError, match="node b: cannot look up 'somewhere': Name or service not known"):
        look_up(WorkerAddress("b", "somewhere", 9000), None)
