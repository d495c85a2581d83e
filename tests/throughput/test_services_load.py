"""The load of a ChronoTick server asks as agents do, and its table says of every answer what it was."""

from __future__ import annotations

import json
import socket

import pytest

from harness.bench.asking_node import SAMPLES_AT_FIRST, AskingNode
from harness.bench.load import NODES, PIECES, Load, measure
from harness.errors import RunError


def test_a_node_says_what_no_answer_confirmed():
    """A question holds the samples of before until an answer confirms them, and then every third one a new one."""
    node = AskingNode(0, bytes(32), dual_model=False, questions_per_sample=3)
    held = []
    with socket.create_server(("127.0.78.9", 0)) as server:
        node.connect(*server.getsockname())
        served, _ = server.accept()
        with served:
            for confirms in (False, True, True, True, True, True):
                node.ask()
                head, _, body = served.recv(65_536).partition(b"\r\n\r\n")
                assert head.startswith(b"POST /get_time HTTP/1.1\r\n")
                asked = json.loads(body)
                assert asked["use_dual_model"] is False
                held.append(len(asked["ntp_samples"]))
                told = json.dumps({"confirmed_raw_ns": asked["raw_ns"]} if confirms else {}).encode()
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told)
                served.sendall(answer[:30])
                assert node.answered() is None
                served.sendall(answer[30:])
                assert node.answered() == 200
            served.close()
            with pytest.raises(ConnectionResetError):
                node.answered()
    node.close()
    assert held == [SAMPLES_AT_FIRST, SAMPLES_AT_FIRST, 1, 0, 0, 1]


def test_a_refused_node_asks_again_over_a_new_connection():
    node = AskingNode(0, bytes(32), dual_model=True, questions_per_sample=1)
    with socket.create_server(("127.0.78.9", 0)) as server:
        node.connect(*server.getsockname())
        for status in (429, 200):
            served, _ = server.accept()
            with served:
                node.ask()
                assert served.recv(65_536)
                served.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
                assert node.answered() == status
    node.close()


@pytest.mark.parametrize("dual_model", [True, False])
def test_every_question_is_answered_with_a_number(dual_model):
    said = []
    pieces = measure(Load(2000.0, 4 * NODES * PIECES, dual_model=dual_model), said.append)
    assert [piece.latency.count for piece in pieces] == [4 * NODES] * PIECES
    assert sum(piece.refused for piece in pieces) == 0
    assert all(piece.rss_mb > 0 and piece.server_cpu_us > 0 and piece.load_cpu_us > 0 for piece in pieces)
    assert ("model dual" in said[0]) == dual_model
    assert len(said) == PIECES + 2


def test_fewer_questions_than_nodes_and_parts_are_refused():
    with pytest.raises(RunError, match=f"--requests: expected at least {NODES * PIECES}"):
        measure(Load(2000.0, NODES * PIECES - 1), [].append)
