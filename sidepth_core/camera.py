"""The pinhole camera that every image carries, and how it changes when its image does.

Convention: pixel centres lie at integers, so pixel (u, v) has its centre at (u, v) and the image spans
[-0.5, W - 0.5] x [-0.5, H - 0.5]. A resize by s therefore moves the principal point as c' = (c + 0.5) s - 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from sidepth_core.errors import ConfigError

DISTORTION_LENGTHS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
"""How many coefficients each lens model of sensor_msgs/CameraInfo has, in OpenCV's order."""

LARGEST_SIDE = 65536
"""Pixels of the widest image that a camera takes."""
LARGEST_FOCAL_PX = 1e7
"""Pixels; a telescope has a hundredth of it."""
FARTHEST_AXIS = 20.0
"""Focal lengths from the optical axis to the image, where that is a crop: 87 degrees, where a pinhole ends."""
LARGEST_COEFFICIENT = 1e6
"""Of a lens; telephoto lenses, whose rays lie near the axis, reach thousands."""


@dataclass(frozen=True)
class Camera:
    """A calibrated camera: image size and intrinsics in pixels, lens distortion as OpenCV and ROS name it.

    Attributes:
        width: Image width, pixels.
        height: Image height, pixels.
        fx: Focal length along the columns, pixels.
        fy: Focal length along the rows, pixels.
        cx: Column of the principal point, pixels, pixel centres at integers.
        cy: Row of the principal point, pixels.
        distortion_model: '' for a rectified camera, else a key of DISTORTION_LENGTHS.
        distortion: The lens coefficients in OpenCV's order; empty for a rectified camera.

    Raises:
        ConfigError: If the size or a focal length is not positive, a number is not finite or beyond what any camera
            has, or the distortion model is unknown or has another number of coefficients.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = ''
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be a camera, naming every fault."""
        faults = []
        if self.width < 1 or self.height < 1:
            faults.append(f'size {self.width}x{self.height} is empty')
        if max(self.width, self.height) > LARGEST_SIDE:
            faults.append(f'size {self.width}x{self.height} is beyond {LARGEST_SIDE}')
        if not all(math.isfinite(value) for value in (self.fx, self.fy, self.cx, self.cy, *self.distortion)):
            faults.append('a number is not finite')
        elif self.fx <= 0 or self.fy <= 0:
            faults.append(
                f'focal lengths fx={self.fx:g}, fy={self.fy:g} are not positive (an uncalibrated driver sends zeros)'
            )
        else:
            faults += self._absurdities()
        if self.distortion_model and self.distortion_model not in DISTORTION_LENGTHS:
            faults.append(f'distortion model {self.distortion_model!r} is not one of {", ".join(DISTORTION_LENGTHS)}')
        elif len(self.distortion) not in DISTORTION_LENGTHS.get(self.distortion_model, (0,)):
            faults.append(f'{len(self.distortion)} coefficients do not fit distortion model {self.distortion_model!r}')
        if faults:
            raise ConfigError(f'camera cannot be used: {"; ".join(faults)}')

    def _absurdities(self) -> Iterator[str]:
        """Yield what no camera has, of finite numbers: it comes from a file that is damaged or of something else."""
        if max(self.fx, self.fy) > LARGEST_FOCAL_PX:
            yield f'focal lengths fx={self.fx:g}, fy={self.fy:g} are beyond {LARGEST_FOCAL_PX:g} pixels'
        aside = max(-self.cx, self.cx - self.width) / self.fx, max(-self.cy, self.cy - self.height) / self.fy
        if max(aside) > FARTHEST_AXIS:
            yield (
                f'principal point ({self.cx:g}, {self.cy:g}) is more than {FARTHEST_AXIS:g} focal lengths outside of a '
                f'{self.width}x{self.height} image'
            )
        largest = max(map(abs, self.distortion), default=0.0)
        if largest > LARGEST_COEFFICIENT:
            yield f'lens coefficient {largest:g} is beyond {LARGEST_COEFFICIENT:g}'

    @classmethod
    def pinhole(cls, width: int, height: int, fov_deg: float) -> Camera:
        """Return a camera with square pixels and a central axis.

        Args:
            width: Image width, pixels.
            height: Image height, pixels.
            fov_deg: Horizontal field of view, degrees, 1 to 150.

        Raises:
            ConfigError: If the size is empty or the field of view is none that a pinhole can have.
        """
        if not 1 <= fov_deg <= 150:
            raise ConfigError(f'field of view {fov_deg!r} degrees is none of a pinhole camera: choose 1 to 150')
        focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The 3x3 intrinsic matrix K, pixels."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    @property
    def is_rectified(self) -> bool:
        """Whether straight lines are straight in its images; an equidistant lens bends them even with zeros for D."""
        return self.distortion_model != 'equidistant' and not any(self.distortion)

    @property
    def field_of_view_deg(self) -> tuple[float, float]:
        """Horizontal and vertical field of view of the pinhole model, degrees."""
        return (
            math.degrees(math.atan((self.cx + 0.5) / self.fx) + math.atan((self.width - 0.5 - self.cx) / self.fx)),
            math.degrees(math.atan((self.cy + 0.5) / self.fy) + math.atan((self.height - 0.5 - self.cy) / self.fy)),
        )

    def resized(self, width: int, height: int) -> Camera:
        """Return the camera of this image resized to width x height (half-pixel rule); distortion is kept."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def cropped(self, x0: int, y0: int, width: int, height: int) -> Camera:
        """Return the camera of the box whose top left pixel is (x0, y0): c' = c - x0."""
        return replace(self, width=width, height=height, cx=self.cx - x0, cy=self.cy - y0)

    def flipped(self) -> Camera:
        """Return the camera of the image mirrored left to right: cx' = W - 1 - cx. Needs a rectified camera."""
        if not self.is_rectified:
            raise ConfigError('a distorted camera cannot be mirrored: rectify its images first')
        return replace(self, cx=self.width - 1 - self.cx)

    def doubts(self) -> tuple[str, ...]:
        """Return what looks wrong in this calibration, a sentence each; empty when nothing does.

        These are the mistakes seen in practice: intrinsics of another image size, swapped axes, a normalised K.
        """
        found = []
        if not 0.25 <= (self.cx + 0.5) / self.width <= 0.75 or not 0.25 <= (self.cy + 0.5) / self.height <= 0.75:
            found.append(
                f'principal point ({self.cx:.1f}, {self.cy:.1f}) is far from the middle of a '
                f'{self.width}x{self.height} image: are these the intrinsics of another image size or of a crop?'
            )
        horizontal, vertical = self.field_of_view_deg
        if not 5 <= horizontal <= 150 or not 4 <= vertical <= 150:
            found.append(
                f'field of view {horizontal:.0f} x {vertical:.0f} degrees is unusual: is K in pixels of this image?'
            )
        if not 0.8 <= self.fx / self.fy <= 1.25:
            found.append(
                f'pixels are not square (fx/fy = {self.fx / self.fy:.2f}): was the image resized and K not?'
            )
        return tuple(found)

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON takes them."""
        return {**asdict(self), 'distortion': list(self.distortion)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Camera:
        """Return the camera that to_dict described.

        Raises:
            ConfigError: If a field is missing, unknown or of another kind.
        """
        try:
            numbers = {name: float(fields[name]) for name in ('fx', 'fy', 'cx', 'cy')}  # type: ignore[arg-type]
            return cls(
                width=int(fields['width']),  # type: ignore[call-overload]
                height=int(fields['height']),  # type: ignore[call-overload]
                **numbers,
                distortion_model=str(fields.get('distortion_model', '')),
                distortion=tuple(float(value) for value in fields.get('distortion', ())),  # type: ignore[attr-defined]
            )
        except KeyError as error:
            raise ConfigError(f'camera needs width, height, fx, fy, cx, cy: {error.args[0]!r} is missing') from None
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f'camera has a value that is not a number: {error}') from error
