"""The self-supervised trainer."""
