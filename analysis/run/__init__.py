"""A run folder as typed frames and arrays: what was written, nothing joined, nothing dropped, nothing filled in."""
