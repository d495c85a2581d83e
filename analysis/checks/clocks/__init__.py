"""What a run says of its clocks: which were stepped, ran too fast, were far off, or are not independent."""
