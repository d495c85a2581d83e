"""A run under way: launch, watch, notice the end, collect, and say how it went."""
