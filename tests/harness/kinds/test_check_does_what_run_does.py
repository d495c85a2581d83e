"""`check` uses of a node what `run` will use of it, by the same code; what it finds is one line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import paramiko
import pytest

from harness.check import rehearsal
from harness.errors import PreflightError
from harness.ssh import channels
from harness.ssh.cluster import connect
from harness.ssh.connection import _Transport

if TYPE_CHECKING:
    from pathlib import Path

    from harness.configuration.cluster import ClusterConfig
    from tests.harness.conftest import Project


class Shell:
    """A host whose login shell takes some of what a command should get."""

    id = "comp11"

    def __init__(self, eaten: int) -> None:
        self.eaten = eaten

    def ask(self, command: str, *, stdin: bytes = b"") -> str:
        assert command == "cat"
        return stdin.decode()[self.eaten :]


@pytest.mark.parametrize(("eaten", "got"), [(33, "nothing of it"), (4, "29 of 33 characters"), (1, "32 of 33")])
def test_input_that_a_login_shell_takes_is_missed(eaten: int, got: str) -> None:
    with pytest.raises(PreflightError, match=f"comp11: expected a command to get its standard input, it got {got}"):
        rehearsal.hear(Shell(eaten))  # type: ignore[arg-type]
    rehearsal.hear(Shell(0))  # type: ignore[arg-type]


def test_a_rehearsal_leaves_nothing_and_holds_sftp_beside_a_command(hosts: ClusterConfig, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "cache").mkdir(parents=True)
    config = hosts.model_copy(update={"remote_base": str(base)})
    with connect(config) as cluster:
        cluster.each(lambda host: rehearsal.use_files(host, config)).demand()
        assert all(host._sftp is not None for host in cluster.plain.values())
    assert [path.name for path in base.rglob("*")] == ["cache"]


@pytest.mark.parametrize("place", ["runs", "cache", ""])
def test_a_folder_that_cannot_be_made_is_found_before_anything_starts(
    project: Project, hosts: ClusterConfig, tmp_path: Path, place: str
) -> None:
    base = tmp_path / "base"
    (base / place).parent.mkdir(exist_ok=True)
    (base / place).write_text("a file, and no folder")
    project.add_cluster("lab", hosts, remote_base=str(base))
    code, printed = project.fab("lab", "deploy", "run")
    assert code == 3
    assert "Traceback" not in printed
    assert printed.strip().splitlines()[-1].startswith("comp18, comp11, comp12: ")
    assert not (project.path / "results").exists()


def test_no_thread_of_a_library_prints_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """Their loggers have a handler, so that Python does not print what they tell where nobody listens."""
    for name in ("paramiko.transport", "fabric", "invoke"):
        logger = logging.getLogger(name)
        handlers, root = [], logging.getLogger()
        while logger is not None and logger is not root:
            handlers += logger.handlers
            logger = logger.parent  # type: ignore[assignment]
        assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (
            1,
            "Administratively prohibited",
            "does not forward (Administratively prohibited); its sshd_config needs Allow",
        ),
        (2, "Connect failed", "could not connect to node:22 (Connect failed); does it know that name"),
        (4, "Resource shortage", "could not connect to node:22 (Resource shortage)"),
    ],
)
def test_what_a_gateway_refuses_says_what_to_do(code: int, text: str, said: str) -> None:
    assert said in channels.refused_forwarding(paramiko.ChannelException(code, text), "me@gate:22", "node:22")


def test_of_two_channels_refused_at_once_both_are_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paramiko keeps one exception for all who wait, and the first of them takes it."""
    transport = object.__new__(_Transport)
    transport.saved_exception = paramiko.ChannelException(1, "Administratively prohibited")
    assert paramiko.Transport.get_exception is _Transport.get_exception

    def refuse(*_: Any, **__: Any) -> None:
        raise paramiko.SSHException("Unable to open channel.")

    monkeypatch.setattr(paramiko.Transport, "open_channel", refuse)
    monkeypatch.setattr(paramiko.Transport, "is_active", lambda _: True)
    with pytest.raises(paramiko.ChannelException, match="Administratively prohibited"):
        transport.open_channel("session")
