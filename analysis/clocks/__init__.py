"""How good each clock is: its errors, whether its claims hold, and what it is worth beside the last sample held."""
