"""What is known of waits: what sources claimed again after a while, and how long events were really held."""
