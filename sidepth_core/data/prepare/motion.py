"""What makes an image fit to learn from: how far it moved, whether it is sharp, well exposed, and new.

Motion is the median displacement of tracked corners, in pixels of the source's own width. Self-supervision needs
parallax: KITTI, on which the method was tuned, moves by 8 to 12 pixels a frame at a width of 1242.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.data.two_view import Grey, Pixels, track_there_and_back

MEASURED_WIDTH = 640
"""Images are compared at this width: enough for a tenth of a pixel, small enough for hundreds of images a second."""

TARGET_SHARE = 10.0 / 1242
"""Motion between the frames of a clip that is wanted, as a share of the image width: KITTI's."""

CORNERS = 300
MAX_RETURN_PX = 1.0
MIN_CORNERS = 12


class ImageStatistics(NamedTuple):
    """How sharp, bright and detailed one image is.

    Attributes:
        grey: (h, w) uint8, MEASURED_WIDTH wide.
        scale: Source pixels per pixel of `grey`.
        sharpness: Variance of its Laplacian over the variance of the image; low when blurred.
        bright_share: Share of pixels that are white, 0..1.
        dark_share: Share of pixels that are black, 0..1.
        contrast: Standard deviation, grey levels.
    """

    grey: Grey
    scale: float
    sharpness: float
    bright_share: float
    dark_share: float
    contrast: float


class Motion(NamedTuple):
    """How the view moved from one image to another.

    Attributes:
        pixels: Median displacement of the corners that were tracked there and back, source pixels; NaN without any.
        tracked_share: Share of corners that were, 0..1; near zero where the two images show different scenes.
        difference: Mean absolute difference, grey levels; near zero where one image is a copy of the other.
    """

    pixels: float
    tracked_share: float
    difference: float


@dataclass(frozen=True)
class FrameSelection:
    """Limits beyond which an image is not used.

    Attributes:
        still_share: Less motion since the last image kept, as a share of the image width, is standing still.
        duplicate_difference: A mean difference below this, grey levels, is a copy.
        max_bright_share: More white pixels than this is over-exposed.
        max_dark_share: More black pixels than this is under-exposed.
        min_contrast: Less contrast, grey levels, is an empty image.
        min_tracked_share: Fewer corners found again is another scene.
        blur_ratio: Less sharpness than this times that of the images around is blurred.
        gap_ratio: A step in time longer than this times the usual one is a gap.
    """

    still_share: float = 0.5 / 1242
    duplicate_difference: float = 0.15
    max_bright_share: float = 0.5
    max_dark_share: float = 0.9
    min_contrast: float = 4.0
    min_tracked_share: float = 0.15
    blur_ratio: float = 0.35
    gap_ratio: float = 3.5


def image_statistics(image: npt.NDArray[np.uint8]) -> ImageStatistics:
    """Measure one RGB image (H, W, 3)."""
    height, width = image.shape[:2]
    size = MEASURED_WIDTH, max(round(height * MEASURED_WIDTH / width), 1)
    grey = np.asarray(cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY), np.uint8)
    contrast = float(grey.std())
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    return ImageStatistics(
        grey,
        width / MEASURED_WIDTH,
        float(edges.var()) / max(contrast**2, 1e-6),
        float((grey >= 250).mean()),
        float((grey <= 5).mean()),
        contrast,
    )


def measure_motion(first: ImageStatistics, second: ImageStatistics) -> Motion:
    """Measure the motion from one image of a camera to another."""
    difference = float(cv2.absdiff(first.grey, second.grey).mean())
    found = cv2.goodFeaturesToTrack(first.grey, CORNERS, 0.01, MEASURED_WIDTH / 100)
    if found is None or len(found) < MIN_CORNERS:
        return Motion(float('nan'), 0.0, difference)
    corners: Pixels = np.asarray(found, np.float32)
    there, good = track_there_and_back(first.grey, second.grey, corners, MAX_RETURN_PX)
    moved = np.linalg.norm((there - corners).reshape(-1, 2)[good], axis=1)
    pixels = float(np.median(moved)) * first.scale if good.any() else float('nan')
    return Motion(pixels, float(good.mean()), difference)


def exposure_fault(statistics: ImageStatistics, limits: FrameSelection) -> str | None:
    """Return what is wrong with an image by itself, if anything."""
    if statistics.contrast < limits.min_contrast:
        return 'empty'
    if statistics.bright_share > limits.max_bright_share:
        return 'over-exposed'
    if statistics.dark_share > limits.max_dark_share:
        return 'under-exposed'
    return None


def motion_fault(motion: Motion, width: int, limits: FrameSelection) -> str | None:
    """Return why an image of this width, moved so since the last one kept, brings nothing new; None if it does."""
    if motion.difference < limits.duplicate_difference:
        return 'duplicate'
    if motion.tracked_share >= limits.min_tracked_share and motion.pixels < limits.still_share * width:
        return 'still'
    return None


def blurred(sharpness: npt.NDArray[np.float64], limits: FrameSelection, window: int = 15) -> npt.NDArray[np.bool_]:
    """Return which of N images in order are blurred: much less sharp than the `window` images to either side."""
    padded = np.pad(sharpness, window, mode='reflect' if len(sharpness) > window else 'edge')
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * window + 1), axis=1)
    return np.asarray(sharpness < limits.blur_ratio * around)


def choose_stride(motion_px: npt.NDArray[np.float64], width: int, step_s: float, max_step_s: float = 1.0) -> int:
    """Return how many frames apart the images of a clip should be, so that the median motion comes nearest KITTI's.

    Args:
        motion_px: Motion from each frame to the next, source pixels; NaN where not known.
        width: Source width, pixels.
        step_s: Usual time from frame to frame, seconds.
        max_step_s: Neighbours are never further apart, seconds.
    """
    known = motion_px[np.isfinite(motion_px)]
    if not len(known) or np.median(known) <= 0:
        return 1
    wanted = TARGET_SHARE * width / float(np.median(known))
    longest = max(int(max_step_s / step_s), 1) if step_s > 0 else 1
    strides = np.arange(1, max(min(longest, int(wanted) + 1), 1) + 1)
    return int(strides[np.argmin(np.abs(np.log(strides / wanted)))])
