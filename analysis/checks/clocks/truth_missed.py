"""Sources whose intervals miss the truth: a guaranteed one may not at all, a probabilistic one as its level allows of.

The truth is the injected one, or what the reference leaves possible of it: an interval misses only if it does wherever
in that the truth is. Where the reference judges, it is the difference of a node's reading and the coordinator's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.by_event import readings
from analysis.checks.finding import ERROR, WARNING, Finding
from analysis.clocks import quality
from analysis.questions import judges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analysis.clocks.misses import Misses
    from analysis.reference import Reference
    from analysis.run.load import Run

GUARANTEED_CODE: Final = "guarantee-missed"
LEVEL_CODE: Final = "level-missed"


def find(run: Run, reference: Reference | None = None) -> Iterator[Finding]:
    """Yield a finding per node and source of a loaded run whose intervals provably miss more than they claim to."""
    table = readings.table(run)
    probed = None if reference is None or not reference.evaluable else judges.of(table, reference)[0]
    flights_of = None if probed is None else (lambda part: probed.of_part(part).flights)
    yield from among(quality.misses_of(table, flights_of))


def among(clocks: Iterable[Misses]) -> Iterator[Finding]:
    """Yield a finding per clock whose intervals provably miss more than they claim to."""
    for clock in clocks:
        if not clock.accused:
            continue
        missed, of = clock.missed, clock.of
        allowed = 0.0 if clock.level is None else 1.0 - clock.level
        what = "differences to the coordinator's readings" if clock.relative else "readings"
        claim = (
            "guaranteed, so that none may" if clock.guaranteed else f"claimed is that at most {100 * allowed:.3g} % do"
        )
        blame = ", one of the two nodes being to blame" if clock.relative else ""
        text = (
            f"{clock.source}'s intervals miss the truth in {missed:,} of {of:,} {what} ({100 * missed / of:.1f} %), by "
            f"up to {clock.worst_us:,.1f} µs, by the {clock.standard}{blame}: {claim}"
        )
        numbers = {"missed": missed, "of": of, "share": missed / of, "allowed_share": allowed,
                   "worst_us": clock.worst_us, "by": clock.standard}  # fmt: skip
        if clock.guaranteed:
            yield Finding(GUARANTEED_CODE, ERROR, clock.node_id, clock.source, text, numbers)
        else:
            yield Finding(LEVEL_CODE, WARNING, clock.node_id, clock.source, text, numbers)
