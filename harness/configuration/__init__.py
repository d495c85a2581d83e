"""What the files of ``configs/`` may say: strict models, one per file, and what is wrong with one in a line."""
