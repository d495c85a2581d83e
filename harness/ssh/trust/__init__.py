"""Which host keys are believed, as ssh believes them."""
