"""Depth of nearly every pixel of an image from its neighbours, once it is known how the camera moved between them.

Dense optical flow (Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016) says where a pixel is in
the neighbour; how far along its epipolar line says how far away it is. Flow is found at every pixel, right or wrong:
what does not return to its start, leaves its epipolar line or hardly moves is not believed. What moves by itself along
its epipolar line, as traffic ahead does, cannot be told from what is elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.data.frames import Image

Floats = npt.NDArray[np.float64]
Depth = npt.NDArray[np.float32]

MAX_RETURN_PX = 0.5
"""Followed there and back, a pixel may miss its start by this."""
MAX_EPIPOLAR_PX = 0.5
"""What is farther from its epipolar line moves by itself, or was followed wrongly."""
MIN_PARALLAX_PX = 1.0
"""What moves less once rotation is taken out is near the course of the camera, or too far away to be measured."""
MAX_DISAGREEMENT = 0.2
"""Where the logarithms of what two neighbours tell differ by more, neither is believed."""
LEAST_SHARED = 100
"""Fewer pixels that two neighbours both tell do not show how long one motion is beside the other."""


def triangulated_depth(
    target: Image, sources: Sequence[Image], K: Floats, T_source_target: Sequence[Floats]
) -> Depth | None:
    """Return the depth of an image's pixels by its neighbours, in a unit of its own; None where no motion is known.

    Where two neighbours tell a pixel's depth, the one with more parallax counts more.

    Args:
        target: The image, (H, W, 3) RGB, rectified.
        sources: Its neighbours, the same shape.
        K: Intrinsics of all, (3, 3), pixels.
        T_source_target: Motion from the target to each of them, (4, 4), with a translation of any length but zero; NaN
            where not known.

    Returns:
        Depth along Z, (H, W) float32, up to one factor for the whole image; NaN where it is not told.
    """
    told = [
        parallax_and_depth(*_flows(target, source), K, T)
        for source, T in zip(sources, T_source_target, strict=True)
        if np.isfinite(T).all()
    ]
    if not told:
        return None
    told.sort(key=lambda each: -np.isfinite(each[1]).sum())
    parallax, depth = (np.stack(column) for column in zip(*told, strict=True))
    weight, log_depth = np.nan_to_num(parallax), np.log(depth)
    for number in range(1, len(told)):
        apart = log_depth[number] - log_depth[0]
        shared = np.isfinite(apart)
        if shared.sum() < LEAST_SHARED:
            weight[number], log_depth[number] = 0, np.nan
        else:
            log_depth[number] -= np.median(apart[shared])
    known = weight.any(0) & ~(np.fmax.reduce(log_depth) - np.fmin.reduce(log_depth) > MAX_DISAGREEMENT)
    mean = (weight * np.nan_to_num(log_depth)).sum(0) / np.where(known, weight.sum(0), 1)
    return np.where(known, np.exp(mean), np.nan).astype(np.float32)


def parallax_and_depth(there: Floats, back: Floats, K: Floats, T_source_target: Floats) -> tuple[Floats, Floats]:
    """Return how far each pixel moved besides the rotation, in pixels, and the depth that this says.

    Convention: a point at depth Z is seen from the source at (q + t / Z), where q is its ray turned into the source's
    axes and t the translation. It moves from q, where it would be at infinity, along its epipolar line.

    Args:
        there: Flow from the target to the source, (H, W, 2), columns and rows, pixels.
        back: Flow from the source to the target, the same shape.
        K: Intrinsics of both, (3, 3), pixels.
        T_source_target: Maps points of the target's frame into the source's, (4, 4).

    Returns:
        Parallax (H, W), pixels, and depth along Z (H, W) in units of T's translation; NaN where it is not believed.
    """
    height, width = there.shape[:2]
    v, u = np.mgrid[:height, :width].astype(np.float64)
    focal, centre = np.array([K[0, 0], K[1, 1]]), K[:2, 2]
    pixels = np.stack([u, v], axis=2)
    rays = np.concatenate([(pixels - centre) / focal, np.ones((height, width, 1))], axis=2)
    q, t = rays @ T_source_target[:3, :3].T, T_source_target[:3, 3]
    at_infinity = q[..., :2] / q[..., 2:]
    moved = (pixels + there - centre) / focal - at_infinity
    line = t[:2] - t[2] * at_infinity
    length = np.maximum(np.linalg.norm(line, axis=2), 1e-9)
    along = (moved * line).sum(2) / length
    across = (moved[..., 0] * line[..., 1] - moved[..., 1] * line[..., 0]) / length
    room = length - along * t[2]
    inverse = along * q[..., 2] / np.where(room > 0, room, np.inf)
    parallax_px, off_px = along * focal.mean(), np.abs(across) * focal.mean()
    returned = cv2.remap(
        back.astype(np.float32), (u + there[..., 0]).astype(np.float32), (v + there[..., 1]).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(np.inf, np.inf),
    )  # fmt: skip
    missed_px = np.linalg.norm(there + returned, axis=2)
    in_front = (q[..., 2] > 0) & (inverse > 0)
    with np.errstate(invalid='ignore'):
        believed = in_front & (missed_px < MAX_RETURN_PX) & (off_px < MAX_EPIPOLAR_PX) & (parallax_px > MIN_PARALLAX_PX)
    return np.where(believed, parallax_px, np.nan), np.where(believed, 1 / np.where(believed, inverse, 1), np.nan)


def _flows(first: Image, second: Image) -> tuple[Floats, Floats]:
    """Return dense flow from the first image to the second and from the second to the first, (H, W, 2), pixels."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    finder.setFinestScale(0)
    grey = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in (first, second)]
    pairs = (grey, grey[::-1])
    there, back = (
        np.asarray(finder.calc(*pair, None), np.float64)  # type: ignore[call-overload] # its stub wants the output array
        for pair in pairs
    )
    return there, back
