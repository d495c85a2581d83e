"""What the data say of a run that a reader of its verdicts must know."""
