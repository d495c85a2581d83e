"""What you do to a cluster: ``fab [CLUSTER] check deploy run watch collect status logs stop clean experiment ...``.

The name of a file in configs/clusters/ selects that cluster for the tasks that follow (default: ares). Tasks of one
chain share connections and the experiment. Exit codes: docs/DEPLOYMENT.md.
"""

from __future__ import annotations

import difflib
import re
import signal
import traceback
from pathlib import Path
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any

import fabric
import fabric.main
from invoke import Collection, Context, Exit
from invoke.tasks import Task

from harness import bundle as bundles
from harness import experiment as experiments
from harness import interrupts, operations, results, submissions
from harness.configuration import experiment as config
from harness.configuration.yaml_files import CLUSTER_NAME, almost_a_cluster
from harness.errors import (
    EXIT_ANALYSIS,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_PREFLIGHT,
    EXIT_RUN,
    EXIT_USAGE,
    ConfigError,
    HarnessError,
    cause,
)
from harness.invocation import command_line, fabric_settings
from harness.invocation.command_line import whole_number
from harness.planning import watch_plan
from harness.session import Configs, Session
from harness.sweep import execution as sweeps
from harness.testbed import keeper, topology
from harness.testbed.slurm.files import CGROUP, LINUXPROC, PARTITIONS
from node_agent import streams
from node_agent.contract.records import STATISTICS_DIR

if TYPE_CHECKING:
    from invoke.exceptions import ParseError

    from harness.results import RunFolder

ROOT = Path(__file__).parent
DEMO_CONFIGS = ROOT / config.CONFIGS / "demo"
DEMO_CLUSTER = "campus"
fabric_settings.begin()
streams.install()
session = Session(ROOT)

CONFIG_HELP = {
    "config-dir": "folder of coordinator_config.yaml and worker_config.yaml (default: configs)",
    "coordinator-config": "a coordinator configuration of its own",
    "worker-config": "a worker configuration of its own",
}
NEW_NAME = {"experiment": "name of the new experiment (default: UTC time and a short id)"}
TESTBED_NAME = {"name": "of the testbed (default: testbed); several can be up at once"}
KNOWN_NAME = {"experiment": "name of the experiment (default: the latest)"}


@fabric.task(help=CONFIG_HELP)
def check(_: Context, config_dir: str = "", coordinator_config: str = "", worker_config: str = "") -> None:
    """Check every node and service by protocol and print what was found; change nothing.

    Nodes that Slurm has yet to lend are checked in the job, before the run; Slurm is asked when one could start.
    """
    chosen = session.configs(config_dir, coordinator_config, worker_config)
    if session.lends_nodes:
        submissions.forecast(session)
    else:
        session.check(chosen, show=True).demand()


@fabric.task(help=NEW_NAME | CONFIG_HELP)
def deploy(
    _: Context,
    experiment: str | None = None,
    config_dir: str = "",
    coordinator_config: str = "",
    worker_config: str = "",
) -> None:
    """Make the results folder and every node's run folder; `latest` points to it from now on."""
    experiments.deploy(session, session.configs(config_dir, coordinator_config, worker_config), experiment)


@fabric.task(help=NEW_NAME | CONFIG_HELP)
def run(
    _: Context,
    experiment: str | None = None,
    config_dir: str = "",
    coordinator_config: str = "",
    worker_config: str = "",
) -> None:
    """Carry out the deployed experiment (deploy one if there is none) and collect it, whatever happens."""
    chosen = session.configs(config_dir, coordinator_config, worker_config)
    folder = _deployed(experiment, given=bool(config_dir or coordinator_config or worker_config))
    if folder is None:
        folder = experiments.deploy(session, chosen, *session.attempt(experiment))
    experiments.execute(session, folder, session.kept_configs(folder))


@fabric.task(
    help={
        "hours": "how long, e.g. 8 or 0.5",
        "every": "seconds from one reading of every clock to the next (default: 9.3, so that samples are of all ages)",
    }
    | NEW_NAME
    | CONFIG_HELP
)
def watch(
    _: Context,
    hours: str = "",
    every: str = "9.3",
    experiment: str | None = None,
    config_dir: str = "",
    coordinator_config: str = "",
    worker_config: str = "",
) -> None:
    """Read every clock on every node for some hours, without events; probes as configured. Collect it as `run` does."""
    chosen = session.configs(config_dir, coordinator_config, worker_config, watch_plan(hours, every))
    folder = experiments.deploy(session, chosen, *session.attempt(experiment))
    experiments.execute(session, folder, session.kept_configs(folder))


@fabric.task(help=KNOWN_NAME)
def collect(_: Context, experiment: str | None = None) -> None:
    """Bring home what is missing, verify all of it; wait first if the run is still going on."""
    folder = session.find(experiment)
    if session.gone(folder):
        session.note(experiments.verify_kept(session, folder))
    else:
        experiments.pick_up(session, folder, session.kept_configs(folder))


@fabric.task(help=KNOWN_NAME)
def status(_: Context, experiment: str | None = None) -> None:
    """Show what every node says of its agent."""
    operations.status(session, session.find(experiment))


@fabric.task(
    help=KNOWN_NAME
    | {"lines": "how many of the last lines of each log", "follow": "go on until the run ends, or Ctrl-C"}
)
def logs(_: Context, experiment: str | None = None, lines: str = "40", follow: bool = False) -> None:
    """Show the agents' logs."""
    operations.logs(session, session.find(experiment), whole_number("lines", lines, 0), follow=follow)


@fabric.task(help=KNOWN_NAME)
def stop(_: Context, experiment: str | None = None) -> None:
    """Stop the agents of an experiment, each by its recorded process."""
    operations.stop(session, session.find(experiment))


@fabric.task(help=KNOWN_NAME | {"yes": "remove it", "force": "remove it even if it was not collected"})
def clean(_: Context, experiment: str | None = None, yes: bool = False, force: bool = False) -> None:
    """Say what of an experiment can go from the nodes, with --yes remove it; results at home stay."""
    operations.clean(session, session.find(experiment), force=force, yes=yes)


@fabric.task(help=NEW_NAME | CONFIG_HELP)
def experiment(
    _: Context,
    experiment: str | None = None,
    config_dir: str = "",
    coordinator_config: str = "",
    worker_config: str = "",
) -> None:
    """Do it all: check, deploy, run, collect, analyse."""
    _experiment(session.configs(config_dir, coordinator_config, worker_config), experiment)


@fabric.task(help=NEW_NAME | CONFIG_HELP)
def submit(
    _: Context,
    experiment: str | None = None,
    config_dir: str = "",
    coordinator_config: str = "",
    worker_config: str = "",
) -> None:
    """Let Slurm do `experiment` in a batch job, this program in it; the terminal is free at once."""
    chosen = session.configs(config_dir, coordinator_config, worker_config)
    options = {"config-dir": config_dir, "coordinator-config": coordinator_config, "worker-config": worker_config}
    submissions.submit(session, chosen, experiment, [f"--{name}={value}" for name, value in options.items() if value])


@fabric.task(help=NEW_NAME)
def demo(_: Context, experiment: str | None = None) -> None:
    """Show the whole experiment on an embedded cluster, in a minute or so."""
    session.select(DEMO_CLUSTER)
    _experiment(session.configs(str(DEMO_CONFIGS)), experiment)


@fabric.task(
    help={
        "name": "of a file in configs/sweeps/",
        "plan": "say what there is to do and how long; start nothing",
        "submit": "let Slurm do it: an array of batch jobs, one for each block",
    }
)
def sweep(_: Context, name: str, plan: bool = False, submit: bool = False) -> None:
    """Carry out a matrix of configurations, each several times; go on where an earlier call ended.

    On Slurm every block (all cells once) has a job of its own, so that its runs have the same nodes.
    """
    if plan and submit:
        raise ConfigError("sweep: expected --plan or --submit, got both")
    if submit:
        submissions.submit_sweep(session, name, sweeps.blocks_left(session, name))
    elif plan:
        sweeps.plan(session, name)
        _say_runs_needed(name)
    else:
        sweeps.carry_out(session, name)


@fabric.task(
    name="testbed-up",
    help=TESTBED_NAME
    | {
        "ipv6": "hosts with IPv6 addresses alone, for testbed-ipv6",
        "slurm": "hosts with a real Slurm and one /home for all; nodes let in only who has a job there",
        "cgroup": "with --slurm: it tracks and limits jobs by control groups (default: by parent processes)",
    },
)
def bring_testbed_up(
    _: Context, name: str = topology.DEFAULT_NAME, ipv6: bool = False, slurm: bool = False, cgroup: bool = False
) -> None:
    """Bring up real hosts in network namespaces of this machine (needs root); they stay until testbed-down."""
    if cgroup and not slurm:
        raise ConfigError("--cgroup: expected --slurm beside it; without it nothing is tracked")
    flavour = (CGROUP if cgroup else LINUXPROC) if slurm else None
    place = topology.place(results.valid_name(name, "testbed name"))
    up = keeper.up(place, topology.IPV6 if ipv6 else topology.IPV4, flavour)
    session.console.say(f"testbed up: {', '.join(up.hosts)}; ssh_config={up.ssh_config}")
    if slurm:
        inside = f"ssh -F {up.ssh_config} {topology.GATEWAY}"
        session.console.say(f"Slurm ({flavour}): partitions {', '.join(PARTITIONS)}; {inside} sinfo")
        session.console.say(f"fab -S {up.ssh_config} ares_slurm check experiment; on the login node with --direct")
        session.console.say(f"by SSH nodes let in who has a job there: {inside} salloc --nodes=3 --no-shell")
    fab = f"fab{'' if name == topology.DEFAULT_NAME else f' -S {up.ssh_config}'}"
    if ipv6:
        session.console.say(f"{fab} testbed-ipv6 check deploy run collect")
        return
    session.console.say(
        f"fab -S {up.ssh_config} ares check deploy run collect; with virtual clocks: {fab} testbed check ..."
    )


@fabric.task(name="testbed-down", help=TESTBED_NAME)
def take_testbed_down(_: Context, name: str = topology.DEFAULT_NAME) -> None:
    """End the testbed with all its processes, namespaces, keys and files."""
    was_up = keeper.down(topology.place(results.valid_name(name, "testbed name")))
    session.console.say("testbed down" if was_up else "testbed down: there was none")


@fabric.task(name="bundle", help={"output": "the file to write, as agent.pyz; what is there is replaced"})
def write_bundle(_: Context, output: str = "") -> None:
    """Write the agent as one file, for a machine that cannot fetch its libraries (`agent_bundle` in a cluster file)."""
    if not output:
        raise ConfigError("--output: expected the file to write, got none")
    written = bundles.save(session.built_bundle(), Path(output).expanduser())
    session.console.say(f"agent bundle {written.path} sha256={written.sha256} bytes={written.size_bytes}")


def _experiment(chosen: Configs, name: str | None) -> None:
    folder = experiments.deploy(session, chosen, *session.attempt(name))
    try:
        experiments.execute(session, folder, session.kept_configs(folder))
    except HarnessError as error:  # there are results all the same: judge them, then say what went wrong
        session.console.say(f"problem: {error}")
        session.note(error.exit_code)
        if session.requeue():
            session.console.say("slurm: the job begins again; what there is is collected and not yet analysed")
            return
    _analyze(folder)


def _say_runs_needed(sweep: str) -> None:
    """Say how many repeats show a difference of 5 points, where runs of the sweep are analysed already."""
    if not any(session.results.glob(f"{sweep}.c*/{STATISTICS_DIR}")):
        return
    from analysis.errors import AnalysisError  # noqa: PLC0415 - pandas and matplotlib take a second
    from analysis.sweep.report import needed  # noqa: PLC0415 - together with it

    try:
        found = needed(session.results, sweep)
    except AnalysisError as error:
        session.console.say(f"problem: {error}")
        session.note(error.exit_code)
        return
    if found.rows:
        session.console.table("repeats needed, from the runs analysed so far", found.columns, found.rows)


def _analyze(folder: RunFolder) -> None:
    # Imported here: pandas and matplotlib take a second that `fab stop` should not.
    from analysis.errors import AnalysisError  # noqa: PLC0415
    from analysis.pipeline import run_all  # noqa: PLC0415

    try:
        result = run_all(folder.path)
    except AnalysisError as error:
        session.console.say(f"problem: {error}")
        session.note(error.exit_code)
        return
    session.console.table(result.table.title, result.table.columns, result.table.rows)
    for line in result.errors:
        session.console.say(f"problem: {line}")
    if result.errors:
        session.note(EXIT_ANALYSIS)
    session.console.say(f"report: {result.report}")
    if result.verdict:
        session.console.say(f"verdict: {result.verdict}")
    session.console.say(f"page: {result.page}")


def _deployed(name: str | None, *, given: bool) -> RunFolder | None:
    """Return the deployment that `run` means, or None if it has to make one.

    Unnamed, it is this chain's or the latest, if that waits for its run on this cluster.
    """
    folder = session.waiting()
    if name is not None:
        folder = session.find(name) if (session.results / results.valid_name(name)).exists() else None
    if folder is not None and given:
        told = "expected no configuration, since it is deployed with one; leave it out, or name a new experiment"
        raise ConfigError(f"experiment {folder.name}: {told}")
    return folder


def _selector(name: str, *aliases: str) -> Task:
    def select(context: Context, direct: bool = False) -> None:
        session.fabric_settings = context.config
        session.select(name, direct=direct)

    help_text = {"direct": "reach the nodes without the gateway (on the master itself)"}
    return Task(select, name=name, aliases=aliases, help=help_text, auto_shortflags=True)


class ChainExecutor(fabric.Executor):  # type: ignore[misc]  # fabric publishes no types
    """Runs a chain of tasks, ends what it started, and turns outcomes and errors into the documented exit codes."""

    def execute(self, *tasks: Any) -> Any:
        """Run the tasks in order; a hard error ends the chain with one clear line, a degraded outcome does not."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        streams.outlive_terminal()
        session.fabric_settings = self.config
        message = None
        try:
            _demand_a_task([task.name for task in tasks])
            super().execute(*tasks)
        except HarnessError as error:
            message = str(error)
            session.note(error.exit_code)
        except KeyboardInterrupt:
            message = "interrupted"
            session.note(EXIT_INTERRUPTED)
        except Exit:
            raise
        except (OSError, SubprocessError) as error:  # this machine's, where nothing else said what it came of
            message = f"this machine: {cause(error)}"
            session.note(EXIT_RUN if session.begun else EXIT_PREFLIGHT)
        except Exception:  # noqa: BLE001 - the last resort: an internal error keeps its traceback and its own exit code
            message = f"internal error:\n{traceback.format_exc()}"
            session.note(EXIT_INTERNAL)
        finally:
            with interrupts.uninterrupted(lambda _: None):
                session.close()
        if failure := session.console.failure:
            told = streams.unheard(failure)
            message = f"{told}\n{message}" if message else told
        if message or session.exit_code:
            raise Exit(message, session.exit_code)


def _begin(program: Any) -> None:
    """Let what is wrong with a command line exit with 2, and run the rest by our own executor."""
    command_line.install(program, _known_instead)
    parse, update = program.parse_tasks, program.update_config

    def parse_tasks() -> None:
        program.collection = program.scoped_collection = ns  # invoke made a copy of it, with other names
        parse()

    def update_config() -> None:
        program.config._set(_given_explicit_object=True)  # noqa: SLF001 - or fabric reads ssh_config, and for every task
        update()

    program.parse_tasks = parse_tasks
    program.update_config = update_config
    program.executor_class = ChainExecutor


def _known_instead(error: ParseError) -> str:
    """Return what could have been meant: the task's options for an option, else clusters and tasks."""
    context = error.context
    if context is not None and context.name and "'-" in str(error):
        options = ", ".join(sorted(flag for flag in context.flags if flag.startswith("--")))
        return f"options of {context.name}: {options or 'none'}"
    typed = re.fullmatch(r"No idea what '(.*)' is!", str(error))
    meant = typed and almost_a_cluster(ROOT / config.CLUSTERS, typed[1])
    if meant:
        return meant
    tasks = sorted(set(ns.task_names) - set(_cluster_names()))
    near = difflib.get_close_matches(typed[1] if typed else "", [*tasks, *_cluster_names()], 1)
    there = f"clusters: {', '.join(_cluster_names())}; tasks: {', '.join(tasks)}"
    return f"did you mean {near[0]}? {there}" if near else there


def _demand_a_task(names: list[str]) -> None:
    """Raise ConfigError if a chain only selects clusters."""
    clusters = _cluster_names()
    if names and all(name in clusters for name in names):
        raise ConfigError(f"cluster {names[-1]} selected; nothing to do: add check, deploy, run, ... (fab --list)")


def _cluster_names() -> list[str]:
    return [path.stem for path in _cluster_files()]


def _cluster_files() -> list[Path]:
    """Return the cluster files; an editor's (``.#ares.yaml``) and a copy's (``._ares.yaml``) have no cluster's name."""
    return sorted(path for path in (ROOT / config.CLUSTERS).glob("*.yaml") if CLUSTER_NAME.fullmatch(path.stem))


class _NamesAsTheyAre(Collection):
    """Tasks whose names keep their underscores: my_cluster.yaml is my_cluster. Invoke would make it my-cluster."""

    def transform(self, name: str) -> str:
        """Return the name."""
        return name


def _collection() -> Collection:
    tasks = _NamesAsTheyAre()
    steps = (check, deploy, run, watch, collect, status, logs, stop, clean, experiment, submit, demo, sweep)
    for step in (*steps, write_bundle, bring_testbed_up, take_testbed_down):
        tasks.add_task(step)
    names = _cluster_names()
    for path in _cluster_files():
        if path.stem in tasks.tasks:
            raise Exit(f"{path}: expected a name that is no task, got {path.stem!r}; rename the file", EXIT_USAGE)
        dashed = path.stem.replace("_", "-")
        aliases = () if dashed in names or dashed in tasks.tasks else (dashed,)
        tasks.add_task(_selector(path.stem, *aliases), name=path.stem)
    return tasks


_begin(fabric.main.program)
ns = _collection()
