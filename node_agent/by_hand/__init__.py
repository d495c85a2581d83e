"""Agents started by hand: their options, and what these mean."""
