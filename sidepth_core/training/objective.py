"""One step's forward pass, read top-down: depth, pose, warps, and the terms that compare them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core import losses
from sidepth_core.augment import AugmentedBatch
from sidepth_core.geometry import FARTHEST_M, Warped, pose_matrix, warp
from sidepth_core.losses import LossTerms, Reprojection
from sidepth_core.training.networks import Networks, autocast
from sidepth_core.training.settings import ObjectiveSettings
from sidepth_core.zoom import full_to_zoomed


class Motion(NamedTuple):
    """How the camera moved between the target and each source, in order of time.

    Attributes:
        T_source_target: One (B, 4, 4) a source: maps points of the target's frame into the source's.
        translation: Length-carrying part of the pose network's answer, (B, 3) a source.
    """

    T_source_target: list[Tensor]
    translation: list[Tensor]


class Outcome(NamedTuple):
    """What a step made of a batch.

    Attributes:
        terms: The unweighted terms.
        disparity: sigma of the depth input, (B, 1, h, w).
        depth_m: Its depth, the same shape.
        motion: What the pose network says; None in steps that do without it.
        warped: Each source in the target's view; empty in supervised steps.
        reprojection: Where view synthesis counted; None in supervised steps.
    """

    terms: LossTerms
    disparity: Tensor
    depth_m: Tensor
    motion: Motion | None
    warped: list[Warped]
    reprojection: Reprojection | None


def evaluate(
    networks: Networks,
    view: AugmentedBatch,
    settings: ObjectiveSettings,
    *,
    average: Networks | None = None,
    start: Networks | None = None,
    teacher_has_shift: bool = True,
    supervised: bool = False,
    precision: str = 'auto',
) -> Outcome:
    """Run the networks on a view and return the terms of the objective that have a weight.

    Args:
        networks: What is trained or validated.
        view: The augmented clips; see AugmentedBatch.
        settings: Which terms there are.
        average: Averaged networks, for self-distillation and the motion mask.
        start: Networks with the starting checkpoint's weights, to hold the scale and the sky by.
        teacher_has_shift: Whether inverse depth in the view's teacher_inverse is off by an unknown shift.
        supervised: Learn from known depth and a teacher only: no pose network and no warps.
        precision: What the networks run in: 'auto', 'float32' or 'bf16'.
    """
    weights = settings.weights
    with autocast(view.target.device, precision):
        disparity = networks.disparity(view.depth_input)
    depth_m = networks.depth(disparity, view.K_target)
    farthest_m = networks.farthest(view.K_target)
    synthesised = torch.where(_has_pose(view), disparity, disparity.detach()) if weights.two_view_pose else disparity
    terms = LossTerms(
        smoothness_first=losses.smoothness_first(synthesised, view.target) if weights.smoothness_first else None,
        smoothness_second=losses.smoothness_second(synthesised, view.target) if weights.smoothness_second else None,
        depth=losses.depth_supervision(depth_m, view.depth_m, farthest_m) if weights.depth else None,
        depth_shape=losses.depth_shape(depth_m, view.depth_m, farthest_m) if weights.depth_shape else None,
        depth_gradient=losses.depth_gradient(depth_m, view.depth_m, farthest_m) if weights.depth_gradient else None,
        teacher_shape=losses.teacher_shape(depth_m, view.teacher_inverse, has_shift=teacher_has_shift)
        if weights.teacher_shape
        else None,
        teacher_gradient=losses.teacher_gradient(depth_m, view.teacher_inverse, has_shift=teacher_has_shift)
        if weights.teacher_gradient
        else None,
        teacher_scale=_teacher_drift(view, depth_m, farthest_m) if weights.teacher_scale else None,
    )
    if supervised:
        return Outcome(terms, disparity, depth_m, None, [], None)
    taught = _taught(average, view, settings, precision)
    motion = None
    if settings.train_pose:
        with autocast(view.target.device, precision):
            motion = _motion(networks, view.pose_frames)
    moved_m = networks.depth(synthesised, view.K_target)
    if motion is None or weights.two_view_pose:
        poses = _two_view_poses(motion, view, moved_m)
    else:
        poses = motion.T_source_target
    warped = [
        warp(source, moved_m, view.K_target, T_source_target, view.K_source)
        for source, T_source_target in zip(view.sources.unbind(1), poses, strict=True)
    ]
    identities = view.identities.unbind(1) if settings.auto_mask else ()
    keep = losses.motion_mask(taught, view.K_target) if settings.motion_mask and taught is not None else None
    reprojection = losses.minimum_reprojection(view.target, warped, identities, keep)
    held = _depth_by(start, view, precision) if start is not None else None
    terms = terms._replace(
        photometric=reprojection.loss,
        speed=_speed(motion, view.distance_m) if weights.speed and motion is not None else None,
        zoom_consistency=_consistency(networks, view, depth_m, precision) if weights.zoom_consistency else None,
        self_distillation=losses.self_distillation(depth_m, taught, keep)
        if weights.self_distillation and taught is not None
        else None,
        two_view_pose=losses.motion_term(torch.cat(motion.T_source_target), torch.cat(poses))
        if weights.two_view_pose and motion is not None
        else None,
        two_view_depth=losses.depth_shape(depth_m, view.two_view_depth, math.inf) if weights.two_view_depth else None,
        hold_scale=_scale_drift(view, depth_m, *held) if weights.hold_scale and held else None,
        hold_sky=losses.sky_drift(depth_m, *held) if weights.hold_sky and held else None,
    )
    return Outcome(terms, disparity, depth_m, motion, warped, reprojection)


def _motion(networks: Networks, frames: Tensor) -> Motion:
    """Estimate each source's pose: pairs go in by order of time, and pairs that end at the target are inverted."""
    count = frames.shape[1]
    middle = count // 2
    pairs = [(min(middle, other), max(middle, other)) for other in range(count) if other != middle]
    first = torch.cat([frames[:, index] for index, _ in pairs])
    second = torch.cat([frames[:, index] for _, index in pairs])
    estimate = networks.pose_net(first, second)
    angles, translations = estimate.axis_angle.chunk(len(pairs)), estimate.translation.chunk(len(pairs))
    matrices = [
        pose_matrix(angle, translation, invert=end == middle)
        for angle, translation, (_, end) in zip(angles, translations, pairs, strict=True)
    ]
    return Motion(matrices, list(translations))


def _speed(motion: Motion, distance_m: Tensor) -> Tensor:
    """Compare each pose's length with the distance driven between its two frames."""
    return losses.speed_term(torch.cat(motion.translation), torch.cat(_driven(distance_m)))


def _driven(distance_m: Tensor) -> list[Tensor]:
    """Return the distance between the target and each source, (B,) each, from those from frame to frame."""
    middle = distance_m.shape[1] // 2
    driven = [distance_m[:, index:middle].sum(1) for index in range(middle)]
    return driven + [distance_m[:, middle : index + 1].sum(1) for index in range(middle, distance_m.shape[1])]


def _has_pose(view: AugmentedBatch) -> Tensor:
    """Return which clips have a two-view pose, (B, 1, 1, 1) bool.

    In the others only the pose network and the learned camera learn, and smoothness has nothing to weigh against.
    """
    has_length = _corners_in_view(view).any(2) | torch.stack(_driven(view.distance_m), 1).isfinite()
    has_pose = view.two_view_pose.isfinite().all(3).all(2) & has_length
    return has_pose.any(1)[:, None, None, None]


def _two_view_poses(motion: Motion | None, view: AugmentedBatch, depth_m: Tensor) -> list[Tensor]:
    """Return T_source_target by two-view poses: as long as was driven, or else by the depth of the same corners.

    Where there is no two-view pose it is the pose network's, or without one a pose from which nothing is seen: all
    points lie behind the source. Where nobody measured the distance, all lengths of a clip grow with depth of its
    corners, gradient included: so view synthesis does not pull at the scale of what the corners lie on. With lengths
    held fixed both could shrink together without a difference, and would.
    """
    driven = torch.stack(_driven(view.distance_m), 1)
    by_depth = _lengths(view, depth_m)
    lengths = torch.where(driven.isfinite(), driven, by_depth)
    has_pose = view.two_view_pose.isfinite().all(3).all(2) & lengths.isfinite()
    log_length = torch.where(has_pose, by_depth, 1).log()
    growth = (log_length - log_length.detach()).sum(1) / has_pose.sum(1).clamp(min=1)  # 0, with a gradient
    chosen = []
    blind = torch.eye(4, device=depth_m.device).expand(len(depth_m), 4, 4).clone()
    blind[:, 2, 3] = -2 * FARTHEST_M
    predicted = motion.T_source_target if motion is not None else [blind] * has_pose.shape[1]
    for index, T_predicted in enumerate(predicted):
        growing = torch.where(driven[:, index].isnan(), growth, 0).exp()
        claimed, length = view.two_view_pose[:, index].nan_to_num(), lengths[:, index].nan_to_num()
        T_seen = _with_translation(claimed, length[:, None] * claimed[:, :3, 3])
        T_unseen = _with_translation(T_predicted, growing[:, None] * T_predicted[:, :3, 3])
        chosen.append(torch.where(has_pose[:, index, None, None], T_seen, T_unseen))
    return chosen


def _with_translation(T: Tensor, translation: Tensor) -> Tensor:
    """Return rigid transforms (B, 4, 4) with another translation, (B, 3)."""
    return torch.cat([torch.cat([T[:, :3, :3], translation[:, :, None]], dim=2), T[:, 3:]], dim=1)


def _corners_in_view(view: AugmentedBatch) -> Tensor:
    """Return which corners (B, N-1, P) lie in the view and in front of the camera."""
    return (view.two_view_points[..., :2].abs() < 1).all(3) & (view.two_view_points[..., 2] > 0)


def _lengths(view: AugmentedBatch, depth_m: Tensor) -> Tensor:
    """Return the length of motions, (B, N-1) metres, by depth (B, 1, h, w) of the corners that show them; or NaN.

    It is the geometric mean of the middle half of what the corners say: as robust as their median, and what it teaches
    is shared by many.
    """
    points, usable = view.two_view_points, _corners_in_view(view)
    places = points[..., :2].nan_to_num(nan=2.0)
    depth = F.grid_sample(depth_m, places, mode='nearest', align_corners=False)[:, 0]
    told = torch.where(usable, depth, 1).log() - torch.where(usable, points[..., 2], 1).log()
    known = torch.where(usable, told.detach(), torch.nan)
    low = known.nanquantile(0.25, 2, keepdim=True, interpolation='lower')
    high = known.nanquantile(0.75, 2, keepdim=True, interpolation='higher')
    middle = (known >= low) & (known <= high)  # false where not known
    count = middle.sum(2)
    length = (torch.where(middle, told, 0).sum(2) / count.clamp(min=1)).exp()
    return torch.where(count > 0, length, torch.nan)


def _consistency(networks: Networks, view: AugmentedBatch, depth_m: Tensor, precision: str) -> Tensor:
    """Compare the zoomed prediction with the un-zoomed one, as inverse depth: it holds for both zoom conventions."""
    with autocast(view.target.device, precision):
        full = networks.disparity(view.full_input)
    inverse = 1 / networks.depth(full, view.K_full)
    return losses.zoom_consistency(1 / depth_m, full_to_zoomed(inverse, view.view))


@torch.no_grad()
def _depth_by(start: Networks, view: AugmentedBatch, precision: str) -> tuple[Tensor, Tensor | float]:
    """Return what the starting weights say of the target view, and the farthest that they can say, metres."""
    with autocast(view.target.device, precision):
        disparity = start.disparity(view.depth_input)
    return start.depth(disparity, view.K_target), start.farthest(view.K_target)


def _scale_drift(view: AugmentedBatch, depth_m: Tensor, before_m: Tensor, farthest_m: Tensor | float) -> Tensor:
    """Compare the scale of depth with the starting weights' in clips whose distance nobody measured."""
    return losses.scale_drift(depth_m, before_m, farthest_m, view.distance_m.isnan().any(1))


def _teacher_drift(view: AugmentedBatch, depth_m: Tensor, farthest_m: Tensor) -> Tensor:
    """Compare the scale of depth with a teacher's in clips whose distance nobody measured."""
    held = view.distance_m.isnan().any(1) & view.teacher_inverse.isfinite().flatten(1).all(1)
    return losses.scale_drift(depth_m, 1 / view.teacher_inverse, farthest_m, held)


def _taught(
    average: Networks | None, view: AugmentedBatch, settings: ObjectiveSettings, precision: str
) -> Tensor | None:
    """Return averaged weights' depth of the target view, seen from the un-zoomed image; None where nobody asks."""
    if average is None or not (settings.self_distillation or settings.motion_mask):
        return None
    with torch.no_grad():
        with autocast(view.target.device, precision):
            full = average.disparity(view.full_input)
        return 1 / full_to_zoomed(1 / average.depth(full, view.K_full), view.view)
