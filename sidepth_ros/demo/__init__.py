"""The demo: starts the node and a camera as processes, records what they publish, and reports on it."""
