"""One question to the node's own chronyd, through its client ``chronyc``."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from node_agent.clocks import chrony, self_report
from node_agent.contract.records import CHRONY, CLOCK_STEP, OK, Sample
from node_agent.exchange.asking import Asker, Setting
from node_agent.local.instants import LocalClock, moved_ns, stepped

if TYPE_CHECKING:
    from collections.abc import Callable

    from node_agent.contract.plan import ChronyPlan


def askers(plan: ChronyPlan, setting: Setting) -> list[Asker]:
    """Return the asker of the node's own chronyd."""
    where, limits = (plan.socket_path, setting.clock, plan.timeout_s), self_report.limits_of(setting.clocks)
    return [Asker("chronyd", lambda: [sample(*where, setting.new_id, limits)])]


def sample(
    socket_path: str,
    clock: LocalClock,
    timeout_s: float,
    new_id: Callable[[], str],
    limits: self_report.Limits | None = self_report.USUAL,
) -> Sample:
    """Ask once and return the sample, good or failed. ``socket_path`` is chronyd's command socket, if not its usual.

    What chronyd says holds at some instant between asking and hearing. While it answers it may step or slew the wall
    clock, so by as much as that was seen to move against the raw oscillator the answer may be off.
    """
    before = clock.pair()
    text, outcome = _ask(["chronyc", "-c", *(["-h", socket_path] if socket_path else []), "tracking"], timeout_s)
    after = clock.pair()
    if outcome == OK and stepped(before, after):
        outcome = CLOCK_STEP
    state = chrony.parse(text) if outcome == OK else chrony.NotTracking(outcome)
    stamp_ns = before.half_bracket_ns + after.half_bracket_ns + moved_ns(before, after)
    common: dict[str, Any] = {
        "sample_id": new_id(), "source": CHRONY, "server": socket_path or "chronyd", "address": "",
        "raw_before_ns": before.raw_ns, "raw_after_ns": after.raw_ns, "wall_ns": before.wall_ns,
        "payload": text.strip(),
    }  # fmt: skip
    if isinstance(state, chrony.NotTracking):
        return Sample(outcome=state.outcome, **common)
    numbers = state.numbers(before.wall_ns, before.raw_ns, after.raw_ns, stamp_ns)
    good = Sample(outcome=OK, bound_stamp_ns=stamp_ns, stratum=state.stratum, **common, **numbers)
    reason = self_report.unfit(state.report(before.wall_ns + after.raw_ns - before.raw_ns), limits)
    return self_report.without_numbers(good, reason) if reason else good


def _ask(argv: list[str], timeout_s: float) -> tuple[str, str]:
    """Return (answer, outcome)."""
    try:
        done = subprocess.run(
            argv, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout_s, check=False
        )
    except OSError:
        return "", "no_chronyc"
    except subprocess.TimeoutExpired:
        return "", "timeout"
    return (done.stdout, OK) if done.returncode == 0 else (done.stdout + done.stderr, "no_chronyd")
