"""Runs that never happened, with a truth that is known: the same files as a real run, of any size, from one seed."""
