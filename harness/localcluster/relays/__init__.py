"""The relays that make the paths of an embedded cluster: one process, told what to lay by lines on standard input."""
