"""Hosts over SSH: commands, files, deadlines, host keys, the gateway, and partial failure."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import asyncssh
import pytest

from harness.check.addresses import resolve
from harness.configuration.cluster import ClusterConfig, SshConfig
from harness.errors import DeadlineError, PreflightError, RemoteCommandError, UnreachableError
from harness.ssh import rsync
from harness.ssh.cluster import connect
from harness.ssh.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster import Cluster


@pytest.fixture
def cluster(hosts: ClusterConfig) -> Iterator[Cluster]:
    """Connect to the hosts."""
    with connect(hosts) as connected:
        yield connected


def test_every_host_answers_for_itself(cluster: Cluster, local) -> None:
    answers = cluster.each(lambda host: host.ask("echo $HOME").strip())
    assert answers.ok == {name: str(home) for name, home in local.homes.items()}


def test_a_failing_command_says_why(cluster: Cluster) -> None:
    with pytest.raises(RemoteCommandError, match=r"comp11: no such thing \(exit 3 of: "):
        cluster.plain["comp11"].ask("echo no such thing >&2; exit 3")


def test_a_command_has_a_deadline(cluster: Cluster) -> None:
    with pytest.raises(DeadlineError, match=r"comp11: expected an end within 0\.3 s of: sleep 30"):
        cluster.plain["comp11"].run("sleep 30", timeout_s=0.3)
    assert cluster.plain["comp11"].ask("echo still there") == "still there\n"


def test_input_output_and_errors_pass_unharmed(cluster: Cluster) -> None:
    big = bytes(range(256)) * 4000
    result = cluster.plain["comp12"].run("wc -c; echo oops >&2", stdin=big)
    assert (int(result.stdout), result.stderr, result.exit_code) == (len(big), "oops\n", 0)


def test_a_command_that_ends_without_reading_its_input_is_no_lost_connection(cluster: Cluster) -> None:
    for _ in range(5):
        result = cluster.plain["comp12"].run("exec <&-; echo enough; exit 3", stdin=bytes(8_000_000))
        assert (result.exit_code, result.stdout) == (3, "enough\n")


def test_a_secret_is_never_readable_to_others(cluster: Cluster, local) -> None:
    cluster.plain["comp11"].write("~/secret", b"key", 0o600)
    path = local.homes["comp11"] / "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert cluster.plain["comp11"].read("~/secret") == b"key"
    assert cluster.plain["comp11"].read("~/none") is None
    assert cluster.plain["comp11"].list("~/none") is None


def test_a_file_that_cannot_be_written_is_not_a_lost_host(cluster: Cluster) -> None:
    with pytest.raises(RemoteCommandError, match=r"comp11: writing ~/none/file: .*No such file"):
        cluster.plain["comp11"].write("~/none/file", b"", 0o600)


def test_one_failure_hides_no_answer(hosts: ClusterConfig) -> None:
    nodes = [node.model_copy(update={"port": 1}) if node.id == "comp12" else node for node in hosts.nodes]
    with connect(hosts.model_copy(update={"nodes": nodes})) as cluster:
        answers = cluster.each(lambda host: host.ask("echo hello"))
    assert set(answers.ok) == {"comp18", "comp11"}
    assert isinstance(answers.failed["comp12"], UnreachableError)


def test_a_lost_connection_is_opened_anew(cluster: Cluster) -> None:
    host = cluster.plain["comp11"]
    host.write("~/file", b"one", 0o600)
    host.close()
    assert host.read("~/file") == b"one"
    assert host.ask("echo back") == "back\n"


def test_an_unknown_host_key_is_refused_by_default(hosts: ClusterConfig, tmp_path: Path) -> None:
    with (
        connect(hosts.model_copy(update={"known_hosts_file": str(tmp_path / "empty")})) as cluster,
        pytest.raises(UnreachableError, match="its host key is unknown"),
    ):
        cluster.plain["comp11"].ask("true")


def test_accept_new_believes_a_first_key_and_never_a_changed_one(hosts: ClusterConfig, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    trusting = hosts.model_copy(update={"known_hosts_file": str(known), "host_key_policy": "accept-new"})
    with connect(trusting) as cluster:
        cluster.each(lambda host: host.ask("true")).demand()
    lines = known.read_text().splitlines()
    assert len(lines) == 3
    mixed_up = lines[0].rpartition(" ")[2]
    known.write_text("".join(f"{line.rpartition(' ')[0]} {mixed_up}\n" for line in lines))
    with connect(trusting) as cluster:
        answers = cluster.each(lambda host: host.ask("true"))
    assert len(answers.failed) == 2
    assert all("its host key is not the known one" in str(error) for error in answers.failed.values())


@pytest.fixture
def gateway(hosts: ClusterConfig, tmp_path: Path) -> Iterator[tuple[ClusterConfig, list[int]]]:
    """Start a gateway that lets connections through and counts them; return the cluster behind it."""
    passed: list[int] = []
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    connections: list[asyncssh.SSHServerConnection] = []

    class Through(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

        def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
            passed.append(dest_port)
            return True

    async def listen() -> asyncssh.SSHAcceptor:
        key = asyncssh.read_private_key(hosts.nodes[0].identity_file)
        (tmp_path / "authorized").write_bytes(key.export_public_key())
        return await asyncssh.create_server(
            Through, "127.0.0.20", 0, server_host_keys=[host_key], authorized_client_keys=str(tmp_path / "authorized")
        )

    host_key = asyncssh.generate_private_key("ssh-ed25519")
    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
    port = acceptor.get_port()
    known = tmp_path / "known hosts"
    line = f"[127.0.0.20]:{port} {host_key.export_public_key().decode()}"
    known.write_text(Path(hosts.known_hosts_file).read_text() + line)
    jump = SshConfig(host="127.0.0.20", port=port, user="anyone", identity_file=hosts.nodes[0].identity_file)
    yield hosts.model_copy(update={"gateway": jump, "known_hosts_file": str(known)}), passed

    async def end() -> None:
        acceptor.close()
        await acceptor.wait_closed()
        for connection in connections:  # one that its client just left is not closed yet at this end
            connection.abort()
            await connection.wait_closed()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(end(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_everything_goes_through_the_gateway(gateway: tuple[ClusterConfig, list[int]], tmp_path: Path) -> None:
    config, passed = gateway
    ports = sorted(node.port for node in config.nodes)
    with connect(config) as cluster:
        cluster.each(lambda host: host.write("~/note", b"here", 0o600)).demand()
        assert sorted(passed) == ports
        if rsync.missing_here() is None:
            (tmp_path / "home").mkdir()
            assert cluster.plain["comp11"].fetch("~/.", tmp_path / "home") == "rsync"
            assert (tmp_path / "home/note").read_bytes() == b"here"
            assert len(passed) == 4


def test_a_gateway_that_is_down_is_named(hosts: ClusterConfig) -> None:
    down = hosts.model_copy(update={"gateway": SshConfig(host="127.0.0.20", port=1, user="anyone")})
    with (
        connect(down) as cluster,
        pytest.raises(
            UnreachableError, match=r"comp11: expected SSH at the gateway anyone@127\.0\.0\.20:1, got: .*--direct"
        ),
    ):
        cluster.plain["comp11"].ask("true")


def test_a_name_that_means_loopback_to_the_others_is_refused(hosts: ClusterConfig) -> None:
    nodes = [node.model_copy(update={"address": "localhost"}) if node.id == "comp11" else node for node in hosts.nodes]
    with (
        connect(hosts.model_copy(update={"nodes": nodes})) as cluster,
        pytest.raises(PreflightError, match="comp11: expected localhost to be reachable from comp18, it means 127"),
    ):
        resolve(cluster)


def test_who_hangs_up_through_a_dead_gateway_still_asks_the_gateway():
    """Closing such a connection writes to the gateway's, and that write fails."""

    class Dead:
        def close(self):
            raise EOFError

    asked = []
    connection = Connection.__new__(Connection)
    connection.transport = Dead()
    connection.hop = SimpleNamespace(answers=lambda: asked.append("gateway"))
    connection.hang_up()
    assert asked == ["gateway"]
