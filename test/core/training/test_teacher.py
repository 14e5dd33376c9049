"""A teacher: its maps in the cache, what training takes from them, and teachers that cannot teach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sidepth_core.augment import LUMA, AugmentSettings, augment, plain
from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, load_checkpoint, load_info, save_checkpoint
from sidepth_core.cli import main
from sidepth_core.data.clips import collate
from sidepth_core.data.prepare import PreparedDataset, make_teacher_maps, maps
from sidepth_core.errors import CheckpointError, ConfigError, DatasetError
from sidepth_core.models import DepthNet
from sidepth_core.training import teacher as teaching
from sidepth_core.training.fit import fit, scale_of
from sidepth_core.training.metrics import read_metric
from sidepth_core.training.module import depth_scores
from sidepth_core.training.networks import make_networks
from sidepth_core.training.objective import evaluate
from sidepth_core.training.recipes import load_recipe
from sidepth_core.training.settings import ObjectiveSettings, Recipe
from sidepth_core.training.sources import open_sources
from sidepth_core.training.split import Source, Split
from sidepth_core.training.teacher import Teacher, teacher_of

DEBUG = load_recipe(Path(__file__).parents[3] / 'training' / 'debug.yaml')
TAUGHT = ObjectiveSettings(teacher='small', teacher_shape=1.0, teacher_gradient=0.5)


@pytest.fixture
def drive(cache: Path) -> Path:
    """The prepared cache itself."""
    return next(cache.iterdir())


def recipe_of(cache: Path, out: Path, **objective: object) -> Recipe:
    return replace(
        DEBUG,
        out=str(out),
        data=replace(DEBUG.data, cache=str(cache)),
        objective=replace(TAUGHT, **objective),  # type: ignore[arg-type] # of the test
        watch=replace(DEBUG.watch, validate_every=100, figure_every=100, save_every=100),
    )


def brightness(images: Tensor, _K: Tensor) -> Tensor:
    """Teach that what is bright is near."""
    return (images.float() / 255 * torch.tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def test_maps_are_augmented_together_with_the_image(drive: Path) -> None:
    make_teacher_maps(drive, 'bright', 'brightness', brightness, about={})
    clips = PreparedDataset(drive, teacher='bright')
    batch = collate([clips[index] for index in range(6)])
    settings = AugmentSettings(zoom_probability=1, zoom_centre='anywhere', flip_probability=0.5, jitter_probability=1)
    view = augment(batch, settings, torch.Generator().manual_seed(0), (64, 96))
    assert 0 < view.view.mirrored.sum() < 6
    expected = brightness(view.target * 255, torch.empty(0))
    torch.testing.assert_close(view.teacher_inverse, expected, rtol=0, atol=2e-3)  # float16 in the cache
    assert PreparedDataset(drive)[0].teacher_inverse.isnan().all()


def test_maps_that_are_there_are_not_made_again(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, 'MAPS_A_FILE', 4)
    shown: list[int] = []

    def interrupted(images: Tensor, K: Tensor) -> Tensor:
        if sum(shown) >= 8:
            raise KeyboardInterrupt
        shown.append(len(images))
        return brightness(images, K)

    with pytest.raises(KeyboardInterrupt):
        make_teacher_maps(drive, 'resumed', 'brightness', interrupted, about={}, batch=2)
    with pytest.raises(DatasetError, match=r"no complete set of a teacher's maps: expected teacher\.json"):
        PreparedDataset(drive, teacher='resumed')

    def counted(images: Tensor, K: Tensor) -> Tensor:
        shown.append(len(images))
        return brightness(images, K)

    for _ in range(2):
        make_teacher_maps(drive, 'resumed', 'brightness', counted, about={'licence': 'MIT'})
    clips = PreparedDataset(drive, teacher='resumed')
    assert sum(shown) == len(clips) > 8
    last = len(clips) - 1
    expected = brightness(clips[last].images[1:2], torch.empty(0))[0]
    torch.testing.assert_close(clips[last].teacher_inverse, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(clips[-1].teacher_inverse, clips[last].teacher_inverse)
    assert json.loads((drive / 'teacher-resumed' / 'teacher.json').read_text()) == {'licence': 'MIT'}


@pytest.mark.parametrize(
    ('says', 'words'),
    [
        (torch.nan, r"'odd' says NaN or infinite for \d+ of"),
        (3.0, r"'odd' says one and the same depth for all pixels.* 3 in inverse depth"),
        (0.0, r'one and the same depth.* 0 in inverse depth'),
    ],
    ids=['nan', 'constant', 'zero'],
)
def test_maps_that_teach_nothing_are_refused(drive: Path, says: float, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        make_teacher_maps(drive, 'odd', 'odd', lambda images, _K: 0 * images[:, :1].float() + says, about={})


def test_large_numbers_of_a_relative_teacher_fit_into_the_cache(drive: Path) -> None:
    make_teacher_maps(drive, 'large', 'large', lambda images, K: 1e6 * brightness(images, K), about={})
    clip = PreparedDataset(drive, teacher='large')[3]
    said = brightness(clip.images[1:2], torch.empty(0))[0]
    torch.testing.assert_close(clip.teacher_inverse / clip.teacher_inverse.max(), said / said.max(), rtol=0, atol=1e-3)


def canonical(folder: Path, *, seed: int = 0) -> Path:
    """Save a small random network of ours that says depth for a focal length of 96 px."""
    torch.manual_seed(seed)
    network = DepthNet('tf_efficientnet_lite0', decoder_channels=(0, 8, 8, 8, 8), attention=False).eval()
    info = CheckpointInfo(
        'tf_efficientnet_lite0', 96, 64, decoder_channels=(0, 8, 8, 8, 8), attention=False,
        zoom_convention='canonical', focal_px=96.0, scale='relative', licence='CC-BY-NC-4.0',
    )  # fmt: skip
    save_checkpoint(folder, Checkpoint(network, None, info))
    return folder


def test_a_teacher_is_known_by_weights_and_settings(tmp_path: Path) -> None:
    first, same, other = (canonical(tmp_path / str(number), seed=number // 2) for number in range(3))
    assert Teacher(str(first)).key == Teacher(str(same)).key != Teacher(str(other)).key
    described = json.loads((same / 'model.json').read_text())
    (same / 'model.json').write_text(json.dumps({**described, 'focal_px': 90.0}))
    assert Teacher(str(first)).key != Teacher(str(same)).key
    (same / 'model.json').write_text(json.dumps({**described, 'scale_note': 'checked'}))
    assert Teacher(str(first)).key == Teacher(str(same)).key


def test_a_teacher_sees_square_pixels_and_its_own_focal_length(tmp_path: Path) -> None:
    teacher = Teacher(str(canonical(tmp_path)), 'cpu')
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    K = torch.tensor([[[80.0, 0, 48], [0, 80, 32], [0, 0, 1]]])
    inverse = teacher(image, K)
    torch.testing.assert_close(teacher(image, 2 * K), inverse / 2)  # twice the focal length, twice as far
    seen: list[torch.Size] = []
    estimator, _ = teacher._estimator
    network = estimator._engines[estimator.size]._network  # type: ignore[attr-defined]
    network.register_forward_pre_hook(lambda _network, given: seen.append(given[0].shape[-2:]))
    squeezed = torch.tensor([[[40.0, 0, 48], [0, 80, 32], [0, 0, 1]]])  # 192 square pixels wide
    assert teacher(image, squeezed).shape == (1, 1, 64, 96)
    assert seen[0][1] / seen[0][0] == pytest.approx(3, abs=0.5)
    with pytest.raises(DatasetError, match=r'canonical zoom convention\), which is not known .*\(camera=FILE\)'):
        teacher(image, torch.full((1, 3, 3), torch.nan))


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'teacher_shape': 0.1}, 'teacher_shape need a teacher'),
        ({'teacher': 'small'}, "teacher 'small' teaches nothing: give teacher_shape a weight"),
        ({'teacher': 'small', 'teacher_shape': -1.0}, 'weight teacher_shape -1.0 is negative'),
    ],
)
def test_settings_that_teach_nothing_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ObjectiveSettings(**settings)  # type: ignore[arg-type] # of the test
    with pytest.raises(ConfigError, match='pull at one scale'):
        Recipe(checkpoint='small', objective=replace(TAUGHT, teacher_scale=0.1, hold_scale=0.1))


def test_a_folder_that_is_no_checkpoint_is_refused_before_anything_is_prepared(cache: Path, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    recipe = recipe_of(cache, tmp_path / 'run', teacher=str(tmp_path / 'empty'))
    with pytest.raises(CheckpointError, match=r"teacher '.*empty' cannot teach: checkpoint .* is not complete"):
        fit(replace(recipe, data=replace(recipe.data, cache='')))
    assert not (tmp_path / 'run').exists()


def test_a_teacher_that_cannot_be_downloaded_is_an_error_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    settings = load_recipe('distill_bag').objective
    with pytest.raises(CheckpointError, match=r"teacher 'hf://.*' cannot teach: .*`hf download .* --local-dir FOLDER`"):
        teacher_of(settings)


def test_metres_are_learned_from_a_metric_teacher_only(tmp_path: Path) -> None:
    relative = replace(TAUGHT, teacher=str(canonical(tmp_path)), teacher_scale=0.1)
    with pytest.raises(ConfigError, match=r'teacher_scale 0.1 asks for the metres of .*, whose scale is relative'):
        teacher_of(relative)
    assert teacher_of(replace(relative, teacher_scale=0.0)) is not None
    metric = replace(TAUGHT, teacher_scale=0.1)
    clips: Any = ()
    undriven = Source('drive', 1.0, clips, Split([], [], []), 0.0, 0.0, True, (96, 160), (96, 160))
    assert teacher_of(metric) is not None
    said = scale_of(Recipe(objective=metric), [undriven])
    assert said == ('metric', 'metres are those of the teacher small, not measured')


def test_a_network_that_knows_nothing_learns_depth_of_a_teacher(cache: Path, tmp_path: Path) -> None:
    """Of the synthetic world's exact depth it sees nothing; by that it is scored."""
    source = open_sources(recipe_of(cache, tmp_path))[0]
    view = plain(collate([source.clips[0], source.clips[12]]), (64, 96))
    torch.manual_seed(0)
    networks = make_networks(
        replace(DEBUG, model=replace(DEBUG.model, decoder_channels=(0, 16, 16, 32, 32), attention=False))
    )
    optimiser = torch.optim.Adam(networks.depth_net.parameters(), lr=1e-3)
    taught = replace(TAUGHT, photometric=0.0, smoothness_first=0.0, smoothness_second=0.0)
    losses, errors = [], []
    for _ in range(24):
        outcome = evaluate(
            networks, view, taught, teacher_has_shift=False, supervised=True, precision='float32'
        )
        scores = depth_scores(outcome.depth_m.detach(), view.depth_m)
        assert scores is not None
        errors.append(scores[0].item())
        loss = outcome.terms.total(taught.weights)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    assert np.mean(errors[-4:]) < 0.8 * np.mean(errors[:4])


def test_a_foundation_model_teaches_through_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sidepth prepare --teacher`, then `train --recipe distill_bag` on that cache, to the table before and after."""
    pytest.importorskip('transformers', reason='transformers is not installed (requirements/transformers.txt)')
    from tiny_foundation import save_model  # noqa: PLC0415 - needs transformers

    teacher = save_model(tmp_path / 'teacher', licence='cc-by-nc-4.0')
    drive = 'synthetic:street?seed=3&frames=16&width=144&height=96&sensor=0'
    prepare = ['prepare', drive, '--width', '96', '--height', '64', '--stride', '1', '--clip-frames', '3']
    assert main([*prepare, '--out', str(tmp_path / 'cache'), '--teacher', str(teacher)]) == 0
    (maps,) = (tmp_path / 'cache').glob('teacher-*/teacher.json')
    about = json.loads(maps.read_text())
    assert (about['licence'], about['has_shift']) == ('cc-by-nc-4.0', True)
    network = load_checkpoint(teacher).depth_net
    cached = PreparedDataset(tmp_path / 'cache', teacher=maps.parent.name.removeprefix('teacher-'))[2]
    with torch.no_grad():
        image = cached.images[1:2].float() / 255
        size = network.foundation.input_size((56, 56), image.shape[-2:])  # type: ignore[union-attr] # one of theirs
        shrunk = torch.nn.functional.interpolate(image, size, mode='bilinear', antialias=True)
        said = torch.nn.functional.interpolate(network.said(shrunk), image.shape[-2:], mode='bilinear')  # type: ignore[operator] # likewise
    torch.testing.assert_close(cached.teacher_inverse, said[0], rtol=2e-3, atol=2e-3)
    run = tmp_path / 'run'
    options = ['--objective.teacher', str(teacher), '--data.sources', f'[{tmp_path / "cache"}]', '--out', str(run)]
    small = ['--model.width', '96', '--model.height', '64', '--model.pose_width', '96', '--model.pose_height', '64']
    steps = ['--steps', '2', '--watch.log_every', '1', '--data.workers', '0', '--data.validation_share', '0.2']
    begin = ['--checkpoint', 'small', '--device', 'cpu', '--data.test_share', '0.2']
    monkeypatch.setattr(teaching, 'load_checkpoint', None)  # its maps are there: nobody needs its network
    assert main(['train', '--recipe', 'distill_bag', *options, *small, *steps, *begin]) == 0
    assert 'before' in capsys.readouterr().out
    assert (run / 'comparison.json').is_file()
    assert len(read_metric(run / 'metrics.csv', 'train/teacher_shape')) == 2
    assert f'taught by {teacher}' in load_info(run / 'best').training_data
    assert load_info(run / 'best').licence == 'taught by a model under cc-by-nc-4.0'

