"""How well a result shows what was asked for."""
