"""How long each phase of a run took, and what of it was the harness itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.planning import RunSpec

START_COORDINATOR: Final = "start_coordinator"
BROADCAST: Final = "broadcast"


def overhead_s(seconds: Mapping[str, float], spec: RunSpec) -> float:
    """Return the time in s that was neither events, drain and tail nor the probes before the first event.

    These begin as soon as the coordinator is ready, while the harness still looks whether it is.
    """
    wanted = spec.planned_s + spec.lead_s
    running = seconds.get(START_COORDINATOR, 0.0) + seconds.get(BROADCAST, 0.0)
    return sum(seconds.values()) - min(running, wanted)


def line(seconds: Mapping[str, float], spec: RunSpec) -> str:
    """Return one line of every phase's time and the overhead, in s."""
    each = " ".join(f"{phase}={took:.1f}s" for phase, took in seconds.items())
    wanted = f"without {spec.planned_s + spec.lead_s:.1f}s of probes, events, drain and tail"
    return f"phases {each} overhead={overhead_s(seconds, spec):.1f}s ({wanted})"
