"""Where the node's processor time goes, step by step, as its worker thread does them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from std_msgs.msg import Header

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.depth_maps import RayCache, packed_rgb, point_cloud
from sidepth_core.inference import DepthEstimator
from sidepth_ros.benchmark.stage import camera_info, picture
from sidepth_ros.messages import CalibrationCache, CloudBuffer, ImageBuffer, NumpyCodec, decode_message
from sidepth_ros.node.camera_output import colour_of
from sidepth_ros.node.model import Model, make_scale
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.processor import Processor, View

ROUNDS = 12
CASES = ((1, (1280, 720)), (4, (640, 480)))
"""Number of cameras, and width and height of their images."""
NETWORK, DECODE = 'network', 'decode JPEG (in the decoder thread)'

Result = TypeVar('Result')


def profile(request: Request) -> Iterator[Row]:
    """Yield the processor time of each step of a batch, on one thread, for one large and for four small images."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for count, (width, height) in CASES:
            steps = Steps(request, count, (width, height)).medians_ms()
            for step, spent_ms in steps.items():
                what = f'processor time of {count} x {width}x{height}, full-size depth and stride-2 cloud: {step}'
                yield Row(what, spent_ms, 'ms', figures={'ms an image': spent_ms / count})
    finally:
        torch.set_num_threads(threads)


class Steps:
    """The steps of a batch, each timed on its own.

    Args:
        request: Whose network.
        count: How many images.
        size: Their width and height.
    """

    def __init__(self, request: Request, count: int, size: tuple[int, int]) -> None:
        self._settings = Settings(device='cpu', cloud_stride=2)
        estimator = DepthEstimator.load(request.checkpoint, device='cpu', engine='channels_last')
        self._model = Model(estimator, make_scale(self._settings, estimator.info))
        self._processor = Processor()
        self._raw, self._jpeg = picture(size, 'raw'), picture(size, 'compressed')
        calibration = CalibrationCache()(camera_info(size), 'auto', '/image', rotate=True)
        image = decode_message(self._raw, NumpyCodec())
        self._images = [ImageBuffer('32FC1') for _ in range(count)]
        self._views = [
            View(str(index), image, calibration, 0, room=buffer.room) for index, buffer in enumerate(self._images)
        ]
        self._clouds = [CloudBuffer() for _ in self._views]
        self._rays = RayCache()
        self._spent_ms: dict[str, list[float]] = {}

    def medians_ms(self) -> dict[str, float]:
        """Return the median processor time of each step, milliseconds."""
        for _ in range(ROUNDS):
            self._once()
        return {step: statistics.median(spent_ms) for step, spent_ms in self._spent_ms.items()}

    def _timed(self, step: str, work: Callable[[], Result]) -> Result:
        start = time.process_time()
        result = work()
        self._spent_ms.setdefault(step, []).append(1e3 * (time.process_time() - start))
        return result

    @torch.inference_mode()
    def _once(self) -> None:
        # The processor's own steps, one by one: its call does them in this order.
        processor, model, views, settings = self._processor, self._model, self._views, self._settings
        self._timed(DECODE, lambda: [decode_message(self._jpeg, NumpyCodec()) for _ in views])
        images = self._timed(
            'take pixels, rectify',
            lambda: [processor._rectified(view, model.device) for view in views],  # noqa: SLF001
        )
        focal_px = [view.calibration.target.fx for view in views]
        sight = self._timed('shrink', lambda: model.sight(images, focal_px, model.network_size(images)))
        depth = self._timed(NETWORK, lambda: model.depth(sight))
        estimates = self._timed(
            'metres, gates, full size',
            lambda: [
                processor._finish(view, images[i], sight.some([i]), depth[i : i + 1], None, model, settings)  # noqa: SLF001
                for i, view in enumerate(views)
            ],
        )
        header, stride = Header(), settings.cloud_stride
        self._timed(
            'depth message',
            lambda: [room.fill(header, one.depth) for room, one in zip(self._images, estimates, strict=True)],
        )

        def clouds() -> None:
            for buffer, one in zip(self._clouds, estimates, strict=True):
                directions = self._rays(one.camera, stride, one.depth.device)
                height, width, _ = directions.shape
                out = buffer.room(height, width, 4)
                points = point_cloud(one.depth[::stride, ::stride], directions, packed_rgb(colour_of(one), stride), out)
                buffer.fill(header, points)

        self._timed('cloud and its message', clouds)
