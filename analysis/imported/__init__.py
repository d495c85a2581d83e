"""Runs that other programs recorded, as run folders."""
