"""The machine that an agent runs on, as it uses it: clocks, names, disk, and facts for the status."""
