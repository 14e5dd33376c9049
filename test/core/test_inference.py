"""DepthEstimator: what goes in, what comes out, and that estimators share nothing."""

from __future__ import annotations

import copy
import functools
import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, save_checkpoint
from sidepth_core.engines.verification import probe
from sidepth_core.errors import ConfigError, ImageFormatError, ScaleError
from sidepth_core.geometry import disparity_to_depth
from sidepth_core.inference import DepthEstimator
from sidepth_core.models import DepthNet, Prediction

INFO = CheckpointInfo('tf_efficientnet_lite0', image_width=96, image_height=64)
CANONICAL = replace(INFO, zoom_convention='canonical', focal_px=80.0)


@functools.cache
def original(seed: int) -> DepthNet:
    """Return an untrained network whose disparity varies over the image as a trained one's does."""
    torch.manual_seed(seed)
    net = DepthNet('tf_efficientnet_lite0')
    with torch.no_grad():
        for _ in range(4):
            net(torch.rand(4, 3, 64, 96) * torch.rand(4, 3, 1, 1))  # fills the running statistics
        net.decoder.head.weight.mul_(8)
    return net.eval()


def network(seed: int = 0) -> DepthNet:
    return copy.deepcopy(original(seed))


@pytest.fixture(scope='module')
def estimator() -> DepthEstimator:
    return DepthEstimator(network(), INFO, device='cpu')


def random_image(height: int, width: int) -> np.ndarray:
    return (probe(height, width)[0].permute(1, 2, 0) * 255).byte().numpy()


def test_depth_has_the_pixels_of_the_image_and_the_range_of_the_checkpoint(estimator: DepthEstimator) -> None:
    depth = estimator(random_image(120, 200))
    assert (depth.shape, depth.dtype) == ((120, 200), np.float32)
    assert depth.flags.c_contiguous
    assert INFO.min_depth_m <= depth.min() < depth.max() <= INFO.max_depth_m


def test_depth_is_the_networks_own_at_its_own_size(estimator: DepthEstimator) -> None:
    image = random_image(64, 96)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = disparity_to_depth(network()(pixels / 255).disparity)
    torch.testing.assert_close(torch.from_numpy(estimator(image)), expected[0, 0])
    torch.testing.assert_close(estimator.depth(pixels), expected)
    torch.testing.assert_close(estimator.depth(pixels / 255), expected)
    torch.testing.assert_close(estimator.depth((pixels / 255).double()), expected)


def test_images_of_another_size_are_resized_without_aliasing(estimator: DepthEstimator) -> None:
    image = torch.from_numpy(random_image(256, 384)).permute(2, 0, 1)[None]
    small = F.interpolate(image / 255, size=(64, 96), mode='bilinear', antialias=True)
    depth = estimator.depth(image)
    assert depth.shape == (1, 1, 64, 96)
    torch.testing.assert_close(depth, estimator.depth(small), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ('image', 'size'),
    [
        ((64, 96), (64, 96)),
        ((480, 720), (64, 96)),
        ((100, 160), (64, 96)),
        ((96, 300), (32, 96)),
        ((300, 150), (128, 64)),
    ],
)
def test_the_network_sees_images_in_their_own_shape(
    image: tuple[int, int], size: tuple[int, int], estimator: DepthEstimator
) -> None:
    assert estimator.depth(torch.rand(1, 3, *image)).shape[-2:] == size
    given = DepthEstimator(network(), INFO, device='cpu', size=(64, 96))
    assert given.depth(torch.rand(1, 3, *image)).shape[-2:] == (64, 96)


def test_images_of_several_shapes_share_the_size_of_their_mean_shape(estimator: DepthEstimator) -> None:
    assert estimator.network_size((96, 300), (300, 96)) == estimator.network_size((100, 100)) == (96, 96)


def test_metres_stay_where_the_network_follows_the_shape() -> None:
    canonical = DepthEstimator(network(), CANONICAL, device='cpu')
    far = canonical.farthest(torch.rand(1, 3, 96, 300), torch.tensor([100.0]))
    at_input = 100 * (32 * 96 / (96 * 300)) ** 0.5  # the network sees 96x32 pixels
    torch.testing.assert_close(far, torch.tensor([INFO.max_depth_m * at_input / 80]))


@pytest.mark.parametrize(
    ('size', 'warned'), [((64, 96), False), ((64, 128), False), ((96, 128), True), ((32, 64), True)]
)
def test_a_size_of_many_more_or_fewer_pixels_than_trained_is_warned_of(
    size: tuple[int, int], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    DepthEstimator(network(), INFO, device='cpu', size=size)
    assert ('times the pixels of 96x64, at which these weights were trained' in caplog.text) is warned


def test_the_network_size_can_be_another_than_the_trained_one() -> None:
    smaller = DepthEstimator(network(), INFO, device='cpu', size=(32, 64))
    assert smaller.depth(torch.rand(2, 3, 64, 96)).shape == (2, 1, 32, 64)


def test_views_and_read_only_images_are_taken_as_they_are(estimator: DepthEstimator) -> None:
    image = random_image(64, 96)
    frozen = image.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(estimator(frozen), estimator(image))
    np.testing.assert_array_equal(estimator(image[:, ::-1]), estimator(image[:, ::-1].copy()))


@pytest.mark.parametrize(
    ('shape', 'dtype'), [((64, 96), 'u1'), ((64, 96, 4), 'u1'), ((64, 96, 3), 'f4'), ((0, 96, 3), 'u1')]
)
def test_what_is_no_rgb_image_is_refused(shape: tuple[int, ...], dtype: str, estimator: DepthEstimator) -> None:
    image = np.zeros(shape, dtype)
    with pytest.raises(ImageFormatError, match=r'expected \(H, W, 3\) uint8, RGB'):
        estimator(image)


@pytest.mark.parametrize('image', [None, 'street.jpg', [[[0, 0, 0]]], torch.zeros(64, 96, 3, dtype=torch.uint8)])
def test_what_is_no_array_is_refused(image: object, estimator: DepthEstimator) -> None:
    with pytest.raises(ImageFormatError, match=r'image is \w+: expected a NumPy array'):
        estimator(image)


@pytest.mark.parametrize(
    'images', [torch.zeros(3, 64, 96), torch.zeros(1, 64, 96, 3), torch.zeros(1, 3, 64, 96, dtype=torch.int32)]
)
def test_a_tensor_that_is_no_batch_of_images_is_refused(images: Tensor, estimator: DepthEstimator) -> None:
    with pytest.raises(ImageFormatError, match=r'expected \(B, 3, H, W\), uint8 or floating point'):
        estimator.depth(images)


def test_a_camera_of_another_size_is_refused(estimator: DepthEstimator) -> None:
    with pytest.raises(ImageFormatError, match='image is 96x64, its camera 200x120'):
        estimator(random_image(64, 96), Camera(200, 120, 100, 100, 100, 60))


def test_the_invariant_convention_needs_no_camera(estimator: DepthEstimator) -> None:
    image = random_image(64, 96)
    np.testing.assert_array_equal(estimator(image), estimator(image, Camera(96, 64, 300, 300, 48, 32)))


def test_convention_canonical_depth_grows_with_the_focal_length() -> None:
    """Reference 80 px at 96x64. 192x64 with f = 90 is squeezed to fx = 45, fy = 90: sqrt(45 * 90) = 63.64 px."""
    canonical = DepthEstimator(network(), CANONICAL, device='cpu', size=(64, 96))
    image = random_image(64, 192)
    expected = DepthEstimator(network(), INFO, device='cpu', size=(64, 96))(image) * (63.6396 / 80)
    np.testing.assert_allclose(canonical(image, Camera(192, 64, 90, 90, 95.5, 31.5)), expected, rtol=1e-5)
    np.testing.assert_allclose(canonical(image, Camera(192, 64, 45, 180, 95.5, 31.5)), expected, rtol=1e-5)


@pytest.mark.parametrize('size', [(64, 96), (128, 192), (64, 192)])
def test_convention_the_canonical_reference_counts_pixels_of_the_network_whatever_its_size(
    size: tuple[int, int],
) -> None:
    """Images of twice the network's size and a focal length of 160 px: 80 px, the reference, at the network's input."""
    image = torch.rand(1, 3, 2 * size[0], 2 * size[1])
    invariant = DepthEstimator(network(), INFO, device='cpu', size=size)
    canonical = DepthEstimator(network(), CANONICAL, device='cpu', size=size)
    torch.testing.assert_close(canonical.depth(image, torch.tensor([160.0])), invariant.depth(image))


def test_the_canonical_convention_asks_for_a_camera() -> None:
    canonical = DepthEstimator(network(), CANONICAL, device='cpu')
    with pytest.raises(ScaleError, match=r'focal length of 80 px .canonical zoom convention.: give the camera'):
        canonical(random_image(64, 96))


class Ruler(DepthNet):
    """Sees one wall that fills the image: nearness is how large its texture looks, which a ramp's slope tells."""

    def forward(self, image: Tensor) -> Prediction:
        slope = (image[:, :1, :, -1:] - image[:, :1, :, :1]).mean(dim=(2, 3), keepdim=True)
        apparent = 0.9 / slope.clamp(min=1e-3)  # how many times larger than in the full view
        inverse = 0.05 * (apparent if self.canonical else torch.ones_like(apparent))
        return Prediction(((inverse - 0.01) / (10 - 0.01)).expand(-1, 1, *image.shape[-2:]))

    canonical = False


@pytest.mark.parametrize('info', [INFO, CANONICAL])
def test_zoomed_passes_agree_with_the_full_one_in_both_conventions(info: CheckpointInfo) -> None:
    """A network that is right about its zoomed views must not be changed by averaging with them."""
    ruler = Ruler('tf_efficientnet_lite0')
    ruler.canonical = info is CANONICAL
    ramp = torch.linspace(0.05, 0.95, 96).expand(1, 3, 64, 96)
    focal = torch.tensor([80.0])
    plain = DepthEstimator(ruler, info, device='cpu').depth(ramp, focal)
    zoomed = DepthEstimator(ruler, info, device='cpu', zoom=True).depth(ramp, focal)
    torch.testing.assert_close(plain, torch.full_like(plain, 20.0), rtol=0.03, atol=0)
    torch.testing.assert_close(zoomed, plain, rtol=0.03, atol=0)


def test_flip_averages_inverse_depth_with_the_mirrored_image(estimator: DepthEstimator) -> None:
    images = torch.rand(2, 3, 64, 96)
    both = DepthEstimator(network(), INFO, device='cpu', flip=True)
    direct, mirrored = estimator.depth(images), estimator.depth(images.flip(-1)).flip(-1)
    torch.testing.assert_close(both.depth(images), 2 / (1 / direct + 1 / mirrored))
    torch.testing.assert_close(both.depth(images.flip(-1)).flip(-1), both.depth(images))


def test_depth_may_be_changed_in_place_by_its_owner(estimator: DepthEstimator) -> None:
    depth = estimator.depth(torch.rand(1, 3, 64, 96))
    depth[0, 0, 0, 0] = torch.nan
    assert not depth.requires_grad
    with torch.inference_mode():
        estimator.depth(torch.rand(1, 3, 64, 96)).mul_(2)


@pytest.mark.parametrize(('size', 'nearest'), [((100, 200), '192x96'), ((0, 32), '32x32')])
def test_a_size_that_does_not_fit_is_refused(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(ConfigError, match=f'no multiple of 32: the nearest is {nearest}'):
        DepthEstimator(network(), INFO, device='cpu', size=size)


@pytest.mark.parametrize('device', ['toaster', 'cuda:99', 'cuda:0' if not torch.cuda.is_available() else 'cuda:98'])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{device}' cannot be used here"):
        DepthEstimator(network(), INFO, device=device)


def test_a_saved_checkpoint_is_loaded_with_what_was_asked_for(estimator: DepthEstimator, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(network(), None, INFO))
    loaded = DepthEstimator.load(tmp_path, device='cpu', size=(32, 32), flip=True)
    assert (loaded.info, loaded.size, loaded.flip, loaded.zoom) == (INFO, (32, 32), True, False)
    assert (loaded.engine_name, loaded.precision, loaded.engine_note) == ('eager', 'float32', '')
    image = random_image(64, 96)
    np.testing.assert_array_equal(DepthEstimator.load(tmp_path, device='cpu')(image), estimator(image))


def test_an_estimator_loads_while_another_one_runs(estimator: DepthEstimator, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(network(seed=1), None, INFO))
    image = random_image(64, 96)
    expected = estimator(image)
    loaded: list[DepthEstimator] = []

    def load() -> None:
        loaded.extend(DepthEstimator.load(tmp_path, device='cpu') for _ in range(3))

    loading = threading.Thread(target=load)
    loading.start()
    results = []
    while loading.is_alive():
        results.append(estimator(image))
    loading.join()
    assert len(loaded) == 3
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize('engine', ['eager', 'channels_last'])
def test_memory_goes_with_the_estimator(engine: str) -> None:
    net = network()
    estimator = DepthEstimator(net, INFO, device='cpu', engine=engine)
    estimator(random_image(64, 96))
    weights = weakref.ref(next(net.parameters()))
    held = weakref.ref(estimator)
    del net, estimator
    gc.collect()
    assert held() is None
    assert weights() is None


def test_an_engine_bound_to_a_size_is_made_anew_for_images_of_another_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('openvino', reason='openvino is not installed')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    plain = DepthEstimator(network(), INFO, device='cpu')
    bound = DepthEstimator(network(), INFO, device='cpu', engine='openvino')
    for shape in ((64, 96), (96, 64)):
        image = random_image(*shape)
        assert bound.network_size(shape) == plain.network_size(shape)
        np.testing.assert_allclose(bound(image), plain(image), rtol=1e-3)
    assert len(list(tmp_path.rglob('*.build'))) == 2
