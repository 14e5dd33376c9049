"""Writes one camera_info to a file that camera_calibration and sidepth read: `ros2 run sidepth_ros camera_snapshot`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import rclpy
import yaml
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo

from sidepth_ros.tools.executable import run_node, without_ros_arguments

REMIND_SECONDS = 10.0


def calibration_text(info: CameraInfo, name: str) -> str:
    """Return a camera_info as the YAML of camera_calibration and camera_calibration_parsers.

    Args:
        info: The camera_info.
        name: Name of the camera.
    """

    def matrix(rows: int, columns: int, values: Sequence[float]) -> dict[str, object]:
        return {'rows': rows, 'cols': columns, 'data': [float(value) for value in values]}

    fields = {
        'image_width': int(info.width),
        'image_height': int(info.height),
        'camera_name': name,
        'camera_matrix': matrix(3, 3, info.k),
        'distortion_model': str(info.distortion_model),
        'distortion_coefficients': matrix(1, len(info.d), info.d),
        'rectification_matrix': matrix(3, 3, info.r),
        'projection_matrix': matrix(3, 4, info.p),
    }
    return str(yaml.safe_dump(fields, sort_keys=False, default_flow_style=None))


def take(node: Node, out: Path) -> None:
    """Wait for a camera_info, and for the bag's folder, which its recorder insists on making; then write the file."""
    received: list[CameraInfo] = []
    subscription = node.create_subscription(CameraInfo, 'camera_info', received.append, qos_profile_sensor_data)
    reminded = time.monotonic()
    while not received or not out.parent.parent.is_dir():
        rclpy.spin_once(node, timeout_sec=0.2)
        if not received and time.monotonic() - reminded > REMIND_SECONDS:
            reminded = time.monotonic()
            node.get_logger().warning(f'still no camera_info on {subscription.topic_name}: is the camera calibrated?')
    out.parent.mkdir(exist_ok=True)
    out.write_text(calibration_text(received[-1], out.stem), encoding='utf-8')
    node.get_logger().info(f'calibration of {subscription.topic_name} written to {out}')


def main(argv: Sequence[str] | None = None) -> int:
    """Write the camera_info of the topic `camera_info` to --out, and end."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog='camera_snapshot', description='Write one camera_info to a calibration file.')
    parser.add_argument('--out', type=Path, required=True, help='the file, BAG/calibration/NAME.yaml; BAG is awaited')
    options = parser.parse_args(without_ros_arguments(arguments))
    return run_node('camera_snapshot', arguments, lambda node: take(node, options.out))


if __name__ == '__main__':
    sys.exit(main())
