"""Disks that run full, transfers that lack a program or do damage, in the middle of a run and after it."""

from __future__ import annotations

import contextlib
import subprocess

from broken_runs import HOSTS, WORKERS, BrokenRun, healthy

BASE = "/home/experimenter/chronotick-harness"

# Serves damaged copies: what rsync reads on this host is not what the checksums were made of.
DAMAGING_RSYNC = """#!/bin/sh
for last; do :; done
copy=$(mktemp -d)
cp -r "$last." "$copy"
sed -i '2s/[0-9]/x/' "$copy/events.csv"
cd "$copy" && /run/real --server --sender "$3" . ./
code=$?
rm -rf "$copy"
exit $code
"""


@contextlib.contextmanager
def small_disk(folder, enter=(), options=""):
    """Give a folder a disk of its own; yield functions that make it as small as what is on it, and large again."""
    subprocess.run([*enter, "mount", "-t", "tmpfs", "-o", f"size=1g{options}", "tmpfs", folder], check=True)

    def resize(size):
        return subprocess.run([*enter, "mount", "-o", f"remount,size={size}", folder], check=False).returncode == 0

    def fill():
        """Make it as small as what is on it; where more was written meanwhile, that is refused, and asked again."""
        for _ in range(50):
            said = subprocess.run(
                [*enter, "df", "--output=used", "-k", folder], check=True, capture_output=True, text=True
            ).stdout
            if resize(f"{said.split()[1]}k"):
                return
        raise AssertionError(f"{folder}: more is written than the disk can be made small")

    def empty():
        assert resize("1g")

    try:
        yield fill, empty
    finally:
        subprocess.run([*enter, "umount", "--lazy", folder], check=True)


def test_a_full_disk_on_a_node_ends_its_agent_with_a_reason(project, testbed):
    """Rows on the disk stay whole and are collected; the agent says why it ended, the others lose nothing."""
    host = testbed.hosts["ares-comp-11"]
    host.run(["mkdir", "-p", BASE], as_user=True)
    with small_disk(BASE, host.words(as_user=False), ",mode=700,uid=61818,gid=61818") as (fill, _):
        run = BrokenRun(project, testbed).start().await_rows(nodes=("comp12", "comp18"))
        before = int(host.run(["wc", "-l", f"{BASE}/runs/{run.name}/comp11/events.csv"]).stdout.split()[0]) - 1
        fill()
        code, printed = run.end()
        assert code == 5, printed
        run.check_degraded("comp11: ended as failed: ", "No space left on device")
        assert len(run.collected("comp11")) >= before > 0
        assert run.lost("comp12") == []
        run.check_nothing_invented()
        run.check_nothing_left()
        assert "run.key" not in host.run(["find", BASE]).stdout
    healthy(project, testbed)


def test_a_full_disk_on_the_controller_loses_nothing(project, testbed):
    """The agents are stopped or end, what they have stays on the nodes, and is collected when there is room again."""
    results = project.path / "results"
    results.mkdir()
    with small_disk(str(results)) as (fill, make_room):
        run = BrokenRun(project, testbed).start().await_rows()
        run.keep()
        fill()
        code, printed = run.end()
        assert code == 6, printed
        assert "No space left on device" in printed.splitlines()[-1], printed
        assert "Traceback" not in printed
        run.check_nothing_left()
        make_room()
        code, printed = project.fab("ares", "collect", "--experiment", run.name)
        assert code == 0, printed
        assert run.manifest["outcome"] == "ok"
        assert [run.lost(worker) for worker in WORKERS] == [[], []]
        run.check_kept()
        run.check_nothing_invented()
        run.check_nothing_left()


@contextlib.contextmanager
def program_replaced(host, program, text):
    """Let a program of a host be another script, the real one being /run/real; None: not executable."""
    host.run(["rm", "-f", "/run/other"])
    host.run(["cp", program, "/run/real"])
    host.run(["sh", "-c", 'printf %s "$0" > /run/other', text or ""])
    if text is not None:
        host.run(["chmod", "755", "/run/other"])
    host.run(["mount", "--bind", "/run/other", program])
    try:
        yield
    finally:
        host.run(["umount", program])


def test_a_transfer_without_rsync_or_with_damage_never_gets_worse(project, testbed, tmp_path):
    """What arrives damaged is refused and fetched again; without rsync on either end SFTP brings the same, verified."""
    host = testbed.hosts["ares-comp-11"]
    with program_replaced(host, "/usr/bin/rsync", DAMAGING_RSYNC):
        run = BrokenRun(project, testbed, lasting_s=1)
        code, printed = run.start().end()
    assert code == 6, printed
    run.check_says("collect: comp11: events.csv: expected sha256")
    assert not (run.results / "raw/comp11").exists()
    run.check_nothing_left()
    with program_replaced(host, "/usr/bin/rsync", None):
        code, printed = project.fab("ares", "collect", "--experiment", run.name)
    assert code == 0, printed
    assert run.manifest["nodes"]["comp11"]["collected_by"] == "sftp (no rsync on comp11)"
    assert run.manifest["nodes"]["comp12"]["collected_by"] == "rsync"
    first = {path: path.read_bytes() for path in (run.results / "raw").rglob("*.csv")}
    for program in ("sh", "bash", "git", "nsenter", "ssh"):
        (tmp_path / program).symlink_to(subprocess.check_output(["which", program], text=True).strip())
    code, printed = project.fab("ares", "collect", "--experiment", run.name, PATH=str(tmp_path))
    assert code == 0, printed
    assert {run.manifest["nodes"][node]["collected_by"] for node in HOSTS} == {"sftp (no rsync on this machine)"}
    assert {path: path.read_bytes() for path in first} == first
    run.check_nothing_invented()
    run.check_nothing_left()
