"""A run, or all runs of a sweep, as one file to be cited, and run folders made again from it."""
