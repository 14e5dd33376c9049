"""Make docs/motorway.jpg: a frame of a video beside its depth by the built-in weights.

The README's frame is the first of solidWhiteRight.mp4 (Udacity's CarND-LaneLines-P1, MIT), which they never saw:

  python docs/make_picture.py solidWhiteRight.mp4
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from sidepth_core.camera import Camera
from sidepth_core.data.sources import open_source
from sidepth_core.inference import DepthEstimator
from sidepth_core.visualisation import Panel, draw_depth, side_by_side, with_colour_bar

FOV_DEG = 58.0
"""Of the course's other video, whose camera is calibrated."""
SPAN_M = (5.0, 60.0)


def main(video: str) -> None:
    """Write the picture."""
    image = next(iter(open_source(video))).image
    height, width = image.shape[:2]
    depth_m = DepthEstimator.load()(image, Camera.pinhole(width, height, fov_deg=FOV_DEG))
    coloured = with_colour_bar(draw_depth(depth_m, SPAN_M), SPAN_M)
    picture = side_by_side([[Panel(image, 'image'), Panel(coloured, 'depth, metres')]], width=1280)
    cv2.imwrite(str(Path(__file__).parent / 'motorway.jpg'), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == '__main__':
    main(sys.argv[1])
