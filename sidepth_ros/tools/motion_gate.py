"""Pauses `ros2 bag record` while the robot stands still, by its odometry: `ros2 run sidepth_ros motion_gate`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

import rclpy
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from sidepth_ros.tools.executable import run_node, without_ros_arguments

SERVICE_SECONDS = 10.0
"""How long the recorder may take to offer its services."""


class Gate:
    """Whether to record: at once when something moves, and until it has stood still for a while.

    Args:
        min_speed_mps: Speed from which it moves, metres a second.
        still_s: How long it must stand before recording pauses, seconds.
    """

    def __init__(self, min_speed_mps: float, still_s: float) -> None:
        self._min_speed_mps = min_speed_mps
        self._still_s = still_s
        self._moved_s: float | None = None

    def is_open(self, time_s: float, speed_mps: float) -> bool:
        """MessageSequence a speed, and return whether to record.

        Args:
            time_s: When it was measured, seconds; time running backwards starts anew.
            speed_mps: Metres a second, of any sign.
        """
        stale = self._moved_s is None or time_s < self._moved_s
        if stale or abs(speed_mps) >= self._min_speed_mps:
            self._moved_s = time_s
        return self._moved_s is None or time_s - self._moved_s < self._still_s


class RecorderSwitch:
    """The pause and resume services of rosbag2's recorder."""

    def __init__(self, node: Node) -> None:
        from rosbag2_interfaces.srv import Pause, Resume  # noqa: PLC0415 - absent where rosbag2 is

        self._node = node
        self._requests = {False: Pause.Request, True: Resume.Request}
        self._clients = {
            False: node.create_client(Pause, '/rosbag2_recorder/pause'),
            True: node.create_client(Resume, '/rosbag2_recorder/resume'),
        }
        self._recording = True

    def wait(self) -> bool:
        """Wait for the services, and return whether they are there."""
        return all(client.wait_for_service(timeout_sec=SERVICE_SECONDS) for client in self._clients.values())

    def set(self, recording: bool) -> None:
        """Pause or resume, where that is a change."""
        if recording != self._recording:
            self._recording = recording
            self._clients[recording].call_async(self._requests[recording]())
            self._node.get_logger().info('recording' if recording else 'paused: the robot stands still')


def watch(node: Node, gate: Gate) -> None:
    """Switch the recorder by odometry until ROS shuts down."""
    switch = RecorderSwitch(node)
    if not switch.wait():
        node.get_logger().error(
            "rosbag2's recorder offers no pause service (it does from Jazzy on): everything is recorded, "
            'and `prepare` drops still stretches later'
        )
        return

    def moved(message: Odometry) -> None:
        velocity = message.twist.twist.linear
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        switch.set(gate.is_open(stamp, math.hypot(velocity.x, velocity.y, velocity.z)))

    node.create_subscription(Odometry, 'odom', moved, qos_profile_sensor_data)
    rclpy.spin(node)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gate on the topic `odom`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog='motion_gate',
        description='Pause `ros2 bag record` while the robot stands still, by its odometry.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--min-speed', type=float, default=0.05, help='speed from which it moves, metres a second')
    parser.add_argument('--still-seconds', type=float, default=2.0, help='how long it must stand before a pause')
    options = parser.parse_args(without_ros_arguments(arguments))
    gate = Gate(options.min_speed, options.still_seconds)
    return run_node('motion_gate', arguments, lambda node: watch(node, gate))


if __name__ == '__main__':
    sys.exit(main())
