"""Sweeps: many runs of many configurations in one call, and going on with them."""
