"""Drives into a cache that training reads at memory speed: frame selection, clips, shards and two-view poses."""
