"""One ``fab`` process: the selected cluster, what is connected, what was checked, and the exit code to end with.

Tasks of one chain share it. Everything is made when first needed and ended by ``close``, the embedded cluster included.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any, Final

from harness import bundle as bundles
from harness import interrupts, localcluster, results
from harness.agent import Agent
from harness.check import preflight
from harness.configuration import experiment
from harness.configuration.slurm import SSH
from harness.console import Console
from harness.errors import ConfigError, HarnessError, PreflightError, cause
from harness.local import LocalRemote
from harness.planning import RunSpec, node_plans, require_services, require_two_ports, within
from harness.slurm.cluster import connect as on_job
from harness.slurm.cluster import find_job, job_we_are_in, on_nodes_of
from harness.slurm.commands import Slurm
from harness.slurm.submission import attempt
from harness.ssh.cluster import connect, fronts, with_ssh_config
from harness.ssh.route import given_by
from harness.testbed import topology
from node_agent.contract.plan import WatchPlan
from node_agent.contract.records import DEPLOYED, LATEST, WATCH, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.check.preflight import Preflight
    from harness.cluster import Cluster
    from harness.configuration.cluster import ClusterConfig, NodeConfig
    from harness.configuration.experiment import CoordinatorConfig, WorkerConfig
    from harness.localcluster import LocalCluster
    from harness.remote import Remote
    from harness.results import RunFolder
    from harness.slurm.job import Job
    from node_agent.contract.plan import NodePlan

DEFAULT_CLUSTER: Final = "ares"


@dataclass(frozen=True)
class Configs:
    """The two configurations of an experiment and the files they came from, and what was asked for beside them."""

    coordinator: CoordinatorConfig
    worker: WorkerConfig
    files: tuple[Path, ...]
    watch: WatchPlan | None = None  # in place of the coordinator's events


class Session:
    """What the tasks of one chain share."""

    def __init__(self, root: Path, console: Console | None = None) -> None:
        """Start with the default cluster selected and nothing connected. ``root`` is the folder of the fabfile."""
        self.root = root
        self.results = _short(root / results.RESULTS)
        self.console = console or Console()
        self.exit_code = 0
        self.begun = False  # whether a run was begun, so that something was started
        self.check_s = 0.0  # how long the last check took, connecting included
        self.deployed: str | None = None  # the experiment that later tasks of this chain mean
        self._deployed_here: set[str] = set()
        self.fabric_settings: Any = None
        self.job_s = 0.0  # how long a job is to last that is asked for
        self.least_s = 0.0  # how long a run in it takes at least
        self._recorded_job: dict[str, Any] | None = None
        self._selected: str | None = None
        self._direct = False
        self._local: LocalCluster | None = None
        self._cluster: Cluster | None = None
        self._bundles: dict[str | None, bundles.Bundle] = {}  # by what the cluster file says
        self._checked: tuple[Configs, Preflight] | None = None

    # --- the cluster

    @property
    def cluster_name(self) -> str:
        """Return the selected cluster's name."""
        return self._selected or DEFAULT_CLUSTER

    def select(self, name: str, *, direct: bool = False) -> None:
        """Select the cluster for the tasks that follow; ``direct`` leaves out its gateway."""
        if (name, direct) != (self._selected, self._direct):
            self.close()
            self.deployed = None
            self._recorded_job = None
        self._selected, self._direct = name, direct
        self.cluster_config()

    def select_for(self, manifest: Manifest) -> None:
        """Select an experiment's own cluster, unless another was asked for: that is a ConfigError."""
        if self._selected is None:
            self._selected = manifest.cluster
        elif self._selected != manifest.cluster:
            told = f"{manifest.cluster} (where {manifest.experiment} was deployed)"
            got = f"got {self._selected}; name an --experiment of {self._selected}"
            raise ConfigError(f"cluster: expected {told}, {got}")

    def cluster_config(self) -> ClusterConfig:
        """Return the selected cluster as its file says. Raises ConfigError."""
        read = experiment.load_cluster(_short(self.root / experiment.CLUSTERS / f"{self.cluster_name}.yaml"))
        return read.model_copy(update={"gateway": None}) if self._direct else read

    @property
    def lends_nodes(self) -> bool:
        """Return whether the selected cluster's nodes are those of a job that there is none of yet."""
        wanted = self.cluster_config()
        return wanted.scheduler is not None and self._cluster is None and job_we_are_in() is None

    def cluster(self) -> Cluster:
        """Return the selected cluster, connected lazily; an embedded one is started now, a job is asked for."""
        if self._cluster is None:
            wanted = self.cluster_config()
            if wanted.embedded:
                self._local = localcluster.start(wanted)
                wanted = self._local.cluster
                hosts = ",".join(node.host for node in wanted.nodes)
                services = " ".join(f"{name}={at.address} (pid {at.pid})" for name, at in self._local.services.items())
                self.console.say(f"embedded cluster started hosts={hosts} {services}")
                if wanted.paths is not None:
                    self.console.say(f"paths: {wanted.paths_in_words}")
            settings = self.fabric_settings
            if wanted.testbed:
                wanted, settings = on_testbed(wanted, settings)
            self._cluster = self._on_slurm(wanted, settings) if wanted.scheduler else connect(wanted, settings)
            for note in self._cluster.notes:
                self.console.say(f"note: {note}")
        return self._cluster

    def slurm(self) -> tuple[Slurm, Callable[[str], Remote], Sequence[str], ExitStack]:
        """Return Slurm's commands, what makes ways to where they are, notes about these, and what they share."""
        wanted = self.cluster_config()
        if wanted.gateway is None or job_we_are_in() is not None:
            return Slurm(LocalRemote("slurm")), LocalRemote, (), ExitStack()
        new, notes, shared = fronts(wanted, self.fabric_settings)
        front = new("slurm")
        shared.callback(front.close)
        return Slurm(front), new, notes, shared

    def attempt(self, name: str | None) -> tuple[str | None, str | None]:
        """Return the name of an experiment, and the one that it repeats if our job was put back into the queue."""
        return (name, None) if name is None or self.cluster_config().scheduler is None else attempt(name)

    def requeue(self) -> bool:
        """Let the job that we are in begin again if it was preempted and is to; return whether it will."""
        allocation = self._cluster.allocation if self._cluster is not None else None
        return allocation is not None and allocation.requeue()

    def _on_slurm(self, wanted: ClusterConfig, settings: Any) -> Cluster:
        """Return the nodes of a job: the one that the task's experiment had, the one we are in, or a new one."""
        if self._recorded_job is None:
            self.bundle()  # or nodes would be lent to nobody who could use them
        slurm, new, notes, shared = self.slurm()
        with ExitStack() as undo:
            undo.push(shared)
            job = find_job(wanted, slurm, self.job_s, self.least_s, self._recorded_job, self.console.say)
            undo.callback(self._give_back, job)
            interrupts.heed_hangup()
            wanted = on_nodes_of(wanted, job)
            self.console.say(f"slurm: {job.name} nodes={','.join(node.host for node in wanted.nodes)}")
            if wanted.job.launch == SSH:
                return connect(wanted, settings, job, undo.pop_all())
            return on_job(wanted, job, new, notes, undo.pop_all())

    def _give_back(self, job: Job) -> None:
        if job.release():
            self.console.say(f"slurm: {job.name} given back")

    # --- the experiment

    def configs(
        self,
        folder: str | None = None,
        coordinator: str | None = None,
        worker: str | None = None,
        watch: WatchPlan | None = None,
    ) -> Configs:
        """Read the experiment's configuration files, from ``configs/`` unless told. Raises ConfigError."""
        base = Path(folder) if folder else _short(self.root / experiment.CONFIGS)
        coordinator_path = Path(coordinator) if coordinator else base / experiment.COORDINATOR_CONFIG
        worker_path = Path(worker) if worker else base / experiment.WORKER_CONFIG
        read = (experiment.load_coordinator(coordinator_path), experiment.load_worker(worker_path))
        require_services(self.cluster_config(), read[1])
        require_two_ports(*read)
        spec = RunSpec("", "", self.cluster_config(), *read, watch)
        self.job_s, self.least_s = max(self.job_s, spec.job_s), max(self.least_s, spec.least_s)
        cluster_path = _short(self.root / experiment.CLUSTERS / f"{self.cluster_name}.yaml")
        return Configs(*read, (coordinator_path, worker_path, cluster_path), watch)

    def kept_configs(self, folder: RunFolder) -> Configs:
        """Return the configuration an experiment was deployed with."""
        kept = folder.manifest.config
        watch = WatchPlan(**kept[WATCH]) if folder.manifest.kind == WATCH else None
        return Configs(
            experiment.CoordinatorConfig.model_validate(kept["coordinator"]),
            experiment.WorkerConfig.model_validate(kept["worker"]),
            (),
            watch,
        )

    def find(self, name: str | None) -> RunFolder:
        """Return the experiment a task means: the named, else this chain's, else the latest. Selects its cluster."""
        folder = results.find(self.results, self.deployed if name is None else name)
        self.select_for(folder.manifest)
        if folder.name not in self._deployed_here:
            self.attend_job(folder.manifest.job)
        return folder

    def attend_job(self, recorded: dict[str, Any] | None) -> None:
        """Let the nodes be those of a job that a manifest recorded, None: of a new one (or the one we are in)."""
        if self._recorded_job != recorded:
            self.close()
        self._recorded_job = recorded

    def renew_job(self, lasting_s: float) -> bool:
        """Give back the job that we allocated, if any; the next one lasts so long. Return False inside a job."""
        if self.cluster_config().scheduler is None:
            return True
        if job_we_are_in() is None:
            self.close()
            self.job_s = lasting_s
        return job_we_are_in() is None

    def note_deployed(self, name: str) -> None:
        """Let later tasks of this chain mean this experiment."""
        self.deployed = name
        self._deployed_here.add(name)

    def waiting(self) -> RunFolder | None:
        """Return the experiment that is deployed on the selected cluster and waits for its run, if the latest does."""
        if self.deployed is None and not (self.results / LATEST).exists():
            return None
        folder = results.find(self.results, self.deployed)
        there = folder.manifest.cluster == self.cluster_name
        return folder if there and folder.manifest.phase == DEPLOYED and not self.gone(folder) else None

    def gone(self, folder: RunFolder) -> bool:
        """Return whether an experiment's hosts were an embedded cluster that has ended."""
        embedded = bool(folder.manifest.config["cluster"].get("embedded"))
        return embedded and folder.name not in self._deployed_here

    def spec(self, folder: RunFolder, configs: Configs) -> RunSpec:
        """Return what defines a run on the cluster as it is now."""
        cluster = self.cluster().config
        return RunSpec(folder.name, folder.manifest.run_id, cluster, configs.coordinator, configs.worker, configs.watch)

    def plans(self, spec: RunSpec, checked: Preflight) -> dict[str, NodePlan]:
        """Return every node's plan, with the addresses that the paths of an embedded cluster give the others."""
        plans = node_plans(spec, checked.addresses, checked.nodes_with)
        plans = within(self.cluster().allocation, spec, plans)
        return self._local.through_paths(plans) if self._local is not None else plans

    def path_notes(self) -> list[str]:
        """Return what was lost on the paths of the embedded cluster so far, a line per path that lost anything."""
        try:
            counts = self._local.path_counts() if self._local is not None else {}
        except HarnessError as error:  # no reason to lose a run
            return [str(error)]
        return [
            f"path {name}: {count.dropped + count.missed} packets lost ({count.dropped} where its queue was full, "
            f"{count.missed} before its relay could read them), {count.passed} delivered"
            for name, count in counts.items()
            if count.dropped or count.missed
        ]

    # --- the agent

    def bundle(self) -> bundles.Bundle:
        """Return the agent's bundle: the cluster file's own, if it names one, else built; looked at once.

        Raises ConfigError for one that is not of this source tree.
        """
        path = self.cluster_config().agent_bundle
        if path not in self._bundles:
            given = None if path is None else self.root / Path(path).expanduser()
            bundle = self.built_bundle() if given is None else bundles.given(_short(given), self.root)
            self._bundles[path] = bundle
            self.console.say(f"agent bundle sha256={bundle.sha256} bytes={bundle.size_bytes}")
        return self._bundles[path]

    def built_bundle(self) -> bundles.Bundle:
        """Return the bundle that is built of this source tree. Raises PreflightError."""
        try:
            return bundles.build(self.root)
        except (OSError, SubprocessError) as error:
            advice = "or let XDG_CACHE_HOME name a folder for it that can be written"
            raise PreflightError(f"agent bundle: expected to build it, got: {cause(error)}; {advice}") from error

    def agent(self) -> Agent:
        """Return the agent of this source tree, for the connected cluster."""
        return Agent(self.cluster().config, self.bundle())

    def check(self, configs: Configs, *, show: bool = False) -> Preflight:
        """Return the preflight table for these configurations; a chain asks only once. Does not judge it."""
        known = self._checked
        wanted = (configs.coordinator, configs.worker, configs.watch)
        if known is None or (known[0].coordinator, known[0].worker, known[0].watch) != wanted:
            begin = time.monotonic()
            found = preflight.check(self.cluster(), self.agent(), *wanted)
            self.check_s = time.monotonic() - begin
            known = self._checked = (configs, found)
            show = True
        if show:
            self.console.check_table(self.cluster_name, known[1])
            for note in known[1].notes:
                self.console.say(f"note: {note}")
        return known[1]

    # --- the end

    def note(self, exit_code: int) -> None:
        """Remember an outcome for the end of the chain; the highest wins."""
        self.exit_code = max(self.exit_code, exit_code)

    def close(self) -> None:
        """Close connections, and the embedded cluster with its hosts."""
        try:
            if self._cluster is not None:
                self._cluster.close()
        finally:
            self._cluster = self._checked = None
            self._deployed_here.clear()
            if self._local is not None:
                self._local.close()
                self._local = None


def on_testbed(wanted: ClusterConfig, settings: Any) -> tuple[ClusterConfig, Any]:
    """Return the cluster with its virtual clocks started when the testbed was, and how to get in.

    The testbed is the one whose ssh_config ``fab -S`` was given, else the usual one. Raises PreflightError without one.
    """
    given = given_by(settings).config_file
    state = topology.read_state(topology.place() if given is None else Path(given).parent)

    def started(node: NodeConfig) -> NodeConfig:
        clock = node.virtual_clock
        if clock is None:
            return node
        return node.model_copy(update={"virtual_clock": clock.model_copy(update={"epoch_ns": state.started_ns})})

    nodes = [started(node) for node in wanted.nodes]
    return wanted.model_copy(update={"nodes": nodes}), with_ssh_config(settings, state.ssh_config)


def _short(path: Path) -> Path:
    """Return a path as the user would type it: relative where it lies below the current folder."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
