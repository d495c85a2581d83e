"""Starting and stopping the agents of a run. A node's failure never keeps the others from being stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import interrupts
from harness.errors import RemoteCommandError, RunError
from harness.planning import run_dir
from harness.retry import again
from harness.run.ending import last_words
from harness.ssh import shell
from node_agent.contract.records import STARTING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.agent import Agent, Stopped
    from harness.run.monitor import NodeView, Watch
    from harness.ssh.cluster import Cluster
    from harness.ssh.host import Host
    from harness.ssh.per_node import Answers
    from node_agent.contract.plan import NodePlan


def make_run_folders(cluster: Cluster, experiment: str) -> None:
    """Make each node's run folder, readable to its owner alone. Raises RunError where there is one of that name."""

    def make(host: Host, or_else: str = "false") -> str:
        folder = run_dir(cluster.config, experiment, host.id)
        parent, own = shell.path(folder.rpartition("/")[0]), shell.path(folder)
        return host.ask(f"umask 077; mkdir -p {parent} && {{ mkdir {own} || {or_else.format(own)}; }}")

    def make_or_find(host: Host) -> str:
        return make(host, '[ -z "$(ls -A {})" ]')  # an empty one is ours, from before the connection broke

    cluster.each(again(make, make_or_find)).demand()


def remove_run_folders(cluster: Cluster, experiment: str) -> None:
    """Remove the (empty) run folders of an experiment that could not be deployed; one that cannot be stays."""

    def remove(host: Host) -> None:
        folder = run_dir(cluster.config, experiment, host.id)
        host.run(f"rmdir {shell.path(folder)} {shell.path(folder.rpartition('/')[0])}")

    cluster.each(remove)


def start(cluster: Cluster, agent: Agent, plans: Mapping[str, NodePlan], nodes: Iterable[str], run_key: str) -> None:
    """Start the agents of ``nodes``, detached. Raises RunError naming each one that did not bind its socket."""

    def begin(host: Host) -> None:
        agent.start(host, plans[host.id], run_key)

    def begin_unless_begun(host: Host) -> None:
        folder = plans[host.id].run_dir
        if agent.see(host, folder).alive:
            return
        try:
            begin(host)
        except RemoteCommandError:  # it may just have been starting
            if not agent.see(host, folder).alive:
                raise

    cluster.each(again(begin, begin_unless_begun), nodes).demand()


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

    interrupts.until("nodes ready", missing, timeout_s)


def stop(cluster: Cluster, agent: Agent, experiment: str, nodes: Iterable[str] | None = None) -> Answers[Stopped]:
    """Stop every agent of the run, each by its recorded pid. Idempotent."""
    return cluster.each(again(lambda host: agent.stop(host, run_dir(cluster.config, experiment, host.id))), nodes)


def _waits(node_id: str, view: NodeView) -> str | None:
    if view.problem:
        return view.problem
    if view.status is None:
        return f"{node_id}: no status yet"
    if view.status.phase == STARTING:
        return f"{node_id}: {', '.join(view.status.waiting_for) or 'starting'}"
    return None
