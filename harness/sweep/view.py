"""What one sees of a sweep while it goes on. Pure: from its file and the manifests of its runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from harness.configuration import sweep as configuration
from harness.console import CellRow, SweepView
from node_agent.contract.records import COLLECTED, DEPLOYED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.configuration.sweep import SweepConfig
    from harness.sweep.state import Slot

MOST_WRONG: Final = 3  # repeats of a cell that are named
NEVER_RUN: Final = "deployed and never run"
NOT_COLLECTED: Final = "not collected"
REPEATED: Final = "repeated"


def view(sweep: str, where: str, config: SweepConfig, slots: Sequence[Slot], now: Slot | None, ends: str) -> SweepView:
    """Return what there is to see; ``now`` is the run that is under way, ``ends`` when the whole does, in words."""
    counts: dict[str, int] = {}
    rows = []
    for cell in configuration.cells(config):
        own = [slot for slot in slots if slot.cell.name == cell.name]
        done = sum(slot.done(accept_degraded=config.accept_degraded) for slot in own)
        wrong = []
        for slot in own:
            words = _wrong(slot, under_way=now is not None and now.name == slot.name, config=config)
            if words:
                wrong.append(f"r{slot.repeat:02d} {words}")
                counts[words] = counts.get(words, 0) + 1
        under_way = f"r{now.repeat:02d}" if now is not None and now.cell.name == cell.name else ""
        values = tuple(str(value) for value in cell.values.values())
        rows.append(CellRow(cell.name, values, f"{done}/{len(own)}", under_way, _few(wrong)))
    done = sum(slot.done(accept_degraded=config.accept_degraded) for slot in slots)
    title = f"sweep {sweep} {where}: {done} of {len(slots)} runs done"
    told = "".join(f", {count} {words}" for words, count in counts.items())
    line = f"sweep {sweep}: {done} of {len(slots)} done{told}"
    if now is not None:
        line += f"; cell={now.cell.name} ({now.cell.in_words}) repeat={now.repeat} of {config.repeats}"
    when = f"ends about {ends}" if ends else ""
    return SweepView(title, tuple(_headings(config)), tuple(rows), when, f"{line}; {when}" if when else line)


def end_in_words(left_s: float, now: datetime | None = None) -> str:
    """Return when what takes so long ends: the time, and the day if that is another."""
    now = datetime.now(UTC) if now is None else now
    end = now + timedelta(seconds=left_s)
    return f"{end:%H:%M} UTC" if end.date() == now.date() else f"{end:%a %d %b %H:%M} UTC"


def _wrong(slot: Slot, *, under_way: bool, config: SweepConfig) -> str:
    """Return what is wrong with a repeat: how its last attempt ended, or that there was one before; "" if nothing."""
    ended = [attempt.manifest for attempt in slot.attempts]
    if slot.done(accept_degraded=config.accept_degraded):
        return REPEATED if len(ended) > 1 else ""
    if under_way and ended and ended[-1].outcome is None:
        ended.pop()
    if not ended:
        return ""
    last = ended[-1]
    if last.phase == DEPLOYED:
        return NEVER_RUN
    return last.outcome if last.phase == COLLECTED and last.outcome else NOT_COLLECTED


def _headings(config: SweepConfig) -> list[str]:
    """Return the last key of each path, or the path where two end alike."""
    last = [path.rpartition(".")[2] for path in config.vary]
    return [key if last.count(key) == 1 else path for key, path in zip(last, config.vary, strict=True)]


def _few(words: Sequence[str]) -> str:
    more = len(words) - MOST_WRONG
    return ", ".join(words[:MOST_WRONG]) + (f" and {more} more" if more > 0 else "")
