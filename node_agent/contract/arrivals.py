"""What a check learns about the ways between the nodes: the datagrams that arrived, by the node where they did."""

# No `from __future__ import annotations` here: `json_objects` reads the field types at run time, on Python 3.9 too.

from dataclasses import dataclass, field
from typing import Final

EVENTS: Final = "events"  # from the coordinator to a worker's port
ANSWERS: Final = "answers"  # from that port back to the coordinator
PROBES: Final = "probes"  # between two nodes of the probe mesh
WAYS: Final = (EVENTS, ANSWERS, PROBES)

DATAGRAMS: Final = 3  # to each peer, numbered from 0

SEND: Final = "send"  # the words that a listener obeys
END: Final = "end"


@dataclass(frozen=True)
class Arrivals:
    """What one node received and sent: by way and sender how many datagrams came, each number counted once.

    ``unsent`` is by way and receiver why the node could not send; ``refused`` counts what had no valid tag, by reason.
    """

    arrived: dict[str, dict[str, int]] = field(default_factory=dict)
    unsent: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def count(self, way: str, sender: str) -> int:
        """Return how many datagrams of a sender came."""
        return self.arrived.get(way, {}).get(sender, 0)


def listener_name(run_id: str, node_id: str) -> str:
    """Return the abstract name (unix(7)) of the socket on which a node's listener takes words."""
    return f"check-{run_id}-{node_id}"
