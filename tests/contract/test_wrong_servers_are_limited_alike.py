"""By how much an NTP server may be wrong on purpose is one rule: in a cluster file, and by hand."""

from harness.configuration import cluster
from time_services import ntp_server


def test_a_cluster_file_and_the_command_take_the_same_errors():
    assert cluster.LARGEST_ERROR_MS == ntp_server.LARGEST_ERROR_MS
