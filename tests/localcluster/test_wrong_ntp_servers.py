"""An embedded cluster with several NTP servers, some of them wrong on purpose by what its file says."""

from __future__ import annotations

import pytest

from harness.configuration.experiment import load_cluster
from harness.localcluster import start
from node_agent.contract.records import OK
from node_agent.exchange import ntp
from node_agent.local.instants import LocalClock

ONE = "ntp_server: 127.0.77.1:0\n"
THREE = """\
ntp_server: ["127.0.77.1:0", "127.0.77.2:0", "127.0.77.3:0"]
ntp_error_ms: [0, -5.5, 86400000]
"""
MS = 1_000_000


@pytest.mark.parametrize("paths", ["", "paths: {ntp: {delay_ms: 2}}\n"])
def test_each_server_is_as_wrong_as_the_file_says(cluster_file, tmp_path, paths, lives, until):
    """By the agent's own exchange, also through relays; the servers are processes that end with the cluster."""
    path = tmp_path / cluster_file.name
    text = cluster_file.read_text().replace(ONE, THREE) + paths
    path.write_text(text.replace("127.0.77.", "127.0.78."))  # other hosts than the other tests have
    with start(load_cluster(path)) as running:
        assert list(running.services) == ["ntp", "ntp2", "ntp3", "chronotick"]
        assert len(set(running.cluster.ntp_server)) == 3
        assert running.cluster.ntp_error_ms == [0, -5.5, 86_400_000]
        for server, error_ms in zip(running.cluster.ntp_server, running.cluster.ntp_error_ms, strict=True):
            sample = ntp.NtpServer(server, LocalClock(), 100.0, 5.0).ask(lambda: "ntp1")[-1]
            assert sample.outcome == OK
            assert abs(sample.offset_ns - error_ms * MS) <= sample.bound_ns
            assert (sample.delay_ns >= 4 * MS) == bool(paths)
        pids = [service.pid for service in running.services.values()]
    until(lambda: not any(lives(pid) for pid in pids), "the services end")
