"""What is done after events: uncertainties again some seconds later, commit-wait, a fresh question per event."""
