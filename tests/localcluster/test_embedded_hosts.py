"""The embedded hosts, spoken to by the clients that the harness uses: paramiko, Fabric, OpenSSH, rsync, SFTP."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import fabric
import paramiko
import pytest

BIG = 8 * 1024 * 1024


def run(client: paramiko.SSHClient, command: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
    stdin, stdout, stderr = client.exec_command(command, timeout=250)
    with contextlib.suppress(OSError):  # a command may end without reading it
        stdin.write(data)
        stdin.channel.shutdown_write()
    out, err = stdout.read(), stderr.read()
    return stdout.channel.recv_exit_status(), out, err


def test_the_configuration_comes_back_filled_in(local):
    """Real ports, keys, known hosts, services and one epoch for all virtual clocks; secrets are their owner's only."""
    cluster = local.cluster
    assert all(node.port and node.user and node.identity_file for node in cluster.nodes)
    epochs = {node.virtual_clock.epoch_ns for node in cluster.nodes if node.virtual_clock is not None}
    assert len(epochs) == 1
    assert None not in epochs
    assert cluster.node("comp12").virtual_clock is None
    assert cluster.ntp_server == [local.services["ntp"].address]
    assert cluster.chronotick_server == f"http://{local.services['chronotick'].address}"
    for secret in (cluster.node("comp11").identity_file, cluster.known_hosts_file):
        assert stat.S_IMODE(Path(secret).stat().st_mode) == 0o600
    assert stat.S_IMODE(local.root.stat().st_mode) == 0o700


@pytest.mark.parametrize("node_id", ["comp18", "comp11", "comp12"])
def test_a_command_runs_at_home_with_a_clean_environment(local, connect, node_id):
    """Each host has its own home and shell; nothing of the controller's leaks but the interpreter's folder."""
    client = connect(node_id)
    code, out, err = run(client, "pwd; env; echo wrong >&2; exit 7")
    home, *environment = out.decode().splitlines()
    names = {line.partition("=")[0] for line in environment}
    assert (code, err) == (7, b"wrong\n")
    assert home == str(local.homes[node_id])
    assert names <= {"HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "SHLVL", "TMPDIR", "USER", "OLDPWD", "_"}
    assert run(client, "python3 -c 'import sys; print(sys.version_info >= (3, 11))'")[1] == b"True\n"


def test_only_the_right_key_and_user_get_in(connect, tmp_path):
    """Another key, another user and a password are refused."""
    key = tmp_path / "key"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(key))
    for changes in (
        {"key_filename": str(key)},
        {"username": "root"},
        {"key_filename": None, "password": "experimenter"},
    ):
        with pytest.raises(paramiko.SSHException):
            connect(**changes)


def test_each_host_proves_who_it_is(local, connect):
    """Each host has its own key, so that no host passes for another."""
    keys = {line.split()[2] for line in Path(local.cluster.known_hosts_file).read_text().splitlines()}
    assert len(keys) == 3
    client = connect("comp11")
    assert client.get_transport().get_remote_server_key().get_base64() in keys


def test_binary_streams_pass_both_ways_to_their_end(connect):
    """Eight megabytes in, half closed, eight megabytes out: not a byte is lost or changed."""
    data = os.urandom(BIG)
    client = connect()
    assert run(client, "cat > big; sha256sum < big", data) == (
        0,
        f"{hashlib.sha256(data).hexdigest()}  -\n".encode(),
        b"",
    )
    assert run(client, "cat big; rm big") == (0, data, b"")


def test_a_command_that_does_not_listen_ends_as_it_likes(connect):
    """Unread input harms nothing, and a death by signal is reported as one."""
    client = connect()
    assert run(client, "exec <&-; echo done; exit 3", b"x" * 10_000)[:2] == (3, b"done\n")
    _, stdout, _ = client.exec_command("kill -KILL $$", timeout=250)
    assert stdout.channel.recv_exit_status() == -1  # paramiko's word for "no exit status"


def test_sftp_starts_at_home_and_keeps_modes(local, connect):
    """Relative paths start in the home folder, absolute ones are real, chmod 0600 holds."""
    with connect().open_sftp() as sftp:
        assert sftp.normalize(".") == str(local.homes["comp11"])
        with sftp.open("run.key", "wx") as file:
            sftp.chmod("run.key", 0o600)
            file.write(b"secret")
        assert stat.S_IMODE((local.homes["comp11"] / "run.key").stat().st_mode) == 0o600
        assert sftp.file(str(local.homes["comp11"] / "run.key")).read() == b"secret"
        sftp.posix_rename("run.key", "other.key")
        assert sftp.listdir(".") == ["other.key"]
        sftp.remove("other.key")


def test_fabric_works_as_on_any_host(local, tmp_path):
    """Fabric connects with the filled-in configuration, runs and puts."""
    node = local.cluster.node("comp12")
    (tmp_path / "file").write_text("content")
    arguments = {"key_filename": node.identity_file, "look_for_keys": False, "allow_agent": False}
    with fabric.Connection(node.host, user=node.user, port=node.port, connect_kwargs=arguments) as connection:
        connection.client.load_host_keys(local.cluster.known_hosts_file)
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        connection.put(str(tmp_path / "file"), "file")
        assert connection.run("cat file", hide=True, in_stream=False).stdout == "content"


@pytest.mark.skipif(not (shutil.which("rsync") and shutil.which("ssh")), reason="no rsync or OpenSSH client here")
def test_rsync_copies_both_ways(local, tmp_path):
    """Rsync over the OpenSSH client, with strict host keys, copies a tree to a host and back unchanged."""
    node = local.cluster.node("comp18")
    ssh = ["ssh", "-F", "none", "-i", node.identity_file, "-p", str(node.port), "-o", "IdentitiesOnly=yes"]
    ssh += ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={local.cluster.known_hosts_file}"]
    ssh += ["-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes"]
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "there" / "big").write_bytes(os.urandom(BIG))
    (tmp_path / "there" / "deep" / "small").write_text("small")
    remote = f"{node.user}@{node.host}:tree/"
    for source, target in ((f"{tmp_path}/there/", remote), (remote, f"{tmp_path}/back/")):
        rsync = ["rsync", "-a", "-e", shlex.join(ssh), source, target]
        done = subprocess.run(rsync, capture_output=True, text=True, timeout=250, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    for name in ("big", "deep/small"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_lost_connection_ends_its_processes_but_not_detached_ones(connect, until, lives):
    """When the client vanishes, what it ran is ended, stubborn or not; what began a session of its own goes on."""
    client = connect()
    outputs, pids = [], []  # paramiko closes a channel when its last file is forgotten
    for command in (
        "echo $$; exec sleep 1000",
        "trap '' HUP TERM; echo $$; while :; do sleep 0.1; done",
        "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; exec sleep 1000",
    ):
        outputs.append(client.exec_command(command, timeout=250)[1])
        pids.append(int(outputs[-1].readline()))
    assert all(lives(pid) for pid in pids)
    until(lambda: os.getsid(pids[2]) == pids[2], "the third has a session of its own")
    client.get_transport().sock.close()
    until(lambda: not lives(pids[0]) and not lives(pids[1]), f"the processes {pids[:2]} end")
    assert lives(pids[2])
    run(connect(), f"kill {pids[2]}")
    until(lambda: not Path(f"/proc/{pids[2]}").exists(), "a detached process that ended is reaped, not left a zombie")


def test_a_closed_channel_ends_its_process_only(connect, until, lives):
    """Closing one command's channel ends that command; the connection and the other command go on."""
    client = connect()
    (_, first, _), (_, second, _) = (client.exec_command("echo $$; exec sleep 1000", timeout=250) for _ in range(2))
    pids = int(first.readline()), int(second.readline())
    first.channel.close()
    until(lambda: not lives(pids[0]), f"the process {pids[0]} ends")
    assert lives(pids[1])
    assert run(client, "echo still here")[1] == b"still here\n"
