"""When a run is over: every agent is, or those that are not will never be told, or cannot be asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from harness import interrupts
from harness.errors import DeadlineError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.planning import RunSpec
    from harness.run.monitor import NodeView, Watch

GONE_AFTER_S: Final = 20.0  # a node that cannot be reached for so long is not waited for
UNTOLD_S: Final = 10.0  # beyond drain and tail: so long after the coordinator's end a worker was not told of it


def await_end(
    watch: Watch, coordinator_id: str, spec: RunSpec, show: Callable[[], None], nodes: Iterable[str] | None = None
) -> dict[str, str]:
    """Return when there is nothing more to wait for: by node, why an agent that is not over was given up.

    A coordinator that ends badly ends the run, for it is the one that tells the others. Raises RunError if it had sent
    nothing by then: there was no run.
    """
    names = list(watch.views if nodes is None else nodes)
    over_s: list[float] = []

    def missing() -> str | None:
        views = watch.look(names)
        show()
        coordinator = views[coordinator_id]
        if coordinator.over and not over_s:
            over_s.append(time.monotonic())
        if coordinator.failed and not _sent(coordinator):
            raise RunError(last_words(coordinator_id, coordinator))
        untold_s = spec.coordinator.broadcast.drain_s + spec.tail_s + UNTOLD_S
        if coordinator.failed or (over_s and time.monotonic() - over_s[0] > untold_s):
            return None
        still = [name for name in names if not views[name].over and not views[name].gone(GONE_AFTER_S)]
        return ", ".join(f"{name} ({views[name].problem or views[name].phase})" for name in still) or None

    try:
        interrupts.until("end of the run", missing, spec.run_timeout_s, poll_s=1.0)
    except DeadlineError:
        if not _sent(watch.views[coordinator_id]):
            raise
    left = {name: watch.views[name] for name in names if not watch.views[name].over}
    return {name: f"not over when the run was, but {view.problem or view.phase}" for name, view in left.items()}


def last_words(node_id: str, view: NodeView) -> str:
    """Return how an agent ended, in one line."""
    status = view.status
    if view.dead or status is None or status.outcome is None:
        return f"{node_id}: {view.problem or 'ended'}"
    return f"{node_id}: ended as {status.outcome}: {status.detail}"


def _sent(coordinator: NodeView) -> int:
    return 0 if coordinator.status is None else coordinator.status.counts.get("sent", 0)
