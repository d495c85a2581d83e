"""Where the other nodes are: names become socket addresses once, before anything is sent."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from node_agent import mmsg
from node_agent.lifecycle import AgentError

if TYPE_CHECKING:
    from typing import Union

    from node_agent.plan import ProbePeer, WorkerAddress

    Place = Union[WorkerAddress, ProbePeer]


def look_up(place: Place) -> bytes:
    """Return a node's ``mmsg.socket_address``. Raises AgentError where nobody knows its name."""
    try:
        return mmsg.socket_address(socket.gethostbyname(place.host), place.port)
    except OSError as error:
        raise AgentError(f"node {place.node_id}: cannot look up {place.host!r}: {error.strerror}") from error
