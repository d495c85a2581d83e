"""The run in one sentence: what points got wrong, what intervals could prove, and how many of the proofs were wrong.

Two questions are put to NTP's and to ChronoTick's clocks: was a message received after it was sent, and did all workers
receive an event in one window, of the narrowest that were asked about. Nothing is in here that is not in the tables.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis.by_event.table import INTERVAL, POINT
from analysis.by_event.verdicts import AFTER, BEFORE
from analysis.questions import windows
from analysis.questions.causality import QUESTION as CAUSALITY
from analysis.questions.decisions import ALL
from analysis.questions.judges import TRUTH
from analysis.questions.true_windows import SAME
from analysis.questions.windows import QUESTION as WINDOWS
from node_agent.contract.records import CHRONOTICK, NTP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.analyses.analysis import Results
    from analysis.questions.answers import Answer, Answers

FILE: Final = "verdict.json"
LABELS: Final = {NTP: "NTP", CHRONOTICK: "ChronoTick"}


@dataclass(frozen=True)
class Proofs:
    """What a clock's intervals proved of ``asked`` decisions, and how many of those proofs are known to be wrong.

    An order is wrong that is not the order of sending. ``wrong`` is None of windows where no truth was injected.
    """

    asked: int
    proved: int
    wrong: int | None

    @property
    def known(self) -> bool:
        """Tell whether somebody can tell how many were wrong."""
        return self.wrong is not None


@dataclass(frozen=True)
class ClockVerdict:
    """One source: of how many messages its points say that they came before they were sent, and what it proved.

    ``half_widths_ms``: the median half-width of its readings at the best and at the worst node, None without any.
    """

    messages: int
    received_before_sent: int
    half_widths_ms: tuple[float, float] | None
    causality: Proofs
    windows: Proofs


@dataclass(frozen=True)
class Verdict:
    """What is said of both clocks; a clock that the run does not have is not in ``clocks``."""

    window_ms: int | None
    clocks: dict[str, ClockVerdict]

    @property
    def sentence(self) -> str:
        """Return the verdict in one sentence; empty where neither clock was asked anything."""
        asked = {name: clock for name, clock in self.clocks.items() if clock.messages}
        if not asked:
            return ""
        first, *others = asked
        wrong = [
            f"by {LABELS[first]}'s points {_count(asked[first].received_before_sent)}",
            *(f"by {LABELS[name]}'s {_count(asked[name].received_before_sent)}" for name in others),
        ]
        messages = max(clock.messages for clock in asked.values())
        with_intervals = {name: clock for name, clock in asked.items() if clock.causality.asked or clock.windows.asked}
        proved = []
        for name, clock in asked.items():
            if name not in with_intervals:
                proved.append(f"{LABELS[name]} gave no interval that could prove anything")
            elif name == next(iter(with_intervals)):
                proved.append(f"{LABELS[name]}'s intervals{_width(clock)} proved {self._proved(clock, messages)}")
            else:
                proved.append(f"{LABELS[name]}'s{_width(clock)} {self._proved(clock, messages)}")
        parts = [
            f"of {messages:,} messages, {' and '.join(wrong)} were received before they were sent",
            ", ".join(proved),
        ]
        return "; ".join([*parts, self._wrong()] if with_intervals else parts)

    @property
    def wrong(self) -> int | None:
        """Return how many of all proofs were wrong, None where no proof was asked for or nobody can tell of some."""
        proofs = _proofs(self.clocks)
        return _wrong(proofs) if proofs and all(part.known for part in proofs) else None

    def _proved(self, clock: ClockVerdict, messages: int) -> str:
        asked = clock.causality.asked
        order = f"the order of {_count(clock.causality.proved)}{f' of {asked:,}' if asked != messages else ''}"
        if self.window_ms is None or not clock.windows.asked:
            return order
        return f"{order} and one {self.window_ms}-ms window for {_of(clock.windows)} events"

    def _wrong(self) -> str:
        proofs = _proofs(self.clocks)
        known = [part for part in proofs if part.known]
        wrong = _wrong(known)
        verb = "was" if wrong <= 1 else "were"
        if not sum(part.proved for part in proofs):
            return "no clock proved anything, so nothing was proved wrongly"
        if not known:
            return "how many of these proofs were wrong nobody can tell, since no truth was injected"
        if len(known) < len(proofs):
            nobody = "of those of windows nobody can tell, since no truth was injected"
            return (
                f"{_count(wrong)} of the proofs of order {verb} wrong, for none is received before it is sent; {nobody}"
            )
        return f"{_count(wrong)} of these proofs {verb} wrong by the injected truth"

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers and the sentence."""
        clocks = {name: asdict(clock) for name, clock in self.clocks.items()}
        return {"sentence": self.sentence, "window_ms": self.window_ms, "clocks": clocks}


def of(found: Results) -> Verdict:
    """Return the verdict on a run."""
    messages, by_width = found.done[CAUSALITY], found.done[WINDOWS]
    narrowest = min(by_width.subjects, key=int, default=None)
    clocks = {}
    for source in LABELS:
        points = messages.at(source, POINT, ALL)
        if points is not None:
            clocks[source] = ClockVerdict(
                messages=points.evaluable,
                received_before_sent=points.labelled(AFTER),
                half_widths_ms=_half_widths_ms(found, source),
                causality=_messages(messages.at(source, INTERVAL, ALL)),
                windows=_windows(by_width, source, narrowest),
            )
    return Verdict(None if narrowest is None else int(narrowest), clocks)


def _messages(answer: Answer | None) -> Proofs:
    """Return of how many messages the order was proved; a proof that it was received first is a wrong one."""
    if answer is None:
        return Proofs(0, 0, None)
    violated = answer.labelled(AFTER)
    return Proofs(answer.evaluable, answer.labelled(BEFORE) + violated, violated)


def _windows(answers: Answers, source: str, width: str | None) -> Proofs:
    """Return how many events were proved to be in one window; a wrong proof is one of a window of no true instant."""
    answer = None if width is None else answers.at(source, INTERVAL, width)
    if answer is None:
        return Proofs(0, 0, None)
    outcomes, rounds = answer.counts.outcomes, answer.rounds
    if rounds is None or rounds.judge != TRUTH or rounds.wrong is None:
        return Proofs(answer.evaluable, answer.labelled(SAME), None)
    wrong = windows.wrong(answer)
    return Proofs(answer.evaluable, answer.counts.number((outcomes.label == SAME) | wrong), answer.counts.number(wrong))


def _half_widths_ms(found: Results, source: str) -> tuple[float, float] | None:
    widths = [clock.width_us.median for clock in found.done["clock_quality"].clocks if clock.source == source]
    halves = [width / 2e3 for width in widths if width is not None]
    return (min(halves), max(halves)) if halves else None


def _width(clock: ClockVerdict) -> str:
    if clock.half_widths_ms is None:
        return ""
    low, high = (_two_digits(half_ms) for half_ms in clock.half_widths_ms)
    return f" (± {low if low == high else f'{low} to {high}'} ms)"


def _two_digits(number: float) -> str:
    """Return a number above 0 with two digits that say something, or all before the point."""
    return f"{number:,.{max(0, 1 - math.floor(math.log10(number)))}f}" if number else "0"


def _of(proofs: Proofs) -> str:
    return f"{_count(proofs.proved)} of {proofs.asked:,}"


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def _wrong(proofs: Sequence[Proofs]) -> int:
    return sum(part.wrong or 0 for part in proofs)


def _proofs(clocks: dict[str, ClockVerdict]) -> list[Proofs]:
    """Return what all clocks were asked for proofs of, of those that were asked anything at all."""
    asked = [clock for clock in clocks.values() if clock.messages]
    return [part for clock in asked for part in (clock.causality, clock.windows) if part.asked]
