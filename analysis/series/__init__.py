"""Clocks watched without events, or by the logs of other programs: their offsets over time, and how far they agree."""
