"""What a person reads: the report, its tables, LaTeX, and the hypotheses with their answers."""
