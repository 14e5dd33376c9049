"""What a camera_info means for its images: their camera, and the rectified one that depth is published for."""

from __future__ import annotations

from typing import NamedTuple

from sensor_msgs.msg import CameraInfo

from sidepth_core.camera import Camera
from sidepth_core.rectify import UNROTATED, Rotation, rectified_camera
from sidepth_ros.messages.conversions import camera_of, projection_of, rotation_of


class Calibration(NamedTuple):
    """The way from an image to its rectified image.

    Attributes:
        source: The camera of the image as it arrives.
        target: The rectified camera, of the same size; equal to `source` where nothing is to do.
        rotation: R_target_source, from the camera's optical frame to the one that depth is in.
    """

    source: Camera
    target: Camera
    rotation: Rotation = UNROTATED

    @property
    def is_identity(self) -> bool:
        """Whether images are taken as they come."""
        return self.source == self.target and self.rotation == UNROTATED


def calibration_of(info: CameraInfo, rectify: str, image_topic: str, *, rotate: bool = True) -> Calibration:
    """Return what to do with the images of a camera_info.

    Convention (image_pipeline's): K and D describe the raw image, R and P together the rectified one, and both topics
    carry the same camera_info and frame_id. An image topic named image_rect... is therefore rectified already, whatever
    D says, and a raw image without distortion passes as it is, as image_proc lets it.

    Args:
        info: The camera_info.
        rectify: 'auto', 'always' or 'never', as the parameter says.
        image_topic: Resolved name of the image topic.
        rotate: Whether a raw image is turned by R where that is no identity (a stereo rig), so that depth lies on
            image_rect; else R and the P that belongs to it are left out.

    Raises:
        ConfigError: If the camera_info cannot be that of a calibrated camera.
    """
    raw, projected = camera_of(info), projection_of(info)
    is_rectified_topic = any(token.startswith('image_rect') for token in image_topic.split('/'))
    if rectify == 'never' or (rectify == 'auto' and is_rectified_topic):
        camera = projected or Camera(raw.width, raw.height, raw.fx, raw.fy, raw.cx, raw.cy)
        return Calibration(camera, camera)
    if raw.is_rectified and rectify == 'auto':
        return Calibration(raw, raw)
    rotation = rotation_of(info)
    if projected is None or (rotation != UNROTATED and not rotate):
        return Calibration(raw, rectified_camera(raw))
    return Calibration(raw, projected, rotation)


class CalibrationCache:
    """The last camera_info's calibration: messages repeat themselves, and the work is done once per change."""

    def __init__(self) -> None:
        self._key: object = None
        self._calibration: Calibration | None = None

    def __call__(self, info: CameraInfo, rectify: str, image_topic: str, *, rotate: bool = True) -> Calibration:
        """Return `calibration_of` the arguments.

        Raises:
            ConfigError: As it does.
        """
        roi = info.roi
        key = (
            info.width,
            info.height,
            info.distortion_model,
            tuple(info.d),
            tuple(info.k),
            tuple(info.r),
            tuple(info.p),
            info.binning_x,
            info.binning_y,
            (roi.x_offset, roi.y_offset, roi.width, roi.height),
            rectify,
            image_topic,
            rotate,
        )
        if self._calibration is None or key != self._key:
            self._calibration = calibration_of(info, rectify, image_topic, rotate=rotate)
            self._key = key
        return self._calibration
