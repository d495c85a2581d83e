"""What ``fab`` and ``invoke`` themselves take from a command line and from their surroundings."""
