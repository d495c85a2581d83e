"""The ChronoTick server behind its command: requests, the states of nodes, answers, and the web application."""
