"""A plain depth node, as they are mostly written: the same network, and everything else the straightforward way.

It copies the message as cv_bridge does, resizes the whole image in float32, makes depth and cloud in NumPy and hands
messages over with `tobytes()`. The benchmark runs it beside the depth node; it is of no other use.
"""

from __future__ import annotations

import array
import statistics
import sys
import time
from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from sidepth_core.inference import DepthEstimator
from sidepth_ros.benchmark.stage import NETWORK_CLOCK
from sidepth_ros.tools.executable import run_node

Floats = npt.NDArray[np.float32]
FOCAL_PX = 900.0
"""Of the benchmark's camera; the peer does not look at camera_info."""


class Peer:
    """Subscribes to `image`, publishes `depth/image` and `depth/points`.

    Args:
        node: Whose topics these are.
        full: Whether depth has the size of the input; else that of the network.
        compressed: Whether images come as JPEG.
    """

    def __init__(self, node: Node, *, full: bool, compressed: bool) -> None:
        torch.set_num_threads(1)
        self._full = full
        self._estimator = DepthEstimator.load(engine='channels_last', device='cpu')
        self._depths = node.create_publisher(Image, 'depth/image', 1)
        self._clouds = node.create_publisher(PointCloud2, 'depth/points', 1)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._network_ms: deque[float] = deque(maxlen=100)
        node.create_timer(1.0, self._tell)
        kind = CompressedImage if compressed else Image
        node.create_subscription(kind, 'image', self._on_image, qos_profile_sensor_data)

    def _on_image(self, message: Image | CompressedImage) -> None:
        data = np.frombuffer(bytes(message.data), np.uint8)
        if isinstance(message, CompressedImage):
            decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
            image = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
        else:
            image = data.reshape(message.height, message.width, 3).copy()
        height, width = self._estimator.network_size(image.shape[:2])
        small = cv2.resize(image.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(small).permute(2, 0, 1)[None]
        start = time.perf_counter()
        depth = self._estimator.depth(pixels, torch.tensor([FOCAL_PX]), (height, width))[0, 0].numpy()
        self._network_ms.append(1e3 * (time.perf_counter() - start))
        if self._full:
            depth = cv2.resize(depth, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        depth = np.where(depth > 80, np.inf, np.where(depth < 0.1, -np.inf, depth)).astype(np.float32)
        colours = np.asarray(cv2.resize(image, depth.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        out = Image(header=message.header, encoding='32FC1', height=depth.shape[0], width=depth.shape[1])
        out.step, out.data = 4 * depth.shape[1], array.array('B', depth.tobytes())
        self._depths.publish(out)
        self._clouds.publish(self._cloud(message.header, FOCAL_PX * depth.shape[1] / image.shape[1], depth, colours))

    def _tell(self) -> None:
        """Say what the network takes, as the depth node does."""
        if self._network_ms:
            value = KeyValue(key=NETWORK_CLOCK, value=f'{statistics.median(self._network_ms):.1f}')
            self._diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name='peer', values=[value])]))

    def _cloud(self, header: Header, focal: float, depth: Floats, colours: npt.NDArray[np.uint8]) -> PointCloud2:
        height, width = depth.shape
        u, v = np.meshgrid(np.arange(width), np.arange(height))
        x, y = (u - width / 2) * depth / focal, (v - height / 2) * depth / focal
        red, green, blue = (colours[..., channel].astype(np.uint32) for channel in range(3))
        packed = ((red << 16) | (green << 8) | blue).view(np.float32)
        points = np.stack([x, y, depth, packed], axis=-1).astype(np.float32)[::2, ::2]
        points[~np.isfinite(points[..., 2])] = np.nan
        cloud = PointCloud2(header=header, height=points.shape[0], width=points.shape[1], point_step=16)
        names = enumerate(('x', 'y', 'z', 'rgb'))
        cloud.fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in names]
        cloud.row_step, cloud.data = 16 * points.shape[1], array.array('B', points.tobytes())
        return cloud


def main(argv: Sequence[str]) -> int:
    """Run the peer: `full` or `network` says how large its depth is, `raw` or `compressed` how images come."""
    size, transport, *ros = argv

    def work(node: Node) -> None:
        Peer(node, full=size == 'full', compressed=transport == 'compressed')
        rclpy.spin(node)

    return run_node('peer', ros, work)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
