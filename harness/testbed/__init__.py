"""A cluster of real hosts on one Linux machine, inside network namespaces: ``testbed.start`` brings it up.

A gateway ``ares`` and three nodes, each with its own network, name, processes, home and /tmp, and its own sshd; an NTP
server behind the NTP proxy and the ChronoTick server on the gateway. It needs root, and touches nothing outside its
namespaces and its one folder. Nothing is imported here, so that the processes inside start quickly.
"""
