"""What every remote promises, whatever lies between: SSH, the same by the shell alone, a folder, and retries around."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import fake_slurm
import pytest
from unsteady_remote import Unsteady

from harness import bundle, retry, shell
from harness.agent import Agent
from harness.errors import DeadlineError, RemoteCommandError
from harness.local import LocalRemote
from harness.planning import new_run_id, new_run_key
from harness.retry import Retrying
from harness.ssh.cluster import connect
from node_agent.contract.plan import KEY_FILE, ClocksPlan, NodePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.configuration.cluster import ClusterConfig
    from harness.remote import Remote

ROOT = Path(__file__).parents[2]
KINDS = [
    "folder",
    "ssh",
    "ssh by shell",
    "folder, lost before",
    "folder, lost after",
    "ssh, lost before",
    "ssh, lost after",
    "slurm",
    "slurm, own files",
    "slurm, lost before",
]


@pytest.fixture(params=KINDS)
def remote(request, hosts: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """Give a node with an empty folder ``~/here`` in its home; of some, the connection breaks at each first try."""
    kind, _, breaks = request.param.partition(", lost ")
    monkeypatch.setattr(retry, "PAUSE_S", 0)
    (tmp_path / "home").mkdir()
    with connect(hosts) as cluster:
        node = LocalRemote("comp11", tmp_path / "home") if kind == "folder" else cluster.plain["comp11"]
        if kind.startswith("slurm"):
            own = kind.endswith("own files")
            (tmp_path / "front").mkdir()
            fake_slurm.make(tmp_path / "bin", tmp_path / "home")
            monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
            node = fake_slurm.remote("comp11", tmp_path / ("front" if own else "home"))
        if kind == "ssh by shell":
            node._no_sftp = True
            monkeypatch.setattr("harness.ssh.rsync.missing_here", lambda: "no rsync here")
        node.ask("rm -rf here && mkdir here")
        yield Retrying(Unsteady(node, breaks)) if breaks else node
        node.ask("rm -rf here")


def test_a_command_gets_its_input_and_gives_output_errors_and_exit_code(remote: Remote) -> None:
    content = bytes(range(256)) * 1000
    result = remote.run("cat; echo oops >&2; exit 3", stdin=content)
    assert (result.exit_code, result.output, result.stderr) == (3, content, "oops\n")
    assert remote.ask("cd ~ && pwd") == remote.ask("pwd")


def test_a_command_that_fails_is_told_with_the_node_and_its_last_words(remote: Remote) -> None:
    with pytest.raises(RemoteCommandError, match=r"^comp11: no such thing \(exit 3 of: echo"):
        remote.ask("echo hm >&2; echo no such thing >&2; exit 3")


def test_a_command_has_a_deadline(remote: Remote) -> None:
    begin = time.monotonic()
    remote.run("true")  # what breaks here has broken
    with pytest.raises(DeadlineError, match=r"^comp11: expected an end within 0\.3 s of: exec sleep 30"):
        remote.run("exec sleep 30", timeout_s=0.3)
    assert time.monotonic() - begin < 20
    assert remote.ask("echo still there") == "still there\n"


def test_a_file_is_put_whole_private_and_over_another(remote: Remote) -> None:
    remote.write("~/here/file", b"one", 0o600)
    assert remote.read("~/here/file") == b"one"
    assert remote.ask("stat -c %a here/file") == "600\n"
    content = bytes(range(256)) * 1000
    remote.write("~/here/file", content, 0o640)
    assert remote.read("~/here/file") == content
    assert remote.ask("stat -c %a here/file; ls -A here") == "640\nfile\n"


def test_what_is_not_there_is_none_and_where_nothing_can_be_put_is_an_error(remote: Remote) -> None:
    assert remote.read("~/here/none") is None
    assert remote.list("~/here/none") is None
    assert remote.list("~/here") == {}
    with pytest.raises(RemoteCommandError, match=r"comp11: writing ~/here/none/file: "):
        remote.write("~/here/none/file", b"", 0o600)


def test_plain_files_are_listed_with_their_sizes(remote: Remote) -> None:
    remote.ask("cd here && mkdir -p inside && printf 123 > a && : > .b && ln -sf a link")
    assert remote.list("~/here") == {"a": 3, ".b": 0}


def test_a_folder_is_fetched_without_what_is_hidden_or_not_wanted(remote: Remote, tmp_path: Path) -> None:
    remote.ask("cd here && mkdir -p inside && printf 123 > a && seq 100000 > 'a b' && : > .b && echo secret > key")
    target = tmp_path / "target"
    target.mkdir()
    assert remote.fetch("~/here", target, ["key"]) in {"rsync", "sftp (no rsync here)", "copy", "steps"}
    assert sorted(path.name for path in target.iterdir()) == ["a", "a b"]
    assert (target / "a b").read_bytes().splitlines()[-1] == b"100000"
    with pytest.raises(RemoteCommandError, match=r"comp11: .*~/here/none"):
        remote.fetch("~/here/none", target)


def test_a_folder_is_made_once_and_is_private(remote: Remote) -> None:
    remote.make_folder("~/here/a/b")
    assert remote.ask("stat -c %a here/a here/a/b") == "700\n700\n"
    remote.write("~/here/a/b/file", b"", 0o600)
    with pytest.raises(RemoteCommandError, match=r"comp11: ~/here/a/b: expected no such folder yet"):
        remote.make_folder("~/here/a/b")


@pytest.fixture(scope="module")
def program(request) -> bundle.Bundle:
    return bundle.build(ROOT)


def test_an_agent_is_started_once_seen_and_stopped_with_its_key(remote: Remote, hosts: ClusterConfig, program) -> None:
    """A second start is refused, a second stop finds nothing; where the connection broke, there is one agent."""
    made = Agent(hosts.model_copy(update={"remote_base": "~/here/base"}), program)
    made.install(remote)
    folder = "~/here/base/runs/contract/comp11"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.93.7", 0))
        port = sock.getsockname()[1]
    clocks = ClocksPlan()
    plan = NodePlan(
        "contract", new_run_id(), "comp11", "worker", folder, "127.0.93.7", port, lease_s=60.0, clocks=clocks
    )
    assert not remote.see_agent(made.program, folder).alive
    remote.start_agent(made.program, plan, new_run_key())
    try:
        assert remote.see_agent(made.program, folder).alive
        assert KEY_FILE not in (remote.list(folder) or {})
        assert len(remote.ask(f"cat {shell.path(folder)}/agent.pid").splitlines()) == 1
        with pytest.raises(RemoteCommandError, match=r"comp11: .*an agent is running there already"):
            remote.start_agent(made.program, plan, new_run_key())
        assert KEY_FILE not in (remote.list(folder) or {})
    finally:
        stopped = remote.stop_agent(made.program, folder)
    assert stopped.problem is None
    assert stopped.was_alive or isinstance(remote, Retrying)  # a stop that is repeated finds it gone
    assert not remote.stop_agent(made.program, folder).was_alive
    assert not remote.see_agent(made.program, folder).alive
