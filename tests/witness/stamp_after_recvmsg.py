"""A mutant of the agent: it stamps an event when it has taken it from the socket, as if there were no kernel stamps."""

import sys

from node_agent.__main__ import main
from node_agent.datagrams import kernel_stamps

_parse = kernel_stamps.parse
kernel_stamps.parse = lambda datagram: _parse(datagram)._replace(kernel_ns=None)
sys.exit(main())
