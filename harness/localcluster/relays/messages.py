"""What the relays are told and what they answer: one JSON object a line, each way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

DATAGRAMS: Final = "datagrams"
STREAM: Final = "stream"
LONGEST_LINE: Final = 8 << 20  # a relay is some 150 bytes, and 64 nodes have 4,032 pairs


@dataclass(frozen=True)
class RelayOrder:
    """One relay of the path ``path``: it listens at a free port of ``host`` and passes on to ``target``.

    ``kind`` is DATAGRAMS (UDP) or STREAM (TCP). Fixed delays and means of the queueing delays are in ns, ``there`` on
    the way to the target, ``back`` on the way of its answers. ``mark``: the firewall mark (SO_MARK, for root alone) of
    the datagrams that it sends on, 0 for none.
    """

    path: str
    kind: str
    host: str
    target: tuple[str, int]
    there_ns: int
    back_ns: int
    tail_ns: int
    mark: int = 0


@dataclass
class Counts:
    """What became of the packets of one path; ``dropped``: its queues were full; ``missed``: the relay's socket was."""

    passed: int = 0
    dropped: int = 0
    missed: int = 0


@dataclass(frozen=True)
class Question:
    """The relays to lay; with None, the counts so far are asked for."""

    lay: list[RelayOrder] | None = None


@dataclass(frozen=True)
class Answer:
    """Where relays listen, in the order they were asked for, or the counts by path, or why there is neither."""

    laid: list[tuple[str, int]] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    problem: str = ""
