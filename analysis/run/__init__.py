"""A run folder as typed frames: what was written, nothing joined, nothing dropped, nothing filled in."""
