"""What the relays are told and what they answer: one line of JSON each way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def lay(orders: Sequence[RelayOrder]) -> str:
    """Return the line that asks for these relays; its answer is ``read_laid``'s."""
    return json.dumps({"lay": [asdict(order) for order in orders]})


def count() -> str:
    """Return the line that asks for the counts so far; its answer is ``read_counts``'s."""
    return json.dumps({"count": True})


def read_question(line: str) -> list[RelayOrder] | None:
    """Return the relays a line asks for, None where it asks for the counts. Raises ValueError, KeyError, TypeError."""
    question = json.loads(line)
    if question.get("count"):
        return None
    return [RelayOrder(**{**order, "target": tuple(order["target"])}) for order in question["lay"]]


def laid(places: Sequence[tuple[str, int]]) -> str:
    """Write where the relays listen, in the order they were asked for."""
    return json.dumps({"laid": places})


def counted(counts: dict[str, Counts]) -> str:
    """Write the counts, by path."""
    return json.dumps({"counts": {path: asdict(count) for path, count in counts.items()}})


def failed(problem: str) -> str:
    """Write why a question could not be obeyed."""
    return json.dumps({"failed": problem})


def read_answer(text: str) -> list[tuple[str, int]] | dict[str, Counts] | str:
    """Read an answer: places, counts, or why there is neither. Raises ValueError, KeyError or TypeError."""
    answer: dict[str, Any] = json.loads(text)
    if "failed" in answer:
        return str(answer["failed"])
    if "laid" in answer:
        return [(str(host), int(port)) for host, port in answer["laid"]]
    names = [spec.name for spec in fields(Counts)]
    return {path: Counts(*(int(count[name]) for name in names)) for path, count in answer["counts"].items()}
