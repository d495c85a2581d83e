"""Whether the files of a run folder are as the contract says, and fit together."""
