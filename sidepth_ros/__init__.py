"""The ROS 2 side of sidepth: camera topics in, depth images and point clouds out."""
