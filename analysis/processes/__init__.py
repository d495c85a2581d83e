"""More than one process: a second one beside the first, or many that share out pieces of work."""
