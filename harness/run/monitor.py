"""Looking at the agents while they work: one status per node, how old it is, which agents are no more; and the end.

A look reads each node's status file over the open connection; only an agent whose status stopped moving is asked after
by process, because that starts a program on the node. A run is over when every agent is, or those that are not will
never be told, or cannot be asked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness import interrupts
from harness.agent import Agent, read_status
from harness.errors import DeadlineError, RunError
from harness.planning import RunSpec, run_dir
from node_agent.contract.records import FINISHED, FINISHED_OK, Manifest, NodeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.cluster import Cluster
    from harness.remote import Remote

SILENT_AFTER_S: Final = 5.0


@dataclass
class NodeView:
    """What is known of one agent: its last status, when that last changed (``time.monotonic()``), and what is wrong."""

    status: NodeStatus | None = None
    changed_s: float = field(default_factory=time.monotonic)
    dead: bool = False
    problem: str = ""
    silent_s: float | None = None  # since when the node has not answered (``time.monotonic()``)

    @property
    def phase(self) -> str:
        """Return the phase to show: the agent's own, or that nobody knows."""
        return "died" if self.dead else self.status.phase if self.status else "-"

    @property
    def over(self) -> bool:
        """Return whether this agent does nothing more."""
        return self.dead or (self.status is not None and self.status.phase == FINISHED)

    @property
    def failed(self) -> bool:
        """Return whether this agent ended otherwise than it should."""
        return self.dead or (self.over and self.status is not None and self.status.outcome != FINISHED_OK)

    def gone(self, after_s: float) -> bool:
        """Return whether the node has not answered for so long."""
        return self.silent_s is not None and time.monotonic() - self.silent_s > after_s


class Monitor:
    """The agents of one run, looked at together."""

    def __init__(self, cluster: Cluster, agent: Agent, run: Manifest, nodes: Iterable[str] | None = None) -> None:
        """Look after the agents of a run on all its nodes, or those named."""
        self._cluster, self._agent, self._run = cluster, agent, run
        self.views = {node_id: NodeView() for node_id in (run.nodes if nodes is None else nodes)}

    def look(self, nodes: Iterable[str] | None = None) -> dict[str, NodeView]:
        """Ask all nodes (or those named) at the same time and return what is known of everyone."""
        names = [name for name in (self.views if nodes is None else nodes) if not self.views[name].over]
        answers = self._cluster.each(self._look_at, names, plain=True)  # what cannot be seen now is looked at again
        if self._cluster.allocation is not None:
            self._cluster.allocation.demand()
        for node_id, error in answers.failed.items():
            view = self.views[node_id]
            view.problem, view.silent_s = str(error), view.silent_s or time.monotonic()
        for node_id in answers.ok:
            self.views[node_id].silent_s = None
        return self.views

    def _look_at(self, remote: Remote) -> None:
        view, folder = self.views[remote.id], run_dir(self._cluster.config, self._run.experiment, remote.id)
        status = read_status(remote, folder)
        if status is not None and status.run_id == self._run.run_id and status != view.status:
            view.status, view.changed_s, view.problem = status, time.monotonic(), ""
        elif time.monotonic() - view.changed_s > SILENT_AFTER_S:
            seen = remote.see_agent(self._agent.program, folder)
            view.changed_s = time.monotonic()
            view.status = seen.status or view.status
            if not seen.alive and not view.over:
                view.dead = True
                view.problem = seen.death or "the agent died without a word; see its agent.log"


GONE_AFTER_S: Final = 20.0  # a node that cannot be reached for so long is not waited for
UNTOLD_S: Final = 10.0  # beyond drain and tail: so long after the coordinator's end a worker was not told of it


def await_end(
    monitor: Monitor, coordinator_id: str, spec: RunSpec, show: Callable[[], None], nodes: Iterable[str] | None = None
) -> dict[str, str]:
    """Return when there is nothing more to wait for: by node, why an agent that is not over was given up.

    A coordinator that ends badly ends the run, for it is the one that tells the others. Raises RunError if it had sent
    nothing by then: there was no run. Nodes of a watch end by themselves, and one that cannot be reached meanwhile may
    be reached again.
    """
    names = list(monitor.views if nodes is None else nodes)
    begun_s = time.monotonic()
    over_s: list[float] = []

    def ended_for_all(coordinator: NodeView) -> bool:
        if coordinator.over and not over_s:
            over_s.append(time.monotonic())
        if coordinator.failed and not _sent(coordinator):
            raise RunError(last_words(coordinator_id, coordinator))
        untold_s = spec.coordinator.broadcast.drain_s + spec.tail_s + UNTOLD_S
        return coordinator.failed or (bool(over_s) and time.monotonic() - over_s[0] > untold_s)

    def missing() -> str | None:
        views = monitor.look(names)
        show()
        if spec.watch is None and ended_for_all(views[coordinator_id]):
            return None
        patient = spec.watch is not None and time.monotonic() - begun_s < spec.least_s
        still = [name for name in names if not views[name].over and (patient or not views[name].gone(GONE_AFTER_S))]
        return ", ".join(f"{name} ({views[name].problem or views[name].phase})" for name in still) or None

    try:
        interrupts.until("end of the run", missing, spec.run_timeout_s, poll_s=1.0)
    except DeadlineError:
        if spec.watch is None and not _sent(monitor.views[coordinator_id]):
            raise
    left = {name: monitor.views[name] for name in names if not monitor.views[name].over}
    return {name: f"not over when the run was, but {view.problem or view.phase}" for name, view in left.items()}


def last_words(node_id: str, view: NodeView) -> str:
    """Return how an agent ended, in one line."""
    status = view.status
    if view.dead or status is None or status.outcome is None:
        return f"{node_id}: {view.problem or 'ended'}"
    return f"{node_id}: ended as {status.outcome}: {status.detail}"


def _sent(coordinator: NodeView) -> int:
    return 0 if coordinator.status is None else coordinator.status.counts.get("sent", 0)
