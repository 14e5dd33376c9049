"""What is known about a checkpoint besides its weights: the content of model.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError
from sidepth_core.models import STRIDE
from sidepth_core.models.depth_decoder import CHANNELS, check_channels
from sidepth_core.models.foundation import FoundationInfo
from sidepth_core.models.pose_net import POSE_BACKBONE

FORMAT = 3
"""Version of model.json; files of a newer one are refused."""
FORMAT_OF_OURS = 2
"""The version that is written where nothing of a newer one is used: earlier programs read it."""
NEWER = {'attention': True, 'smooth_attention': False, 'foundation': None}
"""Fields of version 3 with what they are in version 2, which does not name them."""

LARGEST_SIDE = 8192
"""Pixels; no network is run or trained at a larger width or height."""

SCALES = ('metric', 'relative')
ZOOM_CONVENTIONS = ('invariant', 'canonical', 'field_of_view')
SHAPE_METRICS = ('abs_rel', 'val/abs_rel')
"""Names under which `metrics` has AbsRel of median-scaled images."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What must be known to use a checkpoint, and what a stranger wants to know before using it.

    Attributes:
        backbone: Encoder of the depth network, as models.backbones.make_encoder takes it; of a network of
            `transformers` its model_type.
        decoder_channels: Channels of the depth network's decoder at strides 1, 2, 4, 8 and 16.
        attention: Whether its decoder has dynamic cross-attention.
        smooth_attention: Whether what attention gathers is raised to the finest map bilinearly.
        image_width: Width that the depth network was trained at, pixels.
        image_height: Height, pixels.
        pose_backbone: Encoder of the pose network.
        pose_width: Width at which the pose network looks at images, pixels.
        pose_height: Height, pixels.
        min_depth_m: Depth of disparity 1.
        max_depth_m: Depth of disparity 0.
        scale: 'metric' where depth is in metres, 'relative' where it is only right up to an unknown factor.
        scale_note: Where the metres come from, or why there are none; one sentence.
        zoom_convention: 'invariant': depth is read off as it is. 'canonical': depth was trained as if every camera had
            focal_px, so it is multiplied by the actual focal length over focal_px. 'field_of_view': it is multiplied by
            the focal length over the width of the image.
        focal_px: Focal length of the canonical camera, pixels at the network's input whatever its size; None for
            the others.
        camera: A camera it was trained with; None where there were many or none was known.
        pretrained: The weights that the encoder's training started from, with their licence; empty for random ones.
        training_data: What it was trained on, a line each.
        licence: Licence of the weights, with what the training data ask for.
        versions: Versions of the software that made it.
        metrics: What it reached on validation or test data, by name.
        foundation: What must be known of a network of `transformers`; None for ours.
        format: Version of this description.

    Raises:
        ConfigError: If a value cannot be, naming each.
    """

    backbone: str
    image_width: int
    image_height: int
    pose_width: int = 640
    pose_height: int = 192
    min_depth_m: float = 0.1
    max_depth_m: float = 100.0
    scale: str = 'relative'
    scale_note: str = ''
    zoom_convention: str = 'invariant'
    focal_px: float | None = None
    camera: Camera | None = None
    pose_backbone: str = POSE_BACKBONE
    decoder_channels: tuple[int, ...] = CHANNELS
    attention: bool = True
    smooth_attention: bool = False
    pretrained: str = ''
    training_data: tuple[str, ...] = ()
    licence: str = ''
    versions: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    foundation: FoundationInfo | None = None
    format: int = FORMAT_OF_OURS

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming every fault."""
        faults = [
            f'{name} is {value!r}, expected one of {", ".join(choices)}'
            for name, value, choices in (
                ('scale', self.scale, SCALES),
                ('zoom_convention', self.zoom_convention, ZOOM_CONVENTIONS),
            )
            if value not in choices
        ]
        try:
            check_channels(self.decoder_channels)
        except ConfigError as error:
            faults.append(str(error))
        if not self.takes((self.image_height, self.image_width)):
            faults.append(f'image size {self.image_width}x{self.image_height} is no multiple of {STRIDE}')
        if min(self.pose_width, self.pose_height) < STRIDE:
            faults.append(f'pose size {self.pose_width}x{self.pose_height} is below {STRIDE}')
        sides = (self.image_width, self.image_height, self.pose_width, self.pose_height)
        if max(sides) > LARGEST_SIDE:
            faults.append(f'a size of {max(sides)} pixels is beyond {LARGEST_SIDE}, the largest that is run')
        if not 0 < self.min_depth_m < self.max_depth_m < math.inf:
            faults.append(f'depth range {self.min_depth_m:g}..{self.max_depth_m:g} m is empty')
        if self.zoom_convention == 'canonical' and not (self.focal_px and 0 < self.focal_px < math.inf):
            faults.append(f'focal_px is {self.focal_px!r}, but the canonical zoom convention needs a focal length')
        if self.zoom_convention != 'canonical' and self.focal_px is not None:
            faults.append(f'focal_px is {self.focal_px!r}, but zoom convention {self.zoom_convention} has none')
        if faults:
            raise ConfigError(f'checkpoint cannot be described so: {"; ".join(faults)}')

    @property
    def stride(self) -> int:
        """What height and width of an image are best multiples of, pixels."""
        return STRIDE if self.foundation is None else self.foundation.multiple

    @property
    def has_shift(self) -> bool:
        """Whether inverse depth is off by an unknown shift besides an unknown scale; fine-tuning finds the shift."""
        untouched = self.foundation is not None and not self.training_data
        return untouched and self.foundation is not None and self.foundation.convention == 'relative'

    def takes(self, size: tuple[int, int]) -> bool:
        """Return whether the network can be run at that height and width, pixels.

        Those of `transformers` bring an image to a multiple of theirs themselves.
        """
        return any(min(size) >= stride and not any(side % stride for side in size) for stride in (STRIDE, self.stride))

    @property
    def shape_error(self) -> float:
        """How far the depth of a place is off the scale of its image, as a standard deviation and a share of it.

        Told by AbsRel of median-scaled validation images, a mean absolute error; NaN where no such metric is known.
        """
        abs_rel = next((self.metrics[name] for name in SHAPE_METRICS if name in self.metrics), math.nan)
        return abs_rel * math.sqrt(math.pi / 2)

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON takes them; a metric that is not finite becomes null."""
        values = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        camera = self.camera.to_dict() if self.camera else None
        lists = {'training_data': list(self.training_data), 'decoder_channels': list(self.decoder_channels)}
        fields_of_all = {**asdict(self), **lists, 'camera': camera, 'metrics': values}
        newer = [name for name, usual in NEWER.items() if getattr(self, name) != usual]
        return {
            **{name: value for name, value in fields_of_all.items() if name in newer or name not in NEWER},
            'format': FORMAT if newer else FORMAT_OF_OURS,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CheckpointInfo:
        """Return the info that to_dict described.

        Raises:
            ConfigError: If the format is newer than this program knows, or a field is missing, unknown or of another
                kind.
        """
        version = values.get('format')
        if not isinstance(version, int) or version < 1:
            raise ConfigError(f'format is {version!r}: expected a whole number from 1 to {FORMAT}')
        if version > FORMAT:
            raise ConfigError(f'format {version} is newer than this sidepth, which knows {FORMAT}: update sidepth')
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted({'backbone', 'image_width', 'image_height'} - set(values))
        if unknown or missing:
            raise ConfigError(f'fields do not fit: unknown {unknown}, missing {missing}')
        try:
            return cls(**{name: _PARSERS.get(name, str)(value) for name, value in values.items()})
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigError(f'a field is of another kind: {error}') from error


def _metrics(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f'{value!r} is neither true nor false')
    return value


_PARSERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(('image_width', 'image_height', 'pose_width', 'pose_height', 'format'), int),
    **dict.fromkeys(('min_depth_m', 'max_depth_m'), float),
    'focal_px': lambda value: None if value is None else float(value),
    'camera': lambda value: None if value is None else Camera.from_dict(value),
    'attention': _flag,
    'smooth_attention': _flag,
    'decoder_channels': lambda numbers: tuple(int(number) for number in numbers),
    'training_data': lambda lines: tuple(str(line) for line in lines),
    'versions': lambda values: {name: str(value) for name, value in values.items()},
    'metrics': _metrics,
    'foundation': lambda value: None if value is None else FoundationInfo.from_dict(value),
}
"""What makes a field of its JSON value; text where nothing is said."""
