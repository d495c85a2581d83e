"""Starting, finding and stopping the agents of a run. A node's failure never keeps the others from being stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import interrupts, shell
from harness.errors import RunError
from harness.planning import run_dir
from harness.run.monitor import Monitor, NodeView, last_words
from node_agent.contract.records import STARTING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.agent import Agent
    from harness.cluster import Answers, Cluster
    from harness.remote import AgentState, Remote, Stopped
    from node_agent.contract.plan import NodePlan


def make_run_folders(cluster: Cluster, experiment: str) -> None:
    """Make each node's run folder, readable to its owner alone. Raises RunError where there is one of that name."""
    cluster.each(lambda remote: remote.make_folder(run_dir(cluster.config, experiment, remote.id))).demand()


def remove_run_folders(cluster: Cluster, experiment: str) -> None:
    """Remove the (empty) run folders of an experiment that could not be deployed; one that cannot be stays."""

    def remove(remote: Remote) -> None:
        folder = run_dir(cluster.config, experiment, remote.id)
        remote.run(f"rmdir {shell.path(folder)} {shell.path(folder.rpartition('/')[0])}")

    cluster.each(remove)


def start(cluster: Cluster, agent: Agent, plans: Mapping[str, NodePlan], nodes: Iterable[str], run_key: str) -> None:
    """Start the agents of ``nodes``. Raises RunError naming each one that did not bind its socket."""
    cluster.each(lambda remote: remote.start_agent(agent.program, plans[remote.id], run_key), nodes).demand()


def await_ready(monitor: Monitor, nodes: Iterable[str], timeout_s: float, show: Callable[[], None]) -> None:
    """Return once every agent of ``nodes`` is bound and every required source has a good sample.

    Raises DeadlineError naming what each waits for, RunError if one ends instead.
    """
    names = list(nodes)

    def missing() -> str | None:
        views = monitor.look(names)
        show()
        if failed := [last_words(name, views[name]) for name in names if views[name].failed]:
            raise RunError("; ".join(failed))
        return "; ".join(filter(None, (_waits(name, views[name]) for name in names))) or None

    interrupts.until("nodes ready", missing, timeout_s)


def see(cluster: Cluster, agent: Agent, experiment: str, nodes: Iterable[str] | None = None) -> Answers[AgentState]:
    """Ask the nodes whether the run's agents live, and for their last status."""
    config, program = cluster.config, agent.program
    return cluster.each(lambda remote: remote.see_agent(program, run_dir(config, experiment, remote.id)), nodes)


def stop(cluster: Cluster, agent: Agent, experiment: str, nodes: Iterable[str] | None = None) -> Answers[Stopped]:
    """Stop every agent of the run, each by its recorded pid. Idempotent."""
    config, program = cluster.config, agent.program
    return cluster.each(lambda remote: remote.stop_agent(program, run_dir(config, experiment, remote.id)), nodes)


def _waits(node_id: str, view: NodeView) -> str | None:
    if view.problem:
        return view.problem
    if view.status is None:
        return f"{node_id}: no status yet"
    if view.status.phase == STARTING:
        return f"{node_id}: {', '.join(view.status.waiting_for) or 'starting'}"
    return None
