"""Is every node fit for the run: asked of each before anything is started."""
