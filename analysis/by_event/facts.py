"""What holds for a whole run, and a part of it alone cannot know; parts are judged by what holds for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from analysis.by_event.table import UNSTATED

if TYPE_CHECKING:
    from collections.abc import Mapping

NEVER: Final = 2**63 - 1


class Asked(NamedTuple):
    """How many stamps of a node a source had to have a reading of, and why it has none of how many."""

    stamps: int
    missing: Mapping[str, int]

    def __or__(self, other: Asked) -> Asked:
        """Return that of two parts together."""
        reasons = dict.fromkeys([*self.missing, *other.missing])
        missing = {why: self.missing.get(why, 0) + other.missing.get(why, 0) for why in reasons}
        return Asked(self.stamps + other.stamps, missing)


class Claim(NamedTuple):
    """What a source says of its intervals on a node: of which kind they are, and of which level, if it is one."""

    kind: str
    level: float | None


@dataclass(frozen=True)
class Facts:
    """What holds for a run, and a part of it alone cannot know; keys are (node, source).

    ``heard``: workers that left at least one row; whoever is silent can neither agree nor disagree. ``with_raw``: nodes
    with a raw stamp. ``known``: sources with a reading on a node, ``bounded``: with an interval, ``to_utc``: with one
    that refers to UTC. ``kinds``, ``levels``: all that their readings claim. ``first_sent_ns``: ``NEVER`` of no sends.
    ``asked``: how many readings there should be, and why there are fewer.
    """

    heard: frozenset[str]
    with_raw: frozenset[str]
    known: frozenset[tuple[str, str]]
    bounded: frozenset[tuple[str, str]]
    to_utc: frozenset[tuple[str, str]]
    kinds: Mapping[tuple[str, str], frozenset[str]]
    levels: Mapping[tuple[str, str], frozenset[float]]
    first_sent_ns: int
    asked: Mapping[tuple[str, str], Asked]

    def __or__(self, other: Facts) -> Facts:
        """Return what holds of two parts together."""
        return Facts(
            self.heard | other.heard,
            self.with_raw | other.with_raw,
            self.known | other.known,
            self.bounded | other.bounded,
            self.to_utc | other.to_utc,
            {key: kinds | other.kinds[key] for key, kinds in self.kinds.items()},
            {key: levels | other.levels[key] for key, levels in self.levels.items()},
            min(self.first_sent_ns, other.first_sent_ns),
            {key: asked | other.asked[key] for key, asked in self.asked.items()},
        )

    def claim(self, node_id: str, source: str) -> Claim:
        """Return what a source claims on a node."""
        kinds = self.kinds.get((node_id, source), frozenset())
        levels = self.levels.get((node_id, source), frozenset())
        kind = next(iter(kinds)) if len(kinds) == 1 else "mixed" if kinds else UNSTATED
        return Claim(kind, next(iter(levels)) if len(levels) == 1 else None)
