"""Reads run folders and judges them; the only place that knows pandas and matplotlib."""
