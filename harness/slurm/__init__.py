"""Nodes that a Slurm job lends: asking for it, starting agents as its steps, noticing its end."""
