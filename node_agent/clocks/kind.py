"""A kind of clock source in one value: everything that others must know of it, but how it is asked.

``node_agent.exchange`` has a module of the same name, which asks it. ``sources.KINDS`` is the list of all kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from node_agent.contract.json_objects import build
from node_agent.contract.records import COLUMN_PREFIX, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from node_agent.clocks.base import ClockSource
    from node_agent.contract.plan import ClocksPlan, NodePlan

Plan = TypeVar("Plan")

_UDP_BYTES: Final = 8  # RFC 768
_IPV4_BYTES: Final = 20  # without options (RFC 791)
_IPV6_BYTES: Final = 40  # without extensions (RFC 8200)
NOT_SENT: Final = frozenset({  # ipv6_only: in runs of versions that knew no IPv6
    "unresolved", "ipv6_only", "send_failed", "no_connection", "no_tls", "untrusted_certificate",
})  # fmt: skip
NOT_ANSWERED: Final = NOT_SENT | {"timeout"}


def no_traffic(_node_id: str, _samples: Sequence[Sample]) -> Traffic:
    """Return what a source costs that sends nothing into the network."""
    return Traffic()


def headers_bytes(address: str) -> int:
    """Return how long UDP's and IP's headers are of a datagram to or from an address, with its port or without."""
    return _UDP_BYTES + (_IPV6_BYTES if address.count(":") > 1 else _IPV4_BYTES)


def datagrams(source: str, question_bytes: int, answer_bytes: int) -> Callable[[str, Sequence[Sample]], Traffic]:
    """Return the count of a source that is asked by one datagram and answers by one, of so many bytes."""

    def count(_node_id: str, samples: Sequence[Sample]) -> Traffic:
        sent = [sample for sample in samples if sample.source == source and sample.outcome not in NOT_SENT]
        heard = [sample for sample in sent if sample.outcome not in NOT_ANSWERED]
        bytes_sent, bytes_received = (
            sum(size + headers_bytes(sample.address or "") for sample in counted)
            for size, counted in ((question_bytes, sent), (answer_bytes, heard))
        )
        return Traffic(len(sent), len(heard), bytes_sent, bytes_received)

    return count


@dataclass(frozen=True)
class Traffic:
    """What a source's questions cost on the network of one node. ``fed``: other samples were in the questions."""

    questions: int = 0
    answers: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    fed: bool = False


@dataclass(frozen=True)
class CheckTable:
    """How `check` shows and judges what a kind's servers answered: headings of columns, "" for one that is not shown.

    ``fit`` are the outcomes that a run can start with. ``who`` answers, by default the label and the server's name;
    ``advice`` says what to do where it does not, and may name the {cluster} and the {source}; ``advice_answered`` where
    it does, but not well.
    """

    title: str
    server: str = ""
    health: str = ""
    answer: str = "answer"
    offset: str = "offset ± bound ms"
    asymmetry: str = ""
    delay: str = ""
    stratum: str = ""
    fit: frozenset[str] = frozenset({"ok"})
    who: str = ""
    expected: str = "a good answer"
    advice: str = "look at clocks.{source} in the worker configuration, or take {source} out of clocks.required"
    advice_answered: str = ""


@dataclass(frozen=True)
class ByHand(Generic[Plan]):
    """The option of a hand-started agent that asks a source. ``plan`` reads its text, "" for one that takes none.

    ``hosts`` are the hosts that a plan asks.
    """

    option: str
    help: str
    plan: Callable[[str], Plan | None]
    takes_text: bool = True
    hosts: Callable[[Plan], Sequence[str]] = lambda _plan: ()


@dataclass(frozen=True)
class SourceKind(Generic[Plan]):
    """One kind of clock source. Its ``name`` is a word of letters; ``label`` is how people write it.

    ``reader`` makes what reads it, of its plan, the drift limit in ppm and how long a sample may serve in ns.
    ``recompute`` returns what the cells of a good sample must be, by column, from its stamps and the answer it kept.
    ``traffic`` counts what a node's questions cost, from the node's id and all its samples, of other sources too; None
    where nobody can know, and ``traffic_note`` says why, or what is left out. ``explain`` says in words why a sample
    failed, as far as its answer tells. ``fed_by`` is the source whose samples are in its questions, "" for none. A kind
    with outcomes that mean that there is none on a node (``absent``) is looked for on every node, asked for or not.
    """

    name: str
    label: str
    plan_type: type[Plan]
    reader: Callable[[Plan, float, int], ClockSource]
    recompute: Callable[[Sample, NodePlan], Mapping[str, Any]]
    traffic: Callable[[str, Sequence[Sample]], Traffic] | None
    check: CheckTable
    by_hand: ByHand[Plan]
    traffic_note: str = ""
    explain: Callable[[Sample], str] = lambda _sample: ""
    fed_by: str = ""
    absent: frozenset[str] = frozenset()

    @property
    def prefix(self) -> str:
        """Return the prefix of its columns and of its samples' ids."""
        return COLUMN_PREFIX[self.name]

    def plan_of(self, clocks: ClocksPlan) -> Plan | None:
        """Return this kind's part of a node's plan, None where it is not asked. Raises ValueError."""
        if self.name in clocks.others:
            return build(self.plan_type, clocks.others[self.name], f"plan.clocks.others.{self.name}")
        field = getattr(clocks, self.name, None)
        return field if isinstance(field, self.plan_type) else None
