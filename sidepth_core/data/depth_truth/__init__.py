"""Depth ground truth: LiDAR sweeps projected into an image, depth images, single images with a sweep."""
