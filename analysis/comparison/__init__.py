"""Two conditions beside each other, a run or many of each: what differs, and how sure that is. The unit is the run."""
