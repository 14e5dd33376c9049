"""Rosbag2 recordings, read and written without ROS: files whole or damaged, topics, messages, and drives of them."""
