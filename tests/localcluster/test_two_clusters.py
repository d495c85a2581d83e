"""Two embedded clusters at once share no address, so that no port of one is ever in use by the other."""

from __future__ import annotations

import socket

import pytest

from harness import localcluster
from harness.localcluster.cluster import claim

HOSTS = ["127.0.92.11", "127.0.92.12", "127.0.92.18"]


def test_a_second_claim_moves_all_its_hosts_and_the_first_is_free_again_afterwards() -> None:
    first, held = claim(HOSTS)
    assert first == {host: host for host in HOSTS}
    second, held_too = claim(HOSTS[1:])
    assert second == {"127.0.92.12": "127.1.92.12", "127.0.92.18": "127.1.92.18"}
    held.close()
    again, held_again = claim(HOSTS)
    assert again == first
    held_again.close()
    held_too.close()


def test_a_host_that_is_no_loopback_address_keeps_its_name() -> None:
    addresses, held = claim(["::1", "localhost", "127.0.92.11"])
    assert addresses == {"::1": "::1", "localhost": "localhost", "127.0.92.11": "127.0.92.11"}
    held.close()


def test_two_clusters_of_one_file_run_side_by_side_on_one_port(config) -> None:
    """Each cluster's hosts can have the port that every agent is told to use."""
    with localcluster.start(config) as one, localcluster.start(config) as two:
        hosts = [[node.host for node in local.cluster.nodes] for local in (one, two)]
        assert set(hosts[0]).isdisjoint(hosts[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.bind((hosts[0][0], 0))
            port = mine.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
                theirs.bind((hosts[1][0], port))
                with pytest.raises(OSError, match="in use"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as third:
                    third.bind((hosts[0][0], port))
