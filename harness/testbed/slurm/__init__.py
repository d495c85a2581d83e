"""What makes a testbed's hosts a Slurm cluster: their files, their control groups, and Slurm as tests drive it."""
