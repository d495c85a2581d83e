"""The benchmark: how fast, how exact and how small the agents are on this machine, measured on real agents."""
