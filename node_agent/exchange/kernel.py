"""One question to the node's own kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node_agent.clocks import kernel
from node_agent.contract.records import CLOCK_STEP, KERNEL, Sample
from node_agent.exchange.asking import Asker, Setting
from node_agent.local import kernel_clock
from node_agent.local.instants import moved_ns, stepped

if TYPE_CHECKING:
    from node_agent.clocks.kernel import KernelPlan

SERVER = "adjtimex"


def askers(_plan: KernelPlan, setting: Setting) -> list[Asker]:
    """Return the asker of the kernel."""
    return [Asker(SERVER, lambda: [_look(setting)])]


def _look(setting: Setting) -> Sample:
    before = setting.clock.pair()
    state = kernel.Undisciplined("virtual_clock") if setting.clock.is_virtual else kernel_clock.read()
    after = setting.clock.pair()
    stamp_ns = before.half_bracket_ns + after.half_bracket_ns + moved_ns(before, after)
    cells: dict[str, Any]
    if isinstance(state, kernel.Undisciplined):
        cells = {"outcome": state.outcome, "payload": state.detail}
    elif stepped(before, after):
        cells = {"outcome": CLOCK_STEP, "payload": state.text()}
    else:
        numbers = state.numbers(before.wall_ns, before.raw_ns, after.raw_ns, stamp_ns)
        cells = {**numbers, "bound_stamp_ns": stamp_ns, "payload": state.text()}
    return Sample(
        sample_id=setting.new_id(),
        source=KERNEL,
        server=SERVER,
        address="",
        raw_before_ns=before.raw_ns,
        raw_after_ns=after.raw_ns,
        wall_ns=before.wall_ns,
        **cells,
    )
