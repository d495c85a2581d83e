"""What a server says before it lets nobody in is part of why a node cannot be reached."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import paramiko
import pytest

from harness.errors import UnreachableError
from harness.ssh.cluster import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.configuration.cluster import ClusterConfig

HOST = "127.0.0.21"


class Refusing(paramiko.ServerInterface):
    """Says its words and refuses every key, as sshd with pam_slurm_adopt does on a node without a job."""

    def __init__(self, words: str) -> None:
        self._words = words

    def get_banner(self) -> tuple[str, str]:
        return self._words, "en"

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_FAILED


@contextlib.contextmanager
def refusing(words: str, known_hosts: Path) -> Iterator[int]:
    """Serve one connection; yield the port."""
    key = paramiko.ECDSAKey.generate()
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        known_hosts.write_text(f"[{HOST}]:{port} {key.get_name()} {key.get_base64()}\n")
        served: list[paramiko.Transport] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                transport = paramiko.Transport(listener.accept()[0])
                transport.add_server_key(key)
                served.append(transport)
                transport.start_server(server=Refusing(words))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            thread.join(20)
            for transport in served:
                transport.close()
                transport.join(20)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "ACME research computing\nAccess denied by pam_slurm_adopt: you have no active jobs on this node\n",
            "; it said: Access denied by pam_slurm_adopt: you have no active jobs on this node",
        ),
        ("x" * 1000, f"; it said: {'x' * 200}"),
        ("\n \n", ""),
    ],
)
def test_a_refused_login_says_what_the_server_said(hosts: ClusterConfig, tmp_path: Path, words: str, told: str):
    """Its last line, where sshd puts what its modules say, and no more of it than fits into ours."""
    known = tmp_path / "known"
    with refusing(words, known) as port:
        nodes = [node.model_copy(update={"host": HOST, "port": port}) for node in hosts.nodes[:1]] + hosts.nodes[1:]
        config = hosts.model_copy(update={"nodes": nodes, "known_hosts_file": str(known)})
        with connect(config) as cluster, pytest.raises(UnreachableError, match="login refused") as raised:
            cluster.plain[nodes[0].id].ask("true")
    assert str(raised.value).endswith(f"or ssh-add your key{told}")
