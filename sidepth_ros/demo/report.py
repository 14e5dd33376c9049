"""What a run of the demo amounts to, read from the bag it recorded: numbers, a table, a figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import deserialize_message
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from sidepth_core.camera import Camera
from sidepth_core.data.bags import BagFiles
from sidepth_core.data.frames import DepthMap
from sidepth_core.errors import BagError
from sidepth_core.evaluation.depth_metrics import DepthProtocol, mean_scores, score_image
from sidepth_core.visualisation import (
    BACKGROUND,
    Panel,
    bird_view,
    depth_span,
    draw_depth,
    save_image,
    side_by_side,
    with_colour_bar,
)
from sidepth_ros.demo.session import DEPTH, DEPTH_INFO, DIAGNOSTICS, EXACT, POINTS, Session
from sidepth_ros.messages import NumpyCodec, camera_of, decode_message, serialized_stamp_ns
from sidepth_ros.tools.recorder import Receipt

RGB = npt.NDArray[np.uint8]
UNWANTED = 'images without a subscriber'
"""What the diagnostics call images that are not dropped and still give no depth."""


class Accuracy(NamedTuple):
    """How far published depth is from exact depth.

    Attributes:
        abs_rel: AbsRel as published, mean over images.
        abs_rel_scaled: The same after each image is scaled by its median, as self-supervised depth is usually scored.
        ratio: Median of those factors: 1 for truly metric depth.
    """

    abs_rel: float
    abs_rel_scaled: float
    ratio: float


class Diagnosis(NamedTuple):
    """What the node's last diagnostics said.

    Attributes:
        model: Values of its model.
        camera: Values of its camera.
    """

    model: Mapping[str, str]
    camera: Mapping[str, str]


def compare(pairs: Iterator[tuple[DepthMap, DepthMap]]) -> Accuracy | None:
    """Return how far published depth is from exact depth; None where nothing can be compared.

    Args:
        pairs: Published and exact depth of the same images.
    """
    protocol = DepthProtocol()
    scores = [score for depth, exact in pairs if (score := score_image(depth, exact, protocol)) is not None]
    if not scores:
        return None
    return Accuracy(
        mean_scores([score.unscaled for score in scores]).abs_rel,
        mean_scores([score.scaled for score in scores]).abs_rel,
        float(np.median([score.ratio for score in scores])),
    )


class Recording:
    """The bag of a run.

    Args:
        path: Its folder.
        image_topic: Where the camera's images are.
    """

    def __init__(self, path: Path, image_topic: str) -> None:
        self._path = path
        self._image_topic = image_topic

    def _messages(self, topic: str) -> Iterator[bytes]:
        with BagFiles(self._path) as bag:
            yield from (message.data for message in bag.messages([topic]))

    def _at(self, topic: str, stamp: int, kind: type[Any]) -> Any:  # noqa: ANN401 - a message
        """Return the message of a stamp."""
        for data in self._messages(topic):
            if serialized_stamp_ns(data) == stamp:
                return deserialize_message(data, kind)
        raise BagError(f'bag {str(self._path)!r} has no message of {topic} at {stamp} ns')

    def pairs(self) -> Iterator[tuple[DepthMap, DepthMap]]:
        """Yield published and exact depth of the same image."""
        codec = NumpyCodec()
        exact = {serialized_stamp_ns(data): data for data in self._messages(EXACT)}
        for data in self._messages(DEPTH):
            if serialized_stamp_ns(data) in exact:
                ours, truth = (deserialize_message(item, Image) for item in (data, exact[serialized_stamp_ns(data)]))
                yield codec.imgmsg_to_cv2(ours), codec.imgmsg_to_cv2(truth)  # type: ignore[misc] # both 32FC1

    def diagnosis(self) -> Diagnosis:
        """Return the node's last diagnostics."""
        last: list[DiagnosticStatus] = []
        for data in self._messages(DIAGNOSTICS):
            last = deserialize_message(data, DiagnosticArray).status or last
        values = [{item.key: item.value for item in status.values} for status in last]
        return Diagnosis(
            next((value for value in values if 'engine' in value), {}),
            next((value for value in values if 'images received' in value), {}),
        )

    def common_stamps(self, topics: Sequence[str]) -> list[int]:
        """Return the stamps that all of some topics have, in order."""
        sets = [{serialized_stamp_ns(data) for data in self._messages(topic)} for topic in topics]
        return sorted(set.intersection(*sets))

    def figure(self, *, has_exact: bool) -> RGB:
        """Return image, depth, exact depth where there is some, and the cloud from above, of a moment of the drive.

        Raises:
            BagError: If no depth was published.
        """
        stamps = self.common_stamps([self._image_topic, DEPTH, DEPTH_INFO, POINTS])
        if not stamps:
            raise BagError(
                'nothing to draw: the node published no depth with its camera_info and cloud. The table says what it '
                f'was missing, bag {str(self._path)!r} holds what was sent'
            )
        stamp = stamps[len(stamps) * 3 // 5]
        is_compressed = self._image_topic.endswith('/compressed')
        codec = NumpyCodec()
        image = decode_message(self._at(self._image_topic, stamp, CompressedImage if is_compressed else Image), codec)
        depth: DepthMap = codec.imgmsg_to_cv2(self._at(DEPTH, stamp, Image))  # type: ignore[assignment] # 32FC1
        exact: DepthMap | None = None
        if has_exact:
            exact = codec.imgmsg_to_cv2(self._at(EXACT, stamp, Image))  # type: ignore[assignment] # 32FC1
        camera = camera_of(self._at(DEPTH_INFO, stamp, CameraInfo))
        return _panels(image, depth, exact, cloud_view(self._at(POINTS, stamp, PointCloud2), camera))


def cloud_view(cloud: PointCloud2, camera: Camera) -> RGB:
    """Return an organised cloud with colours from above.

    Args:
        cloud: Points x, y, z, rgb as float32, every n-th pixel of the depth image.
        camera: That of the depth image.
    """
    points = np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, cloud.point_step // 4)
    colours = points[..., 3].copy().view(np.uint8).reshape(cloud.height, cloud.width, 4)[..., 2::-1]
    stride = camera.width // cloud.width
    thinned = Camera(
        cloud.width, cloud.height, camera.fx / stride, camera.fy / stride, camera.cx / stride, camera.cy / stride
    )
    return bird_view(np.ascontiguousarray(points[..., 2]), thinned, np.ascontiguousarray(colours), size=600)


def _panels(image: RGB, depth: DepthMap, exact: DepthMap | None, above: RGB) -> RGB:
    span = depth_span(depth) if exact is None else depth_span(depth, exact)
    coloured = [with_colour_bar(draw_depth(item, span), span) for item in (depth, exact) if item is not None]
    # As wide as the images with a bar, so that the same column of all three is the same ray.
    size = (coloured[0].shape[1] - depth.shape[1], depth.shape[0])
    beside: RGB = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    resized = cv2.resize(image, depth.shape[::-1], interpolation=cv2.INTER_AREA)
    labels = ('depth/image', 'exact depth')
    rows = [[Panel(np.hstack([resized, beside]), 'camera')]]
    rows += [[Panel(drawn, label)] for drawn, label in zip(coloured, labels, strict=False)]
    left = side_by_side(rows, width=1000)
    return side_by_side([[Panel(left), Panel(above, 'depth/points from above')]])


def latency_ms(receipts: Sequence[Receipt]) -> tuple[float, float]:
    """Return the median and the 95th percentile of the time from a stamp to its receipt here, milliseconds."""
    if not receipts:
        return float('nan'), float('nan')
    p50, p95 = np.percentile([receipt.received_ns - receipt.stamp_ns for receipt in receipts], (50, 95)) / 1e6
    return float(p50), float(p95)


def rate_hz(receipts: Sequence[Receipt]) -> float:
    """Return messages a second."""
    if len(receipts) < 2:
        return 0.0
    return (len(receipts) - 1) * 1e9 / max(1, receipts[-1].received_ns - receipts[0].received_ns)


def losses(sent: int, received: int, camera: Mapping[str, str]) -> dict[str, int]:
    """Return what became of the images that no depth was received of, by reason; reasons without an image are left out.

    Args:
        sent: How many images the camera sent.
        received: How many depth images came here.
        camera: What the node says of its camera.
    """
    counts = {key: int(value) for key, value in camera.items() if key.startswith('dropped: ') or key == UNWANTED}
    arrived = int(camera.get('images received', sent))
    published = int(camera.get('depth images published', received))
    # The node's queue holds one image: what a newer one takes the place of there, nobody can count.
    counts = {'replaced before the node took it': sent - arrived, **counts}
    counts['depth images that did not come here'] = published - received
    counts['unexplained'] = sent - received - sum(counts.values())
    return {name: count for name, count in counts.items() if count}


def table(
    sent: int, images: Sequence[Receipt], depths: Sequence[Receipt], said: Diagnosis, accuracy: Accuracy | None
) -> Table:
    """Return a run in one table.

    Args:
        sent: How many images the camera sent.
        images: Those received.
        depths: Depth images received.
        said: The node's own words.
        accuracy: How right it was; None where nobody knows.
    """
    rows = Table(title='depth node, seen from outside', show_header=False, title_justify='left')
    rows.add_column(style='bold')
    rows.add_column(justify='right')
    rows.add_row('images sent by the camera', f'{sent}  ({rate_hz(images):.1f} Hz)')
    rows.add_row('depth images received', f'{len(depths)}  ({rate_hz(depths):.1f} Hz)')
    for name, count in losses(sent, len(depths), said.camera).items():
        rows.add_row(name, str(count))
    p50, p95 = latency_ms(depths)
    rows.add_row('latency, stamp to subscriber, p50 / p95', f'{p50:.0f} / {p95:.0f} ms')
    if accuracy is None:
        rows.add_row('AbsRel', 'this bag has no exact depth')
    else:
        rows.add_row('AbsRel against exact depth, as published', f'{accuracy.abs_rel:.3f}')
        rows.add_row('AbsRel, each image median-scaled', f'{accuracy.abs_rel_scaled:.3f}')
        rows.add_row('median of those factors (1: metric)', f'{accuracy.ratio:.2f}')
    for key in ('checkpoint', 'backbone', 'network size', 'engine', 'precision', 'device', 'scale source'):
        if key in said.model:
            rows.add_row(key, said.model[key])
    return rows


def report(session: Session, sent: int, folder: Path, console: Console) -> None:
    """Print the table of a run and write its figure.

    Args:
        session: The run.
        sent: How many images the camera sent.
        folder: Where the figure goes.
        console: Where the table goes.

    Raises:
        BagError: If the node published no depth.
    """
    recording = Recording(session.bag, session.image_topic)
    receipts = session.receipts
    has_exact = EXACT in receipts
    accuracy = compare(recording.pairs()) if has_exact else None
    console.print(table(sent, receipts[session.image_topic], receipts[DEPTH], recording.diagnosis(), accuracy))
    path = save_image(folder / 'demo.png', recording.figure(has_exact=has_exact))
    console.print(f'figure: {path}\nbag:    {session.bag}   (ros2 bag play, Foxglove, sidepth inspect)', soft_wrap=True)
