"""Depth, pose, zoom and flicker scores, and the report that shows them."""
