"""This Python and this project on the hosts, wherever they lie on the machine; and nothing that stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jobs import until

from harness.errors import PreflightError
from harness.localcluster.processes import descendants, read_process
from harness.testbed import keeper, namespaces, topology
from harness.testbed.slurm import control_groups, files
from harness.testbed.testbed import start

ROOT = Path(__file__).parents[2]
only_cgroup = pytest.mark.parametrize("slurm_testbed", ["cgroup"], indirect=True)
only_linuxproc = pytest.mark.parametrize("slurm_testbed", ["linuxproc"], indirect=True)


def traces(pids: list[int], folder: Path) -> list[str]:
    """Return what is left of a testbed: processes, mounts, control groups and its folder."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    alive = [f"process {pid}" for pid in pids if (found := read_process(pid)) is not None and found.state != "Z"]
    return [*alive, *mounts, *([str(folder)] if folder.exists() else [])]


def groups(supervisor: int) -> list[Path]:
    """Return the control groups of a supervisor's hosts."""
    return list(control_groups.ROOT.glob(f"*/{control_groups.PREFIX}{supervisor}-*"))


def members(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    return [pid, *(process.pid for process in descendants(pid))]


@only_linuxproc
@pytest.mark.parametrize("name", ["ares", "ares-comp-11"])
def test_this_python_is_there_to_read(slurm_testbed, name):
    """The user can import project and libraries at their own paths, and write to none of them."""
    host = slurm_testbed.hosts[name]
    for statement in ("import harness, fabric, pandas; print(harness.__file__)", "print(__import__('sys').prefix)"):
        said = host.run([sys.executable, "-c", statement], as_user=True)
        here = subprocess.run([sys.executable, "-c", statement], cwd=ROOT, capture_output=True, text=True, check=True)
        assert said.stdout == here.stdout
    for place in files.carried():
        tried = host.run(["touch", f"{place}/trace"], as_user=True, check=False)
        assert tried.returncode != 0
        tried = host.run(["touch", f"{place}/trace"], check=False)
        assert "Read-only file system" in tried.stderr
        assert not Path(place, "trace").exists()


@only_linuxproc
def test_fab_in_the_shared_home(slurm_project, slurm_testbed):
    """``fab`` works on the login node, on a node, within an allocation and as a job; it leaves the user's files."""
    for host in (slurm_testbed.gateway, slurm_testbed.hosts["ares-comp-11"]):
        code, printed = slurm_project.on(host, "--list")
        assert code == 0, printed
        assert "testbed-up" in printed
    code, printed = slurm_project.in_allocation("--list")
    assert code == 0, printed
    assert "testbed-up" in printed
    script = f"exec {Path(sys.executable).parent}/fab local check"
    process = slurm_project.start_command(["sbatch", "--wait", "--output=out", "--mem=900", f"--wrap={script}"])
    process.communicate(timeout=250)
    assert process.returncode == 0, (slurm_project.path / "out").read_text()


@only_cgroup
def test_a_run_from_the_login_node(slurm_project):
    """Within an allocation ``fab`` on the login node has its agents let in, and brings the run to the one home."""
    code, printed = slurm_project.in_allocation("ares", "deploy", "--experiment", "one", "run")
    assert code == 0, printed
    manifest = json.loads((slurm_project.path / "results/one/manifest.json").read_text())
    assert manifest["outcome"] == "ok"
    assert all(node["checksums_verified"] for node in manifest["nodes"].values())


def test_every_closed_folder_is_opened(tmp_path):
    """Carried folders of mode 700, below such folders, below links and in each other can be read by anybody."""
    if (reason := namespaces.why_not()) is not None:
        pytest.skip(f"test cluster of real hosts: {reason}")
    closed = tmp_path / "closed"
    inner = closed / "open/inner"
    (inner / "deep").mkdir(parents=True)
    (inner / "file").write_text("read")
    (inner / "link").symlink_to("file")
    (closed / "hidden").touch()
    (tmp_path / "other").symlink_to(closed)
    for path in (inner, closed, *closed.parents):
        if str(path).startswith(str(tmp_path)):
            path.chmod(0o700)
    carried = [str(inner), str(inner / "deep"), f"{tmp_path}/other/open"]
    program = (
        "import json, os, sys\nfrom harness.testbed.mounts import *\n"
        "attach('none', '/', flags=MS_REC | MS_PRIVATE)\n"
        "os.umask(0o022)\nheld = hold(json.loads(sys.argv[1]))\n"
        "attach('tmpfs', '/tmp', 'tmpfs')\ncarry(held)\n"
        "os.setgroups([])\nos.setgid(61818)\nos.setuid(61818)\n"
        "for place in json.loads(sys.argv[1]):\n    print(*sorted(os.listdir(place)))\n"
        f"print(open({str(inner / 'link')!r}).read(), os.path.exists({str(closed / 'hidden')!r}))\n"
        f"try:\n    open({str(inner / 'file')!r}, 'w')\nexcept OSError as error:\n    print(error.strerror)\n"
    )
    argv = ["unshare", "--mount", sys.executable, "-c", program, json.dumps(carried)]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.stdout.splitlines() == ["deep file link", "", "inner", "read False", "Read-only file system"], (
        said.stderr
    )


@pytest.mark.parametrize("flavour", files.FLAVOURS)
def test_nothing_is_left(flavour):
    """Neither after a close with a suspended job nor, the supervisor having been killed, after the next one."""
    if (reason := files.why_not(flavour)) is not None:
        pytest.skip(f"test cluster with a real Slurm: {reason}")
    with start(slurm=flavour) as testbed:
        pids, folder, supervisor = members(testbed.supervisor_pid), testbed.folder, testbed.supervisor_pid
        assert bool(groups(supervisor)) == (flavour == files.CGROUP)
        job = testbed.slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 300").stdout.strip()
        until(lambda: testbed.slurm.jobs() == {job: "RUNNING"})
        testbed.slurm.run("scontrol", "suspend", job, as_user=False)
        pids += members(testbed.supervisor_pid)
    assert traces(pids, folder) == []
    assert groups(supervisor) == []
    with start(slurm=flavour) as testbed:
        pids, folder, supervisor = members(testbed.supervisor_pid), testbed.folder, testbed.supervisor_pid
        os.kill(supervisor, signal.SIGKILL)
    until(lambda: traces(pids, folder) == [])
    assert groups(supervisor) == []


def test_up_and_down_with_control_groups(tmp_path):
    """It stays until ``down``, which removes its groups, even those that a killed supervisor could not remove."""
    if (reason := files.why_not(files.CGROUP)) is not None:
        pytest.skip(f"test cluster with a real Slurm: {reason}")
    folder = tmp_path / "bed"
    for kill in (False, True):
        state = keeper.up(folder, topology.IPV6, files.CGROUP)
        pids = members(state.owner_pid)
        assert groups(state.supervisor_pid)
        if kill:
            os.kill(state.owner_pid, signal.SIGSTOP)  # so that it does not end before the supervisor is killed
            os.kill(state.supervisor_pid, signal.SIGKILL)
            os.kill(state.owner_pid, signal.SIGKILL)
            until(lambda found=pids: [trace for trace in traces(found, folder) if trace.startswith("process")] == [])
            assert groups(state.supervisor_pid)
        assert keeper.down(folder) != kill
        assert traces(pids, folder) == []
        assert groups(state.supervisor_pid) == []


def test_what_is_missing_is_said_in_one_line(monkeypatch):
    """Without Slurm's packages there is a line that says how to get them, and exit code 3."""
    monkeypatch.setitem(files.PROGRAMS, "no-such-program", "slurm-wlm")
    monkeypatch.setattr(files, "PAM_MODULE", "no_such_module.so")
    reason = "Slurm: missing Debian packages: apt-get install libpam-slurm-adopt slurm-wlm"
    if (other := namespaces.why_not()) is not None:
        pytest.skip(f"test cluster of real hosts: {other}")
    assert files.why_not(files.LINUXPROC) == reason
    with pytest.raises(PreflightError, match=reason) as refused:
        start(slurm=files.LINUXPROC)
    assert refused.value.exit_code == 3
