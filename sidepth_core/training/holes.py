"""The second round of training: leave out clips into which the first round tore infinite-depth holes."""

from __future__ import annotations

import logging

import torch
from torch.utils.data import DataLoader, Subset

from sidepth_core.augment import plain
from sidepth_core.checkpoint import load_checkpoint
from sidepth_core.data.clips import collate
from sidepth_core.errors import DatasetError
from sidepth_core.losses import hole_share
from sidepth_core.models import PoseNet
from sidepth_core.training.networks import Networks
from sidepth_core.training.settings import DataSettings
from sidepth_core.training.split import Source

log = logging.getLogger(__name__)


def without_holes(source: Source, data: DataSettings, device: torch.device) -> Source:
    """Return a source without the training clips in which the first round's depth has holes.

    Two rounds: Guizilini et al., Semantically-guided representation learning, ICLR 2020, section 4.

    Args:
        source: The source; validation and test stay as they are.
        data: Names the first round's checkpoint and the largest share of holes.
        device: Where to predict.

    Raises:
        CheckpointError: If the first round's checkpoint cannot be read.
        DatasetError: If no clip is left.
    """
    if not data.hole_checkpoint:
        return source
    shares = hole_shares(source, data.hole_checkpoint, device)
    kept = [index for index, share in zip(source.split.train, shares, strict=True) if share <= data.max_hole_share]
    log.info('%s: %d of %d clips have infinite-depth holes and are left out', source.name,
             len(source.split.train) - len(kept), len(source.split.train))  # fmt: skip
    if not kept:
        raise DatasetError(
            f'{source.name}: every clip has holes over more than {data.max_hole_share:.0%} of the image: raise '
            'data.max_hole_share, or leave this recording out'
        )
    return source._replace(split=source.split._replace(train=kept))


@torch.no_grad()
def hole_shares(source: Source, checkpoint: str, device: torch.device) -> list[float]:
    """Return the share of each training clip's target that is infinite-depth holes, by a checkpoint's depth."""
    depth_net, pose_net, info = load_checkpoint(checkpoint)
    networks = Networks(depth_net, pose_net or PoseNet(), info).to(device).eval()
    shares: list[float] = []
    for batch in DataLoader(Subset(source.clips, source.split.train), batch_size=8, collate_fn=collate):
        # Where a camera is still to be learned, the one that learning starts from will do to find holes.
        K = networks.camera.fill(batch.intrinsics.to(device), tuple(batch.images.shape[-2:]))
        view = plain(batch.to(device)._replace(intrinsics=K), (info.image_height, info.image_width), (32, 32))
        depth_m = networks.depth(networks.disparity(view.depth_input), view.K_target)
        shares += hole_share(depth_m, view.K_target).tolist()
    return shares
