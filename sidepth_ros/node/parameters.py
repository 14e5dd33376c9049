"""The one table of the node's parameters: Settings.

Each field is a parameter of the same name, with its type, default, range or choices, description and whether it can
change while the node runs. The ROS descriptors, the checks and config/depth.yaml are made from it.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, cast

from sidepth_core.colour_maps import COLOR_MAPS
from sidepth_core.engines import ENGINE_CHOICES, PRECISION_CHOICES
from sidepth_core.errors import ConfigError
from sidepth_core.gates import EDGE_STEP
from sidepth_core.scale import SCALE_SOURCES, FilterSettings
from sidepth_ros.node.static_transforms import parse_transforms

Value = bool | int | float | str | tuple[str, ...]
"""What a parameter can hold."""

T = TypeVar('T')

CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
"""What ROS takes as one token of a topic name."""


@dataclass(frozen=True)
class Spec:
    """What is known of one parameter beside its value.

    Attributes:
        name: Its name.
        default: Its default, which also gives its type.
        description: A sentence, with the unit.
        low: Smallest value; None for no limit.
        high: Largest value; None for no limit.
        choices: The only values of a text; empty for any.
        read_only: Whether it is fixed once the node has started.
    """

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False

    def fault(self, value: object) -> str | None:
        """Return what is wrong with a value, or None."""
        if isinstance(value, bool) != isinstance(self.default, bool) or not isinstance(value, _accepted(self.default)):
            return f'{self.name} is {value!r}, expected a value like {self.default!r}'
        if self.choices and value not in self.choices:
            return f'{self.name} is {value!r}, expected one of {", ".join(self.choices)}'
        number = cast('float', value)
        if self.low is not None and not self.low <= number:
            return f'{self.name} is {value!r}, expected at least {self.low:g}'
        if self.high is not None and not number <= self.high:
            return f'{self.name} is {value!r}, expected at most {self.high:g}'
        return None


def _accepted(default: Value) -> type | tuple[type, ...]:
    return (float, int) if isinstance(default, float) else type(default)


def parameter(default: T, description: str, **limits: Any) -> T:  # noqa: ANN401 - Spec's fields
    """Declare one field of Settings: a dataclass field that carries its Spec."""
    return field(default=default, metadata={'spec': {'default': default, 'description': description, **limits}})


@dataclass(frozen=True)
class Settings:
    """A checked set of values: what the node works with between two changes.

    Raises:
        ConfigError: If values are out of range or contradict each other, naming every fault.
    """

    # Model
    checkpoint: str = parameter(
        '',
        'Weights: a folder with model.safetensors and model.json, or hf://org/repo; empty for the built-in ones. '
        'Another one is loaded beside the running one and swapped in between two frames.',
    )
    engine: str = parameter(
        'channels_last', 'How the network is run; auto measures and takes the fastest.', choices=ENGINE_CHOICES
    )
    precision: str = parameter(
        'float32', 'Number format inside the network; auto measures.', choices=PRECISION_CHOICES
    )
    network_size: str = parameter(
        '',
        'Size at which the network sees the image, as WIDTHxHEIGHT in multiples of 32; empty for the shape of the '
        'image with about as many pixels as the checkpoint was trained with.',
    )
    device: str = parameter('auto', 'Where the network runs: auto, cpu, cuda or cuda:N.', read_only=True)
    threads: int = parameter(
        0,
        'CPU threads of the network and of what is done with images; 0 leaves the choice to torch and OpenCV.',
        low=0,
        high=256,
        read_only=True,
    )

    # Scale
    scale_source: str = parameter(
        'checkpoint',
        'Where metres come from: checkpoint (the weights are metric), fixed (scale_factor), camera_height, odometry or '
        'range (measured by these), auto (the surest of all that there is), relative (no unit).',
        choices=SCALE_SOURCES,
    )
    scale_factor: float = parameter(
        1.0, "Metres per unit of the network's depth, for scale_source fixed.", low=1e-6, high=1e6
    )

    camera_height: float = parameter(
        0.0,
        "Height of the camera over the ground, metres, for scale_source camera_height; 0 takes it, and the camera's "
        'pitch and roll, from TF: ground_frame to the frame of the images.',
        low=0.0,
        high=1000.0,
    )
    camera_pitch: float = parameter(
        0.0, 'How far the camera looks down, degrees; counts with camera_height above 0.', low=-80.0, high=80.0
    )
    camera_roll: float = parameter(
        0.0,
        'How far the camera is turned clockwise, as seen from behind, degrees; counts with camera_height above 0.',
        low=-180.0,
        high=180.0,
    )
    ground_frame: str = parameter('base_footprint', 'Frame whose origin lies on the ground, its z axis up.')
    transforms: tuple[str, ...] = parameter(
        ('',),
        "Static transforms, each 'PARENT CHILD X Y Z ROLL PITCH YAW' (metres, radians): for installs without tf2_ros, "
        'and for what TF does not say. They win over TF.',
    )
    odometry_type: str = parameter(
        'odometry',
        'Type of the topic odometry: odometry (nav_msgs/Odometry), twist (geometry_msgs/TwistStamped) or '
        'twist_with_covariance (geometry_msgs/TwistWithCovarianceStamped).',
        choices=('odometry', 'twist', 'twist_with_covariance'),
        read_only=True,
    )
    odometry_distance: float = parameter(
        0.2, 'Odometry and images are compared over no shorter way, metres.', low=0.01, high=100.0
    )
    range_type: str = parameter(
        'scan',
        'Type of the topic range: scan (sensor_msgs/LaserScan), cloud (PointCloud2), range (Range), or depth (an Image '
        "of depth that is registered to the camera's, known pixels may be few).",
        choices=('scan', 'cloud', 'range', 'depth'),
        read_only=True,
    )
    range_shift: bool = parameter(
        False, 'Fit a shift in inverse depth too, for weights that know depth up to scale and shift.'
    )
    scale_drift: float = parameter(
        0.02,
        'How far a measured scale may wander: standard deviation as a share after one second, growing with its root.',
        low=1e-4,
        high=1.0,
    )
    scale_gate: float = parameter(
        3.0, 'Measurements further from the scale than so many standard deviations are outliers.', low=1.0, high=100.0
    )
    scale_jump: int = parameter(
        20, 'After so many outliers in a row that agree the scale jumps to them; 0 for never.', low=0, high=10000
    )
    scale_max_std: float = parameter(
        0.5, 'A measured scale less certain than this share is in ERROR.', low=0.01, high=10.0
    )
    scale_timeout: float = parameter(
        60.0, 'A scale that was not measured for longer is in ERROR, seconds; 0 for never.', low=0.0, high=86400.0
    )
    scale_on_error: str = parameter(
        'publish',
        'What becomes of depth while a measured scale is in ERROR: publish it, or stop.',
        choices=('publish', 'stop'),
    )
    scale_before: str = parameter(
        'nothing',
        'What is published before the first estimate of a measured scale: nothing, or relative (depth without a unit, '
        'on depth/relative, and its colours; never on the topics that promise metres).',
        choices=('nothing', 'relative'),
    )

    # Input
    cameras: tuple[str, ...] = parameter(
        ('',),
        'Names of the cameras, each with its own topics NAME/image, NAME/camera_info, NAME/depth/...; '
        "[''] for one camera without a prefix. All share one network and one batch.",
        read_only=True,
    )
    image_transport: str = parameter(
        'raw',
        'Type of the image topic: raw (sensor_msgs/Image) or compressed (sensor_msgs/CompressedImage).',
        choices=('raw', 'compressed'),
        read_only=True,
    )
    rectify: str = parameter(
        'auto',
        'Undistort images: auto (where camera_info has distortion and the topic is not an image_rect one), always, '
        'or never (images are rectified already; P of camera_info is theirs).',
        choices=('auto', 'always', 'never'),
    )
    rectify_rotation: bool = parameter(
        True,
        'Where camera_info has a rotation R (a stereo rig), undistort by R and P together, as image_proc does: depth '
        'lies on image_rect pixel by pixel, along Z of the rectified frame. false leaves both out: depth is along the '
        'optical axis of the raw image.',
    )
    max_image_pixels: int = parameter(
        2**25,
        'Drop images whose header claims more pixels than this, before they are decoded; the default is 8K.',
        low=1024,
        high=10**9,
    )
    max_age: float = parameter(
        0.0,
        'Drop images whose stamp is older than this when their turn comes, seconds; 0 keeps all.',
        low=0.0,
        high=3600.0,
    )
    batch_wait: float = parameter(
        0.02,
        'With several cameras: how long the first image of a batch waits for the others, seconds.',
        low=0.0,
        high=1.0,
    )

    worker_timeout: float = parameter(
        60.0,
        'A batch that takes longer has hung: its thread and its engine are replaced, seconds. An engine that is built '
        'for one size of image may need some for a new one.',
        low=1.0,
        high=3600.0,
    )

    # Output
    output_size: str = parameter(
        'full',
        "Size of the depth image and all that goes with it: full (the input's), network, or stride "
        "(the input's divided by output_stride).",
        choices=('full', 'network', 'stride'),
    )
    output_stride: int = parameter(2, 'Divisor of the input size for output_size stride.', low=1, high=16)
    cloud_fields: str = parameter('xyzrgb', 'Fields of a point.', choices=('xyz', 'xyzrgb'))
    cloud_stride: int = parameter(1, 'Every how many pixels of the depth image a point is made.', low=1, high=16)
    color_map: str = parameter('turbo', 'Colour map of depth/image_color.', choices=COLOR_MAPS)
    color_range: str = parameter(
        'percentile',
        'What the colours span: fixed (color_near to color_far) or percentile (2 to 98 of each image).',
        choices=('fixed', 'percentile'),
    )
    color_near: float = parameter(
        1.0, 'Depth of the nearest colour for color_range fixed, metres.', low=0.01, high=1000.0
    )
    color_far: float = parameter(
        50.0, 'Depth of the farthest colour for color_range fixed, metres.', low=0.01, high=1000.0
    )

    # Gates
    range_gate: bool = parameter(
        True, 'Replace depth nearer than min_depth by -inf and beyond max_depth by +inf (REP 117).'
    )
    min_depth: float = parameter(0.1, 'Nearest depth that counts as measured, metres.', low=0.0, high=1000.0)
    max_depth: float = parameter(80.0, 'Farthest depth that counts as measured, metres.', low=0.01, high=10000.0)
    edge_gate: bool = parameter(False, 'Replace pixels on depth edges by NaN: those that fly between two surfaces.')
    edge_step: float = parameter(
        EDGE_STEP,
        'Step of inverse depth over four pixels of the network that makes an edge, beside the slope of the surfaces '
        'around, as a share of the inverse depth there. Smaller removes more flying pixels and more good ones.',
        low=0.01,
        high=10.0,
    )
    border_gate: bool = parameter(False, 'Replace pixels near the image border by NaN.')
    border_width: float = parameter(
        0.02, 'Width of that border as a share of the image width and height.', low=0.0, high=0.4
    )
    sky_gate: bool = parameter(
        False, 'Replace sky by sky_value: pixels deeper than sky_depth with nothing nearer above them in their column.'
    )
    sky_depth: float = parameter(
        60.0,
        'Depth from which a pixel can be sky, metres; nine tenths of what the weights can say, where that is less.',
        low=0.01,
        high=10000.0,
    )
    sky_value: str = parameter(
        'inf',
        'What stands for sky: inf (nothing within range, clears costmaps) or nan (not measured).',
        choices=('inf', 'nan'),
    )
    confidence: str = parameter(
        'none',
        'How confidence (0 to 1) is found: none, flip (the mirrored image must give the same depth) or zoom (an '
        'enlarged centre must). Each costs a second pass of the network, made while depth/confidence has subscribers '
        'or confidence_gate is on.',
        choices=('none', 'flip', 'zoom'),
    )
    confidence_gate: bool = parameter(False, 'Replace pixels whose confidence is below min_confidence by NaN.')
    min_confidence: float = parameter(0.5, 'Least confidence that passes.', low=0.0, high=1.0)

    # Time
    stabilise: bool = parameter(
        False, 'Damp flicker: smooth the scale of depth over time, and depth itself where nothing moves.'
    )
    stabilise_time: float = parameter(0.5, 'Time constant of that smoothing, seconds.', low=0.01, high=10.0)

    # Diagnostics
    input_timeout: float = parameter(
        2.0, 'Silence of an input after which diagnostics name it, seconds.', low=0.1, high=600.0
    )
    latency_warn: float = parameter(
        0.5, 'Stamp-to-publish latency (p95) that makes diagnostics WARN, seconds.', low=0.0, high=3600.0
    )
    latency_error: float = parameter(
        2.0, 'Stamp-to-publish latency (p95) that makes diagnostics ERROR, seconds.', low=0.0, high=3600.0
    )
    rate_warn: float = parameter(
        0.0, 'Output rate below which diagnostics WARN, Hz; 0 for never.', low=0.0, high=1000.0
    )
    rate_error: float = parameter(
        0.0, 'Output rate below which diagnostics turn ERROR, Hz; 0 for never.', low=0.0, high=1000.0
    )

    # Files and start
    snapshot_directory: str = parameter('~/.ros/sidepth', 'Where ~/save_snapshot writes its folders.')
    checkpoint_directory: str = parameter(
        '~/.ros/sidepth/checkpoints', 'Where ~/list_checkpoints looks, beside the built-in ones.'
    )
    autostart: bool = parameter(
        True,
        'Configure and activate without being asked; set false where a launch file or a lifecycle manager does it.',
        read_only=True,
    )

    def __post_init__(self) -> None:
        """Refuse what is out of range, and what cannot stand together."""
        faults = [fault for spec in SPECS.values() if (fault := spec.fault(getattr(self, spec.name)))]
        if not faults:
            faults = list(self._contradictions())
        if faults:
            raise ConfigError('; '.join(faults))

    def _contradictions(self) -> Iterator[str]:
        for nearer, farther in (
            ('min_depth', 'max_depth'),
            ('color_near', 'color_far'),
            ('latency_warn', 'latency_error'),
        ):
            if not getattr(self, nearer) < getattr(self, farther):
                yield f'{nearer} ({getattr(self, nearer):g}) must be below {farther} ({getattr(self, farther):g})'
        if self.rate_error > self.rate_warn:
            yield f'rate_error ({self.rate_error:g}) must not be above rate_warn ({self.rate_warn:g})'
        if self.network_size and not _is_network_size(self.network_size):
            yield f"network_size is {self.network_size!r}, expected WIDTHxHEIGHT in multiples of 32, such as '640x192'"
        if self.confidence_gate and self.confidence == 'none':
            yield "confidence_gate needs confidence 'flip' or 'zoom'"
        try:
            parse_transforms(self.transforms)
        except ConfigError as error:
            yield str(error)
        names = self.cameras
        named = names == ('',) or all(map(CAMERA_NAME.fullmatch, names))
        if not names or not named or len(set(names)) != len(names):
            yield f'cameras {list(names)!r} must be different names: a letter, then letters, digits, underscores'

    def changed(self, values: Mapping[str, object]) -> Settings:
        """Return these settings with some values replaced.

        Raises:
            ConfigError: As the constructor does.
        """
        return replace(self, **cast('Any', dict(values)))

    @property
    def scale_filter(self) -> FilterSettings:
        """How a measured scale is filtered."""
        return FilterSettings(
            self.scale_drift, self.scale_gate, self.scale_jump, self.scale_max_std, self.scale_timeout
        )

    @property
    def network_shape(self) -> tuple[int, int] | None:
        """Height and width for the network; None for the checkpoint's own."""
        width, _, height = self.network_size.partition('x')
        return (int(height), int(width)) if self.network_size else None


def _is_network_size(text: str) -> bool:
    match = re.fullmatch(r'(\d{2,4})x(\d{2,4})', text)
    return match is not None and all(int(length) > 0 and int(length) % 32 == 0 for length in match.groups())


SPECS: dict[str, Spec] = {item.name: Spec(name=item.name, **item.metadata['spec']) for item in fields(Settings)}
"""Every parameter by name, in the order of the table."""

MODEL_PARAMETERS = frozenset({'checkpoint', 'engine', 'precision', 'network_size'})
"""Those whose change loads a model beside the running one."""

MOUNT_PARAMETERS = frozenset({'camera_height', 'camera_pitch', 'camera_roll', 'ground_frame', 'transforms'})
"""Those whose change makes worthless what was measured of the scale."""

def misspelt(given: Iterable[str]) -> list[str]:
    """Return a sentence on each name that is nearly one of ours: ROS drops what no node declares without a word."""
    unknown = [name for name in given if name not in SPECS]
    near = {name: difflib.get_close_matches(name, SPECS, n=1, cutoff=0.8) for name in unknown}
    return [f'there is no parameter {name!r}: did you mean {match[0]!r}?' for name, match in near.items() if match]


YAML_HEAD = """\
# Every parameter of depth_node, with its default. Made from sidepth_ros/node/parameters.py; a test holds them equal.
# `ros2 param set /depth NAME VALUE` changes those not marked [start] while the node runs.
"""


def render_yaml() -> str:
    """Return the text of config/depth.yaml."""
    lines = [YAML_HEAD + '/**:', '  ros__parameters:']
    for spec in SPECS.values():
        start = ' [start]' if spec.read_only else ''
        text = f'{spec.description}{_limits(spec)}{start}'
        lines.extend(f'    # {line}' for line in textwrap.wrap(text, 108))
        lines.append(f'    {spec.name}: {_yaml(spec.default)}')
    return '\n'.join(lines) + '\n'


def _limits(spec: Spec) -> str:
    if spec.choices:
        return f' [{" | ".join(spec.choices)}]'
    if spec.low is not None and spec.high is not None:
        return f' [{spec.low:g} to {spec.high:g}]'
    return ''


def _yaml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f'[{", ".join(map(repr, value))}]'
    return repr(value)
