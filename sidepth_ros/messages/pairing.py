"""Which camera_info goes with which image."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sidepth_ros.messages.conversions import image_size, stamp_ns

INFOS_KEPT = 16
"""camera_infos remembered by stamp, so that an image finds its own even where K changes from frame to frame."""

NO_INFO = 'no camera_info'
MISMATCH = 'camera_info of another size'


class Frame(NamedTuple):
    """An image with the camera_info that goes with it.

    Attributes:
        image: The message.
        info: The camera_info of the same stamp or, where there is none, the newest.
        received_s: When the image came, time.monotonic().
    """

    image: Image | CompressedImage
    info: CameraInfo
    received_s: float


class Outcome(NamedTuple):
    """What an arriving message led to.

    Attributes:
        frame: An image that has its camera_info now; None while one waits.
        lost: Why an image that waited was given up for a newer one; empty when none was.
        detail: A sentence on that.
    """

    frame: Frame | None = None
    lost: str = ''
    detail: str = ''


class Pairing:
    """Finds the camera_info of the image's stamp or else the newest; an image that none fits yet waits for one.

    An image that the newest camera_info fits is not held back for one of its own stamp: most cameras never change
    theirs, and some publish it at another rate. An image that does not fit the one of its own stamp is lost.
    """

    def __init__(self) -> None:
        self._infos: OrderedDict[int, CameraInfo] = OrderedDict()
        self._newest: CameraInfo | None = None
        self._waiting: Frame | None = None
        self._why = ('', '')

    def image(self, message: Image | CompressedImage, received_s: float) -> Outcome:
        """Take an image."""
        own = self._infos.get(stamp_ns(message.header))
        info = own or self._newest
        lost = self._why if self._waiting is not None else ('', '')
        self._waiting = None
        if info is not None and _fits(message, info):
            return Outcome(Frame(message, info, received_s), *lost)
        why = _explain(message, info)
        if own is not None:
            return Outcome(None, *why)
        self._waiting, self._why = Frame(message, info or CameraInfo(), received_s), why
        return Outcome(None, *lost)

    def info(self, message: CameraInfo) -> Outcome:
        """Take a camera_info."""
        stamp = stamp_ns(message.header)
        self._newest = self._infos[stamp] = message
        if len(self._infos) > INFOS_KEPT:
            self._infos.popitem(last=False)
        waiting = self._waiting
        if waiting is None:
            return Outcome()
        if _fits(waiting.image, message):
            self._waiting = None
            return Outcome(waiting._replace(info=message))
        if stamp_ns(waiting.image.header) == stamp:
            self._waiting = None
            return Outcome(None, *_explain(waiting.image, message))
        return Outcome()

    def reset(self) -> None:
        """Forget the stamps, keep the newest camera_info: time jumped."""
        self._infos.clear()
        self._waiting = None


def _fits(message: Image | CompressedImage, info: CameraInfo) -> bool:
    # The size of a compressed image is not known before it is decoded; it is checked then.
    return isinstance(message, CompressedImage) or (message.width, message.height) == image_size(info)


def _explain(message: Image | CompressedImage, info: CameraInfo | None) -> tuple[str, str]:
    if info is None:
        return NO_INFO, 'an image came and no camera_info yet'
    return MISMATCH, mismatch((message.width, message.height), image_size(info))


def mismatch(image: tuple[int, int], info: tuple[int, int]) -> str:
    """Return the sentence on an image and a camera_info whose sizes, width and height, differ."""
    return (
        f'the image is {image[0]}x{image[1]}, its camera_info says {info[0]}x{info[1]}: calibrate the camera at the '
        'size of its images, or have its driver say binning and region of interest'
    )
