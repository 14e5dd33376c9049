"""How a camera turned, and which way it went, between two images: what corners that are seen in both tell.

Two views of a rigid world fix rotation and direction, and leave the length open (Nister, "An efficient solution to the
five-point relative pose problem", PAMI 2004). No network has to learn it first, and no clock or mounting can be wrong.

Not every pair of views tells. On a plane two motions explain the corners equally well, and noise chooses: so an
essential matrix counts only where it explains more than a homography does, by Torr's criterion ("An assessment of
information criteria for motion model selection", CVPR 1997). And things that pass a camera at rest look like a camera
that moves past them: so most of the view has to have parallax.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.data.frames import Image
from sidepth_core.data.tracks import rigid

Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.float32]

CORNERS = 400
QUALITY = 0.005
SPACING_PX = 5
MAX_RETURN_PX = 0.5
MAX_EPIPOLAR_PX = 0.5
"""A corner farther than this from its epipolar line moves by itself, or was tracked wrongly."""
MIN_CORNERS = 30
MIN_SHARE = 0.6
"""Fewer corners than this share of those tracked, agreeing on one motion, agree by chance."""
MIN_PARALLAX_PX = 0.3
"""A corner that moves less than this once rotation is taken out does not move, or is far away."""
MAX_UNMOVED_SHARE = 0.3
"""Where more corners than this share do not move, the camera stands, or the direction is noise."""
NOISE_PX = 0.25
"""Standard deviation of a tracked corner, by which the two models are weighed."""
UNTIL = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)


class TwoViewGeometry(NamedTuple):
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


def two_view_pose(before: Image, now: Image, K: Floats) -> Floats | None:
    """Return T_now_before of `two_view_geometry`, (4, 4), or None."""
    found = two_view_geometry(before, now, K)
    return None if found is None else found.T_now_before


def two_view_geometry(before: Image, now: Image, K: Floats) -> TwoViewGeometry | None:
    """Return the motion between two images, and the corners that tell it.

    None where too few corners are tracked or agree, where the camera stands or only turned, and where all that is seen
    is one plane.

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
    pixel = 1 / float(focal.mean())
    unmoved = _parallax(first, second, np.asarray(R)) < MIN_PARALLAX_PX * pixel
    if unmoved.mean() > MAX_UNMOVED_SHARE or _is_one_plane(first, second, np.asarray(E, np.float64), NOISE_PX * pixel):
        return None
    kept = np.asarray(mask).ravel() > 0
    world = (points[:3] / points[3]).T[kept]
    return TwoViewGeometry(rigid(np.asarray(R), np.asarray(t).ravel()), pixels[0][kept], pixels[1][kept], world)


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


def _is_one_plane(first: Floats, second: Floats, E: Floats, noise: float) -> bool:
    """Whether a homography explains corners better than a motion, for the parameters that each has.

    Args:
        first: Corners of the earlier image, (N, 2), in units of the focal length.
        second: Where they are in the later one.
        E: Essential matrix of the motion that they agree on, (3, 3).
        noise: Standard deviation of a corner, in units of the focal length.
    """
    found, _ = cv2.findHomography(first, second, cv2.USAC_ACCURATE, 4 * noise)
    if found is None:
        return False
    H = np.asarray(found, np.float64)
    there, back = _moved(first, H) - second, _moved(second, np.asarray(np.linalg.inv(H), np.float64)) - first
    # Half of both: the corner of each image has its share of the error.
    off_plane = ((there**2).sum(1) + (back**2).sum(1)) / 4
    start, end = (np.column_stack([points, np.ones(len(points))]) for points in (first, second))
    there, back = start @ E.T, end @ E
    slope = (there[:, :2] ** 2).sum(1) + (back[:, :2] ** 2).sum(1)
    off_lines = (end * there).sum(1) ** 2 / np.maximum(slope, 1e-12)  # Sampson's distance
    plane = _criterion(off_plane, noise, dimensions=2, parameters=8)
    return plane < _criterion(off_lines, noise, dimensions=3, parameters=5)


def _criterion(squares: Floats, noise: float, *, dimensions: int, parameters: int) -> float:
    """Return Torr's geometric information criterion of a model of pairs of points; the smaller, the better.

    Args:
        squares: Squared distance of each pair from the model, (N,).
        noise: Standard deviation of a point, in the same unit.
        dimensions: Of the surface in the space of pairs that the model is.
        parameters: How many numbers fix it.
    """
    errors = np.minimum(squares / noise**2, 2 * (4 - dimensions)).sum()
    return float(errors + math.log(4) * dimensions * len(squares) + math.log(4 * len(squares)) * parameters)


def _moved(points: Floats, H: Floats) -> Floats:
    """Return points (N, 2) moved by a homography (3, 3)."""
    moved = np.column_stack([points, np.ones(len(points))]) @ H.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def _parallax(first: Floats, second: Floats, rotation: Floats) -> Floats:
    """Return how far each point moved besides the rotation, (N,), in units of the focal length."""
    turned = np.column_stack([first, np.ones(len(first))]) @ rotation.T
    moved: Floats = np.linalg.norm(turned[:, :2] / turned[:, 2:] - second, axis=1)
    return moved


def track_there_and_back(
    first: Grey, second: Grey, corners: Pixels, max_return_px: float
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Return where corners of one image are in another, and which of them are found there and back.

    Args:
        first: (h, w).
        second: The same shape.
        corners: (N, 1, 2), pixels of `first`.
        max_return_px: Tracked there and back, a corner may miss its start by less than this in u and in v.
    """
    there, found = _track(first, second, corners)
    back, returned = _track(second, first, there)
    error = np.abs(back - corners).reshape(-1, 2).max(axis=1)
    return there, found & returned & (error < max_return_px)


def _track(first: Grey, second: Grey, corners: Pixels) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    there, status, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload] # its stub wants the output array
        first, second, corners, None, winSize=(15, 15), maxLevel=4, criteria=UNTIL
    )
    return np.asarray(there, np.float32), np.asarray(status).ravel() == 1
