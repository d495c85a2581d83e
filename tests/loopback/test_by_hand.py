"""Started by hand, an agent takes plain JSON from anyone's one-line sender, says so, and sums up when it is stopped."""

from __future__ import annotations

import csv
import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from agents import free_port, run_agent, service
from awaiting import until

from node_agent.contract import records
from tests.stamped_rows import stamped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.66.31"
# What a newcomer types: ten events of three fields from one line of Python.
SENDER = (
    "import json,socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); "
    "[s.sendto(json.dumps({{'event_id':i,'coordinator_timestamp_ns':time.time_ns(),'sequence_number':i}}).encode(),"
    "('{host}',{port})) for i in range(10)]"
)


@dataclass
class ByHand:
    """A hand-started agent in the foreground of a test."""

    process: subprocess.Popen[str]
    port: int
    output: Path

    @property
    def raw(self) -> Path:
        return self.output.with_name(f"{self.output.stem}.raw")

    def counts(self) -> dict[str, int]:
        try:
            return json.loads((self.raw / records.STATUS_FILE).read_text())["counts"]
        except FileNotFoundError:
            return {}

    def await_count(self, name: str, count: int) -> None:
        until(lambda: self.counts().get(name) == count, f"{name}={count}, got {self.counts()}")

    def stop(self, number: int) -> tuple[int, str]:
        """Send a signal; return the exit code and what it said."""
        self.process.send_signal(number)
        _out, said = self.process.communicate(timeout=250)
        return self.process.returncode, said

    def rows(self) -> list[dict[str, str]]:
        with self.output.open(newline="") as stream:
            return list(csv.DictReader(stream, strict=True))


@contextmanager
def worker_by_hand(folder: Path, *options: str, host: str | None = HOST) -> Iterator[ByHand]:
    port = free_port(HOST)
    output = folder / "test.csv"
    listen = () if host is None else ("--listen-host", host)
    command = ["worker", "--node-id", "test", "--listen-port", str(port), "--output", str(output), *listen, *options]
    with subprocess.Popen([sys.executable, "-m", "node_agent", *command], stderr=subprocess.PIPE, text=True) as process:
        try:
            made = ByHand(process, port, output)
            until(lambda: made.counts() or process.poll() is not None, "its first status")
            yield made
        finally:
            process.kill()


def send_ten(host: str, port: int) -> None:
    subprocess.run([sys.executable, "-c", SENDER.format(host=host, port=port)], check=True, timeout=250)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ten_events_of_a_one_line_sender_are_ten_rows_and_a_summary(tmp_path, sender, number):
    with worker_by_hand(tmp_path) as worker:
        send_ten(HOST, worker.port)
        for text in (b"TEST\n", b"{}", b"\xff"):
            sender.sendto(text, (HOST, worker.port))
        worker.await_count("received", 10)
        worker.await_count("malformed", 3)
        code, said = worker.stop(number)
        rows = worker.rows()
    assert code == 0
    assert [row["event_id"] for row in rows] == [str(i) for i in range(10)]
    assert {row["node_id"] for row in rows} == {"test"}
    assert tuple(rows[0]) == records.worker_columns((30.0, 60.0))
    for prefix in ("ntp", "ct"):
        assert {row[f"{prefix}_status"] for row in rows} == {"not_configured"}
        columns = [column for column in records.source_columns(prefix) if column != f"{prefix}_status"]
        assert {row[column] for row in rows for column in columns} == {""}
    summary = said[said.index("worker test: received=") :]
    for part in (
        "received=10", "duplicate=0", "malformed=3", "sequence numbers: 10 distinct, from 0 to 9, without a gap\n",
        "ntp=not_configured", str(worker.output),
    ):  # fmt: skip
        assert part in summary
    assert "lost" not in summary


def test_it_listens_everywhere_unless_told_and_says_that_it_has_no_key(tmp_path):
    with worker_by_hand(tmp_path, host=None) as worker:
        send_ten("127.0.66.32", worker.port)
        worker.await_count("received", 10)
        _code, said = worker.stop(signal.SIGTERM)
    assert "no run key" in said
    assert f"0.0.0.0:{worker.port}" in said
    assert "keyed=False" in (worker.raw / records.LOG_FILE).read_text()


def test_with_a_server_its_readings_are_in_the_rows(tmp_path):
    with service("time_services.ntp_server") as (_, ntp), worker_by_hand(tmp_path, "--ntp-server", ntp) as worker:
        until(lambda: sampled(worker), "a good sample")
        send_ten(HOST, worker.port)
        worker.await_count("received", 10)
        _code, said = worker.stop(signal.SIGTERM)
        rows = stamped(worker.rows())
    assert {row["ntp_status"] for row in rows} == {"ok"}
    assert {row["ntp_reference"] for row in rows} == {f"server:{ntp}"}
    for row in rows:  # the server's clock is this host's own: the truth is the stamp itself
        assert int(row["ntp_lower_bound_ns"]) <= int(row["receive_time_ns"]) <= int(row["ntp_upper_bound_ns"])
    assert "ntp=ok(" in said


def sampled(worker: ByHand) -> bool:
    return json.loads((worker.raw / records.STATUS_FILE).read_text())["sources"]["ntp"]["status"] == "ok"


def test_a_coordinator_by_hand_sends_what_a_worker_by_hand_takes(tmp_path):
    with worker_by_hand(tmp_path) as worker:
        said = run_agent(
            "coordinator", "--workers", f"{HOST}:{worker.port}", "--num-events", "10", "--delay-ms", "5",
            "--output", str(tmp_path / "coordinator.csv"),
        )  # fmt: skip
        worker.await_count("received", 10)
        worker.stop(signal.SIGTERM)
        received = worker.rows()
    assert said.returncode == 0, said.stderr
    assert "sent=10" in said.stderr
    with (tmp_path / "coordinator.csv").open(newline="") as stream:
        sent = list(csv.DictReader(stream, strict=True))
    assert [row["event_id"] for row in sent] == [row["event_id"] for row in received] == [str(i) for i in range(1, 11)]
    assert {row["workers_sent"] for row in sent} == {f"{HOST}-{worker.port}"}


def test_a_port_in_use_is_one_line_and_leaves_nothing_behind(tmp_path):
    with worker_by_hand(tmp_path) as worker:
        said = run_agent(
            "worker", "--listen-host", HOST, "--listen-port", str(worker.port), "--output", str(tmp_path / "second.csv")
        )
    assert said.returncode == 3
    assert f"UDP port {worker.port} on {HOST} is in use" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("second")]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["worker"], "expected --plan PATH, or --output FILE"),
        (["worker", "--detach", "--output", "x.csv"], "--detach: expected together with --plan"),
        (
            ["worker", "--output", "x.csv", "--listen-port", "70000"],
            "worker: --listen-port: expected 0 to 65535, got 70000",
        ),
        (["worker", "--output", "x.csv", "--node-id", "../x"], "worker: --node-id: expected"),
        (
            ["worker", "--output", "x.csv", "--ntp-server", "host:ntp"],
            "--ntp-server: expected host:port, got 'host:ntp'",
        ),
        (["worker", "--output", "no/x.csv"], "--output no/x.csv: the folder of its journals cannot be made: No such"),
        (["worker", "--output", "x.csv", "--chronotick-server", "host"], "expected http://HOST:PORT, got 'host'"),
        (["coordinator", "--output", "x.csv"], "--workers: expected H:P,H:P"),
        (
            ["coordinator", "--output", "x.csv", "--workers", "h:1,127.0.0.1"],
            "--workers: expected H:P,H:P, got '127.0.0.1'",
        ),
        (["coordinator", "--output", "x.csv", "--workers", "h:0"], "--workers: expected host:port, got 'h:0'"),
        (
            ["coordinator", "--output", "x.csv", "--workers", "h:1", "--num-events", "0"],
            "--num-events: expected 1 or more, got 0",
        ),
        (
            ["coordinator", "--output", "x.csv", "--workers", "h:1", "--delay-ms", "nan"],
            "--delay-ms: expected 0 or more",
        ),
    ],
)
def test_an_option_that_cannot_be_meant_is_one_line_and_exit_code_2(
    tmp_path, monkeypatch, capsys, arguments, complaint
):
    from node_agent.__main__ import main

    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("workers", "got"),
    [
        ("127.0.66.31:9,127.0.66.31:9", "127.0.66.31:9 twice"),
        ("127.0.0.1:9,localhost:9", "127.0.0.1:9 and localhost:9, both at 127.0.0.1:9"),
        ("[::ffff:127.0.0.1]:9,127.0.0.1:9", "[::ffff:127.0.0.1]:9 and 127.0.0.1:9, both at 127.0.0.1:9"),
    ],
)
def test_a_worker_that_is_named_twice_is_refused_however_it_is_written(tmp_path, capsys, workers, got):
    """Else it would be sent every event twice, and each would count as another worker's."""
    from node_agent.__main__ import main

    assert main(["coordinator", "--output", str(tmp_path / "x.csv"), "--workers", workers]) == 2
    assert capsys.readouterr().err == f"coordinator: --workers: expected each worker once, got {got}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("role", "option", "value"),
    [
        ("coordinator", "--workers", "nosuch:9"),
        ("worker", "--ntp-server", "nosuch"),
        ("worker", "--chronotick-server", "http://nosuch:8000"),
        ("worker", "--listen-host", "nosuch"),
    ],
)
def test_a_name_that_no_host_has_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch, role, option, value):
    from node_agent.__main__ import main

    answers_with(monkeypatch, socket.EAI_NONAME)
    assert main([role, "--output", str(tmp_path / "x.csv"), option, value]) == 2
    told = f"{role}: {option}: expected a host that can be looked up, got 'nosuch': in words\n"
    assert capsys.readouterr().err == told
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_may_be_found_later_is_a_line_for_a_source_and_an_end_for_a_worker(capsys, monkeypatch):
    from node_agent import by_hand
    from node_agent.lifecycle import AgentError

    answers_with(monkeypatch, socket.EAI_AGAIN)
    assert by_hand._addresses("--ntp-server", "slow", 0, asked_again=True) == []
    told = "--ntp-server: expected a host that can be looked up, got 'slow': in words"
    assert capsys.readouterr().err == f"{told}; it is asked again with each question\n"
    with pytest.raises(AgentError) as ended:
        by_hand._addresses("--workers", "slow", 9)
    assert ended.value.code == 2


def answers_with(monkeypatch, number: int) -> None:
    def refused(*_arguments: object) -> None:
        raise socket.gaierror(number, "in words")

    monkeypatch.setattr(socket, "getaddrinfo", refused)


def test_what_the_parser_refuses_is_one_line_too(capsys):
    from node_agent.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["worker", "--listen-port", "x"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "worker: --listen-port: invalid int value: 'x'\n"


def test_an_output_that_exists_is_never_written_into(tmp_path):
    (tmp_path / "test.csv").write_text("of another run")
    said = run_agent("worker", "--output", str(tmp_path / "test.csv"), "--listen-port", "0")
    assert said.returncode == 2
    assert "exists already" in said.stderr
    assert (tmp_path / "test.csv").read_text() == "of another run"
