"""What runs beside a cluster that has none of its own: an NTP server and a ChronoTick server."""
