"""What the files of a run folder must be, whatever they say of clocks."""
