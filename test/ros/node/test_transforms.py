"""Real TF, where the ROS install has it: tf2_ros is on no package index, so this runs in the ROS containers only."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tf2_ros')

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.executors import SingleThreadedExecutor
from ros_graph import PATIENCE_S
from tf2_ros import StaticTransformBroadcaster

from sidepth_ros.node.static_transforms import parse_transforms
from sidepth_ros.node.transforms import Transforms

pytestmark = pytest.mark.ros


def test_transform_of_tf_static_is_found_and_that_of_the_parameter_wins(ros_environment: dict[str, str]) -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(ros_environment['ROS_DOMAIN_ID']))
    node = rclpy.create_node('tf_tester', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        message = TransformStamped()
        message.header.frame_id, message.child_frame_id = 'base_footprint', 'camera'
        message.transform.translation.x, message.transform.translation.z = 0.3, 1.2
        message.transform.rotation.z = message.transform.rotation.w = math.sqrt(0.5)  # a quarter to the left
        broadcaster = StaticTransformBroadcaster(node)
        broadcaster.sendTransform(message)
        transforms = Transforms(node, {})
        assert transforms.hears_tf
        deadline = time.monotonic() + PATIENCE_S
        while (found := transforms('base_footprint', 'camera')) is None and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.05)
        assert found is not None
        assert found @ [1, 0, 0, 1] == pytest.approx([0.3, 1, 1.2, 1])
        assert transforms('base_footprint', 'nowhere') is None
        assert 'publish it in /tf_static' in transforms.missing('base_footprint', 'nowhere')
        told = Transforms(node, parse_transforms(['base_footprint camera 0 0 2.5 0 0 0']))
        assert np.asarray(told('base_footprint', 'camera'))[2, 3] == pytest.approx(2.5)
        told.close()
        transforms.close()
        assert transforms('base_footprint', 'camera') is None
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
