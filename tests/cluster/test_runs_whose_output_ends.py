"""Real hosts, and an output that ends before the run does; a node whose user has set much for other work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from broken_runs import HOSTS, WORKERS, BrokenRun

FAB = Path(sys.executable).parent / "fab"
REDIRECTED = {"head": "2>/dev/null | head -1", "full disk": ">/dev/full 2>/dev/full", "closed": "<&- >&- 2>&-"}

LATER = ("status", "logs", "collect", "stop")


def check_whole(run: BrokenRun) -> None:
    """Fail unless every event of the run was sent, received, brought home and verified, and nobody was listening."""
    manifest = run.manifest
    assert (manifest["phase"], manifest["outcome"], manifest["problems"]) == ("collected", "ok", [])
    assert [note.partition(": standard output: ")[0] for note in manifest["notes"]] == ["nobody listened to the end"]
    assert all(node["checksums_verified"] for node in manifest["nodes"].values())
    assert len(run.collected("comp18")) == run.events
    assert [run.lost(worker) for worker in WORKERS] == [[], []]
    run.check_nothing_invented()
    run.check_nothing_left()


@pytest.mark.parametrize("how", REDIRECTED)
def test_a_run_goes_on_to_its_end_whoever_listens(project, testbed, how):
    """``fab ares run | head -1``, to a full disk, to nowhere: ok, collected, and the exit code is the run's."""
    run = BrokenRun(project, testbed)
    command = f'{{ "$@"; echo $? >code; }} {REDIRECTED[how]}'
    argv = ["/bin/sh", "-c", command, "sh", FAB, "-S", testbed.ssh_config, "ares", "run", "--experiment", run.name]
    done = subprocess.run(argv, cwd=project.path, capture_output=True, check=False, timeout=250)
    assert b"Traceback" not in done.stdout + done.stderr
    assert (project.path / "code").read_text() == "0\n"
    check_whole(run)


def test_a_terminal_that_is_closed_in_mid_run_ends_nothing(project, testbed):
    """The hangup reaches every process on the terminal; the display on it draws several times a second until then."""
    run = BrokenRun(project, testbed)
    ours, theirs = os.openpty()
    argv = ["setsid", "--ctty", FAB, "-S", testbed.ssh_config, "ares", "run", "--experiment", run.name]
    with subprocess.Popen(argv, cwd=project.path, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while run.rows("comp11") < 10:
            assert process.poll() is None, seen.decode()
            seen += os.read(ours, 65536)
        os.close(ours)
        assert process.wait(timeout=250) == 0
    assert b"Traceback" not in seen
    check_whole(run)


def test_settings_of_the_users_shell_on_a_node_do_not_reach_the_agent(project, testbed):
    """A .bashrc that speaks, and points Python to modules of the names of its own; sshd runs it for every command."""
    others = {}
    for host in {testbed.hosts[name] for name in HOSTS.values()}:
        folder = host.home / "modules"
        folder.mkdir()
        (folder / "json.py").write_text("raise RuntimeError('not the json that you look for')\n")
        for name in ("sitecustomize", "usercustomize"):
            (folder / f"{name}.py").write_text("print('Welcome! {}')\n")
        file = host.home / ".bashrc"
        others[file] = file.read_bytes() if file.exists() else None
        file.write_text(
            "echo 'Welcome! []'\n"
            "export PYTHONPATH=~/modules PYTHONIOENCODING=utf-16 PYTHONINSPECT=1 PYTHONHOME=/nonexistent PYTHONUTF8=0\n"
        )
    try:
        run = BrokenRun(project, testbed, lasting_s=0.5)
        run.start()
        for code, printed in (run.end(), *(project.fab("ares", task, "--experiment", run.name) for task in LATER)):
            assert code == 0, printed
            assert "Traceback" not in printed
        assert run.manifest["outcome"] == "ok"
        run.check_nothing_left()
    finally:
        for file, content in others.items():
            file.unlink() if content is None else file.write_bytes(content)
            shutil.rmtree(file.parent / "modules")
