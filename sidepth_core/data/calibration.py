"""Calibrations: the fields of a CameraInfo, and files of camera_calibration, Kalibr, OpenCV, ORB-SLAM and our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidepth_core.camera import DISTORTION_LENGTHS, Camera
from sidepth_core.errors import ConfigError, DatasetError
from sidepth_core.structured_text import read_json, read_yaml

MODEL_NAMES = {
    'plumb_bob': 'plumb_bob',
    'radtan': 'plumb_bob',
    'rational_polynomial': 'rational_polynomial',
    'equidistant': 'equidistant',
    'fisheye': 'equidistant',
    'kannala_brandt4': 'equidistant',
    'kannala_brandt': 'equidistant',
    'kannalabrandt8': 'equidistant',
    'opencv_fisheye': 'equidistant',
    'none': '',
    '': '',
}
"""Names that drivers and tools give to the lens models, and ours."""

PINHOLE_WORDS = ('pinhole', 'perspective', 'rectified', 'opencv')
"""Words that files use of a camera without saying which lens model its coefficients are of: then it is OpenCV's."""

DISTORTION_NAMES = (
    'distortion_coefficients', 'distortion_coeffs', 'distortion', 'D', 'd', 'dist_k1k2p1p2k3',
    'dist_coeffs', 'dist_coeff', 'distCoeffs', 'dist',
)
"""Names under which tools write the lens coefficients."""

CALIBRATION_NAMES = ('camera.json', 'camera.yaml', 'camera.yml', 'intrinsics.json', 'calibration.json')
"""Files that are taken as the calibration of a folder when nobody names one, in this order."""


class ViewError(DatasetError):
    """An image shows another view than its calibration is for."""


def camera_from_info(
    width: int,
    height: int,
    distortion_model: str,
    d: Sequence[float],
    k: Sequence[float],
    p: Sequence[float] = (),
    *,
    rectified: bool = False,
    binning: tuple[int, int] = (1, 1),
    roi: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Camera:
    """Return the camera that the fields of a sensor_msgs/CameraInfo describe, for the image as it is published.

    Args:
        width: Full sensor width, pixels, before region of interest and binning.
        height: Full sensor height, pixels.
        distortion_model: The message's name of the lens model.
        d: Lens coefficients; empty or zero for none.
        k: The nine numbers of K, row by row, of the full sensor.
        p: The twelve numbers of P, row by row; needed for a rectified image.
        rectified: Whether the image is an image_rect: then P holds, without distortion (REP 104).
        binning: Sensor pixels per image pixel along x and y; 0 means 1.
        roi: x offset, y offset, width, height of the region of interest, sensor pixels; all 0 for the full image.

    Raises:
        ConfigError: If these numbers cannot be a camera, as the zeros of an uncalibrated driver.
    """
    model, coefficients = lens(distortion_model, d)
    if rectified and len(p) == 12 and p[0] > 0:
        camera = Camera(width, height, float(p[0]), float(p[5]), float(p[2]), float(p[6]))
    elif len(k) == 9:
        camera = Camera(width, height, float(k[0]), float(k[4]), float(k[2]), float(k[5]))
        camera = camera if rectified else replace(camera, distortion_model=model, distortion=coefficients)
    else:
        raise ConfigError(f'K has {len(k)} numbers, expected 9')
    return view_of(camera, roi, binning)


def view_of(camera: Camera, roi: tuple[int, int, int, int], binning: tuple[int, int]) -> Camera:
    """Return the camera of the image that a sensor's region of interest, cropped first and then binned, gives.

    Args:
        camera: Camera of the full sensor.
        roi: x offset, y offset, width, height, sensor pixels; width and height 0 for the full image.
        binning: Sensor pixels per image pixel along x and y; 0 means 1.

    Raises:
        ConfigError: If the region does not lie on the sensor.
    """
    x0, y0, width, height = (int(length) for length in roi)
    if width or height:
        if not (width and height and x0 + width <= camera.width and y0 + height <= camera.height):
            raise ConfigError(
                f'camera_info has a region of interest {width}x{height} at ({x0}, {y0}) '
                f'outside its own {camera.width}x{camera.height} image'
            )
        camera = camera.cropped(x0, y0, width, height)
    across, down = (max(int(factor), 1) for factor in binning)
    if (across, down) == (1, 1):
        return camera
    width, height = camera.width // across, camera.height // down
    # Pixels that fill no whole bin are left out, so that the ratio is the binning exactly.
    return camera.cropped(0, 0, width * across, height * down).resized(width, height)


def lens(model: str, coefficients: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Return our name of a lens model and as many coefficients as it takes; '' and () where they are all zero.

    Raises:
        ConfigError: If the model is not known, or has more coefficients than it can have.
    """
    name = MODEL_NAMES.get(model.strip().lower())
    if name is None:
        raise ConfigError(f'distortion model {model!r} is not one of {", ".join(filter(None, MODEL_NAMES))}')
    values = tuple(float(value) for value in coefficients)
    if name != 'equidistant' and not any(values):
        return '', ()
    if not name:
        raise ConfigError(f'{len(values)} lens coefficients came without the name of their model (distortion_model)')
    while values and values[-1] == 0 and len(values) > DISTORTION_LENGTHS[name][0]:
        values = values[:-1]
    for length in DISTORTION_LENGTHS[name]:
        if len(values) <= length:
            return name, values + (0.0,) * (length - len(values))
    if name == 'plumb_bob' and len(values) in DISTORTION_LENGTHS['rational_polynomial']:
        return 'rational_polynomial', values
    lengths = ' or '.join(map(str, DISTORTION_LENGTHS[name]))
    raise ConfigError(f'{len(values)} coefficients do not fit distortion model {model!r}, expected {lengths}')


def read_calibration(path: Path) -> Camera:
    """Return the camera in a calibration file.

    Understood are the YAML of camera_calibration (image_width, camera_matrix, distortion_coefficients), our camera.json
    (width, height, fx, fy, cx, cy, distortion_model, distortion), Kalibr's camchain (its first camera), ORB-SLAM's
    settings, and mappings with K, a size and optionally D.

    Raises:
        DatasetError: If the file is no such calibration; the message says what is missing.
        OSError: If the file cannot be read.
    """
    text = path.read_text(encoding='utf-8')
    try:
        return _camera_from_mapping(read_json(text) if path.suffix == '.json' else read_yaml(_plain(text)))
    except (ConfigError, ValueError, TypeError, KeyError, OverflowError) as error:
        reason = f'{error.args[0]!r} is missing' if isinstance(error, KeyError) else str(error)
        raise DatasetError(
            f'calibration {str(path)!r} cannot be used: {reason}. Expected the YAML of camera_calibration or a JSON '
            'with width, height, fx, fy, cx, cy'
        ) from error


def find_calibration(folder: Path) -> Path | None:
    """Return the calibration file that lies in a folder, if there is one; see CALIBRATION_NAMES."""
    for name in CALIBRATION_NAMES:
        if (folder / name).is_file():
            return folder / name
    yamls = sorted(path for path in folder.glob('*.y*ml') if path.suffix in {'.yaml', '.yml'})
    return yamls[0] if len(yamls) == 1 else None


def _plain(text: str) -> str:
    """Return YAML without OpenCV's own first line and tag, which no YAML reader but its own takes."""
    return text.removeprefix('%YAML:1.0').replace('!!opencv-matrix', '')


def _camera_from_mapping(fields: Any) -> Camera:  # noqa: ANN401 - whatever a file holds
    if not isinstance(fields, Mapping):
        raise ConfigError(f'it holds {type(fields).__name__}, expected names and values')
    fields = _of_orb_slam(fields) or fields.get('cam0', fields)
    model = _lens_name(fields)
    d = _lens_coefficients(fields, model)
    model = model or ('plumb_bob' if d else '')
    size = fields.get('size') or fields.get('resolution')
    width, height = size or (_first(fields, 'width', 'image_width'), _first(fields, 'height', 'image_height'))
    if 'intrinsics' in fields:
        fx, fy, cx, cy = fields['intrinsics']
        k = [fx, 0, cx, 0, fy, cy, 0, 0, 1]
    elif 'fx' in fields:
        k = [fields['fx'], 0, fields['cx'], 0, fields['fy'], fields['cy'], 0, 0, 1]
    else:
        k = _numbers(_first(fields, 'camera_matrix', 'K', 'k'))
    return camera_from_info(int(width), int(height), model, d, k)


def _lens_name(fields: Mapping[str, Any]) -> str:
    """Return the lens model that a file names; '' where it names none but the pinhole.

    Raises:
        ConfigError: If it is a model that is not known here: its numbers would mean other things.
    """
    found = ''
    for key in ('distortion_model', 'camera_model', 'model'):
        name = str(fields.get(key) or '').strip()
        if MODEL_NAMES.get(name.lower()):
            found = found or name
        elif name.lower() not in MODEL_NAMES and not any(word in name.lower() for word in PINHOLE_WORDS):
            known = ', '.join(filter(None, MODEL_NAMES))
            raise ConfigError(f'{key} {name!r} is not one of pinhole, {known}: calibrate with one of these')
    return found


def _lens_coefficients(fields: Mapping[str, Any], model: str) -> list[float]:
    """Return the lens coefficients of a file, as one list or under a name each; empty where it has none.

    Raises:
        ConfigError: If they stand under a name that is not known: left out, they would bend every image.
    """
    known = (*DISTORTION_NAMES, 'distortion_model')
    if strange := [name for name in fields if 'dist' in name.lower() and name not in known]:
        raise ConfigError(f'{strange[0]!r} is not known, expected lens coefficients as {DISTORTION_NAMES[0]}')
    is_fisheye = MODEL_NAMES.get(model.lower()) == 'equidistant'
    single = ('k1', 'k2', 'k3', 'k4') if is_fisheye else ('k1', 'k2', 'p1', 'p2', 'k3')
    if not any(name in fields for name in single):
        return _numbers(_first(fields, *DISTORTION_NAMES, default=[]))
    return [float(fields.get(name) or 0.0) for name in single]


def _of_orb_slam(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first camera of ORB-SLAM's settings, `Camera.fx` or `Camera1.fx`, as fx; nothing of other files."""
    pairs = [str(name).partition('.') for name in fields]
    values = {name: fields[f'{head}.{name}'] for head, _, name in pairs if head in {'Camera', 'Camera1'}}
    return {**values, 'camera_model': values.get('type', 'PinHole')} if 'fx' in values else {}


def _first(fields: Mapping[str, Any], *names: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever a file holds
    """Return the value under the first name that is there."""
    found = next((fields[name] for name in names if name in fields), default)
    if found is None:
        raise ConfigError(f'{" or ".join(names)} is missing')
    return found


def _numbers(values: Any) -> list[float]:  # noqa: ANN401 - whatever a file holds
    """Return the numbers of a list, of nested lists, or of a mapping with `data`, row by row."""
    if isinstance(values, Mapping):
        values = values['data']
    return [number for value in values for number in (_numbers(value) if isinstance(value, list) else [float(value)])]


def fitted(camera: Camera, width: int, height: int) -> Camera:
    """Return the camera for images of another size, as long as they show the same view.

    Raises:
        ViewError: If the proportions differ by more than 1 %: then the view is another one, and nobody knows K.
    """
    if (camera.width, camera.height) == (width, height):
        return camera
    stretch = (width / camera.width) / (height / camera.height)
    if not 0.99 < stretch < 1.01:
        raise ViewError(
            f'images are {width}x{height}, the calibration is for {camera.width}x{camera.height}: the proportions '
            'differ, so one of them is of another camera or was cropped. Give the calibration of these images'
        )
    return camera.resized(width, height)
