"""open_source: a drive from one line of text, whatever it is.

The text is a path or `synthetic:<scene>`, and after a question mark options as in a web address:
`drive.mp4?camera=front.yaml&fps=30`, `synthetic:street?seed=3&frames=300`, `bag/?image_topic=/front/image&weight=2`.
`synthetic:mixed?seeds=1..99&fov=40..110` names many drives: see `synthetic.ranges`.
What the path holds is found out; a kind before a colon (`folder:`, `bag:`, `video:`, `kitti:`) says it instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote

from sidepth_core.camera import Camera
from sidepth_core.data.bags import NONE, BagSource, Choice, is_bag
from sidepth_core.data.calibration import read_calibration
from sidepth_core.data.depth_truth import SweepFolder, is_sweep_folder
from sidepth_core.data.folders import VIDEO_SUFFIXES, FolderSource, TumSource, VideoSource, is_tum_sequence
from sidepth_core.data.frames import FrameSource, WeightedSource
from sidepth_core.data.kitti import (
    TRUTHS,
    KittiDrive,
    KittiObject,
    KittiOdometry,
    KittiSelection,
    Truth,
    is_kitti_drive,
    is_kitti_object,
    is_kitti_odometry,
    is_kitti_root,
    is_kitti_selection,
    kitti_drives,
)
from sidepth_core.data.synthetic import SyntheticSource, expand
from sidepth_core.errors import ConfigError, DatasetError, did_you_mean

Options = dict[str, str]


class Kind(NamedTuple):
    """One kind of source.

    Attributes:
        holds: Whether a path holds this kind.
        open: From the path and its options to the sources in it.
        options: The options it takes.
    """

    holds: Callable[[Path], bool]
    open: Callable[[Path, Options], list[FrameSource]]
    options: tuple[str, ...]


def open_source(text: str, camera: str = '') -> FrameSource:
    """Return the one source that a text names; see the module for its form, and open_sources for `camera`.

    Raises:
        DatasetError: If the path does not exist, holds nothing that can be read, or several drives.
        ConfigError: If an option is unknown (the nearest one is named) or its value cannot work.
    """
    sources = open_weighted(text, camera=camera)
    if len(sources) > 1:
        raise DatasetError(f'{text!r} holds {len(sources)} drives, name one: {sources[0].source.report.name}, ...')
    return sources[0].source


def open_sources(texts: Sequence[str], *, with_depth: bool = False, camera: str = '') -> list[WeightedSource]:
    """Return all sources that some texts name, each with its weight (option `weight`, 1 if none is given).

    Args:
        texts: See open_source.
        with_depth: Read LiDAR as known depth where a source can have it and its text says nothing about `depth`.
        camera: What the option `camera` is of sources whose text does not say: a calibration file, or 'learned'.

    Raises:
        DatasetError: As open_source does.
        ConfigError: As open_source does, and if a camera is given to a kind of source that knows its own.
    """
    return [source for text in texts for source in open_weighted(text, with_depth=with_depth, camera=camera)]


def open_weighted(text: str, *, with_depth: bool = False, camera: str = '') -> list[WeightedSource]:
    """Return the sources that one text names; the drives of one folder share its weight. See open_sources.

    Raises:
        DatasetError: As open_source does.
        ConfigError: As open_source does.
    """
    place, options = _split(text)
    weight = _positive(text, options.pop('weight', '1'), 'weight')
    if place.startswith('synthetic:'):
        if camera:
            _give_camera(text, options, (), camera)
        rest = '&'.join(f'{key}={value}' for key, value in options.items())
        drives = expand(f'{place}?{rest}' if rest else place)
        return [WeightedSource(SyntheticSource.from_text(drive), weight, text) for drive in drives]
    name, colon, after = place.partition(':')
    kind = KINDS.get(name) if colon else None
    path = Path(after if kind else place).expanduser()
    if not path.exists():
        raise DatasetError(f'{str(path)!r} does not exist')
    kind = kind or next((each for each in KINDS.values() if each.holds(path)), None)
    if path.suffix == '.bag':
        raise DatasetError(f'{str(path)!r} is a bag of ROS 1: convert it with `rosbags-convert --src FILE --dst DIR`')
    if kind is None:
        raise DatasetError(
            f'{str(path)!r} is nothing that can be read: expected a rosbag2, a video '
            f'({", ".join(VIDEO_SUFFIXES)}), a folder of images, a TUM RGB-D sequence, KITTI, or synthetic:<scene>'
        )
    for option in options:
        if option not in kind.options:
            raise ConfigError(f'{text!r} has no option {option!r}: {did_you_mean(option, (*kind.options, "weight"))}')
    sweepless = kind is KINDS['kitti_odometry'] and not (path / 'velodyne').is_dir()
    named = options.keys() & {'lidar_topic', 'depth_topic'}
    if camera:
        _give_camera(text, options, kind.options, camera)
    if with_depth and 'depth' in kind.options and not named and not sweepless:
        options.setdefault('depth', 'lidar')
    return [WeightedSource(source, weight, text) for source in kind.open(path, options)]


def _give_camera(text: str, options: Options, known: Sequence[str], camera: str) -> None:
    """Set the option `camera` where the text does not; refuse it for a kind of source that knows its own."""
    if 'camera' not in known:
        raise ConfigError(f'{text!r} brings its own calibration: --camera {camera} is for videos, images and bags')
    options.setdefault('camera', camera)


def _split(text: str) -> tuple[str, Options]:
    """Return the path of a source, which may hold question marks itself, and its options."""
    ends = [*(place for place, letter in enumerate(text) if letter == '?'), len(text)]
    end = next((end for end in ends if Path(text[:end]).expanduser().exists()), ends[0])
    pairs = (item.partition('=') for item in text[end + 1 :].split('&') if item)
    # A plus stays one, unlike in web addresses: paths hold some.
    return text[:end], {name: unquote(value) for name, _, value in pairs}


def _open_bag(path: Path, options: Options) -> list[FrameSource]:
    lidar, depth = _depth_topics(path, options)
    choice = Choice(
        image=options.get('image_topic'),
        camera_info=options.get('camera_info_topic'),
        odometry=options.get('odometry_topic'),
        lidar=lidar,
        depth=depth,
    )
    return [BagSource(path, choice, _camera(options))]


def _depth_topics(path: Path, options: Options) -> tuple[str | None, str | None]:
    """Return the LiDAR topic and the depth image topic, as Choice takes them."""
    option = {'lidar': 'lidar_topic', 'image': 'depth_topic'}
    named = [kind for kind, name in option.items() if options.get(name, NONE) != NONE]
    kind = options.get('depth', named[0] if named else NONE)
    if kind not in {*option, NONE}:
        raise ConfigError(f'{str(path)!r}: depth={kind!r} is not one of {", ".join(option)}, {NONE}')
    if len({kind, *named} - {NONE}) > 1:
        raise ConfigError(f'{str(path)!r}: depth comes from LiDAR (lidar_topic) or from depth images (depth_topic), '
                          'not from both')  # fmt: skip
    lidar, depth = (options.get(name) if each == kind else NONE for each, name in option.items())
    return lidar, depth


def _open_video(path: Path, options: Options) -> list[FrameSource]:
    return [VideoSource(path, _camera(options), _number(path, options, 'fps'))]


def _open_tum(path: Path, options: Options) -> list[FrameSource]:
    camera = _camera(options)
    if camera == 'learned':
        raise ConfigError(f'{str(path)!r}: cameras of the TUM benchmark are known, there is nothing to learn')
    return [TumSource(path, camera)]


def _open_folder(path: Path, options: Options) -> list[FrameSource]:
    return [FolderSource(path, _camera(options), _number(path, options, 'fps'), _number(path, options, 'depth_scale'))]


def _open_kitti_drive(path: Path, options: Options) -> list[FrameSource]:
    return [KittiDrive(path, _sides(path, options, (2,))[0], _truth(path, options))]


def _open_kitti_root(path: Path, options: Options) -> list[FrameSource]:
    sides = _sides(path, options, ()) or None
    neighbours = int(_number(path, options, 'neighbours') or 0)
    return [*kitti_drives(path, options.get('split', 'all'), sides, _truth(path, options), neighbours)]


def _open_kitti_odometry(path: Path, options: Options) -> list[FrameSource]:
    side = _sides(path, options, (0,))[0] if 'side' in options else None
    return [KittiOdometry(path, side, _truth(path, options))]


def _open_kitti_object(path: Path, options: Options) -> list[FrameSource]:
    del options
    return [KittiObject(path)]


def _open_kitti_selection(path: Path, options: Options) -> list[FrameSource]:
    del options
    return [KittiSelection(path)]


def _open_sweeps(path: Path, options: Options) -> list[FrameSource]:
    del options
    return [SweepFolder(path)]


KINDS = {
    'bag': Kind(
        is_bag,
        _open_bag,
        ('image_topic', 'camera_info_topic', 'odometry_topic', 'lidar_topic', 'depth_topic', 'depth', 'camera'),
    ),
    'video': Kind(lambda path: path.suffix.lower() in VIDEO_SUFFIXES, _open_video, ('camera', 'fps')),
    'kitti_drive': Kind(is_kitti_drive, _open_kitti_drive, ('side', 'depth')),
    'kitti_odometry': Kind(is_kitti_odometry, _open_kitti_odometry, ('side', 'depth')),
    'kitti_selection': Kind(is_kitti_selection, _open_kitti_selection, ()),
    'kitti_object': Kind(is_kitti_object, _open_kitti_object, ()),
    'kitti': Kind(is_kitti_root, _open_kitti_root, ('split', 'side', 'neighbours', 'depth')),
    'sweeps': Kind(is_sweep_folder, _open_sweeps, ()),
    'tum': Kind(is_tum_sequence, _open_tum, ('camera',)),
    'folder': Kind(Path.is_dir, _open_folder, ('camera', 'fps', 'depth_scale')),
}
"""The kinds of sources, in the order in which a path is tried; the first that holds is taken."""


def _camera(options: Options) -> Camera | Literal['learned'] | None:
    text = options.get('camera')
    if text is None or text == 'learned':
        return 'learned' if text else None
    path = Path(text).expanduser()
    if not path.is_file():
        raise DatasetError(f'calibration {text!r} does not exist (or write camera=learned)')
    return read_calibration(path)


def _truth(path: Path, options: Options) -> Truth:
    text = options.get('depth', 'none')
    if text not in TRUTHS:
        raise ConfigError(f'{str(path)!r}: depth={text!r} is not one of {", ".join(TRUTHS)}')
    return TRUTHS[text]


def _sides(path: Path, options: Options, default: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return tuple(int(side) for side in options['side'].split(',')) if 'side' in options else default
    except ValueError:
        raise ConfigError(f'{str(path)!r}: side={options["side"]!r} is not a camera number, 0 to 3') from None


def _number(path: Path, options: Options, name: str) -> float | None:
    return _positive(str(path), options[name], name) if name in options else None


def _positive(text: str, value: str, name: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise ConfigError(f'{text!r}: {name}={value!r} is not a positive number')
    return number
