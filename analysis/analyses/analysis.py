"""What an analysis is: something computed of a run, with its statistics, its tables and its figure; and its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Final, TypeVar

from analysis.questions import answers, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from analysis.by_event.table import Table
    from analysis.checks.finding import Finding
    from analysis.figures.sheet import Sheet
    from analysis.questions.decisions import Key
    from analysis.questions.judges import Judge
    from analysis.questions.pairs import Pairs
    from analysis.reference import Reference
    from analysis.stats.counts import Counts
    from analysis.storage.scratch import Put, Scratch, Stored
    from analysis.tables import Grid

Piece = TypeVar("Piece")


@dataclass(frozen=True)
class Part:
    """Some consecutive events of a run, of which decisions are counted, and the judges of them.

    ``nearby``: some of the run's pairs of events, as many as are this part's share, by their places in ``around``, the
    events that they are of. ``scratch``: where numbers by event are kept, of a run that does not fit into memory.
    """

    table: Table
    judges: Sequence[Judge]
    window_sizes_ms: Sequence[int]
    around: Table
    nearby: Pairs
    scratch: Scratch | None

    def keep(self, numbers: NDArray[Any]) -> Stored:
        """Keep numbers by event where there is room for them."""
        return numbers if self.scratch is None else self.scratch.keep(numbers)

    def put(self, piece: Piece) -> Piece | Put:
        """Keep something that is made of such numbers."""
        return piece if self.scratch is None else self.scratch.put(piece)


Counted = Mapping["Key", "Counts"]


def added(parts: Sequence[Counted]) -> Counted:
    """Return the counts of a run, given those of its parts."""
    some = list(parts)
    while len(some) > 1:  # neighbours, and then these: what is added up is copied a few times, and not once per part
        some = [reduce(answers.added, some[place : place + 2]) for place in range(0, len(some), 2)]
    return some[0]


@dataclass(frozen=True)
class Context:
    """What an analysis is computed from. ``done``: the results of the analyses it needs, by name.

    ``counted``: what every analysis counted of the run, by its name; ``of_nodes``: what it made of each node, in the
    table's order of them. ``nearby``: the run's pairs of events.
    """

    table: Table
    reference: Reference
    judges: Sequence[Judge]
    window_sizes_ms: Sequence[int]
    done: Mapping[str, Any]
    counted: dict[str, Any] = field(default_factory=dict)
    of_nodes: dict[str, list[Any]] = field(default_factory=dict)

    @cached_property
    def nearby(self) -> Pairs:
        """Return the pairs of events near each other in time, of which workers are asked for the order."""
        return pairs.nearby(self.table.sent.ns, self.table.sent.known)

    def part(self, place: int) -> Part:
        """Return a part of the run, with its share of the pairs of events."""
        number, table = self.table.number_of_parts, self.table.numbered(place)
        share = self.nearby.part(len(self.nearby) * place // number, len(self.nearby) * (place + 1) // number)
        judges = [judge.of_part(table) for judge in self.judges]
        return Part(table, judges, self.window_sizes_ms, *self._around(table, share), self.table.scratch)

    def _around(self, part: Table, share: Pairs) -> tuple[Table, Pairs]:
        """Return the events that some pairs are of, and the pairs by their places among these."""
        if part is self.table or not len(share):
            return part, share
        begin, end = share.span
        return self.table.part(begin, end), share.moved(-begin)


@dataclass(frozen=True)
class Place:
    """Where numbers stand in an analysis' statistics, and what they are about: the columns of ``rates.csv``.

    ``path``: keys, of which ``{column}`` goes into that column, ``{column=key|key}`` is one of these alone, and the
    last part is all keys that are left; ``{clock}`` is the name of a kind of clock and no other key. What is not in the
    path is the same for all of them; no ``question`` is the analysis' name. ``unit`` is that of shares: the unit of a
    quantity is in its name.
    """

    path: str
    question: str = ""
    subject: str = ""
    clock: str = ""
    ground_truth: str = ""
    unit: str = ""


EVERYWHERE: Final = (Place("{source}/{subject}/{metric}"), Place("{metric}"))


@dataclass(frozen=True)
class Analysis:
    """One analysis. ``name`` is its topic: what statistics, hypotheses and tables call it; ``title`` heads its section.

    ``count`` counts decisions of a part of a run, and ``add`` makes what the context has ``counted`` of those of all
    parts, in order. ``of_node`` is what has to be seen of a node's whole run. Both may be done in other processes.
    ``compute`` makes its result of a context; ``statistics`` makes JSON-serialisable data of that, for the ``file``
    below ``statistics/``. ``texts`` makes, of the results of all analyses, the tables of the page and the words between
    them, by the names that its section knows them by: ``report/page/sections/<name>.html.jinja``, or where there is
    none all of them, one after another. ``draw`` returns the figure ``figure``, where there is
    one, before it is drawn: its panels and its caption.

    ``rates``: where numbers stand in the statistics; the first place that fits counts. ``cited``: the numbers that a
    paper would cite, as paths below the statistics in which ``*`` stands for any key; they become LaTeX macros.
    ``needs``: the names of the analyses whose results it is made of. ``windows``: by hand it takes widths of windows.
    ``beside``: its result, which no other one needs, takes long, and is computed beside the others.
    """

    name: str
    title: str
    compute: Callable[[Context], Any]
    statistics: Callable[[Any], dict[str, Any]]
    file: str
    count: Callable[[Part], Any] | None = None
    add: Callable[[Sequence[Any]], Any] = added
    of_node: Callable[[Context, str], Any] | None = None
    texts: Callable[[Mapping[str, Any]], Mapping[str, Grid | str]] = lambda _done: {}
    figure: str = ""
    draw: Callable[[Any], Sheet] | None = None
    rates: tuple[Place, ...] = EVERYWHERE
    cited: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    windows: bool = False
    beside: bool = False


@dataclass(frozen=True)
class Results:
    """Everything computed from one run: the result of every analysis by its name, and what the checks found.

    ``merged``: where the merged table was written, if it was.
    """

    table: Table
    analyses: tuple[Analysis, ...]
    done: Mapping[str, Any]
    findings: tuple[Finding, ...]
    merged: Path | None = None

    def as_statistics(self) -> dict[str, dict[str, Any]]:
        """Return the statistics by topic, as the hypotheses' metrics name them."""
        return {analysis.name: analysis.statistics(self.done[analysis.name]) for analysis in self.analyses}

    def texts(self) -> dict[str, Grid | str]:
        """Return the tables of all analyses, and the words between them, by name."""
        return {name: text for analysis in self.analyses for name, text in analysis.texts(self.done).items()}
