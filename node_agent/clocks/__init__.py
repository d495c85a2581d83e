"""What clock sources' answers mean: pure functions from past samples and a stamp to a reading. No sockets in here."""
