"""How clock sources are asked: one exchange each, with a deadline, off the hot path."""
