"""What a fine-tuning ends with: both checkpoints on frames of the same recording that training never saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import load_checkpoint
from sidepth_core.data.clips import Clip
from sidepth_core.data.frames import Frame
from sidepth_core.data.prepare import PreparedDataset
from sidepth_core.evaluation.comparison import Comparison, compare, save_comparison_figure
from sidepth_core.evaluation.evaluated_model import evaluated_model
from sidepth_core.evaluation.run import EvaluationSettings
from sidepth_core.training.networks import starting_checkpoint
from sidepth_core.training.settings import Recipe
from sidepth_core.training.split import Source

MOST_FRAMES = 60
"""Enough for a verdict, and no longer than a minute on a small processor."""


def held_out_frames(source: Source, learned: Camera | None = None) -> Iterator[Frame]:
    """Yield the frames of a source's test part in order of time, as its cache has them: rectified and resized.

    Args:
        source: The source.
        learned: Its camera where it is not calibrated, at any size.
    """
    known = learned.resized(source.size[1], source.size[0]) if learned else None
    cache = cast('PreparedDataset', source.clips)
    for index in source.split.test[:MOST_FRAMES]:
        clip = cache[index]
        middle = len(clip.images) // 2
        image = np.ascontiguousarray(clip.images[middle].permute(1, 2, 0).numpy())
        pose = cache.pose(index)[middle]
        depth_m = clip.depth_m[0].numpy()
        yield Frame(
            stamp_ns=int(cache.clips.stamp_ns[index]),
            image=image,
            camera=_camera(clip) or known,
            T_world_camera=pose if np.isfinite(pose).all() else None,
            depth_m=None if np.isnan(depth_m).all() else depth_m,
        )


def _camera(clip: Clip) -> Camera | None:
    """Return the camera of a clip's images; None where it is not known."""
    K = clip.intrinsics
    if K.isnan().any():
        return None
    height, width = clip.images.shape[-2:]
    return Camera(width, height, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))


def compare_with_start(recipe: Recipe, sources: list[Source]) -> Comparison:
    """Return how `best` and the checkpoint that the run started from do on the first source's test part.

    Writes comparison.json and comparison.png into the run's folder.

    Raises:
        DatasetError: If these frames give no metric to compare them by.
    """
    folder = Path(recipe.out)
    trained = load_checkpoint(folder / 'best')
    before = evaluated_model(starting_checkpoint(recipe), f'before ({recipe.checkpoint})', device=recipe.device)
    after = evaluated_model(trained, f'after ({folder.name}/best)', device=recipe.device)
    frames = held_out_frames(sources[0], trained.info.camera)
    comparison = compare(before, after, frames, EvaluationSettings(figures=3))
    (folder / 'comparison.json').write_text(json.dumps(comparison.to_dict(), indent=2) + '\n', encoding='utf-8')
    save_comparison_figure(folder / 'comparison.png', comparison)
    return comparison
