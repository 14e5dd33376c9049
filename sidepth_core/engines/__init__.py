"""Ways to run the depth network: eager, compiled, and those that may join."""
