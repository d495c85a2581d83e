"""Starting and stopping the agents of a run. A node's failure never keeps the others from being stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import shell, waiting
from harness.errors import RunError
from harness.planning import run_dir
from node_agent.records import FINISHED, STARTING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.agent import Agent, Stopped
    from harness.cluster import Answers, Cluster
    from harness.watching import NodeView, Watch
    from node_agent.plan import NodePlan


def make_run_folders(cluster: Cluster, experiment: str) -> None:
    """Make each node's run folder, readable to its owner alone. Raises RunError where there is one of that name."""

    def make(host_id: str) -> str:
        folder = run_dir(cluster.config, experiment, host_id)
        parent = folder.rpartition("/")[0]
        return f"umask 077; mkdir -p {shell.path(parent)} && mkdir {shell.path(folder)}"

    answers = cluster.each(lambda host: host.ask(make(host.id)))
    answers.demand()


def start(cluster: Cluster, agent: Agent, plans: Mapping[str, NodePlan], nodes: Iterable[str], run_key: str) -> None:
    """Start the agents of ``nodes``, detached. Raises RunError naming each one that did not bind its socket."""
    cluster.each(lambda host: agent.start(host, plans[host.id], run_key), nodes).demand()


def await_ready(watch: Watch, nodes: Iterable[str], timeout_s: float, show: Callable[[], None]) -> None:
    """Return once every agent of ``nodes`` is bound and every required source has a good sample.

    Raises DeadlineError naming what each waits for, RunError if one ends instead.
    """
    names = list(nodes)

    def missing() -> str | None:
        views = watch.look(names)
        show()
        if failed := [last_words(name, views[name]) for name in names if views[name].failed]:
            raise RunError("; ".join(failed))
        return "; ".join(filter(None, (_waits(name, views[name]) for name in names))) or None

    waiting.until("nodes ready", missing, timeout_s)


def stop(cluster: Cluster, agent: Agent, experiment: str, nodes: Iterable[str] | None = None) -> Answers[Stopped]:
    """Stop every agent of the run, each by its recorded pid. Idempotent."""
    return cluster.each(lambda host: agent.stop(host, run_dir(cluster.config, experiment, host.id)), nodes)


def _waits(node_id: str, view: NodeView) -> str | None:
    if view.problem:
        return view.problem
    if view.status is None:
        return f"{node_id}: no status yet"
    if view.status.phase == STARTING:
        return f"{node_id}: {', '.join(view.status.waiting_for) or 'starting'}"
    return None


def last_words(node_id: str, view: NodeView) -> str:
    """Return how an agent ended, in one line."""
    status = view.status
    if view.dead or status is None or status.phase != FINISHED:
        return f"{node_id}: {view.problem or 'ended'}"
    return f"{node_id}: ended as {status.outcome}: {status.detail}"
