"""Rates with their denominators, what events are worth as independent trials, and intervals that respect it."""
