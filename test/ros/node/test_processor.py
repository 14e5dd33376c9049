"""What the processor makes of images, with a network that the test knows the answer of."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import CheckpointInfo
from sidepth_core.depth_maps import rays
from sidepth_core.rectify import distort, rectification_grid, rectified_camera
from sidepth_core.scale import make_scale_source
from sidepth_ros.messages import ImageBuffer
from sidepth_ros.messages.calibration import Calibration
from sidepth_ros.node.model import Model
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.processor import Processor, View, rectified

CAMERA = Camera(128, 96, fx=100.0, fy=105.0, cx=60.5, cy=50.25)
LENS = Camera(128, 96, 100.0, 105.0, 60.5, 50.25, 'plumb_bob', (-0.2, 0.05, 0.001, -0.001, 0.0))
SETTINGS = Settings(range_gate=False)


class BrightnessEstimator:
    """Stands where the network stands: depth is 1 m for black to 11 m for white, at half the size of the image."""

    device = torch.device('cpu')
    info = CheckpointInfo('hrnet18', 64, 64)

    def __init__(self, *, far: float = 100.0, one_sided: bool = False) -> None:
        self.far = far
        self.one_sided = one_sided

    def network_size(self, *images: tuple[int, int]) -> tuple[int, int]:
        height, width = images[0]
        return height // 2, width // 2

    def farthest(self, images: Tensor, focal_px: Tensor, size: tuple[int, int]) -> Tensor:
        assert len(images) == len(focal_px) == 1
        assert images.shape[-2:] == size
        return torch.tensor([self.far])

    def depth(self, images: Tensor, focal_px: Tensor, size: tuple[int, int]) -> Tensor:
        assert len(images) == len(focal_px)
        assert images.shape[-2:] == size
        depth = 1 + images.float().mean(1, keepdim=True) / 25.5
        if self.one_sided:
            depth[..., : depth.shape[-1] // 2] *= 2
        return depth


def make_model(
    estimator: BrightnessEstimator | None = None, *, factor: float = 1.0, far: float = 100.0, one_sided: bool = False
) -> Model:
    scale = make_scale_source('fixed' if factor != 1 else 'checkpoint', metric_weights=True, factor=factor)
    return Model(estimator or BrightnessEstimator(far=far, one_sided=one_sided), scale)


def view(
    image: np.ndarray | None = None, *, target: Camera = CAMERA, source: Camera = CAMERA, stamp: int = 0
) -> View:
    grey = np.full((96, 128), 51, np.uint8) if image is None else image
    return View('front', np.repeat(grey[..., None], 3, axis=2), Calibration(source, target), stamp)


def run(settings: Settings = SETTINGS, model: Model | None = None, **arguments: object) -> Tensor:
    return Processor()([view(**arguments)], model or make_model(), settings)[0].depth


def test_depth_has_the_size_and_camera_of_the_input() -> None:
    estimate = Processor()([view()], make_model(), SETTINGS)[0]
    assert estimate.depth.shape == (96, 128)
    assert estimate.camera == CAMERA
    torch.testing.assert_close(estimate.depth, torch.full((96, 128), 3.0))


@pytest.mark.parametrize(
    ('settings', 'size'),
    [({'output_size': 'network'}, (64, 48)), ({'output_size': 'stride', 'output_stride': 4}, (32, 24))],
)
def test_camera_follows_the_size_of_the_output(settings: dict[str, object], size: tuple[int, int]) -> None:
    estimate = Processor()([view()], make_model(), SETTINGS.changed(settings))[0]
    assert estimate.camera == CAMERA.resized(*size)
    assert estimate.depth.shape == size[::-1]


OUTPUTS = [{}, {'output_size': 'network'}, {'output_size': 'stride', 'output_stride': 3}]


@pytest.mark.parametrize('output', OUTPUTS)
def test_map_lies_in_the_memory_of_its_message_and_is_the_same_there(output: dict[str, object]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8)
    settings = Settings(min_depth=3.0, max_depth=8.0, stabilise=True).changed(output)
    buffer, processor, twin = ImageBuffer('32FC1'), Processor(), Processor()
    for stamp in (0, 100_000_000):
        there = processor([view(image, stamp=stamp)._replace(room=buffer.room)], make_model(), settings)[0].depth
        elsewhere = twin([view(image, stamp=stamp)], make_model(), settings)[0].depth
        assert torch.equal(there, elsewhere)
        assert there.data_ptr() == buffer.room(*there.shape).data_ptr()


@pytest.mark.parametrize('output', OUTPUTS)
def test_map_for_a_thin_cloud_alone_is_a_part_of_the_whole_map(output: dict[str, object]) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5), dtype=np.uint8)
    image = cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC)
    gates = {'edge_gate': True, 'edge_step': 1.0, 'border_gate': True, 'sky_gate': True, 'sky_depth': 8.0}
    confident = {'confidence': 'flip', 'confidence_gate': True, 'min_confidence': 0.3}
    settings = Settings(min_depth=2.0, max_depth=9.0).changed({**gates, **confident, **output})
    whole_view = view(image, source=LENS, target=Camera(128, 96, 85.0, 88.0, 60.5, 50.25))
    whole, thin = (Processor()([whole_view._replace(stride=s)], make_model(), settings)[0] for s in (1, 3))
    assert 0.2 < whole.depth.isfinite().float().mean() < 0.9
    assert whole.depth.isinf().any()
    assert whole.camera == thin.camera
    torch.testing.assert_close(thin.depth, whole.depth[::3, ::3], rtol=0, atol=0, equal_nan=True)
    assert whole.confidence is not None
    assert thin.confidence is not None
    assert torch.equal(thin.confidence, whole.confidence[::3, ::3])


def test_scale_multiplies_before_the_gates_see_it() -> None:
    depth = run(Settings(max_depth=8.0), make_model(factor=3.0))
    assert depth.isinf().all()
    torch.testing.assert_close(run(Settings(max_depth=10.0), make_model(factor=3.0)), torch.full((96, 128), 9.0))


def test_range_gate_follows_rep_117() -> None:
    image = np.zeros((96, 128), np.uint8)
    image[:, 64:] = 255
    depth = run(Settings(min_depth=2.0, max_depth=10.0), image=image)
    assert (depth[:, :60] == -math.inf).all()
    assert (depth[:, 68:] == math.inf).all()


def test_gates_take_edges_borders_and_sky() -> None:
    image = np.full((96, 128), 51, np.uint8)
    image[:40] = 255
    settings = SETTINGS.changed(
        {'edge_gate': True, 'border_gate': True, 'border_width': 0.05, 'sky_gate': True, 'sky_depth': 9.0}
    )
    depth = run(settings, image=image)
    assert depth[:5].isnan().all()
    assert depth[:, :6].isnan().all()
    assert (depth[10:34, 20:100] == math.inf).all()
    assert depth[39:41].isnan().all()
    torch.testing.assert_close(depth[50:80, 20:100], torch.full((30, 80), 3.0))
    assert run(settings.changed({'sky_value': 'nan'}), image=image)[10:34].isnan().all()


@pytest.mark.parametrize(('far', 'is_sky'), [(11.5, True), (13.0, False)])
def test_far_end_of_the_weights_is_sky_even_below_sky_depth(far: float, *, is_sky: bool) -> None:
    model = make_model(factor=2.0, far=far)
    image = np.full((96, 128), 51, np.uint8)
    image[:40] = 255
    depth = run(SETTINGS.changed({'sky_gate': True, 'sky_depth': 60.0}), model, image=image)
    # White is 11 m as the network says it, 22 m as published: nine tenths of 23 m, not of 26 m.
    assert bool((depth[:34] == math.inf).all()) is is_sky
    assert depth[50:].isfinite().all()


def test_confidence_is_made_only_when_wanted() -> None:
    settings = SETTINGS.changed({'confidence': 'flip'})
    assert Processor()([view()], make_model(), settings)[0].confidence is None
    wanted = view()._replace(wants_confidence=True)
    confidence = Processor()([wanted], make_model(), settings)[0].confidence
    torch.testing.assert_close(confidence, torch.ones(96, 128))


@pytest.mark.parametrize('kind', ['flip', 'zoom'])
def test_depth_does_not_change_when_somebody_subscribes_to_confidence(kind: str) -> None:
    settings = SETTINGS.changed({'confidence': kind})
    model, views = make_model(one_sided=True), [view(), view()._replace(name='rear')]
    alone = Processor()(views, model, settings)
    watched = Processor()([views[0]._replace(wants_confidence=True), views[1]], model, settings)
    for before, after in zip(alone, watched, strict=True):
        assert torch.equal(before.depth, after.depth)
    assert [estimate.confidence is not None for estimate in watched] == [True, False]


@pytest.mark.parametrize('kind', ['flip', 'zoom'])
def test_confidence_gate_takes_what_two_looks_disagree_about(kind: str) -> None:
    settings = SETTINGS.changed({'confidence': kind, 'confidence_gate': True, 'min_confidence': 0.9})
    assert run(settings).isfinite().all()
    depth = run(settings, make_model(one_sided=True))
    if kind == 'flip':
        assert depth.isnan().all()
    else:
        # The left half of the enlarged middle agrees with the left half; beside the middle nothing can be said.
        assert depth.isfinite().any()


def test_rectified_depth_lies_where_the_pinhole_camera_sees_it() -> None:
    """A bright square at a known place of the scene appears in the depth map where K, without D, projects it."""
    target = rectified_camera(LENS)
    corners = np.array([[-0.2, -0.15, 1], [0.1, -0.15, 1], [0.1, 0.2, 1], [-0.2, 0.2, 1]])
    image = np.zeros((96, 128), np.uint8)
    cv2.fillPoly(image, [np.round(distort(corners, LENS)).astype(np.int32)], 255)
    depth = run(image=image, source=LENS, target=target)
    expected = (corners @ target.matrix.T)[:, :2]
    inside = depth > 6
    rows, columns = inside.nonzero(as_tuple=True)
    assert columns.min() == pytest.approx(expected[:, 0].min(), abs=2)
    assert columns.max() == pytest.approx(expected[:, 0].max(), abs=2)
    assert rows.min() == pytest.approx(expected[:, 1].min(), abs=2)
    assert rows.max() == pytest.approx(expected[:, 1].max(), abs=2)


def test_rectified_image_is_the_same_on_every_device() -> None:
    target = rectified_camera(LENS)
    coarse = np.random.default_rng(0).integers(0, 256, (8, 11), dtype=np.uint8)
    image = cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC)
    ours = Processor()([view(image, source=LENS, target=target)], make_model(), SETTINGS)[0].image
    grid = torch.from_numpy(rectification_grid(LENS, target))
    theirs = rectified(torch.from_numpy(image).expand(1, 3, -1, -1), grid)
    # OpenCV, which does it on a CPU, divides a pixel into 32 parts.
    torch.testing.assert_close(ours.int(), theirs[0].int(), rtol=0, atol=3)


def test_pixels_that_the_lens_never_saw_are_not_measured() -> None:
    wide = Camera(128, 96, 40.0, 42.0, 60.5, 50.25)
    depth = run(source=LENS, target=wide)
    assert depth[0, 0].isnan()
    assert depth[48, 64].isfinite()
    seen = depth.isfinite()
    points = rays(wide).reshape(-1, 3).numpy()[seen.ravel().numpy()]
    pixels = distort(points.astype(np.float64), LENS)
    assert pixels.min() > -0.6
    assert (pixels < [127.6, 95.6]).all()


def test_cameras_of_different_sizes_share_a_batch() -> None:
    small = Camera(64, 32, 50.0, 50.0, 31.5, 15.5)
    views = [view(), View('rear', np.zeros((32, 64, 3), np.uint8), Calibration(small, small), 0)]
    calls = []

    class Counting(BrightnessEstimator):
        def network_size(self, *images: tuple[int, int]) -> tuple[int, int]:
            assert images == ((96, 128), (32, 64))
            return 48, 96

        def depth(self, images: Tensor, focal_px: Tensor, size: tuple[int, int]) -> Tensor:
            # As long in the pixels of the network as it was in those of the camera: geometric means of both sides.
            longer = [math.sqrt(100.0 * 105.0) * math.sqrt(0.75 * 0.5), 50.0 * 1.5]
            assert focal_px.tolist() == pytest.approx(longer)
            calls.append(tuple(images.shape))
            return torch.full((2, 1, *size), 4.0)

    estimates = Processor()(views, make_model(Counting()), SETTINGS)
    assert calls == [(2, 3, 48, 96)]
    assert [tuple(estimate.depth.shape) for estimate in estimates] == [(96, 128), (32, 64)]


def test_stabiliser_works_per_camera_and_can_be_reset() -> None:
    settings, processor = SETTINGS.changed({'stabilise': True}), Processor()
    bright = np.full((96, 128), 60, np.uint8)

    def depth(stamp: int, image: np.ndarray | None = None) -> float:
        return float(processor([view(image, stamp=stamp)], make_model(), settings)[0].depth[50, 50])

    first = depth(0)
    assert first < depth(100_000_000, bright) < 1 + 60 / 25.5
    processor.reset('front')
    assert depth(200_000_000, bright) == pytest.approx(1 + 60 / 25.5)
