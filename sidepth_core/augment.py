"""What training does to a batch of clips, on their device: zoom, mirror and colour jitter, the same for a whole clip.

Every random number comes from one generator on the CPU and as many are drawn whatever they decide, so a run that is
resumed with the generator's state goes on bit for bit, on any device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sidepth_core.data.clips import Batch
from sidepth_core.errors import ConfigError
from sidepth_core.precision import check_shape
from sidepth_core.zoom import Size, View, sample_view, square_share, view_intrinsics

LUMA = (0.299, 0.587, 0.114)
"""Grey of an RGB colour, ITU-R BT.601."""

ALIASES = 1.5
"""Images shrunk by more than this lose detail between the pixels that bilinear sampling looks at."""

_YIQ = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])


@dataclass(frozen=True)
class AugmentSettings:
    """How clips are varied in training; the defaults are the paper's, but for un-zoomed sources (see the field).

    Attributes:
        zoom_probability: Share of clips whose target is zoomed, 0..1.
        zoom_smallest: Smallest shown share of width and height, 0..1; 0.5 doubles the focal length.
        zoom_centre: 'middle' crops around the image's middle as the paper does, 'anywhere' wherever the box fits.
        zoom_isotropic: Draw one share for both axes instead of independent ones.
        zoom_sources: Zoom the source frames too, as the paper does; else they keep their whole view and their own
            camera, so that no border is lost to the crop.
        flip_probability: Share of clips that are mirrored left to right, 0..1.
        jitter_probability: Share of clips whose colours are changed, 0..1.
        brightness: Colours are multiplied by 1 - brightness .. 1 + brightness.
        contrast: The same around the target frame's mean grey.
        saturation: The same around each pixel's grey.
        hue: Largest turn of the hue, as a share of the whole circle.
        shapes: Widths over heights that the depth network is shown, one drawn a step, e.g. [1.33, 2.0, 3.3]: its area
            stays, pixels are square, and images are cropped to it. Empty squeezes whole images into the network's size.

    Raises:
        ConfigError: If a value is out of range.
    """

    zoom_probability: float = 0.5
    zoom_smallest: float = 0.5
    zoom_centre: str = 'middle'
    zoom_isotropic: bool = False
    zoom_sources: bool = False
    flip_probability: float = 0.5
    jitter_probability: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.1
    shapes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn, naming every fault."""
        shares = ('zoom_probability', 'flip_probability', 'jitter_probability', 'brightness', 'contrast', 'saturation')
        values = {name: getattr(self, name) for name in shares}
        faults = [f'{name} {value!r} is not in 0..1' for name, value in values.items() if not 0 <= value <= 1]
        if not 0 < self.zoom_smallest <= 1:
            faults.append(f'zoom_smallest {self.zoom_smallest!r} is not in (0, 1]')
        if not 0 <= self.hue <= 0.5:
            faults.append(f'hue {self.hue!r} is not in 0..0.5')
        if self.zoom_centre not in {'middle', 'anywhere'}:
            faults.append(f"zoom_centre {self.zoom_centre!r} is not 'middle' or 'anywhere'")
        if any(not 0.2 <= shape <= 5 for shape in self.shapes):
            faults.append(f'shapes {self.shapes!r} are not widths over heights in 0.2..5')
        if faults:
            raise ConfigError(f'augmentation cannot be used: {"; ".join(faults)}')


class ColourMap(NamedTuple):
    """An affine change of colour, one per clip: x' = matrix x + offset, then clipped to 0..1.

    Attributes:
        matrix: (B, 3, 3).
        offset: Added to each channel, as a share of the clip's mean grey, (B,).
        brightness: Factor that the mean grey itself has received, (B,).
    """

    matrix: Tensor
    offset: Tensor
    brightness: Tensor


class Draw(NamedTuple):
    """What was drawn for a batch.

    Attributes:
        view: The target's view, mirrored or not.
        colours: The clip's colour jitter.
        place: Where images are cropped whose shape is another one, across and down, (B, 2): 0 at the left or top.
    """

    view: View
    colours: ColourMap
    place: Tensor

    def share(self, clips: slice) -> Draw:
        """Return what was drawn for some of the clips."""
        view = View(*(field[clips] for field in self.view))
        colours = ColourMap(*(field[clips] for field in self.colours))
        return Draw(view, colours, self.place[clips])


class AugmentedBatch(NamedTuple):
    """A batch as the networks and the loss take it; images float32 RGB 0..1, h x w the training size.

    Attributes:
        depth_input: The target zoomed and jittered, for the depth network, (B, 3, h, w).
        full_input: The target un-zoomed and jittered, (B, 3, h, w), for cross-zoom consistency; cropped to the shape
            of the view where pixels are square.
        pose_frames: All frames un-zoomed and jittered, in order of time, (B, N, 3, hp, wp), for the pose network.
        target: The target zoomed, clean, (B, 3, h, w).
        sources: The other frames, clean, in order of time, (B, N-1, 3, hs, ws): un-zoomed at the cached size, so that
            warping resamples the original, or like the target when zoom_sources is set.
        identities: The other frames in the target's view, clean, (B, N-1, 3, h, w), for the auto-mask.
        K_target: Intrinsics of target and depth_input, (B, 3, 3), pixels.
        K_full: Intrinsics of full_input, (B, 3, 3), pixels.
        K_source: Intrinsics of the sources, (B, 3, 3), pixels.
        view: What depth_input shows of full_input; `zoom.full_to_zoomed` takes it.
        depth_m: Known depth of the target view along Z, (B, 1, h, w), metres; NaN unknown, +inf sky.
        dt_s: Seconds from each frame to the next, (B, N-1).
        distance_m: Metres driven from each frame to the next, (B, N-1), NaN unknown.
        two_view_pose: T_source_target from the target to each source as corners show it, (B, N-1, 4, 4), mirrored as
            the clip is; its translation has length 1. NaN where not measured.
        two_view_points: Corners that show it, (B, N-1, P, 3): column and row in the target, -1..1 inside of it as
            grid_sample counts, and depth in lengths of the motion; NaN where there are fewer.
        teacher_inverse: The teacher's inverse depth of the target view, (B, 1, h, w), in its own unit; NaN without one.
        two_view_depth: Triangulated depth of the target view, (B, 1, h, w), in a unit of its own; NaN where not told.
    """

    depth_input: Tensor
    full_input: Tensor
    pose_frames: Tensor
    target: Tensor
    sources: Tensor
    identities: Tensor
    K_target: Tensor
    K_full: Tensor
    K_source: Tensor
    view: View
    depth_m: Tensor
    dt_s: Tensor
    distance_m: Tensor
    two_view_pose: Tensor
    two_view_points: Tensor
    teacher_inverse: Tensor
    two_view_depth: Tensor


def draw(batch_size: int, settings: AugmentSettings, generator: torch.Generator) -> Draw:
    """Draw the view and the colours of every clip; always takes 13 numbers a clip from the generator."""
    uniform, place = (torch.rand(batch_size, numbers, generator=generator) for numbers in (11, 2))
    zoomed = uniform[:, :1] < settings.zoom_probability
    share = settings.zoom_smallest + (1 - settings.zoom_smallest) * uniform[:, 1:3]
    if settings.zoom_isotropic:
        share = share[:, :1].expand(-1, 2)
    share = torch.where(zoomed, share, 1.0)
    centre = torch.full_like(share, 0.5)
    if settings.zoom_centre == 'anywhere':
        centre = share / 2 + uniform[:, 3:5] * (1 - share)
    mirrored = uniform[:, 5] < settings.flip_probability
    jittered = uniform[:, 6] < settings.jitter_probability
    changes = torch.where(jittered[:, None], 2 * uniform[:, 7:] - 1, 0.0)
    return Draw(View(share, centre, mirrored), _colour_map(changes, settings), place)


def _colour_map(changes: Tensor, settings: AugmentSettings) -> ColourMap:
    """Compose brightness, contrast, saturation and hue, (B, 4) in -1..1, into one affine map per clip.

    Hue turns the chroma plane of YIQ: linear, keeps grey, and without HSV's branches.
    """
    strengths = torch.tensor([settings.brightness, settings.contrast, settings.saturation, settings.hue])
    brightness, contrast, saturation, turns = (changes * strengths).unbind(1)
    brightness, contrast, saturation = 1 + brightness, 1 + contrast, 1 + saturation
    cosine, sine = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)
    zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
    turn = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], dim=1).reshape(-1, 3, 3)
    # Written as a change, so that no turn is exactly no change.
    hue = torch.eye(3) + torch.linalg.inv(_YIQ) @ (turn - torch.eye(3)) @ _YIQ
    grey = torch.tensor(LUMA).expand(3, 3)
    saturate = saturation[:, None, None] * torch.eye(3) + (1 - saturation)[:, None, None] * grey
    # Saturation and hue keep grey, so the contrast's grey pivot passes through them unchanged.
    return ColourMap((contrast * brightness)[:, None, None] * (hue @ saturate), 1 - contrast, brightness)


def recolour(images: Tensor, colours: ColourMap, mean_grey: Tensor) -> Tensor:
    """Return images with each clip's colours changed, clipped to 0..1.

    Args:
        images: (B, ..., 3, H, W), values 0..1.
        colours: One change per clip, on the images' device.
        mean_grey: Mean grey of each clip before the change, (B,): one pivot for all its frames.
    """
    batch, height, width = len(images), *images.shape[-2:]
    frames = images.reshape(batch, -1, 3, height * width)
    offset = (colours.offset * colours.brightness * mean_grey)[:, None, None, None]
    changed = (colours.matrix[:, None] @ frames).add_(offset)
    return changed.clamp_(0, 1).reshape(images.shape)


def augment(
    batch: Batch,
    settings: AugmentSettings,
    generator: torch.Generator,
    size: Size,
    pose_size: Size | None = None,
) -> AugmentedBatch:
    """Return the batch zoomed, mirrored and jittered; each view is one sampling of the cached images.

    Args:
        batch: Clips on the device that should do the work. Its intrinsics keep their gradient.
        settings: What is varied, and how much.
        generator: Generator on the CPU.
        size: Training height and width, pixels.
        pose_size: Height and width of the pose network's frames; None is the training size.

    Raises:
        ConfigError: If the images have another shape than a Batch has.
    """
    check_shape('batch.images', batch.images, None, None, 3, None, None)
    drawn = draw(len(batch.images), settings, generator)
    square = bool(settings.shapes)
    return apply(batch, drawn, size, pose_size, zoom_sources=settings.zoom_sources, square=square)


def plain(batch: Batch, size: Size, pose_size: Size | None = None, *, square: bool = False) -> AugmentedBatch:
    """Return the batch as validation takes it: resized, cropped in the middle if `square`, and nothing else changed."""
    off = AugmentSettings(zoom_probability=0, flip_probability=0, jitter_probability=0)
    drawn = draw(len(batch.images), off, torch.Generator())
    middle = drawn._replace(place=torch.full_like(drawn.place, 0.5))
    return apply(batch, middle, size, pose_size, square=square)


def apply(
    batch: Batch,
    drawn: Draw,
    size: Size,
    pose_size: Size | None = None,
    *,
    zoom_sources: bool = False,
    square: bool = False,
) -> AugmentedBatch:
    """Return the batch in the drawn view and colours; the deterministic half of `augment`."""
    device = batch.images.device
    zoom, colours = drawn.view.to(device), ColourMap(*(field.to(device) for field in drawn.colours))
    whole = zoom.unzoomed()
    count = batch.images.shape[1]
    cached = (batch.images.shape[3], batch.images.shape[4])
    share = square_share(batch.intrinsics.detach(), cached, size) if square else whole.share
    full = whole._replace(share=share, centre=share / 2 + drawn.place.to(share) * (1 - share))
    view = zoom.inside(full)
    with torch.no_grad():
        frames = batch.images.float().div_(255)
        zoomed = _sampled(frames, view, size)
        others = [index for index in range(count) if index != count // 2]
        unzoomed_target = _sampled(frames[:, count // 2 : count // 2 + 1], full, size)[:, 0]
        mean_grey = _mean_grey(unzoomed_target)
        identities = zoomed[:, others]
        sources = identities if zoom_sources else _mirrored(frames[:, others], drawn.view.mirrored)
        target = zoomed[:, count // 2]
    K_target = view_intrinsics(batch.intrinsics, view, cached, size)
    return AugmentedBatch(
        depth_input=recolour(target, colours, mean_grey),
        full_input=recolour(unzoomed_target, colours, mean_grey),
        pose_frames=recolour(_shrunk(frames, whole, pose_size or size), colours, mean_grey),
        target=target,
        sources=sources,
        identities=identities,
        K_target=K_target,
        K_full=view_intrinsics(batch.intrinsics, full, cached, size),
        K_source=K_target if zoom_sources else view_intrinsics(batch.intrinsics, whole, cached, cached),
        view=zoom,
        depth_m=sample_view(batch.depth_m, view, size, mode='nearest'),
        dt_s=batch.dt_s,
        distance_m=batch.distance_m,
        two_view_pose=_mirrored_motion(batch.two_view_pose, view.mirrored),
        two_view_points=_points_in_view(batch.two_view_points, view),
        teacher_inverse=sample_view(batch.teacher_inverse, view, size),
        two_view_depth=sample_view(batch.two_view_depth, view, size, mode='nearest'),
    )


def _sampled(frames: Tensor, view: View, size: Size) -> Tensor:
    """Return the view of all frames (B, N, 3, H, W) at once: one grid per clip, its frames as channels."""
    batch, count = frames.shape[:2]
    return sample_view(frames.flatten(1, 2), view, size).reshape(batch, count, 3, *size)


def _shrunk(frames: Tensor, view: View, size: Size) -> Tensor:
    """Return the view like _sampled, averaged first where pixels would be left out: evaluation averages them too."""
    if frames.shape[-1] > ALIASES * size[1]:
        small = F.interpolate(frames.flatten(0, 1), size, mode='bilinear', align_corners=False, antialias=True)
        frames = small.reshape(*frames.shape[:3], *size)
    return _sampled(frames, view, size)


def _mirrored(frames: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the frames (B, ...) of some clips in place; which ones is known on the CPU, so no device is waited for."""
    for clip in mirrored.nonzero()[:, 0].tolist():
        frames[clip] = frames[clip].flip(-1)
    return frames


def _mirrored_motion(motion: Tensor, mirrored: Tensor) -> Tensor:
    """Return the motions (B, N, 4, 4) of some clips as a mirror shows them: x changes its sign on both sides."""
    sign = motion.new_tensor([-1.0, 1.0, 1.0, 1.0])
    return torch.where(mirrored[:, None, None, None], sign[:, None] * motion * sign, motion)


def _points_in_view(points: Tensor, view: View) -> Tensor:
    """Return points (B, N, P, 3) whose place in the image is relative, 0..1, with their place in the view, -1..1."""
    column = torch.where(view.mirrored[:, None, None], 1 - points[..., 0], points[..., 0])
    place = torch.stack([column, points[..., 1]], dim=3)
    inside = 2 * (place - view.centre[:, None, None]) / view.share[:, None, None]
    return torch.cat([inside, points[..., 2:]], dim=3)


def _mean_grey(images: Tensor) -> Tensor:
    return images.mean((2, 3)) @ images.new_tensor(LUMA)
