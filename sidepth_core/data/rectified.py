"""Frames as a pinhole camera would have taken them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from sidepth_core.data.frames import Frame
from sidepth_core.rectify import rectification_maps, rectified_camera, rectify_image


def rectified(frame: Frame) -> Frame:
    """Return the frame without lens distortion; the very same one where there is none, or the camera is not known.

    Depth along Z is the same number in both images. It is looked up, never mixed across edges; NaN where the lens saw
    nothing.
    """
    camera = frame.camera
    if camera is None or camera.is_rectified:
        return frame
    target, depth_m = rectified_camera(camera), frame.depth_m
    if depth_m is not None:
        maps = rectification_maps(camera, target)
        remapped = cv2.remap(depth_m, maps.x, maps.y, cv2.INTER_NEAREST, borderValue=float('nan'))
        depth_m = np.asarray(remapped, np.float32)
    return replace(frame, image=rectify_image(frame.image, camera), camera=target, depth_m=depth_m)
