"""Rosbag2 recordings, read and written without ROS: whole or damaged files, topics, messages, and drives made of them."""
