"""What a run is asked: each question says which labels a clock gives, and how they are judged."""
