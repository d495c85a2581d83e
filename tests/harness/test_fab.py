"""``fab`` as a user meets it: exit codes, one clear line, nothing left running."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.configuration.cluster import ClusterConfig
    from tests.harness.conftest import Project


def last_line(printed: str) -> str:
    return printed.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "check"], "No idea what 'nowhere' is!"),
        (["demmo"], "No idea what 'demmo' is! (did you mean demo? clusters: ares, "),
        (["local", "sweep", "nigth"], "sweep: expected one of night, drifts (files of "),
        (["local", "deploy", "--experiment", "../x"], "experiment name: expected"),
        (["demo", "--experiment", ""], "experiment name: expected"),
        (["status", "--experiment", ""], "experiment name: expected"),
        (["local", "check", "--config-dir", ""], "--config-dir: expected a value, got ''; or leave --config-dir out"),
        (["local", "run", "--worker-config", ""], "--worker-config: expected a value"),
        (["status", "--experiment", " "], "experiment name: expected"),
        (["ares"], "cluster ares selected; nothing to do: add check, deploy, run"),
        (["demo", "--nosuch"], "No idea what '--nosuch' is! (options of demo: --experiment)"),
        (["local", "deploy", "--experiment", "a b"], "experiment name: expected"),
        (["local", "check", "--config-dir", "none"], "none/coordinator_config.yaml: expected a configuration file"),
        (["status"], "experiment: expected one in results, got none"),
        (["local", "watch", "--hours", "0"], "--hours: expected a number above 0 and at most 744, got '0'"),
        (["-S", "nosuch", "ares", "check"], "-S nosuch: expected an ssh_config, got no such file"),
        (["status", "--experiment", "nope"], "experiment nope: expected a results folder results/nope, got none there"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(project: Project, arguments: list[str], said: str) -> None:
    code, printed = project.fab(*arguments)
    assert code == 2
    assert printed.startswith(said)
    assert len(printed.strip().splitlines()) == 1


def test_a_cluster_named_like_a_task_is_a_configuration_error(project: Project) -> None:
    (project.path / "configs/clusters/run.yaml").write_text("{}")
    code, printed = project.fab("check")
    assert code == 2
    assert "got 'run'; rename the file" in last_line(printed)


def test_an_unknown_key_is_named_with_its_file(project: Project) -> None:
    project.edit("configs/worker_config.yaml", timing={"ntp_interval": 3})
    code, printed = project.fab("local", "deploy", "run")
    assert code == 2
    named = "configs/worker_config.yaml: timing.ntp_interval: expected no such key, got 3"
    assert printed.strip() == f"{named}; did you mean ntp_query_interval?"


def test_a_name_that_is_taken_is_refused_before_anything_starts(project: Project) -> None:
    (project.path / "results/mine").mkdir(parents=True)
    code, printed = project.fab("local", "deploy", "--experiment", "mine")
    assert code == 2
    assert "experiment mine: expected a new name" in printed
    assert "embedded cluster started" not in printed


def test_a_port_in_use_is_found_before_anything_starts(
    project: Project, hosts: ClusterConfig, agents_of: Callable[[], list[str]]
) -> None:
    project.add_cluster("lab", hosts)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((hosts.node("comp11").host, 0))
        port = sock.getsockname()[1]
        project.edit("configs/worker_config.yaml", network={"listen_port": port})
        code, printed = project.fab("lab", "deploy", "run", "--experiment", "x")
    assert code == 3
    assert last_line(printed).startswith(f"comp11: UDP port {port} on {hosts.node('comp11').host} is in use")
    assert not (project.path / "results").exists()
    assert agents_of() == []


def test_a_probe_port_in_use_is_found_before_anything_starts(project: Project, hosts: ClusterConfig) -> None:
    project.add_cluster("lab", hosts)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((hosts.node("comp18").host, 0))
        port = sock.getsockname()[1]
        project.edit("configs/coordinator_config.yaml", probes={"port": port})
        code, printed = project.fab("lab", "deploy", "run", "--experiment", "x")
    assert code == 3
    assert f"{port} in use" in printed
    assert last_line(printed).startswith(f"comp18: UDP port {port} on {hosts.node('comp18').host} is in use")
    assert not (project.path / "results").exists()


def test_a_host_that_does_not_answer_is_named(project: Project, hosts: ClusterConfig) -> None:
    absent = [node.model_copy(update={"host": "127.0.0.99"}) if node.id == "comp12" else node for node in hosts.nodes]
    project.add_cluster("lab", hosts.model_copy(update={"nodes": absent}))
    code, printed = project.fab("lab", "run")
    assert code == 3
    assert "comp12: expected SSH at" in last_line(printed)
    assert "Connection refused" in last_line(printed)


def test_an_old_python_on_a_node_is_named(project: Project, hosts: ClusterConfig, tmp_path: Path) -> None:
    old = tmp_path / "python3.6"
    old.write_text("#!/bin/sh\nprintf 3.6.15\n")
    old.chmod(0o755)
    project.add_cluster("lab", hosts, remote_python=str(old))
    code, printed = project.fab("lab", "run")
    assert code == 3
    assert last_line(printed).startswith("comp18, comp11, comp12: remote_python: expected Python >= 3.9, got 3.6.15")


def test_a_silent_ntp_server_is_named(project: Project, hosts: ClusterConfig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{sock.getsockname()[1]}"
        project.add_cluster("lab", hosts, ntp_server=server)
        code, printed = project.fab("lab", "run")
    assert code == 3
    # a ChronoTick server that no earlier run has warmed up has a line of its own after it
    told = f"comp18, comp11, comp12: NTP {server}: expected a good answer, got timeout"
    assert any(line.startswith(told) for line in printed.splitlines())


@pytest.fixture
def speaking() -> Iterator[Callable[[bytes], str]]:
    """Serve HTTP that answers every ChronoTick question with the same bytes."""
    servers = []

    def serve(body: bytes) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(b'{"status": "healthy"}')

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.reply(body)

            def reply(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("body", [b"{}", b"<html>hello</html>", b'{"offset_ms": NaN, "uncertainty_ms": 1.0}'])
def test_a_chronotick_that_talks_nonsense_is_named(
    project: Project, hosts: ClusterConfig, speaking: Callable[[bytes], str], body: bytes
) -> None:
    url = speaking(body)
    project.add_cluster("lab", hosts, chronotick_server=url)
    code, printed = project.fab("lab", "run")
    assert code == 3
    assert last_line(printed).startswith(f"comp18, comp11, comp12: ChronoTick {url}: expected a good answer, got ")


def test_a_chain_of_deploy_run_collect_brings_home_a_verified_run(
    project: Project, hosts: ClusterConfig, agents_of: Callable[[], list[str]]
) -> None:
    project.add_cluster("lab", hosts)
    code, printed = project.fab("lab", "deploy", "--experiment", "mine", "run", "collect", "status", "clean")
    assert code == 0, printed
    folder = project.path / "results/mine"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["phase"], manifest["outcome"], manifest["problems"]) == ("collected", "ok", [])
    assert all(node["checksums_verified"] for node in manifest["nodes"].values())
    assert [
        node["status"]["counts"]["received"] for node in manifest["nodes"].values() if node["role"] == "worker"
    ] == [20, 20]
    assert (project.path / "results/latest").resolve() == folder.resolve()
    assert len((folder / "worker_comp11.csv").read_text().splitlines()) == 21
    assert len((folder / "coordinator.csv").read_text().splitlines()) == 21
    for node_id, node in manifest["nodes"].items():
        probes = (folder / f"raw/{node_id}/probes.csv").read_text().splitlines()
        counts = node["status"]["counts"]
        assert len(probes) == 1 + counts["probe_sent"] + counts["probe_received"] > 40
    assert sorted(path.name for path in (folder / "configs").iterdir()) == [
        "coordinator_config.yaml", "lab.yaml", "worker_config.yaml",
    ]  # fmt: skip
    assert agents_of() == []
    again, printed = project.fab("run", "--experiment", "mine")
    assert again == 2
    assert "expected a deployment that has not run" in last_line(printed)
    with (folder / "raw/comp11/events.csv").open("a") as events:
        events.write("tampered\n")
    damaged, printed = project.fab("collect")
    assert damaged == 6
    assert "events.csv: the node lacks what was collected before; kept that" in printed


def test_without_rsync_it_says_so_and_verifies_the_same_and_a_second_run_deploys_itself(
    project: Project, hosts: ClusterConfig, tmp_path: Path
) -> None:
    project.add_cluster("lab", hosts)
    chain = ["deploy", "--experiment", "one", "run", "run", "--experiment", "two"]
    code, printed = project.fab("lab", *chain, PATH=str(tmp_path))
    assert code == 0, printed
    for name in ("one", "two"):
        manifest = json.loads((project.path / f"results/{name}/manifest.json").read_text())
        assert manifest["outcome"] == "ok"
        assert {node["collected_by"] for node in manifest["nodes"].values()} == {"sftp (no rsync on this machine)"}
        assert all(node["checksums_verified"] for node in manifest["nodes"].values())
    refused, printed = project.fab("lab", "deploy", "run", "--config-dir", "configs")
    assert refused == 2
    assert "expected no configuration" in last_line(printed)


def await_line(process, wanted: str, deadline_s: float = 60) -> str:
    """Read what a process prints until a line has ``wanted`` in it."""
    deadline = time.monotonic() + deadline_s
    printed = ""
    while wanted not in printed:
        assert time.monotonic() < deadline, printed
        line = process.stdout.readline()
        assert line, printed
        printed += line
    return printed


def test_an_interrupt_stops_every_agent_and_collects_what_there_is(
    project: Project, hosts: ClusterConfig, agents_of: Callable[[], list[str]]
) -> None:
    project.add_cluster("lab", hosts)
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 1000})
    process = project.start("lab", "run", "--experiment", "cut")
    await_line(process, "comp18 phase=broadcasting")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=250)
    assert process.returncode == 130
    assert printed.count("interrupt received: stopping the agents and collecting first") == 1
    assert "run experiment=cut outcome=failed (interrupted)" in printed
    assert last_line(printed) == "interrupted"
    assert agents_of() == []
    manifest = json.loads((project.path / "results/cut/manifest.json").read_text())
    assert (manifest["phase"], manifest["outcome"], manifest["problems"][0]) == ("collected", "failed", "interrupted")


def test_a_lost_controller_loses_nothing(
    project: Project, hosts: ClusterConfig, agents_of: Callable[[], list[str]]
) -> None:
    project.add_cluster("lab", hosts)
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 700})
    process = project.start("lab", "run", "--experiment", "lost")
    await_line(process, "comp18 phase=broadcasting")
    process.kill()
    process.communicate()
    assert len(agents_of()) == 3
    code, printed = project.fab("collect")
    assert code == 0, printed
    assert "still running nodes=" in printed
    manifest = json.loads((project.path / "results/lost/manifest.json").read_text())
    assert (manifest["phase"], manifest["outcome"]) == ("collected", "ok")
    assert agents_of() == []


def test_a_worker_that_dies_is_data_and_exit_5(
    project: Project, hosts: ClusterConfig, local, agents_of: Callable[[], list[str]]
) -> None:
    project.add_cluster("lab", hosts)
    # The coordinator waits that long for the dead worker to confirm the end.
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 200}, broadcast={"hello_timeout_s": 4})
    process = project.start("lab", "run", "--experiment", "dies", "status")
    await_line(process, "comp12 phase=running")
    said = (local.homes["comp12"] / "chronotick-harness/runs/dies/comp12/agent.pid").read_text()
    os.kill(json.loads(said)["pid"], signal.SIGKILL)
    printed, _ = process.communicate(timeout=250)
    assert process.returncode == 5, printed
    assert "dies on lab" in printed  # the chain went on
    manifest = json.loads((project.path / "results/dies/manifest.json").read_text())
    assert manifest["outcome"] == "degraded"
    assert all(node["checksums_verified"] for node in manifest["nodes"].values())
    assert manifest["nodes"]["comp11"]["status"]["counts"]["received"] == 200
    assert agents_of() == []


def test_the_embedded_cluster_ends_with_fab(project: Project) -> None:
    code, printed = project.fab("local", "check")
    assert code == 0, printed
    assert "local: ChronoTick" in printed
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(str(project.path).encode() in command for command in commands)
