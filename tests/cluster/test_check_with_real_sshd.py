"""What `check` calls fit has done what `run` will do, on real sshd: sessions, forwarding, algorithms, files, input."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.testbed.topology import HOME
from tests.project_folder import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.testbed.testbed import Testbed

OTHER_PORT = "2222"


@contextlib.contextmanager
def sshd_with(testbed: Testbed, host: str, *options: str) -> Iterator[None]:
    """Run another sshd on a host, with these options."""
    words = [word for option in options for word in ("-o", option)]
    process = testbed.hosts[host].start(["/usr/sbin/sshd", "-D", "-e", "-p", OTHER_PORT, *words])
    try:
        line = process.stderr.readline()
        while "listening on" not in line:
            assert line, f"sshd {options} did not start"
            line = process.stderr.readline()
        yield
    finally:
        for pid, argv in testbed.hosts[host].processes().items():
            if OTHER_PORT in argv or f"-p {OTHER_PORT}" in argv[0]:
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=250)


@pytest.fixture
def reaching(tmp_path: Path, testbed: Testbed) -> Iterator[Callable[..., Project]]:
    """Return a function that makes a project whose ssh reaches these hosts at the other sshd."""
    made: list[Project] = []

    def project(*hosts: str) -> Project:
        path = tmp_path / "ssh_config"
        blocks = [f"Host {host}\n    Port {OTHER_PORT}\n    HostKeyAlias {host}\n" for host in hosts]
        path.write_text("".join(blocks) + testbed.ssh_config.read_text())
        made.append(Project(tmp_path / f"project {len(made)}", path))
        return made[-1]

    yield project
    for begun in made:
        begun.end()


def refusal(said: tuple[int, str]) -> str:
    """Return the last line of what a check said that found something unfit: nothing of it is a traceback."""
    code, printed = said
    assert code == 3, printed
    assert "Traceback" not in printed
    return printed.strip().splitlines()[-1]


@pytest.mark.parametrize("sessions", [1, 2])
def test_few_sessions_at_once_are_enough(testbed: Testbed, reaching: Callable[..., Project], sessions: int) -> None:
    """SFTP gives way to a command where sshd lets only one of them be: check and run both do with it."""
    project, name = reaching("ares-comp-11"), f"few{sessions}"
    with sshd_with(testbed, "ares-comp-11", f"MaxSessions={sessions}"):
        code, printed = project.fab("ares", "check", "deploy", "--experiment", name, "run", "collect", "status")
    assert code == 0, printed
    assert "Traceback" not in printed
    manifest = json.loads((project.path / "results" / name / "manifest.json").read_text())
    assert (manifest["outcome"], manifest["problems"]) == ("ok", [])


def test_no_session_at_all_is_one_line(testbed: Testbed, reaching: Callable[..., Project]) -> None:
    with sshd_with(testbed, "ares-comp-11", "MaxSessions=0"):
        said = refusal(reaching("ares-comp-11").fab("ares", "check"))
    assert said.startswith("comp11: ")
    assert "sshd opens no session" in said
    assert "raise MaxSessions in its sshd_config" in said


def test_a_gateway_without_sessions_is_a_gateway(testbed: Testbed, reaching: Callable[..., Project]) -> None:
    """Nothing is run at the gateway; it has to forward, and nothing else."""
    with sshd_with(testbed, "ares", "MaxSessions=0"):
        code, printed = reaching("ares").fab("ares", "check")
    assert code == 0, printed


@pytest.mark.parametrize(
    "option", ["AllowTcpForwarding=no", "AllowTcpForwarding=remote", "DisableForwarding=yes", "PermitOpen=none"]
)
def test_a_gateway_that_does_not_forward_is_one_line(
    testbed: Testbed, reaching: Callable[..., Project], option: str
) -> None:
    with sshd_with(testbed, "ares", option):
        said = refusal(reaching("ares").fab("ares", "check"))
    assert ": expected SSH at " in said
    assert f":{OTHER_PORT} does not forward (" in said
    assert "AllowTcpForwarding yes (or local) and a PermitOpen that lets ares-comp-" in said
    assert "--direct" in said


def test_a_node_that_the_gateway_does_not_reach_is_one_line(testbed: Testbed, reaching: Callable[..., Project]) -> None:
    said = refusal(reaching("ares-comp-11").fab("ares", "check"))  # nobody listens there
    assert said.startswith("comp11: expected SSH at ")
    assert f"could not connect to ares-comp-11:{OTHER_PORT} (Connect failed)" in said


@pytest.mark.parametrize("host", ["ares-comp-11", "ares"])
@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("KexAlgorithms=sntrup761x25519-sha512@openssh.com", "no acceptable kex algorithm"),
        ("Ciphers=chacha20-poly1305@openssh.com", "no acceptable ciphers"),
        ("MACs=umac-64@openssh.com", "no acceptable macs"),
    ],
)
def test_algorithms_that_nobody_shares_are_one_line(
    testbed: Testbed, reaching: Callable[..., Project], host: str, option: str, kind: str
) -> None:
    with sshd_with(testbed, host, option):
        said = refusal(reaching(host).fab("ares", "check"))
    assert kind in said
    assert "it and we have none in common" in said


@pytest.mark.parametrize("line", ["read answer", "cat > /dev/null", "read -n 4 answer", "read -t 1 answer"])
def test_a_login_shell_that_reads_standard_input_is_one_line(
    testbed: Testbed, reaching: Callable[..., Project], line: str
) -> None:
    (testbed.hosts["ares-comp-11"].home / ".bashrc").write_text(f"{line}\n")
    try:
        said = refusal(reaching().fab("ares", "check"))
    finally:
        (testbed.hosts["ares-comp-11"].home / ".bashrc").unlink()
    assert said.startswith("comp11: expected a command to get its standard input, it got ")
    assert ".bashrc" in said


def test_a_limit_of_a_files_size_is_one_line(testbed: Testbed, reaching: Callable[..., Project]) -> None:
    node = testbed.hosts["ares-comp-11"]
    node.run(["rm", "-rf", f"{HOME}/chronotick-harness/cache"])
    (node.home / ".bashrc").write_text("ulimit -f 64\n")
    try:
        said = refusal(reaching().fab("ares", "check"))
    finally:
        (node.home / ".bashrc").unlink()
    assert said.startswith("comp11: writing ")
    assert "ulimit -f" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "mkdir -p {base}/cache {base}/runs && chmod 755 {base}/runs && chmod 777 {base}/cache",
            "runs to be a folder that can be",
        ),
        ("mkdir -p {base} && chown root {base} && chmod 755 {base}", "Permission denied"),
        ("touch {base}", "Not a directory"),
    ],
)
def test_a_base_that_cannot_be_written_is_one_line(
    testbed: Testbed, reaching: Callable[..., Project], change: str, said: str
) -> None:
    node, base = testbed.hosts["ares-comp-11"], f"{HOME}/other"
    project = reaching()
    project.edit("configs/clusters/ares.yaml", remote_base="~/other")
    node.run(["sh", "-c", change.format(base=base)])
    try:
        line = refusal(project.fab("ares", "deploy"))
    finally:
        node.run(["rm", "-rf", base])
    assert line.startswith("comp11: ")
    assert said in line
    assert not (project.path / "results").exists()
