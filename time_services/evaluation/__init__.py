"""How well the models foretell clocks: recorded series, simulated oscillators, scores and tables."""
