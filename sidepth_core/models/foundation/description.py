"""What must be known of a foundation model besides its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sidepth_core.errors import ConfigError
from sidepth_core.models.depth_net import size_of_shape

CONVENTIONS = ('relative', 'metric', 'field_of_view')
SIZINGS = ('exact', 'fixed', 'shape', 'area')


@dataclass(frozen=True)
class FoundationInfo:
    """A depth network of `transformers`: its configuration, its output's convention, and how it wants images.

    Attributes:
        source: Where it came from: hf://ORGANISATION/REPOSITORY, or a folder.
        config: Its config.json.
        convention: 'relative': inverse depth up to a scale and a shift. 'metric': depth in metres. 'field_of_view':
            inverse depth as if the focal length were the image's width; depth grows with focal length over width.
        size: Height and width for which its own processor is set, pixels.
        multiple: Height and width of what it sees are multiples of this, pixels.
        sizing: How the size of its input follows an image: 'exact' (one size, whatever is given), 'fixed' (one size
            unless another one is asked for), 'shape' (the image's shape, the side that is scaled less fits), or 'area'
            (the image's shape, as many pixels).
        mean: What is subtracted from red, green and blue in 0..1.
        std: What they are divided by then.
        adapter_rank: Rank of the low-rank adapters, which are all that the checkpoint holds then; 0 where it holds all
            weights.
        base: The checkpoint that adapters belong to: an address or a folder.
        base_sha256: Of its weights.
        scale_per_image: Whether scale and shift change from image to image; see image_scale.py.

    Raises:
        ConfigError: If a value cannot be.
    """

    source: str
    config: Mapping[str, Any]
    convention: str
    size: tuple[int, int]
    multiple: int
    sizing: str
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    adapter_rank: int = 0
    base: str = ''
    base_sha256: str = ''
    scale_per_image: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming every fault."""
        faults = [
            f'{name} is {value!r}, expected one of {", ".join(choices)}'
            for name, value, choices in (
                ('convention', self.convention, CONVENTIONS),
                ('sizing', self.sizing, SIZINGS),
            )
            if value not in choices
        ]
        if len(self.mean) != 3 or len(self.std) != 3 or not all(0 < value < math.inf for value in self.std):
            faults.append(f'mean {self.mean!r} and std {self.std!r} are not three numbers each, std above 0')
        if min(self.size) < 1:
            faults.append(f'size {self.size!r} is empty')
        if self.multiple < 1 or self.adapter_rank < 0:
            faults.append(f'multiple {self.multiple!r} is below 1 or adapter_rank {self.adapter_rank!r} below 0')
        if faults:
            raise ConfigError(f'foundation model cannot be described so: {"; ".join(faults)}')

    @property
    def family(self) -> str:
        """What `transformers` calls this kind of network, such as depth_anything."""
        return str(self.config.get('model_type', ''))

    def input_size(self, size: tuple[int, int], image: tuple[float, float]) -> tuple[int, int]:
        """Return the height and width at which an image is seen, as the model's own processor would choose them.

        Args:
            size: The processor's own height and width, pixels.
            image: Height and width of the image, pixels.
        """
        if self.sizing in {'exact', 'fixed'}:
            return size
        if self.sizing == 'area':
            return size_of_shape(size[0] * size[1], image[1] / image[0], self.multiple)
        vertical, horizontal = size[0] / image[0], size[1] / image[1]
        scale = horizontal if abs(1 - horizontal) < abs(1 - vertical) else vertical
        height, width = (max(1, round(scale * side / self.multiple)) * self.multiple for side in image)
        return height, width

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FoundationInfo:
        """Return what `dataclasses.asdict` described.

        Raises:
            ConfigError: If a field is missing, unknown or of another kind.
        """
        known = {item.name for item in fields(cls)}
        required = {'source', 'config', 'convention', 'size', 'multiple', 'sizing'}
        unknown, missing = sorted(set(values) - known), sorted(required - set(values))
        if unknown or missing or not isinstance(values['config'], Mapping):
            raise ConfigError(f'foundation: fields do not fit: unknown {unknown}, missing {missing}')
        triples = {name: tuple(float(number) for number in values[name]) for name in ('mean', 'std') if name in values}
        numbers = {name: int(values[name]) for name in ('multiple', 'adapter_rank') if name in values}
        height, width = (int(side) for side in values['size'])
        return cls(**{**values, **triples, **numbers, 'size': (height, width)})
