"""All runs of a sweep together: the run is the unit, and a cell is what its repeats have in common."""
