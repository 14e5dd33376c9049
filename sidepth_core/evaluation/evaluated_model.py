"""What is evaluated: the networks of one checkpoint, made ready to look at frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import Checkpoint, load_checkpoint
from sidepth_core.data.frames import DepthMap, Image
from sidepth_core.errors import ConfigError
from sidepth_core.geometry import pose_matrix
from sidepth_core.inference import DepthEstimator
from sidepth_core.models import PoseNet

POST_PROCESSING = ('none', 'flip', 'zoom', 'flip+zoom')


@dataclass(frozen=True)
class EvaluatedModel:
    """One checkpoint under evaluation.

    Attributes:
        name: How tables call it.
        estimator: Its depth network with engine, size and post-processing.
        pose_net: Its pose network; None where the checkpoint has none.
    """

    name: str
    estimator: DepthEstimator
    pose_net: PoseNet | None

    @property
    def is_metric(self) -> bool:
        """Whether its depth claims to be in metres."""
        return self.estimator.info.scale == 'metric'

    def depth(self, image: Image, camera: Camera | None) -> DepthMap:
        """Return the depth of an image, (H, W) float32."""
        return self.estimator(image, camera)

    @torch.no_grad()
    def pose(self, before: Image, now: Image) -> npt.NDArray[np.float64]:
        """Return T_now_before, (4, 4): what maps points of the earlier camera's frame into the later one's.

        Raises:
            ConfigError: If there is no pose network.
        """
        if self.pose_net is None:
            raise ConfigError(f'checkpoint {self.name!r} has no pose network: it cannot be asked for motion')
        first, second = (self._pose_input(image, self.pose_net.size) for image in (before, now))
        estimate = self.pose_net(first, second)
        return pose_matrix(estimate.axis_angle, estimate.translation)[0].double().cpu().numpy()

    def _pose_input(self, image: Image, size: tuple[int, int]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(self.estimator.device)
        return F.interpolate(pixels.float() / 255, size, mode='bilinear', align_corners=False, antialias=True)


def evaluated_model(
    checkpoint: Checkpoint, name: str, *, device: str = 'auto', engine: str = 'eager', post: str = 'none'
) -> EvaluatedModel:
    """Return a loaded checkpoint ready for evaluation; its networks belong to the model from now on.

    Args:
        checkpoint: The networks.
        name: How tables shall call it.
        device: 'auto', or as torch names it.
        engine: A name of engines.ENGINES.
        post: A name of POST_PROCESSING: average with the mirrored image, or with zoomed views.

    Raises:
        ConfigError: If an argument cannot be.
    """
    if post not in POST_PROCESSING:
        raise ConfigError(f'post-processing {post!r} is not one of {", ".join(POST_PROCESSING)}')
    estimator = DepthEstimator(
        checkpoint.depth_net.eval(),
        checkpoint.info,
        device=device,
        engine=engine,
        flip='flip' in post,
        zoom='zoom' in post,
    )
    pose_net = checkpoint.pose_net
    return EvaluatedModel(name, estimator, None if pose_net is None else pose_net.eval().to(estimator.device))


def load_model(
    path: str | Path | None, *, device: str = 'auto', engine: str = 'eager', post: str = 'none'
) -> EvaluatedModel:
    """Return the checkpoint at a path (None: the one of the package) ready for evaluation.

    Raises:
        CheckpointError: If it cannot be used.
        ConfigError: If an argument cannot be.
    """
    name = 'default' if path is None else str(path)
    return evaluated_model(load_checkpoint(path), name, device=device, engine=engine, post=post)
