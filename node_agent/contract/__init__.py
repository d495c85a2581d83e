"""What goes into a node (``plan``) and what comes out of it and of a run (``records``): all that others know."""
