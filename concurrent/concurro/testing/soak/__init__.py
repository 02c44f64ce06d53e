"""A cluster under fire: `python -m concurro.testing.soak`."""
