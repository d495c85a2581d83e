"""Nodes over SSH: how they are reached, who is believed, and one action at a time with a deadline."""
