"""CONTRIBUTING's walk: a clock source that reads a number from a file, in two files and one line, is everywhere."""

from __future__ import annotations

import contextlib
import csv
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import page_text
import pytest
import yaml

from node_agent.contract import records

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
TREE = ("node_agent", "harness", "analysis", "time_services", "configs")
OFFSET_MS = 0.25
pytestmark = pytest.mark.timeout(300)  # a whole experiment, on a machine that may have other work
STEP = re.compile(r"^\d\. (?:`([\w/.]+)`)?.*?^   ```\w+\n(.*?)^   ```", re.DOTALL | re.MULTILINE)


class Copy:
    """A copy of the tree, in which the walk is done, and the tools to be called there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in TREE:
            shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("fabfile.py", "tasks.py", "pyproject.toml"):
            shutil.copy(ROOT / name, path)

    def walk(self) -> None:
        """Do what CONTRIBUTING says: put what it shows into the files that it names."""
        blocks = STEP.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
        (clock, meaning), (exchange, asking), (registry, line), (_, options) = (
            (place, textwrap.dedent(block)) for place, block in blocks[:4]
        )
        for place, text in ((clock, meaning), (exchange, asking)):
            assert not (self.path / place).exists()
            (self.path / place).write_text(text)
        code = (self.path / registry).read_text()
        code = re.sub(r"^KINDS: .*?^\).*?$", lambda _: line.strip(), code, count=1, flags=re.MULTILINE | re.DOTALL)
        code = code.replace(" clockbound, kernel, ntp\n", " clockbound, file, kernel, ntp\n")
        (self.path / registry).write_text(code)
        (self.path / "offset_ms").write_text(f"{OFFSET_MS}\n")
        clocks = yaml.safe_load(options)["clocks"]
        clocks["file"]["path"] = str(self.path / "offset_ms")
        self.edit("configs/worker_config.yaml", clocks=clocks, network={"listen_port": free_udp_port()}, timing={
            "ntp_query_interval": 0.2, "chronotick_query_interval": 0.2, "commit_wait_delays": [0.3],
        })  # fmt: skip
        self.edit("configs/coordinator_config.yaml", experiment={"num_events": 60, "duration_minutes": None},
                  probes={"port": free_udp_port(), "lead_s": 0.5, "trail_s": 0.5})  # fmt: skip
        cluster = yaml.safe_load((self.path / "configs/clusters/local.yaml").read_text())
        for node in cluster["nodes"]:
            del node["virtual_clock"]
        (self.path / "configs/clusters/local.yaml").write_text(yaml.safe_dump(cluster))

    def edit(self, name: str, **sections: dict) -> None:
        content = yaml.safe_load((self.path / name).read_text())
        for section, values in sections.items():
            content[section] |= values
        (self.path / name).write_text(yaml.safe_dump(content))

    def run(self, tool: str, *arguments: str, code: int = 0) -> str:
        """Run a tool on a terminal of its own, 200 characters wide; return all that it wrote there."""
        master, slave = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": str(self.path), "COLUMNS": "200", "TERM": "xterm"}
        process = subprocess.Popen(
            [TOOLS / tool, *arguments], cwd=self.path, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        written = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            while chunk := os.read(master, 65_536):
                written += chunk
        os.close(master)
        assert process.wait(250) == code, written.decode()
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))  # noqa: S104 - on all addresses, to know it is free on all of them
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    made = Copy(tmp_path_factory.mktemp("walk") / "tree")
    made.walk()
    return made


@pytest.fixture(scope="module")
def screen(copy: Copy) -> str:
    """Run an experiment with the source; return what was to be seen."""
    return copy.run("fab", "local", "check", "deploy", "--experiment", "walk", "run")


def test_the_walk_keeps_the_projects_own_rules(copy: Copy) -> None:
    for tool, *arguments in (("ruff", "check", "node_agent"), ("ruff", "format", "--check", "node_agent"),
                             ("mypy", "-p", "node_agent"), ("lint-imports", "--no-cache")):  # fmt: skip
        copy.run(tool, *arguments)


def test_check_and_the_live_display_show_it(screen: str) -> None:
    check, _, live = screen.partition("deployed experiment=walk")
    _, _, table = check.partition("local: the offset file")
    for node in ("comp18", "comp11", "comp12"):
        assert re.search(rf"{node}\s.*offset_ms\s.* ok\s.*\+0\.250 ± 0\.500", table)
    assert "offset file offset" in live
    assert re.search(r"\+0\.\d+±0\.5\d+", live)


def test_every_row_has_its_reading_and_replay_recomputes_it(copy: Copy, screen: str) -> None:
    folder = copy.path / "results/walk"
    for name in (records.COORDINATOR_FILE, records.worker_file("comp11"), records.worker_file("comp12")):
        with (folder / name).open(newline="") as table:
            rows = list(csv.DictReader(table))
        assert len(rows) == 60
        assert {row["file_status"] for row in rows} == {records.OK}
        assert all(abs(float(row["file_offset_ms"]) - OFFSET_MS) < 0.5 for row in rows)
        assert {row["file_reference"] for row in rows} == {"utc"}
    assert re.search(r"\d+ readings recomputed, 0 differences", copy.run("invoke", "replay", "--experiment", "walk"))
    spoilt = copy.path / "results/spoilt"
    shutil.copytree(folder, spoilt)
    samples = spoilt / records.RAW_DIR / "comp11" / records.SAMPLES_FILE
    samples.write_text(samples.read_text().replace(f",{OFFSET_MS}\n", ",0.75\n"))
    told = copy.run("invoke", "replay", "--experiment", "spoilt", code=7)
    assert re.search(r"comp11 sample file\d+ offset_ns: recorded '250000', replayed '750000'", told)


def test_the_report_and_the_network_cost_have_it(copy: Copy, screen: str) -> None:
    copy.run("invoke", "analyze", "--experiment", "walk")
    report = page_text.of(copy.path / "results/walk")
    assert re.search(r"^\| file \|", report, re.MULTILINE)
    cost = yaml.safe_load((copy.path / "results/walk/statistics/coordination_stats.json").read_text())
    assert cost["polling"]["file"]["bytes"] == 0


def test_by_hand_it_is_an_option(copy: Copy) -> None:
    told = copy.run("python", "-m", "node_agent", "worker", "--help")
    assert "--file" in told
    assert "path of a file with an offset in ms" in told
