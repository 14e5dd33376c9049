"""From a bag to the cache that training reads: frames a second of one core, against OpenCV's decoding alone.

The bag (mcap, JPEG images of KITTI's size) is drawn for the purpose. Preparing reads it, decodes, measures motion and
sharpness, resizes and writes. Decoding alone is what no reader of JPEG is faster than.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.benchmarks.loading import SOURCE_HEIGHT, SOURCE_WIDTH, drive_images, one_thread
from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.camera import Camera
from sidepth_core.data.bags import BagSource, BagWriter
from sidepth_core.data.prepare import PrepareSettings, prepare

ABOUT = """\
Seconds are those of the processor, whatever else the machine does. A machine prepares a recording with all its cores;
recordings are shared out over machines by `--shard`, see [clusters.md](clusters.md).
"""
SIZES = ((640, 192), (1024, 320))
"""Width and height of the training images."""
TOPIC = '/camera/image_raw/compressed'


def rows(request: Request) -> Iterator[Row]:
    """Yield frames a second of decoding alone, and of preparing at two training sizes."""
    frames = 24 if request.quick else 96
    with tempfile.TemporaryDirectory(prefix='sidepth-bench-') as name, one_thread():
        folder = Path(name)
        write_drive(folder / 'bag', frames)
        images = list(stored(folder / 'bag'))
        decoded = rate(lambda: [cv2.imdecode(image, cv2.IMREAD_COLOR) for image in images], frames, rounds=3)
        yield Row(f'cv2.imdecode alone, JPEG of {SOURCE_WIDTH}x{SOURCE_HEIGHT}', decoded, 'frames/s')
        for width, height in SIZES[: 1 if request.quick else None]:
            settings = PrepareSettings(width, height, stride=1, codec='raw', workers=1)
            prepared = rate(partial(prepare_anew, folder, settings), frames, rounds=2)
            yield Row(f'bag to cache at {width}x{height}', prepared, 'frames/s', 'decoding alone', prepared / decoded)


def prepare_anew(folder: Path, settings: PrepareSettings) -> None:
    """Prepare the bag in a folder into a cache of its own."""
    prepare([BagSource(folder / 'bag')], Path(tempfile.mkdtemp(dir=folder)), settings)


def write_drive(path: Path, frames: int) -> None:
    """Write a bag of a drive along a textured wall."""
    camera = Camera(SOURCE_WIDTH, SOURCE_HEIGHT, 721.5, 721.5, 609.6, 172.9)
    with BagWriter(path) as bag:
        for index, image in enumerate(drive_images(frames)):
            stamp_ns = 10**18 + index * 10**8
            bag.add_camera_info('/camera/camera_info', camera, stamp_ns, 'camera')
            bag.add_compressed_image(TOPIC, image, stamp_ns, 'camera')


def stored(bag: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the images of a bag as their files, undecoded."""
    from rosbags.rosbag2 import Reader  # noqa: PLC0415 - slow to import, and no other benchmark needs it
    from rosbags.typesys import Stores, get_typestore  # noqa: PLC0415 - as above

    types = get_typestore(Stores.ROS2_JAZZY)
    with Reader(bag) as reader:
        for connection, _, content in reader.messages():
            if connection.topic == TOPIC:
                yield types.deserialize_cdr(content, connection.msgtype).data


def rate(work: Callable[[], object], count: int, rounds: int) -> float:
    """Return how many of `count` things are done in a second of this process' processor time, in the best round."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return count / min(times)
