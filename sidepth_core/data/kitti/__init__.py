"""KITTI as drives: its files, its published splits, and the images that its depth benchmark selected."""
