"""Up to which stratum an NTP server is believed is one rule: the agents', and the ChronoTick server's for itself."""

from node_agent.clocks import self_report
from time_services import ntp_packet


def test_the_server_believes_the_strata_that_the_agents_believe():
    assert self_report.Limits.max_stratum == ntp_packet.BELIEVED_STRATUM
