"""The order of a run: deploy, execute, collect. Details live in the modules these steps are named after."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from harness import interrupts, results
from harness.errors import (
    EXIT_COLLECTION,
    AllocationError,
    ConfigError,
    ExperimentExistsError,
    HarnessError,
    NothingRecordedError,
)
from harness.planning import RunSpec, new_run_id, new_run_key
from harness.run import collect, launch, outcome
from harness.run.monitor import Monitor, await_end
from node_agent.contract.records import (
    COLLECTED,
    DEPLOYED,
    EXPERIMENT,
    FINISHED_OK,
    RUN_FINISHED,
    RUN_RUNNING,
    WATCH,
    Manifest,
    NodeManifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from harness.agent import Agent
    from harness.check.preflight import Preflight
    from harness.cluster import Cluster
    from harness.console import Console, RunDisplay
    from harness.remote import AgentState, Stopped
    from harness.results import RunFolder
    from harness.session import Configs, Session
    from node_agent.contract.plan import NodePlan

INTERRUPTED: Final = "interrupted"
# Phases in which the nodes do what they are for.
_RUNNING: Final = ("start_coordinator", "broadcast", "start_nodes", "watch")


@dataclass
class Run:
    """One run under way: what it is, where it is kept, and who takes part."""

    spec: RunSpec
    folder: RunFolder
    cluster: Cluster
    agent: Agent
    plans: Mapping[str, NodePlan]
    console: Console

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Keep how long a phase took in the manifest, in s."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.folder.manifest.phase_seconds[phase] = round(time.monotonic() - begin, 3)


def deploy(session: Session, configs: Configs, name: str | None, predecessor: str | None = None) -> RunFolder:
    """Check the cluster, then make the results folder, the agent's place on every node and the run folders there.

    ``predecessor`` is the experiment that this one repeats, if it does.
    """
    name = results.new_name() if name is None else results.valid_name(name)
    if (session.results / name).exists():
        told = f"expected a new name, got one that has {session.results / name}"
        raise ExperimentExistsError(f"experiment {name}: {told}")
    results.demand_writable(session.results)
    session.attend_job(None)
    checked = session.check(configs)
    checked.demand()
    begin = time.monotonic()
    cluster = session.cluster().config
    spec = RunSpec(name, new_run_id(), cluster, configs.coordinator, configs.worker, configs.watch)
    manifest = _manifest(session, spec)
    manifest.predecessor = predecessor
    for node_id, plan in session.plans(spec, checked).items():
        _keep_plan(manifest.nodes[node_id], plan)
    _keep_facts(manifest, checked)
    launch.make_run_folders(session.cluster(), name)
    manifest.phase_seconds = {"check": round(session.check_s, 3), "deploy": round(time.monotonic() - begin, 3)}
    try:
        folder = results.create(session.results, manifest, configs.files)
    except ConfigError:
        launch.remove_run_folders(session.cluster(), name)
        raise
    session.note_deployed(name)
    session.console.say(f"deployed experiment={name} run_id={spec.run_id} folder={folder.path}")
    return folder


def execute(session: Session, folder: RunFolder, configs: Configs) -> None:
    """Carry out a deployed run and bring its results home, whatever happens; the outcome is in the manifest.

    Raises RunError if it could not be carried out, after everything was stopped and collected.
    """
    run = _prepare(session, folder, configs)
    monitor = Monitor(run.cluster, run.agent, folder.manifest)
    session.begun = True
    with interrupts.told_of_interrupt(run.console.say):
        failure: str | None = None
        try:
            _carry_out(run, monitor)
        except KeyboardInterrupt:
            failure = _why_ending(run.cluster, signalled=True)
            if failure is not None:
                raise AllocationError(failure) from None
            failure = INTERRUPTED
            raise
        except HarnessError as error:
            failure = str(error)
            raise
        except BaseException as error:
            failure = f"internal error: {type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
            raise
        finally:
            with interrupts.uninterrupted(run.console.say):
                _bring_home(session, run, monitor, configs, failure)


def _why_ending(cluster: Cluster, *, signalled: bool) -> str | None:
    """Return why whoever lends the nodes takes them back, if that is so."""
    return None if cluster.allocation is None else cluster.allocation.why_ending(signalled=signalled)


def _carry_out(run: Run, monitor: Monitor) -> None:
    """Start the workers, then the coordinator, or all at once to watch, and attend to them until all are over.

    Raises AllocationError rather than what came of it where the nodes were taken away meanwhile.
    """
    try:
        _start_and_attend(run, monitor)
    except HarnessError:
        _demand_nodes(run.cluster)
        raise
    _demand_nodes(run.cluster, ended_well=not any(view.failed for view in monitor.views.values()))


def _demand_nodes(cluster: Cluster, *, ended_well: bool = False) -> None:
    """Raise AllocationError if the nodes are taken away, or are about to be and agents heard of it already."""
    if cluster.allocation is not None:
        cluster.allocation.look()
        cluster.allocation.demand()
        if not ended_well and (reason := _why_ending(cluster, signalled=False)):
            raise AllocationError(reason)


def _start_and_attend(run: Run, monitor: Monitor) -> None:
    run_key, manifest = new_run_key(), run.folder.manifest
    in_order = {"start_workers": manifest.worker_ids, "start_coordinator": [manifest.coordinator_id]}
    if run.spec.watch is not None:
        in_order = {"start_nodes": list(manifest.nodes)}
    with _display(run.console, run.spec) as display:
        for phase, nodes in in_order.items():
            with run.timed(phase):
                launch.start(run.cluster, run.agent, run.plans, nodes, run_key)
                launch.await_ready(monitor, nodes, run.spec.ready_timeout_s, lambda: display.show(monitor.views))
        with run.timed("broadcast" if run.spec.watch is None else "watch"):
            show = partial(display.show, monitor.views)
            for node_id, reason in await_end(monitor, manifest.coordinator_id, run.spec, show).items():
                manifest.nodes[node_id].problems.append(reason)


def _display(console: Console, spec: RunSpec) -> AbstractContextManager[RunDisplay]:
    """Return what shows a run while it lasts."""
    every_s = None if spec.watch is None else spec.watch.every_s
    return console.display(spec.planned_s, spec.cluster.paths_in_words, spec.lead_s, every_s)


def _prepare(session: Session, folder: RunFolder, configs: Configs) -> Run:
    """Check once more unless this chain just did, and plan for the cluster as it is now."""
    if folder.manifest.phase != DEPLOYED:
        told = f"expected a deployment that has not run, got one that is {folder.manifest.phase}"
        raise ConfigError(f"experiment {folder.name}: {told}; deploy a new one")
    session.attend_job(None)
    checked = session.check(configs)
    checked.demand()
    spec = session.spec(folder, configs)
    _demand_same_nodes(folder, spec)
    plans = session.plans(spec, checked)
    if (allocation := session.cluster().allocation) is not None:
        folder.manifest.job = allocation.described()
    folder.manifest.phase = RUN_RUNNING
    folder.manifest.config["cluster"] = spec.cluster.model_dump()
    for node_id, node in folder.manifest.nodes.items():
        _keep_plan(node, plans[node_id])
    _keep_facts(folder.manifest, checked)
    folder.save()
    return Run(spec, folder, session.cluster(), session.agent(), plans, session.console)


def _demand_same_nodes(folder: RunFolder, spec: RunSpec) -> None:
    """Raise ConfigError where a scheduler gave other nodes than those that the experiment was deployed on."""
    deployed, now = list(folder.manifest.nodes), [node.id for node in spec.cluster.nodes]
    if deployed != now:
        told = f"expected the nodes it was deployed on ({', '.join(deployed)}), got {', '.join(now)}"
        raise ConfigError(f"experiment {folder.name}: {told}; deploy and run in one call: fab CLUSTER deploy run")


def _bring_home(session: Session, run: Run, monitor: Monitor, configs: Configs, failure: str | None) -> None:
    """Stop every agent, collect from every node, judge, and write it all down. Runs to its end after any failure."""
    run.cluster.settle()
    manifest = run.folder.manifest
    for node_id, view in monitor.views.items():  # all that is known of a node that cannot be collected
        manifest.nodes[node_id].status = asdict(view.status) if view.status else None
    with run.timed("stop"):
        stopped = launch.stop(run.cluster, run.agent, run.folder.name)
    for node_id, answer in stopped.ok.items():
        if answer.problem:
            manifest.nodes[node_id].problems.append(f"stop: {answer.problem}")
    _keep_deaths(manifest, stopped.ok)
    for node_id, error in stopped.failed.items():
        manifest.nodes[node_id].problems.append(f"stop: {error}")
    manifest.phase = RUN_FINISHED
    run.folder.save()
    bring_files(session, run.folder, configs, failure)
    run.console.say(_phases_line(manifest.phase_seconds, run.spec))


def _phases_line(seconds: Mapping[str, float], spec: RunSpec) -> str:
    """Return one line of every phase's time and the overhead, in s.

    That is what was neither events (or a watch), drain and tail nor the probes before the first event; these begin as
    soon as the coordinator (in a watch: each node) is ready, while the harness still looks whether it is.
    """
    each = " ".join(f"{phase}={took:.1f}s" for phase, took in seconds.items())
    wanted_s = spec.planned_s + spec.lead_s
    running_s = sum(seconds.get(phase, 0.0) for phase in _RUNNING)
    own_s = min(running_s, wanted_s)  # less than wanted in a run that was cut short
    overhead_s = sum(seconds.values()) - own_s
    own = "probes, events, drain and tail" if spec.watch is None else "probes and readings"
    return f"phases {each} overhead={overhead_s:.1f}s (without {own_s:.1f}s of {own})"


def bring_files(session: Session, folder: RunFolder, configs: Configs, failure: str | None) -> None:
    """Collect from every node, judge the run and save the manifest; the outcome goes into the exit code."""
    manifest, cluster = folder.manifest, session.cluster()
    begin = time.monotonic()
    wrong = collect.collect(cluster, session.agent(), folder, configs.worker.timing.commit_wait_delays)
    manifest.phase_seconds["collect"] = round(time.monotonic() - begin, 3)
    without_records = {node_id for node_id, error in wrong.items() if isinstance(error, NothingRecordedError)}
    if failure is None:  # else it failed before an agent there could record anything, and all there is came home
        without_records = set()
    complete = all(node.checksums_verified or node_id in without_records for node_id, node in manifest.nodes.items())
    manifest.phase = COLLECTED if complete else RUN_FINISHED
    lent: list[str] = []
    if cluster.allocation is not None:
        outcomes = [node.status["outcome"] if node.status else None for node in manifest.nodes.values()]
        lent = cluster.allocation.remarks(run_over=all(ended == FINISHED_OK for ended in outcomes))
        manifest.job = cluster.allocation.described()
    manifest.outcome, problems = outcome.judge(manifest, configs.coordinator, configs.worker, failure, lent)
    manifest.problems = list(dict.fromkeys([*problems, *(f"collect: {error}" for error in wrong.values())]))
    manifest.notes = session.path_notes()
    folder.save()
    for node_id, node in manifest.nodes.items():
        how = f"collected node={node_id} by={node.collected_by} verified={node.checksums_verified}"
        session.console.say(how if node_id not in wrong else f"not collected node={node_id}")
    ended = f"{manifest.outcome} ({INTERRUPTED})" if failure == INTERRUPTED else manifest.outcome
    session.console.say(f"run experiment={folder.name} outcome={ended} folder={folder.path}")
    for problem in manifest.problems:
        session.console.say(f"problem: {problem}")
    for note in manifest.notes:
        session.console.say(f"note: {note}")
    if unheard := session.console.failure:  # which is no fault of the run
        manifest.notes.append(f"nobody listened to the end: standard output: {unheard}")
        folder.save()
    missing = wrong.keys() - without_records
    session.note(max(outcome.exit_code(manifest, without_records), EXIT_COLLECTION if missing else 0))


def _keep_plan(node: NodeManifest, plan: NodePlan) -> None:
    """Keep what a node is told to do; from it and the raw files every reading can be computed again."""
    node.plan = asdict(plan)
    node.virtual_clock = node.plan["virtual_clock"]


def _keep_deaths(manifest: Manifest, answers: Mapping[str, Stopped] | Mapping[str, AgentState]) -> None:
    """Note what killed agents that died without a word, each once."""
    for node_id, answer in answers.items():
        problems = manifest.nodes[node_id].problems
        if answer.death and answer.death not in problems:
            problems.append(answer.death)


def _keep_facts(manifest: Manifest, checked: Preflight) -> None:
    for node in checked.nodes:
        manifest.nodes[node.node_id].facts = asdict(node.facts)


def _manifest(session: Session, spec: RunSpec) -> Manifest:
    version = results.code_version(session.root) | {"agent_sha256": session.bundle().sha256}
    remotes, allocation = session.cluster().remotes, session.cluster().allocation
    config = {name: getattr(spec, name).model_dump() for name in ("cluster", "coordinator", "worker")}
    if spec.watch is not None:
        config[WATCH] = asdict(spec.watch)
    return Manifest(
        run_id=spec.run_id,
        experiment=spec.name,
        cluster=spec.cluster.name,
        phase=DEPLOYED,
        outcome=None,
        created_utc=results.utc_now(),
        code_version=version,
        argv=sys.argv,
        config=config,
        nodes={node.id: NodeManifest(node.id, node.role, remotes[node.id].place) for node in spec.cluster.nodes},
        job=None if allocation is None else allocation.described(),
        kind=EXPERIMENT if spec.watch is None else WATCH,
    )


def pick_up(session: Session, folder: RunFolder, configs: Configs) -> None:
    """Collect a run that this or another process started; while agents still work, wait for their end first."""
    manifest, cluster, agent = folder.manifest, session.cluster(), session.agent()
    if manifest.phase == DEPLOYED:
        raise ConfigError(f"experiment {folder.name}: expected one that was run, got one that is only deployed")
    installed = cluster.each(agent.install)
    spec = session.spec(folder, configs)
    monitor = Monitor(cluster, agent, manifest)
    seen = launch.see(cluster, agent, folder.name, installed.ok)
    alive = [node_id for node_id, answer in seen.ok.items() if answer.alive]
    if alive:
        for error in installed.failed.values():
            session.console.say(f"problem: {error}")
        session.console.say(f"still running nodes={','.join(alive)}; waiting for their end")
        with _display(session.console, spec) as display:
            show = partial(display.show, monitor.views)
            left = await_end(monitor, manifest.coordinator_id, spec, show, list(installed.ok))
        for node_id, answer in launch.stop(cluster, agent, folder.name, list(left)).ok.items():
            problem = f"; {answer.problem}" if answer.problem else ""
            session.console.say(f"stopped node={node_id}: {left[node_id]}{problem}")
        seen = launch.see(cluster, agent, folder.name, installed.ok)
    _keep_deaths(manifest, seen.ok)
    failure = outcome.kept_failure(manifest)
    bring_files(session, folder, configs, failure)
    if cluster.allocation is not None and manifest.phase == COLLECTED:
        cluster.allocation.give_back()


def verify_kept(session: Session, folder: RunFolder) -> int:
    """Verify what is at home of a run whose hosts are no more; return the exit code that says how complete it is."""
    wrong = collect.verify(folder)
    folder.save()
    for node_id, reason in wrong.items():
        never = not folder.raw(node_id).is_dir()
        lost = f"{node_id}: nothing at home; it was not collected, and the data went with the embedded cluster"
        session.console.say(f"problem: {lost if never else reason}")
    verified = len(folder.manifest.nodes) - len(wrong)
    told = f"verified at home: {verified} of {len(folder.manifest.nodes)} nodes"
    session.console.say(f"its embedded cluster has ended; {told}")
    return outcome.exit_code(folder.manifest)
