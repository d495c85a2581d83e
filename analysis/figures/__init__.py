"""Figures: panels of typed results, one look, equal bytes for equal data."""
