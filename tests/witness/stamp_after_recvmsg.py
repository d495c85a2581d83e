"""A mutant of the agent: it stamps an event when it has taken it from the socket, as if there were no kernel stamps."""

import sys

from node_agent.__main__ import main
from node_agent.local.instants import user_stamp
from node_agent.worker import Worker

Worker._stamp = lambda _self, _datagram, pair, _by: user_stamp(pair)
sys.exit(main())
