"""What is wrong with a run: with its files (``contract``), and with what they say (``data``)."""
