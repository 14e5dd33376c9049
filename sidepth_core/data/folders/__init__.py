"""Image folders and video files as drives."""
