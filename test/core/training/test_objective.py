from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sidepth_core.augment import AugmentedBatch, AugmentSettings, augment, plain
from sidepth_core.data.clips import Batch, Clip, collate, middle_only
from sidepth_core.data.prepare.two_view_poses import two_view_poses_of
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.errors import ConfigError
from sidepth_core.geometry import depth_to_disparity, warp
from sidepth_core.inference import DepthEstimator
from sidepth_core.losses import depth_supervision, motion_term
from sidepth_core.models import DepthNet, PoseEstimate, PoseNet
from sidepth_core.training.module import DepthTraining, depth_scores
from sidepth_core.training.networks import Average, LearnedCamera, Networks, make_networks
from sidepth_core.training.objective import evaluate
from sidepth_core.training.settings import ModelSettings, ObjectiveSettings, Recipe
from sidepth_core.zoom import focal_length

SIZE = (64, 96)
EVERYTHING = ObjectiveSettings(
    zoom_consistency=0.1,
    depth=1.0,
    depth_shape=0.5,
    depth_gradient=0.5,
    teacher='default',
    teacher_shape=0.5,
    teacher_gradient=0.5,
    teacher_scale=0.1,
    self_distillation=0.1,
    two_view_pose=1.0,
    two_view_depth=0.5,
    hold_scale=0.1,
    hold_sky=0.1,
    motion_mask=True,
    speed=0.1,
)
CANONICAL = ModelSettings(
    backbone='tf_efficientnet_lite0', width=96, height=64, pose_width=96, pose_height=64,
    zoom_convention='canonical', focal_px=96.0,
)  # fmt: skip


def batch_of(images: torch.Tensor) -> Batch:
    """Return clips of these images, (B, N, 3, h, w) uint8, through a plain camera, 2 m ahead at 1 m a frame."""
    count, frames, _, height, width = images.shape
    K = torch.tensor([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
    return Batch(
        images,
        K.expand(count, 3, 3).clone(),
        torch.full((count, frames - 1), 0.1),
        torch.ones(count, frames - 1),
        torch.full((count, 1, height, width), 2.0),
        torch.full((count, frames - 1, 4, 4), math.nan),
        torch.full((count, frames - 1, 8, 3), math.nan),
        torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(1)),
        torch.full((count, 1, height, width), 0.5),
    )


def noise(frames: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return batch_of(torch.randint(0, 256, (2, frames, 3, 80, 120), dtype=torch.uint8, generator=generator))


@pytest.fixture(scope='module')
def networks() -> Networks:
    torch.manual_seed(0)
    model = ModelSettings(backbone='tf_efficientnet_lite0', width=96, height=64, pose_width=96, pose_height=64)
    return make_networks(Recipe(model=model)).eval()


def view_of(batch: Batch) -> AugmentedBatch:
    return plain(batch, SIZE, SIZE)


def test_each_weight_switches_its_term_on(networks: Networks) -> None:
    view = view_of(noise())
    everything = evaluate(networks, view, EVERYTHING, average=networks, start=networks, precision='float32').terms
    assert all(term is not None for term in everything)
    paper = evaluate(networks, view, ObjectiveSettings(speed=0.0), precision='float32').terms
    computed = {name for name, term in paper._asdict().items() if term is not None}
    assert computed == {'photometric', 'smoothness_first', 'smoothness_second'}


def test_supervised_steps_need_no_neighbours(networks: Networks) -> None:
    batch = middle_only(noise())
    assert batch.images.shape[1] == 1
    generator = torch.Generator().manual_seed(0)
    view = augment(batch, AugmentSettings(), generator, SIZE, SIZE)
    outcome = evaluate(networks, view, ObjectiveSettings(depth=1.0), supervised=True, precision='float32')
    assert outcome.motion is None
    assert outcome.terms.photometric is None
    assert outcome.terms.depth is not None
    assert outcome.terms.depth > 0


def test_convention_sources_before_the_target_take_the_inverted_pose() -> None:
    class Forward(torch.nn.Module):
        def forward(self, first: torch.Tensor, second: torch.Tensor) -> object:
            del second
            return PoseEstimate(torch.zeros(len(first), 3), torch.tensor([[0.0, 0.0, -1.0]]).expand(len(first), 3))

    model = ModelSettings(backbone='tf_efficientnet_lite0', width=96, height=64, pose_width=96, pose_height=64)
    networks = make_networks(Recipe(model=model)).eval()
    networks.pose_net = Forward()  # type: ignore[assignment] # points come 1 m nearer from each frame to the next
    motion = evaluate(networks, view_of(noise()), ObjectiveSettings(), precision='float32').motion
    assert motion is not None
    before, after = motion.T_source_target
    assert before[0, :3, 3].tolist() == [0, 0, 1]
    assert after[0, :3, 3].tolist() == [0, 0, -1]


def test_the_speed_term_adds_distances_up_to_the_target_in_long_clips(networks: Networks) -> None:
    batch = noise(frames=5)._replace(distance_m=torch.tensor([[1.0, 2.0, 4.0, 8.0]] * 2))
    outcome = evaluate(networks, view_of(batch), ObjectiveSettings(), precision='float32')
    assert outcome.motion is not None
    lengths = torch.stack([translation.norm(dim=1) for translation in outcome.motion.translation])
    driven = torch.tensor([3.0, 2.0, 4.0, 12.0])[:, None]
    torch.testing.assert_close(outcome.terms.speed, (lengths - driven).abs().mean(), rtol=1e-4, atol=1e-4)


def forward(length: float = 1.0) -> torch.Tensor:
    """Return T_source_target of both neighbours of a camera that drives forward, (2, 2, 4, 4)."""
    motion = torch.eye(4).repeat(2, 2, 1, 1)
    motion[:, 0, 2, 3], motion[:, 1, 2, 3] = length, -length
    return motion


SEEN = ObjectiveSettings(two_view_pose=1.0)


def test_depth_is_moved_by_the_two_view_pose_as_far_as_was_driven(networks: Networks) -> None:
    view = view_of(noise()._replace(two_view_pose=forward(), distance_m=torch.tensor([[1.5, 2.5]] * 2)))
    outcome = evaluate(networks, view, SEEN, precision='float32')
    for index, metres in enumerate((1.5, 2.5)):
        T_source_target = forward(metres)[:, index]
        expected = warp(view.sources[:, index], outcome.depth_m, view.K_target, T_source_target, view.K_source)
        torch.testing.assert_close(outcome.warped[index].image, expected.image)
    assert outcome.motion is not None
    known = torch.cat([forward(1.5)[:, 0], forward(2.5)[:, 1]])
    term = motion_term(torch.cat(outcome.motion.T_source_target), known)
    torch.testing.assert_close(outcome.terms.two_view_pose, term)


def test_what_depth_learns_does_not_hang_on_the_pose_network_where_motion_is_seen(networks: Networks) -> None:
    class Wild(torch.nn.Module):
        def forward(self, first: torch.Tensor, second: torch.Tensor) -> object:
            del second
            return PoseEstimate(torch.full((len(first), 3), 0.2), torch.full((len(first), 3), 5.0))

    wild = Networks(networks.depth_net, Wild(), networks.info).eval()  # type: ignore[arg-type] # answers like one
    seen = view_of(noise()._replace(two_view_pose=forward()))
    unseen = view_of(noise())
    tame_error, wild_error = (evaluate(n, seen, SEEN, precision='float32').terms.photometric for n in (networks, wild))
    torch.testing.assert_close(tame_error, wild_error)
    tame_error, wild_error = (
        evaluate(n, unseen, SEEN, precision='float32').terms.photometric for n in (networks, wild)
    )
    assert tame_error is not None
    assert tame_error != wild_error


def test_without_odometry_depth_of_the_corners_says_how_long_the_two_view_pose_is(networks: Networks) -> None:
    batch = noise()._replace(two_view_pose=forward(), distance_m=torch.full((2, 2), math.nan))
    # The last one lies behind the camera.
    batch.two_view_points[0, :, :3] = torch.tensor([[0.3, 0.3, 8.0], [0.7, 0.6, 8.0], [0.5, 0.5, -1.0]])
    batch.two_view_pose[1] = math.nan  # there, the pose network's motion has to do
    view = view_of(batch)
    networks.zero_grad()
    outcome = evaluate(networks, view, SEEN, precision='float32')
    assert outcome.motion is not None
    expected = torch.stack([torch.eye(4), outcome.motion.T_source_target[0][1]])
    corners = torch.stack([outcome.depth_m[0, 0, 19, 28], outcome.depth_m[0, 0, 38, 67]])
    expected[0, 2, 3] = (corners / 8).log().mean().exp()
    warped = warp(view.sources[:, 0], outcome.depth_m, view.K_target, expected, view.K_source)
    torch.testing.assert_close(outcome.warped[0].image, warped.image, rtol=1e-3, atol=1e-3)
    assert outcome.terms.photometric is not None
    outcome.terms.photometric.backward()
    for part in (networks.depth_net, networks.pose_net):
        gradients = [parameter.grad for parameter in part.parameters() if parameter.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_depth_learns_nothing_where_no_motion_was_seen(networks: Networks) -> None:
    half = forward()
    half[0] = math.nan
    gradients = {}
    for name, seen in (('none', torch.full_like(half, math.nan)), ('half', half)):
        networks.zero_grad()
        terms = evaluate(networks, view_of(noise()._replace(two_view_pose=seen)), SEEN, precision='float32').terms
        terms.total(SEEN.weights).backward()
        gradients[name] = [
            max(float(parameter.grad.abs().max()) for parameter in part.parameters() if parameter.grad is not None)
            for part in (networks.depth_net, networks.pose_net)
        ]
    assert gradients['none'][0] == 0
    assert gradients['none'][1] > 0
    assert min(gradients['half']) > 0


def test_depth_learns_the_same_without_the_pose_network_where_motion_is_seen(networks: Networks) -> None:
    view = view_of(noise()._replace(two_view_pose=forward()))
    gradients = []
    for settings in (SEEN, replace(SEEN, train_pose=False)):
        networks.zero_grad()
        outcome = evaluate(networks, view, settings, precision='float32')
        outcome.terms.total(settings.weights._replace(two_view_pose=0)).backward()
        gradients.append([p.grad.clone() for p in networks.depth_net.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert outcome.motion is None
    assert outcome.terms.two_view_pose is None
    assert all(parameter.grad is None for parameter in networks.pose_net.parameters())


def test_without_the_pose_network_a_frame_whose_motion_was_not_seen_shows_nothing(networks: Networks) -> None:
    half = forward()
    half[:, 1] = math.nan
    half[1] = math.nan
    networks.zero_grad()
    settings = replace(SEEN, train_pose=False)
    outcome = evaluate(networks, view_of(noise()._replace(two_view_pose=half)), settings, precision='float32')
    assert outcome.warped[0].valid[0].any()
    assert not outcome.warped[0].valid[1].any()
    assert not outcome.warped[1].valid.any()
    outcome.terms.total(settings.weights).backward()
    gradients = [parameter.grad for parameter in networks.depth_net.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize('settings', [{}, {'two_view_pose': 1.0, 'pose_source': 'network'}])
def test_without_pose_network_and_two_view_poses_there_is_no_motion(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match='train_pose false needs two_view_pose'):
        ObjectiveSettings(train_pose=False, **settings)


def pull_at_scale(networks: Networks, batch: Batch, where: torch.Tensor) -> float:
    """Return the gradient of view synthesis by a factor on depth in a region, (h, w) bool, of 4 m; the rest is far."""

    class Scaled(Knowing):
        def depth(self, disparity: torch.Tensor, K: torch.Tensor) -> torch.Tensor:
            return torch.where(where, factor, 1) * super().depth(disparity, K)

    factor = torch.ones((), requires_grad=True)
    scaled = Scaled(networks, torch.where(where, 4.0, 90.0).expand(2, 1, *SIZE), 0.0).eval()
    outcome = evaluate(scaled, view_of(batch), replace(SEEN, auto_mask=False), precision='float32')
    assert outcome.terms.photometric is not None
    (gradient,) = torch.autograd.grad(outcome.terms.photometric, factor)
    return abs(gradient.item())


EVERYWHERE = torch.ones(SIZE, dtype=torch.bool)


@pytest.mark.parametrize('seen', [slice(0, 2), slice(0, 1), slice(1, 2)], ids=['both', 'before', 'after'])
def test_view_synthesis_pulls_at_the_scale_of_depth_only_where_distance_was_measured(
    networks: Networks, seen: slice
) -> None:
    motion = torch.full((2, 2, 4, 4), math.nan)
    motion[:, seen] = forward()[:, seen]
    batch = noise()._replace(two_view_pose=motion)
    batch.two_view_points[:] = torch.tensor([0.3, 0.7, 4.0])
    unmeasured = batch._replace(distance_m=torch.full((2, 2), math.nan))
    assert pull_at_scale(networks, batch, EVERYWHERE) > 1e-4
    assert pull_at_scale(networks, unmeasured, EVERYWHERE) < 1e-6


def test_a_sky_does_not_let_the_scale_of_what_is_near_drift(networks: Networks) -> None:
    batch = noise()._replace(two_view_pose=forward())
    batch.images[..., :40, :] = 200
    batch.two_view_points[:] = torch.tensor([0.3, 0.8, 4.0])
    ground = EVERYWHERE.clone()
    ground[: SIZE[0] // 2] = False
    unmeasured = batch._replace(distance_m=torch.full((2, 2), math.nan))
    assert pull_at_scale(networks, unmeasured, ground) < 0.05 * pull_at_scale(networks, batch, ground)


def test_the_pose_network_moves_depth_where_it_is_the_pose_source(networks: Networks) -> None:
    view = view_of(noise()._replace(two_view_pose=forward()))
    outcome = evaluate(networks, view, replace(SEEN, pose_source='network'), precision='float32')
    assert outcome.terms.two_view_pose is None
    plain_outcome = evaluate(networks, view, ObjectiveSettings(), precision='float32')
    torch.testing.assert_close(outcome.terms.photometric, plain_outcome.terms.photometric)


@pytest.mark.parametrize(('metres', 'off'), [(math.nan, math.log(2)), (1.0, 0.0)])
def test_the_scale_is_held_at_the_start_only_where_nobody_measured_distance(
    networks: Networks, metres: float, off: float
) -> None:
    view = view_of(noise()._replace(distance_m=torch.full((2, 2), metres)))
    before_m = torch.full((2, 1, *SIZE), 4.0)
    start, now = (Knowing(networks, factor * before_m, 0.0).eval() for factor in (1, 2))
    holding = ObjectiveSettings(hold_scale=0.1)
    term = evaluate(now, view, holding, start=start, precision='float32').terms.hold_scale
    assert term is not None
    assert term.item() == pytest.approx(off, abs=1e-4)
    assert evaluate(now, view, holding, precision='float32').terms.hold_scale is None
    unmoved = evaluate(start, view, holding, start=start, precision='float32').terms.hold_scale
    assert unmoved is not None
    assert unmoved.item() == 0


def test_the_sky_of_the_start_is_held_and_what_lies_before_it_is_not(networks: Networks) -> None:
    view = view_of(noise()._replace(distance_m=torch.ones(2, 2)))
    farthest = Knowing(networks, torch.ones(2, 1, *SIZE), 0.0).farthest(view.K_target)
    before_m = torch.full((2, 1, *SIZE), 4.0)
    before_m[:, :, : SIZE[0] // 2] = float(torch.as_tensor(farthest).max())

    def lost(now_m: torch.Tensor) -> float:
        now, start = (Knowing(networks, depth_m, 0.0).eval() for depth_m in (now_m, before_m))
        term = evaluate(now, view, ObjectiveSettings(hold_sky=0.1), start=start, precision='float32').terms.hold_sky
        assert term is not None
        return term.item()

    near, low = before_m.clone(), before_m.clone()
    near[:, :, SIZE[0] // 2 :] = 2.0
    low[:, :, : SIZE[0] // 2] /= 3
    assert lost(before_m) == pytest.approx(0, abs=1e-4)
    assert lost(near) == pytest.approx(0, abs=1e-4)
    assert lost(low) == pytest.approx(math.log(3), abs=1e-3)


@pytest.mark.parametrize('unit', [1.0, 7.0])
def test_triangulated_depth_teaches_the_shape_of_depth_and_not_its_scale(networks: Networks, unit: float) -> None:
    told = torch.linspace(2, 20, SIZE[1]).expand(2, 1, *SIZE).clone()
    view = view_of(noise())._replace(two_view_depth=unit * told)
    view.two_view_depth[:, :, :20] = torch.nan
    settings = ObjectiveSettings(two_view_pose=1.0, two_view_depth=1.0)

    def error(depth_m: torch.Tensor) -> float:
        now = Knowing(networks, depth_m, 0.0).eval()
        term = evaluate(now, view, settings, precision='float32').terms.two_view_depth
        assert term is not None
        return term.item()

    assert error(told) == pytest.approx(0, abs=1e-4)
    assert error(2 * told) == pytest.approx(0, abs=1e-4)
    wrong = told.clone()
    wrong[..., : SIZE[1] // 4] *= 2
    assert error(wrong) == pytest.approx(math.log(2) / 4, rel=1e-3)


class Knowing(Networks):
    """Networks that answer with given depth, and with a pose network that answers whatever it was made with."""

    def __init__(self, networks: Networks, depth_m: torch.Tensor, turn_rad: float) -> None:
        class Pose(torch.nn.Module):
            size = SIZE

            def forward(self, first: torch.Tensor, second: torch.Tensor) -> object:
                del second
                ahead = torch.tensor([[0.0, 0.0, -0.5]]).expand(len(first), 3)
                return PoseEstimate(torch.full((len(first), 3), turn_rad), ahead)

        super().__init__(networks.depth_net, Pose(), networks.info)  # type: ignore[arg-type] # answers like one
        self.known_m = depth_m

    def disparity(self, image: torch.Tensor) -> torch.Tensor:
        """Return the sigma of the given depth."""
        del image
        return depth_to_disparity(self.known_m)


def test_a_quarter_of_wrong_corners_does_not_change_the_length_that_depth_says(networks: Networks) -> None:
    batch = noise()._replace(two_view_pose=forward(), distance_m=torch.full((2, 2), math.nan))
    batch.two_view_points[:] = torch.rand(batch.two_view_points.shape, generator=torch.Generator().manual_seed(0))
    batch.two_view_points[..., 2] = torch.tensor([4.0, 4, 4, 4, 4, 4, 1, 100])
    view = view_of(batch)
    flat = Knowing(networks, torch.full((2, 1, *SIZE), 8.0), 0.0).eval()
    outcome = evaluate(flat, view, SEEN, precision='float32')
    expected = warp(view.sources[:, 0], outcome.depth_m, view.K_target, forward(2.0)[:, 0], view.K_source)
    torch.testing.assert_close(outcome.warped[0].image, expected.image, rtol=1e-3, atol=1e-3)


def test_better_depth_is_chosen_although_its_own_motion_is_worse(networks: Networks) -> None:
    frames = list(SyntheticSource('street', seed=5, frames=3, width=320, height=208, fov_deg=60.0))
    camera, depth = frames[1].camera, frames[1].depth_m
    assert camera is not None
    assert depth is not None
    images = torch.stack([torch.from_numpy(frame.image).permute(2, 0, 1) for frame in frames])
    nothing = torch.full((2, 4, 4), math.nan)
    depth_m = torch.from_numpy(depth)[None]
    places = torch.stack([torch.from_numpy(np.asarray(frame.T_world_camera)[:3, 3]) for frame in frames])
    K, driven = torch.from_numpy(camera.matrix).float(), places.diff(dim=0).norm(dim=1).float()
    clip = Clip(images, K, torch.full((2,), 0.1), driven, depth_m, nothing, nothing[:, :, :3], depth_m, depth_m)
    clip = clip._replace(two_view_pose=torch.from_numpy(two_view_poses_of(clip).motions).float())
    view = plain(collate([clip]), (208, 320), SIZE)
    true_m = depth_m[None].clamp(1, 99)
    layout, flat = Knowing(networks, true_m, 0.02), Knowing(networks, torch.full_like(true_m, 12.0), 0.0)

    def error(candidate: Networks, settings: ObjectiveSettings) -> float:
        term = evaluate(candidate, view, settings, precision='float32').terms.photometric
        assert term is not None
        return float(term)

    by_predicted_pose = ObjectiveSettings(auto_mask=False)
    assert error(layout, by_predicted_pose) > error(flat, by_predicted_pose)
    by_two_view_pose = replace(by_predicted_pose, two_view_pose=1.0)
    assert error(layout, by_two_view_pose) < 0.8 * error(flat, by_two_view_pose)


@pytest.mark.parametrize('grey', [0, 255])
@pytest.mark.parametrize('precision', ['float32', 'bf16'])
def test_images_without_texture_give_finite_gradients(networks: Networks, grey: int, precision: str) -> None:
    batch = batch_of(torch.full((2, 3, 3, 80, 120), grey, dtype=torch.uint8))
    terms = evaluate(networks, view_of(batch), EVERYTHING, average=networks, precision=precision).terms
    loss = terms.total(EVERYTHING.weights)
    networks.zero_grad()
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [parameter.grad for parameter in networks.parameters() if parameter.grad is not None]
    assert len(gradients) > 100
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_losses_stay_float32_around_networks_in_bfloat16(networks: Networks) -> None:
    outcome = evaluate(networks, view_of(noise()), EVERYTHING, average=networks, precision='bf16')
    assert outcome.depth_m.dtype == torch.float32
    assert all(term.dtype == torch.float32 for term in outcome.terms if term is not None)


def test_canonical_depth_grows_with_the_focal_length() -> None:
    torch.manual_seed(0)
    networks = make_networks(Recipe(model=CANONICAL))
    sigma = torch.full((1, 1, 64, 96), 0.1)
    K = torch.tensor([[[96.0, 0, 47.5], [0, 96, 31.5], [0, 0, 1]]])
    twice = torch.tensor([[[192.0, 0, 47.5], [0, 192, 31.5], [0, 0, 1]]])
    invariant = replace(CANONICAL, zoom_convention='invariant', focal_px=None)
    plain_depth = make_networks(Recipe(model=invariant)).depth(sigma, twice)
    torch.testing.assert_close(networks.depth(sigma, K), plain_depth)
    torch.testing.assert_close(networks.depth(sigma, twice), 2 * plain_depth)


@pytest.mark.parametrize('focal_px', [48.0, 96.0, 192.0])
def test_the_sky_is_the_farthest_a_canonical_network_says_whatever_the_focal_length(focal_px: float) -> None:
    networks = make_networks(Recipe(model=CANONICAL))
    K = torch.tensor([[[focal_px, 0, 47.5], [0, focal_px, 31.5], [0, 0, 1]]])
    farthest = networks.farthest(K)
    assert farthest.flatten().tolist() == pytest.approx([100 * focal_px / 96])
    sky = torch.full((1, 1, 64, 96), torch.inf)
    says_farthest = networks.depth(torch.zeros(1, 1, 64, 96), K)
    assert depth_supervision(says_farthest, sky, farthest).item() == pytest.approx(0, abs=1e-6)


def test_a_learned_camera_fills_in_only_where_none_is_known() -> None:
    camera = LearnedCamera()
    known = torch.tensor([[50.0, 0, 40], [0, 60, 30], [0, 0, 1]])
    K = torch.stack([known, torch.full((3, 3), torch.nan)])
    filled = camera.fill(K, (64, 96))
    torch.testing.assert_close(filled[0], known)
    # 75 degrees over 96 pixels: f = 48 / tan(37.5 degrees)
    expected = torch.tensor([[62.555, 0, 47.5], [0, 62.555, 31.5], [0, 0, 1]])
    torch.testing.assert_close(filled[1], expected, atol=1e-2, rtol=0)
    filled[1, 0, 0].backward()
    assert camera.offsets.grad is not None
    assert camera.offsets.grad[0] == pytest.approx(62.555, abs=1e-2)


def test_convention_a_learned_camera_starts_with_square_pixels_as_recorded() -> None:
    camera = LearnedCamera()
    camera.squeeze = (64 / 96) / (480 / 640)  # 640x480 resized to 96x64
    K = camera((64, 96))
    assert (K[1, 1] / K[0, 0]).item() == pytest.approx(8 / 9)
    recorded = camera.as_recorded((64, 96), (480, 640))
    assert (recorded.width, recorded.height) == (640, 480)
    assert recorded.fx == pytest.approx(320 / math.tan(math.radians(37.5)))
    assert recorded.fy == pytest.approx(recorded.fx)
    assert (recorded.cx, recorded.cy) == pytest.approx((319.5, 239.5))


def test_the_learned_camera_gets_its_gradient_from_view_synthesis(networks: Networks) -> None:
    batch = noise()
    K = networks.camera.fill(torch.full_like(batch.intrinsics, torch.nan), (80, 120))
    networks.zero_grad()
    view = view_of(batch._replace(intrinsics=K))
    outcome = evaluate(networks, view, ObjectiveSettings(auto_mask=False), precision='float32')
    assert outcome.terms.photometric is not None
    outcome.terms.photometric.backward()
    assert networks.camera.offsets.grad is not None
    assert networks.camera.offsets.grad.abs().min() > 0


def test_the_average_follows_the_networks_and_forgets_the_start(networks: Networks) -> None:
    average = Average(networks, decay=0.5)
    with torch.no_grad():
        for parameter in networks.depth_net.decoder.head.parameters():
            parameter.add_(1.0)
    start = average.networks.depth_net.decoder.head.bias.clone()
    average.follow(networks, step=1000)
    torch.testing.assert_close(average.networks.depth_net.decoder.head.bias, start + 0.5)
    # In double precision all tensors are others.
    average.double()
    networks.double()
    average.follow(networks, step=1000)
    torch.testing.assert_close(average.networks.depth_net.decoder.head.bias, start.double() + 0.75)
    networks.float()
    average.train()
    assert not average.networks.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    with torch.no_grad():
        for parameter in networks.depth_net.decoder.head.parameters():
            parameter.sub_(1.0)


@pytest.mark.parametrize('freeze', [False, True])
def test_a_loaded_network_trains_and_its_statistics_freeze_only_on_request(networks: Networks, freeze: bool) -> None:
    module = DepthTraining(Recipe(model=ModelSettings(freeze_batch_norm=freeze)), networks.eval())
    layers = [layer for layer in networks.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert len(layers) > 40
    assert all(layer.training is not freeze for layer in layers)
    assert networks.depth_net.decoder.dropout.training
    assert not module.average.networks.training
    networks.eval()


def test_depth_is_scored_with_and_without_its_scale() -> None:
    truth = torch.tensor([[[[1.0, 2.0, 4.0, torch.inf, torch.nan]]]])
    predicted = 2 * torch.tensor([[[[1.0, 2.0, 4.0, 9.0, 9.0]]]])
    scores = depth_scores(predicted, truth)
    assert scores is not None
    assert scores[0] == pytest.approx(0)
    assert scores[1] == pytest.approx(1)
    assert depth_scores(predicted, torch.full_like(truth, torch.nan)) is None


@pytest.mark.parametrize('size', [(64, 96), (128, 192), (64, 192)])
def test_training_and_inference_say_the_same_metres_at_any_size(size: tuple[int, int]) -> None:
    """A run that continues a checkpoint at another size starts from the depth that the checkpoint publishes there."""
    start = CANONICAL.describe(None)
    info = ModelSettings(width=size[1], height=size[0]).describe(start)
    depth_net = DepthNet(info.backbone).eval()
    image = torch.rand(1, 3, *size)
    K = torch.tensor([[[70.0, 0, 47.5], [0, 90.0, 31.5], [0, 0, 1]]])
    networks = Networks(depth_net, PoseNet(), info)
    published = DepthEstimator(depth_net, start, device='cpu', size=size).depth(image, focal_length(K))
    with torch.no_grad():
        torch.testing.assert_close(networks.depth(networks.disparity(image), K), published, rtol=1e-4, atol=1e-4)
