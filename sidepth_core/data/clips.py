"""Clip and Batch: a few neighbouring images of one drive, as training takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Clip(NamedTuple):
    """Neighbouring frames of one drive, the target in the middle, all seen by one rectified camera.

    Attributes:
        images: (N, 3, h, w) uint8 RGB, N odd, in order of time, at the cached size.
        intrinsics: (3, 3) float32, K of these very images, pixels; NaN where the camera is to be learned.
        dt_s: (N-1,) float32, seconds from each frame to the next.
        distance_m: (N-1,) float32, metres the camera moved from each frame to the next; NaN where not measured.
        depth_m: (1, h, w) float32, depth of the middle frame along Z; NaN where not known, +inf in the sky.
        two_view_pose: (N-1, 4, 4) float32, T_source_target from the middle frame to each other one, in order of time,
            as corners show it: its translation has length 1; NaN where not measured.
        two_view_points: (N-1, P, 3) float32, some of those corners: column and row in the middle frame, as shares of
            its width and height, and depth there, in lengths of the motion; NaN where there are fewer.
        teacher_inverse: (1, h, w) float32, inverse depth of the middle frame as a teacher says it, in its own unit; NaN
            without a teacher.
        two_view_depth: (1, h, w) float32, depth of the middle frame as triangulated by its neighbours, in a unit of its
            own; NaN where not told.
    """

    images: Tensor
    intrinsics: Tensor
    dt_s: Tensor
    distance_m: Tensor
    depth_m: Tensor
    two_view_pose: Tensor
    two_view_points: Tensor
    teacher_inverse: Tensor
    two_view_depth: Tensor


class Batch(NamedTuple):
    """Clips stacked: the fields of Clip with the batch dimension B in front.

    Attributes:
        images: (B, N, 3, h, w) uint8.
        intrinsics: (B, 3, 3) float32.
        dt_s: (B, N-1) float32.
        distance_m: (B, N-1) float32.
        depth_m: (B, 1, h, w) float32.
        two_view_pose: (B, N-1, 4, 4) float32.
        two_view_points: (B, N-1, P, 3) float32.
        teacher_inverse: (B, 1, h, w) float32.
        two_view_depth: (B, 1, h, w) float32.
    """

    images: Tensor
    intrinsics: Tensor
    dt_s: Tensor
    distance_m: Tensor
    depth_m: Tensor
    two_view_pose: Tensor
    two_view_points: Tensor
    teacher_inverse: Tensor
    two_view_depth: Tensor

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch on another device."""
        return Batch(*(field.to(device, non_blocking=non_blocking) for field in self))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; a DataLoader calls this."""
        return Batch(*(field.pin_memory() for field in self))


def collate(clips: Sequence[Clip]) -> Batch:
    """Stack clips of one prepared cache into a batch; the `collate_fn` of a DataLoader."""
    return Batch(*(torch.stack(fields) for fields in zip(*clips, strict=True)))


def middle_only(batch: Batch) -> Batch:
    """Return clips of their middle frames alone, for what needs no neighbours."""
    middle = batch.images.shape[1] // 2
    return batch._replace(
        images=batch.images[:, middle : middle + 1],
        dt_s=batch.dt_s[:, :0],
        distance_m=batch.distance_m[:, :0],
        two_view_pose=batch.two_view_pose[:, :0],
        two_view_points=batch.two_view_points[:, :0],
    )
