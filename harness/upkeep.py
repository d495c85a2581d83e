"""Looking after runs from outside: status, logs, stop and clean. Nothing here starts anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness import launch
from harness.errors import ConfigError, RunError
from harness.planning import remote_base, run_dir
from node_agent.records import COLLECTED, DEPLOYED, LOG_FILE, RUN_RUNNING

if TYPE_CHECKING:
    from harness.runs import RunFolder
    from harness.session import Session

STATUS_COLUMNS: Final = ("node", "role", "agent", "phase", "outcome", "counts", "remark")


def status(session: Session, folder: RunFolder) -> None:
    """Show what every node says of its agent now. Raises RunError if a node does not answer."""
    manifest = folder.manifest
    gone = session.gone(folder)
    cut = gone and manifest.phase in {DEPLOYED, RUN_RUNNING}
    phase = f"{manifest.phase} (ended with its controller)" if cut else manifest.phase
    session.console.say(f"experiment={folder.name} cluster={manifest.cluster} phase={phase} outcome={manifest.outcome}")
    if gone:
        session.console.say("its embedded cluster has ended with the fab that started it, and its hosts with it")
        return
    agent, cluster = session.agent(), session.cluster()
    cluster.each(lambda host: agent.install(host, session.bundle()))
    answers = cluster.each(lambda host: agent.see(host, run_dir(cluster.config, folder.name, host.id)))
    rows = []
    for node_id, node in manifest.nodes.items():
        if node_id not in answers.ok:
            rows.append([node_id, node.role, "unknown", "", "", "", str(answers.failed[node_id])])
            continue
        seen = answers.ok[node_id]
        now = seen.status
        counts = " ".join(f"{name}={count}" for name, count in now.counts.items() if count) if now else ""
        remark = seen.problem or (", ".join(now.waiting_for) or now.detail if now else "")
        state = "alive" if seen.alive else "ended"
        rows.append(
            [node_id, node.role, state, now.phase if now else "", (now.outcome if now else "") or "", counts, remark]
        )
    session.console.table(f"{folder.name} on {manifest.cluster}", STATUS_COLUMNS, rows)
    answers.demand()


def logs(session: Session, folder: RunFolder, lines: int) -> None:
    """Show the last lines of every agent's log, from the node, else from what was collected."""
    texts: dict[str, str] = {}
    if not session.gone(folder):
        cluster = session.cluster()
        command = f"tail -n {lines}"
        answers = cluster.each(
            lambda host: host.ask(
                f"{command} {run_dir(cluster.config, folder.name, host.id)}/{LOG_FILE} 2>/dev/null || true"
            )
        )
        texts = answers.ok
    for node_id in folder.manifest.nodes:
        text = texts.get(node_id, "")
        kept = folder.raw(node_id) / LOG_FILE
        if not text and kept.is_file():
            text = "".join(kept.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[-lines:])
        session.console.say(f"--- {node_id}")
        session.console.say(text.rstrip() or "no log")


def stop(session: Session, folder: RunFolder) -> None:
    """Stop every agent of the run by its recorded pid. Raises RunError if one may still live."""
    if session.gone(folder):
        session.console.say("nothing to stop: its embedded cluster has ended, and its hosts with it")
        return
    agent, cluster = session.agent(), session.cluster()
    cluster.each(lambda host: agent.install(host, session.bundle()))
    answers = launch.stop(cluster, agent, folder.name)
    for node_id, answer in answers.ok.items():
        said = "stopped" if answer.was_alive else "was not running"
        session.console.say(f"{node_id}: {answer.problem or said}")
    answers.demand()


def clean(session: Session, folder: RunFolder, *, force: bool) -> None:
    """Remove the run's folders on the nodes, and old agents from their caches; what is at home stays.

    Raises ConfigError if the run was not collected (unless ``force``) and RunError where an agent still works.
    """
    if session.gone(folder):
        session.console.say("nothing to clean: its embedded cluster has ended, and its hosts with it")
        return
    if folder.manifest.phase != COLLECTED and not force:
        told = f"expected a collected run, got one that is {folder.manifest.phase}"
        raise ConfigError(f"experiment {folder.name}: {told}; collect it first, or clean --force")
    agent, cluster = session.agent(), session.cluster()
    cluster.each(lambda host: agent.install(host, session.bundle()))
    seen = cluster.each(lambda host: agent.see(host, run_dir(cluster.config, folder.name, host.id)))
    if alive := [node_id for node_id, answer in seen.ok.items() if answer.alive]:
        raise RunError(
            f"experiment {folder.name}: expected ended agents, got live ones on {', '.join(alive)}; stop first"
        )
    base = remote_base(cluster.config)
    keep = session.bundle().sha256
    remove = (
        f"rm -rf {base}/runs/{folder.name} && cd {base}/cache && for d in *; do [ $d = {keep} ] || rm -rf ./$d; done"
    )
    answers = cluster.each(lambda host: host.ask(remove), list(seen.ok))
    for node_id in answers.ok:
        session.console.say(f"{node_id}: cleaned")
    seen.demand()
    answers.demand()
