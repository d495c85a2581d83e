"""A run as arrays, one entry per event of the run, loss included: what every verdict is computed from."""
