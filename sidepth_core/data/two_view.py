"""How a camera turned, and which way it went, between two images: what corners that are seen in both tell.

Two views of a rigid world fix rotation and direction, and leave the length open (Nister, "An efficient solution to the
five-point relative pose problem", PAMI 2004). No network has to learn it first, and no clock or mounting can be wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.data.frames import Image
from sidepth_core.data.motion import Pixels, track_there_and_back
from sidepth_core.data.tracks import rigid

Floats = npt.NDArray[np.float64]

CORNERS = 400
QUALITY = 0.005
SPACING_PX = 5
MAX_RETURN_PX = 0.5
MAX_EPIPOLAR_PX = 0.5
"""A corner farther than this from its epipolar line moves by itself, or was tracked wrongly."""
MIN_CORNERS = 30
MIN_SHARE = 0.5
"""Fewer corners than this share of those tracked, agreeing on one motion, agree by chance."""
MIN_PARALLAX_PX = 0.3
"""Where the median corner moves less than this once rotation is taken out, the direction is noise."""


class TwoView(NamedTuple):
    """What corners tell of the motion between two images.

    Attributes:
        T_now_before: (4, 4), with a translation of length 1.
        before_px: Corners of the earlier image that agree, (N, 2), pixels.
        now_px: Where they are in the later one, (N, 2), pixels.
        points: Where they are in the world, in the earlier camera's frame and in lengths of the motion, (N, 3).
    """

    T_now_before: Floats
    before_px: Floats
    now_px: Floats
    points: Floats


def seen_motion(before: Image, now: Image, K: Floats) -> Floats | None:
    """Return T_now_before of `look_at_two_views`, (4, 4), or None."""
    found = look_at_two_views(before, now, K)
    return None if found is None else found.T_now_before


def look_at_two_views(before: Image, now: Image, K: Floats) -> TwoView | None:
    """Return the motion between two images, and the corners that tell it.

    None where too few corners are tracked or agree, and where the camera only turned.

    Args:
        before: The earlier image, (H, W, 3) RGB, rectified.
        now: The later one.
        K: Intrinsics of both, (3, 3), pixels; NaN where not known, which gives None.
    """
    if not np.isfinite(K).all():
        return None
    pixels = _tracked(before, now)
    if len(pixels[0]) < MIN_CORNERS:
        return None
    focal = np.array([K[0, 0], K[1, 1]])
    first, second = ((points - K[:2, 2]) / focal for points in pixels)
    limit = MAX_EPIPOLAR_PX / float(focal.mean())
    # Seeded by itself: the same images give the same motion.
    E, inliers = cv2.findEssentialMat(first, second, np.eye(3), cv2.USAC_ACCURATE, 0.999, limit)
    if E is None or E.shape != (3, 3):
        return None
    # Without a limit on distance, which counts in steps: a slow robot's are short.
    agree, R, t, mask, points = cv2.recoverPose(E, first, second, np.eye(3), distanceThresh=1e9, mask=inliers)
    if agree < max(MIN_CORNERS, MIN_SHARE * len(first)):
        return None
    if np.median(_parallax(first, second, np.asarray(R)) * focal.mean()) < MIN_PARALLAX_PX:
        return None
    kept = np.asarray(mask).ravel() > 0
    world = (points[:3] / points[3]).T[kept]
    return TwoView(rigid(np.asarray(R), np.asarray(t).ravel()), pixels[0][kept], pixels[1][kept], world)


def _tracked(before: Image, now: Image) -> tuple[Floats, Floats]:
    """Return corners of the earlier image and where they are in the later one, (N, 2) each, pixels."""
    first, second = (np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in (before, now))
    found = cv2.goodFeaturesToTrack(first, CORNERS, QUALITY, SPACING_PX)
    if found is None:
        return np.empty((0, 2)), np.empty((0, 2))
    corners: Pixels = np.asarray(found, np.float32)
    there, good = track_there_and_back(first, second, corners, MAX_RETURN_PX)
    start, end = (points.reshape(-1, 2)[good].astype(np.float64) for points in (corners, there))
    return start, end


def _parallax(first: Floats, second: Floats, rotation: Floats) -> Floats:
    """Return how far each point moved besides the rotation, (N,), in units of the focal length."""
    turned = np.column_stack([first, np.ones(len(first))]) @ rotation.T
    moved: Floats = np.linalg.norm(turned[:, :2] / turned[:, 2:] - second, axis=1)
    return moved
