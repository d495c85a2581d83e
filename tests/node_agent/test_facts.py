"""A node's facts are read where the kernel tells them, and are None where it does not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from node_agent.contract.facts import HARDWARE_RX, HARDWARE_TX, SOFTWARE_RX, SOFTWARE_TX
from node_agent.local import cgroup, facts, interface
from node_agent.local.cgroup import MemoryGroup, memory_group

if TYPE_CHECKING:
    from pathlib import Path

UNLIMITED_V1 = "9223372036854771712"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.11", "::1"])
def test_the_interface_is_the_one_that_has_the_address(host):
    assert interface.interface_of(host) == "lo"
    assert facts.collect(host).interface == "lo"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "127.0.0.1%none"])
def test_an_address_that_no_interface_has_has_no_facts(host):
    assert interface.interface_of(host) is None
    told = facts.collect("192.0.2.1")
    assert (told.interface, told.speed_mbps, told.driver, told.time_stamps) == (None, None, None, None)


def test_the_loopback_stamps_in_software_and_has_no_speed():
    told = facts.collect("127.0.0.1")
    assert told.speed_mbps is None
    assert told.time_stamps is None or not {HARDWARE_TX, HARDWARE_RX} & set(told.time_stamps)


def test_an_interface_that_is_not_there_tells_nothing():
    assert interface.speed_mbps("none0") is None
    assert interface.driver("none0") is None
    assert interface.time_stamps("none0") is None


def test_what_the_driver_says_it_can_stamp_is_told(monkeypatch):
    asked = []

    def answering(name, command):
        asked.append(name)
        return interface._TIME_STAMPS.pack(interface._GET_TIME_STAMPS, 0x5F, 0)  # as an igb answers

    monkeypatch.setattr(interface, "_ethtool", answering)
    assert interface.time_stamps("eth0") == (HARDWARE_TX, HARDWARE_RX, SOFTWARE_TX, SOFTWARE_RX)
    assert asked == ["eth0"]


@pytest.mark.parametrize(("text", "speed"), [("10000\n", 10_000), ("-1\n", None), ("", None)])
def test_a_speed_that_is_not_known_is_none(tmp_path, monkeypatch, text, speed):
    (tmp_path / "eth0").mkdir()
    (tmp_path / "eth0/speed").write_text(text)
    monkeypatch.setattr(interface, "_NET", tmp_path)
    assert interface.speed_mbps("eth0") == speed


def test_every_governor_of_the_allowed_cpus_is_told_once(tmp_path, monkeypatch):
    for cpu, governor in enumerate(("powersave", "performance", "powersave")):
        folder = tmp_path / f"cpu{cpu}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
    monkeypatch.setattr(facts, "_CPUS", tmp_path)
    assert facts._governors([0, 2]) == ("powersave",)
    assert facts._governors([0, 1, 2, 3]) == ("performance", "powersave")
    assert facts._governors([7]) is None


def test_the_slurm_job_is_told_where_there_is_one(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert facts.collect("127.0.0.1").slurm_job_id is None
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert facts.collect("127.0.0.1").slurm_job_id == "4711"


def proc_of(folder: Path, groups: str, mounts: str) -> Path:
    """Make what /proc/self says of a process's control groups."""
    folder.mkdir()
    (folder / "cgroup").write_text(groups)
    (folder / "mountinfo").write_text(mounts)
    return folder


def group_of(tmp_path: Path, version: int, path: str, root: str = "/") -> tuple[MemoryGroup | None, Path]:
    """Return the memory group that is found, and the mount point, of a machine with this version."""
    top = tmp_path / "fs"
    kind, option = ("cgroup2", "rw") if version == cgroup.V2 else ("cgroup", "rw,memory")
    line = f"4:memory:{path}\n0::/\n" if version == cgroup.V1 else f"0::{path}\n"
    mounts = f"30 23 0:26 / / rw - ext4 /dev/sda rw\n35 31 0:32 {root} {top} rw,relatime - {kind} {kind} {option}\n"
    return memory_group(proc_of(tmp_path / "proc", line, mounts)), top


@pytest.mark.parametrize(
    ("version", "name", "none"), [(1, "memory.limit_in_bytes", UNLIMITED_V1), (2, "memory.max", "max")]
)
def test_the_least_limit_of_the_groups_above_counts(tmp_path, version, name, none):
    folder = tmp_path / "fs/job/step"
    folder.mkdir(parents=True)
    (folder / name).write_text(f"{none}\n")
    group, top = group_of(tmp_path, version, "/job/step")
    assert group == MemoryGroup(version, folder, top)
    assert group.limit_bytes() is None
    (folder.parent / name).write_text("512000000\n")
    assert group.limit_bytes() == 512_000_000
    (folder / name).write_text("1024000000\n")
    assert group.limit_bytes() == 512_000_000


def test_in_a_container_the_top_is_the_own_group(tmp_path):
    (tmp_path / "fs").mkdir()
    group, top = group_of(tmp_path, 2, "/../../outside")
    assert group == MemoryGroup(2, top, top)


def test_a_mount_that_begins_further_down_is_followed(tmp_path):
    (tmp_path / "fs/step").mkdir(parents=True)
    group, top = group_of(tmp_path, 1, "/docker/abc/step", root="/docker/abc")
    assert group == MemoryGroup(1, top / "step", top)


def test_without_control_groups_nothing_is_told(tmp_path, monkeypatch):
    assert memory_group(tmp_path / "nothing") is None
    monkeypatch.setattr(facts, "memory_group", lambda: None)
    told = facts.collect("127.0.0.1")
    assert (told.memory_limited, told.memory_limit_bytes) == (None, None)


@pytest.mark.parametrize(
    ("version", "files", "kills"),
    [
        (1, {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"}, 2),
        (1, {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, None),  # before Linux 4.13
        (2, {"memory.events": "low 0\noom 1\noom_kill 3\n"}, 3),
        (2, {"memory.events": "oom_kill 3\n", "memory.events.local": "oom_kill 1\n"}, 1),  # not those of groups below
        (2, {}, None),
    ],
)
def test_kills_are_counted_where_the_kernel_counts_them(tmp_path, version, files, kills):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert MemoryGroup(version, tmp_path, tmp_path).oom_kills() == kills


def test_the_real_interfaces_are_told_by_their_names():
    names = {name for _index, name in socket.if_nameindex()}
    assert facts.collect("127.0.0.1").interface in names
