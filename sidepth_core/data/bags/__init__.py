"""Rosbag2 recordings, read and written without ROS: files whole or damaged, topics, messages, and drives of them."""

from sidepth_core.data.bags.files import BagFiles, Message, Topic, is_bag
from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.bags.topics import COMPRESSED_IMAGE, NONE, Choice, choose
from sidepth_core.data.bags.writer import BagWriter

__all__ = [
    'COMPRESSED_IMAGE',
    'NONE',
    'BagFiles',
    'BagSource',
    'BagWriter',
    'Choice',
    'Message',
    'Topic',
    'choose',
    'is_bag',
]
