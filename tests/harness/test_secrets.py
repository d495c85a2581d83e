"""The run key is known to the agents and to nobody else, folders are private, and a damaged agent is never executed."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from harness import bundle as bundles
from harness import planning
from harness.agent import Agent
from harness.configuration import yaml_files
from harness.configuration.cluster import ClusterConfig
from harness.errors import ConfigError, RemoteCommandError
from harness.results import valid_name
from harness.ssh.cluster import connect
from node_agent.contract.plan import KEY_FILE, NodePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.localcluster import LocalCluster
    from tests.harness.conftest import Project


def files_below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_no_two_runs_have_the_same_key() -> None:
    assert len({planning.new_run_key() for _ in range(1_000)}) == 1_000


def test_a_run_leaves_no_key_and_only_private_folders(
    project: Project, hosts: ClusterConfig, local: LocalCluster
) -> None:
    """Afterwards no key is on any host or at home, and nobody but its owner can read what a run wrote on a node."""
    project.add_cluster("lab", hosts)
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 100})
    code, printed = project.fab("lab", "run", "--experiment", "secret")
    assert code == 0, printed
    homes = list(local.homes.values())
    assert not [path for path in files_below(*homes, project.path / "results") if path.name == KEY_FILE]
    for home in homes:
        base = home / "chronotick-harness"
        for folder in (base, *(path for path in base.rglob("*") if path.is_dir())):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
        for path in files_below(base):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_key_on_its_way_is_a_private_file_in_no_argv_and_gone_after_a_start_that_fails(
    project: Project, hosts: ClusterConfig, local: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 64 digits are nowhere on the hosts and in no command once a port turned out to be taken."""
    key = planning.new_run_key()
    commands: list[str] = []
    modes: list[int] = []
    cluster = connect(hosts)
    try:
        remote = cluster.plain["comp11"]
        run, write = remote.run, remote.write
        monkeypatch.setattr(remote, "run", lambda command, **more: (commands.append(command), run(command, **more))[1])

        def noted(path: str, content: bytes, mode: int) -> None:
            write(path, content, mode)
            if path.endswith(KEY_FILE):
                modes.append(stat.S_IMODE((local.homes["comp11"] / path.removeprefix("~/")).stat().st_mode))

        monkeypatch.setattr(remote, "write", noted)
        built = bundles.build(Path(__file__).parents[2])
        agent = Agent(cluster.config, built)
        agent.install(remote)
        folder = "~/chronotick-harness/runs/taken/comp11"
        plan = NodePlan("taken", "ab" * 16, "comp11", "worker", folder, "203.0.113.7", lease_s=5.0)
        with pytest.raises(RemoteCommandError, match="is not an address of this node"):
            remote.start_agent(agent.program, plan, key)
        assert modes == [0o600]
        assert commands
        assert not any(key in command for command in commands)
        for path in files_below(local.homes["comp11"]):
            assert key.encode() not in path.read_bytes(), path
    finally:
        cluster.close()


def test_an_agent_that_was_changed_on_the_node_is_replaced_before_it_is_executed(
    project: Project, hosts: ClusterConfig, local: LocalCluster
) -> None:
    """What lies in the cache is believed by its sha256, not by its name."""
    project.add_cluster("lab", hosts)
    assert project.fab("lab", "check")[0] == 0
    for bundle in (local.homes["comp11"] / "chronotick-harness/cache").glob("*/agent.pyz"):
        bundle.write_text("#!/usr/bin/env python3\nopen('pwned', 'w')\nprint('{}')\n")
    code, printed = project.fab("lab", "check")
    assert code == 0, printed
    assert not (local.homes["comp11"] / "pwned").exists()


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system ['touch pwned']", "a: !!python/name:os.system x", "&a [*a]"]
)
def test_a_configuration_file_is_data_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        yaml_files.load(tmp_path / "x.yaml", ClusterConfig, name="x")
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]


@pytest.mark.parametrize("name", ["a b", "$(id)", "a;b", "../x", "-rf", "a\nb", "~root", "a'b", "*", "", "x" * 65])
def test_names_that_a_shell_could_read_otherwise_are_refused(name: str) -> None:
    """Hosts, ids, addresses and folders: nothing but plain characters comes near a command line."""
    with pytest.raises(ConfigError):
        valid_name(name)
    nodes = [{"id": "a", "host": "h1", "role": "coordinator"}, {"id": "b", "host": "h2", "role": "worker"}]
    good = {
        "name": "c", "nodes": nodes, "remote_base": "~/x", "remote_python": "python3", "ntp_server": None,
        "chronotick_server": None, "host_key_policy": "reject",
    }  # fmt: skip
    assert ClusterConfig.model_validate(good).coordinator.id == "a"
    spoilt = [{**good, "nodes": [{**nodes[0], key: name}, nodes[1]]} for key in ("id", "host", "address")]
    spoilt += [{**good, "remote_base": name}, {**good, "remote_python": name}]
    if name in {"x" * 65, "~root", "-rf"}:  # fine for some of these: a path, a long host; and quoted besides
        spoilt = spoilt[:1]
    for one in spoilt:
        with pytest.raises(ValidationError):
            ClusterConfig.model_validate(one)
