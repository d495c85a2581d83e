"""What does not fit into memory, on disk for as long as an analysis goes on."""
