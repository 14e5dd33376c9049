"""`sidepth import-weights`: turn the published DaB-Net weights into a checkpoint of sidepth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from sidepth_core import __version__
from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, save_checkpoint
from sidepth_core.cli.terminal import command_parser
from sidepth_core.models.dabnet import load_dabnet_state_dict
from sidepth_core.models.state_dicts import read_pth

LICENCE = 'as its authors state; KITTI is CC BY-NC-SA 3.0 (non-commercial)'


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    result = command_parser(
        'import-weights',
        'Turn a published DaB-Net .pth (arXiv 2210.03952) into a sidepth checkpoint. The file is read\n'
        'as tensors and plain data only: no code in it runs.',
    )
    result.add_argument('file', type=Path, metavar='FILE.pth', help='a state dict or a training file')
    result.add_argument('--out', type=Path, required=True, metavar='DIR', help='where the checkpoint goes')
    result.add_argument('--width', type=int, default=1024, help='width it was trained at, pixels (%(default)s)')
    result.add_argument('--height', type=int, default=320, help='height it was trained at, pixels (%(default)s)')
    result.add_argument('--half', action='store_true', help='store float16, which halves the file')
    return result


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    arguments = parser().parse_args(argv)
    depth_net, pose_net = load_dabnet_state_dict(read_pth(arguments.file))
    info = CheckpointInfo(
        backbone=depth_net.backbone,
        image_width=arguments.width,
        image_height=arguments.height,
        pose_width=pose_net.size[1],
        pose_height=pose_net.size[0],
        scale_note='trained on single-camera video without speed: depth is known up to scale',
        training_data=('KITTI raw, eigen_zhou split, as published', f'imported from {arguments.file.name}'),
        licence=LICENCE,
        versions={'sidepth': __version__, 'torch': torch.__version__},
    )
    save_checkpoint(arguments.out, Checkpoint(depth_net, pose_net, info), half=arguments.half)
    print(f'{arguments.out}: DaB-Net with HRNet-W18, {arguments.width}x{arguments.height}, relative scale')
    return 0
