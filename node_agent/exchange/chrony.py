"""One question to the node's own chronyd, through its client ``chronyc``."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING

from node_agent.clocks import chrony, self_report
from node_agent.clocks.base import Refused
from node_agent.contract.records import CHRONY, CLOCK_STEP, OK, Sample
from node_agent.exchange.asking import Asker, Setting
from node_agent.local.instants import moved_ns, stepped

if TYPE_CHECKING:
    from node_agent.contract.plan import ChronyPlan


def askers(plan: ChronyPlan, setting: Setting) -> list[Asker]:
    """Return the asker of the node's own chronyd."""
    return [Asker("chronyd", lambda: [sample(plan, setting)])]


def sample(plan: ChronyPlan, setting: Setting) -> Sample:
    """Ask once and return the sample, good or failed.

    What chronyd says holds at some instant between asking and hearing. While it answers it may step or slew the wall
    clock, so by as much as that was seen to move against the raw oscillator the answer may be off.
    """
    before = setting.clock.pair()
    socket = ["-h", plan.socket_path] if plan.socket_path else []
    text, outcome = _ask(["chronyc", "-c", *socket, "tracking"], plan.timeout_s)
    after = setting.clock.pair()
    if outcome == OK and stepped(before, after):
        outcome = CLOCK_STEP
    state = chrony.parse(text) if outcome == OK else Refused(outcome)
    stamp_ns = before.half_bracket_ns + after.half_bracket_ns + moved_ns(before, after)
    made = partial(setting.sample, CHRONY, plan.socket_path or "chronyd", before, after, payload=text.strip())
    if isinstance(state, Refused):
        return made(outcome=state.outcome)
    numbers = state.numbers(before.wall_ns, before.raw_ns, after.raw_ns, stamp_ns)
    good = made(outcome=OK, bound_stamp_ns=stamp_ns, stratum=state.stratum, **numbers)
    limits = self_report.limits_of(setting.clocks)
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
