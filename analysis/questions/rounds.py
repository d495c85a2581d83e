"""Rounds of several tasks added up, and by how much fewer one clock needs than another: at least, and at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.questions.answers import Rounds


@dataclass(frozen=True)
class Total:
    """The rounds of several tasks taken together, and their messages, each at least and at most."""

    decisions: int
    at_least: int
    at_most: int
    messages_at_least: int
    messages_at_most: int

    @property
    def exact(self) -> bool:
        """Tell whether a judge can tell of every decision whether it needs a round."""
        return self.at_least == self.at_most

    @property
    def words(self) -> str:
        """Return the rounds as "12", or as "12 to 34" where nobody knows better."""
        return f"{self.at_least:,}" if self.exact else f"{self.at_least:,} to {self.at_most:,}"


def total(parts: Sequence[Rounds]) -> Total:
    """Add up the rounds of several tasks."""
    return Total(
        sum(part.decisions for part in parts),
        sum(part.at_least.numerator for part in parts),
        sum(part.at_most.numerator for part in parts),
        sum(part.messages_at_least for part in parts),
        sum(part.messages_at_most for part in parts),
    )


def fewer(first: Total, second: Total) -> tuple[float | None, float | None]:
    """Return by which share one clock needs fewer rounds per decision than another: at least, and at most.

    None where the other clock needs no round at all, or, of the least, where it may need none.
    """
    if not first.decisions or not second.decisions:
        return None, None

    def share_less(own: int, others: int) -> float | None:
        return 1 - (own / first.decisions) / (others / second.decisions) if others else None

    return share_less(first.at_most, second.at_least), share_less(first.at_least, second.at_most)


def fewer_in_words(least: float | None, most: float | None) -> str:
    """Return such a share as "12.3 % fewer" or "4.5 to 12.3 % fewer"; empty if there is none.

    More rounds are said as a multiple, "3.80 times as many": "280 % more" reads like 2.8 times, or like points.
    """
    if most is None:
        return ""
    if least is None:
        return f"at {'most' if most >= 0 else 'least'} {_one_in_words(most)}"
    if (least >= 0) != (most >= 0):
        return f"{_one_in_words(least)} to {_one_in_words(most)}"
    first, second = sorted((_number(least), _number(most)), key=float)
    return f"{first if first == second else f'{first} to {second}'} {_unit(most)}"


def _one_in_words(less: float) -> str:
    return f"{_number(less)} {_unit(less)}"


def _number(less: float) -> str:
    return f"{100 * less:.1f}" if less >= 0 else f"{1 - less:.2f}"


def _unit(less: float) -> str:
    return "% fewer" if less >= 0 else "times as many"
