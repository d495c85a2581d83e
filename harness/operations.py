"""Looking after runs from outside: status, logs, stop and clean. Nothing here starts anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness import interrupts, shell
from harness.errors import ConfigError, RunError
from harness.planning import remote_base, run_dir
from harness.run import launch
from harness.run.monitor import Monitor
from node_agent.contract.records import COLLECTED, DEPLOYED, LOG_FILE, RUN_RUNNING

if TYPE_CHECKING:
    from harness.remote import Remote
    from harness.results import RunFolder
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
    cluster.each(agent.install)
    answers = launch.see(cluster, agent, folder.name)
    rows = []
    for node_id, node in manifest.nodes.items():
        if node_id not in answers.ok:
            rows.append([node_id, node.role, "unknown", "", "", "", str(answers.failed[node_id])])
            continue
        seen = answers.ok[node_id]
        state, now = "alive" if seen.alive else "ended", seen.status
        counts = " ".join(f"{name}={count}" for name, count in now.counts.items() if count) if now else ""
        remark = seen.problem or seen.death or (", ".join(now.waiting_for) or now.detail if now else "")
        phase, outcome = (now.phase, now.outcome or "") if now else ("", "")
        rows.append([node_id, node.role, state, phase, outcome, counts, remark])
    session.console.table(f"{folder.name} on {manifest.cluster}", STATUS_COLUMNS, rows)
    answers.demand()


def logs(session: Session, folder: RunFolder, lines: int, *, follow: bool = False) -> None:
    """Show the last lines of every agent's log, from the node, else from what was collected.

    With ``follow``, go on with what is new once a second until every agent of the run is over, or Ctrl-C.
    """
    if lines < 0:
        raise ConfigError(f"--lines: expected 0 or more, got {lines}")
    begun: dict[str, _Log] = {}
    if not session.gone(folder):
        config, name = session.cluster().config, folder.name
        answers = session.cluster().each(lambda remote: _last_lines(remote, run_dir(config, name, remote.id), lines))
        begun = answers.ok
        for node_id, error in answers.failed.items():
            session.console.say(f"problem: {node_id}: {error}")
    for node_id in folder.manifest.nodes:
        text = begun[node_id].text if node_id in begun else ""
        kept = folder.raw(node_id) / LOG_FILE
        if not text and kept.is_file() and lines:
            text = "".join(kept.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[-lines:])
        session.console.say(f"--- {node_id}")
        session.console.say(text.rstrip() or "no log")
    if follow and begun:
        _follow(session, folder, begun)


@dataclass
class _Log:
    """What has been shown of a node's log: its last text, and how many bytes of the file at ``path`` that was."""

    path: str  # for the shell
    text: str
    shown_bytes: int


def _last_lines(remote: Remote, folder: str, lines: int) -> _Log:
    """Return the end of a log as it is now; a line that is still being written is left for later."""
    path = shell.path(f"{folder}/{LOG_FILE}")
    command = f"s=$(cat {path} 2>/dev/null | wc -c); echo $s; head -c $s {path} 2>/dev/null | tail -n {lines}"
    size, _, text = remote.ask_of_files(command).partition("\n")
    whole = text[: text.rfind("\n") + 1]
    return _Log(path, whole, int(size) - len(text[len(whole) :].encode()))


def _follow(session: Session, folder: RunFolder, logs: dict[str, _Log]) -> None:
    """Show what is added to the logs until every agent that has one is over; no longer than a run may take."""
    cluster = session.cluster()
    cluster.each(session.agent().install, logs)
    monitor = Monitor(cluster, session.agent(), folder.manifest, logs)

    def still() -> str | None:
        views = monitor.look()  # before the last lines are fetched: what an agent that is over wrote is then complete
        answers = cluster.each(lambda remote: _news(remote, logs[remote.id]), logs, plain=True)
        for node_id, text in answers.ok.items():
            for line in text.splitlines():
                session.console.say(f"{node_id}: {line}")
        if session.console.failure:  # there is nobody to follow them for
            return None
        return ", ".join(node_id for node_id, view in views.items() if not view.over) or None

    spec = session.spec(folder, session.kept_configs(folder))
    interrupts.until("end of the run", still, spec.lease_s, poll_s=1.0)


def _news(remote: Remote, log: _Log) -> str:
    """Return the whole lines that were added since."""
    text = remote.ask_of_files(f"tail -c +{log.shown_bytes + 1} {log.path} 2>/dev/null || true")
    whole = text[: text.rfind("\n") + 1]
    log.shown_bytes += len(whole.encode())
    return whole


def stop(session: Session, folder: RunFolder) -> None:
    """Stop every agent of the run by its recorded pid. Raises RunError if one may still live."""
    if session.gone(folder):
        session.console.say("nothing to stop: its embedded cluster has ended, and its hosts with it")
        return
    agent, cluster = session.agent(), session.cluster()
    cluster.each(agent.install)
    answers = launch.stop(cluster, agent, folder.name)
    for node_id, stopped in answers.ok.items():
        state = "stopped" if stopped.was_alive else "was not running"
        session.console.say(f"{node_id}: {stopped.problem or state}")
    answers.demand()


def clean(session: Session, folder: RunFolder, *, force: bool, yes: bool = False) -> None:
    """Remove the run's folders on the nodes, and old agents from their caches; what is at home stays.

    Without ``yes`` or ``force`` it only says what it would remove. Nothing goes but the run's own folder and cached
    agents (folders named by a sha256) that are not this version's and that no other run there was recorded with.

    Raises ConfigError if the run was not collected (unless ``force``) and RunError where an agent still works.
    """
    if session.gone(folder):
        session.console.say("nothing to clean: its embedded cluster has ended, and its hosts with it")
        return
    if folder.manifest.phase != COLLECTED and not force:
        wrong = f"expected a collected run, got one that is {folder.manifest.phase}"
        raise ConfigError(f"experiment {folder.name}: {wrong}; collect it first, or clean --force")
    agent, cluster = session.agent(), session.cluster()
    cluster.each(agent.install)
    seen = launch.see(cluster, agent, folder.name)
    if alive := [node_id for node_id, state in seen.ok.items() if state.alive]:
        there = ", ".join(alive)
        raise RunError(f"experiment {folder.name}: expected ended agents, got live ones on {there}; stop first")
    listing = _ours(remote_base(cluster.config), folder.name, agent.bundle.sha256)
    remove = yes or force

    def look_and_remove(remote: Remote) -> list[str]:
        places = remote.ask_of_files(listing).splitlines()
        if remove and places:
            remote.ask_of_files(f"rm -rf -- {' '.join(shell.path(place) for place in places)}")
        return places

    answers = cluster.each(look_and_remove, seen.ok)
    for node_id, places in answers.ok.items():
        done = "removed" if remove else "would remove"
        session.console.say(f"{node_id}: {done} {' '.join(places)}" if places else f"{node_id}: nothing to remove")
    if not remove and any(answers.ok.values()):
        session.console.say("nothing was removed; to remove it: clean --yes")
    seen.demand()
    answers.demand()


_SHA256_GLOB: Final = "[0-9a-f]" * 64


def _ours(base: str, experiment: str, keep: str) -> str:
    """Return a command that finds, and prints, what of this project's may go from a node: one place a line."""
    runs, cache = shell.path(f"{base}/runs"), shell.path(f"{base}/cache")
    own = shell.word(experiment)
    return (
        f"[ -d {runs}/{own} ] && echo {runs}/{own}; "
        f"for d in {cache}/{_SHA256_GLOB}; do n=${{d##*/}}; "
        f"[ -d $d ] && [ $n != {keep} ] || continue; "
        f"for s in {runs}/*/*/status.json; do case $s in {runs}/{own}/*) ;; *) "
        f'grep -qs $n "$s" && continue 2 ;; esac; done; echo $d; done'
    )
