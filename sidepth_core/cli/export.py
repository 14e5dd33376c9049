"""`sidepth export`: a checkpoint as a file for ONNX Runtime, OpenVINO or TensorRT."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.checkpoint import load_checkpoint
from sidepth_core.cli.predict import parse_size
from sidepth_core.data.rectified import rectified
from sidepth_core.data.sources import open_source
from sidepth_core.engines.export import SUFFIXES, export, files_of
from sidepth_core.errors import ConfigError
from sidepth_core.inference import checked_size

PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')

EXAMPLES = """\
  sidepth export runs/mine/best --engine onnx --out depth.onnx
  sidepth export default --engine openvino --size 640x192 --precision fp16 --out depth.xml
  sidepth export default --engine openvino --precision int8 --calibrate drives/monday --out depth.xml
"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = argparse.ArgumentParser(
        prog='sidepth export',
        description='Write the depth network as a file that runs without sidepth and PyTorch. It takes `image` and\n'
        'gives `depth`; what they mean stands in the file and in a .json beside it. The file is loaded again and\n'
        'compared with the plain network, and does not stay where its depth differs.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = arguments.add_argument
    add('checkpoint', nargs='?', help='directory, file or hf://org/repo; by default the built-in one')
    add('--engine', choices=tuple(SUFFIXES), required=True, help='what the file is for')
    add('--out', type=Path, required=True, metavar='FILE', help=f'ends in {", ".join(SUFFIXES.values())}')
    add('--size', metavar='WxH', help='size of the image, multiples of 32; by default as it was trained')
    add('--precision', choices=PRECISIONS, default='fp32', help='of the weights or of the arithmetic (fp32)')
    add('--calibrate', metavar='SOURCE', help='a drive where it will run, for the ranges of int8')
    add('--images', type=int, default=32, metavar='N', help='how many of its images are used (32)')
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(argv)
    if options.images < 4:
        raise ConfigError(f'--images {options.images}: at least 4 are needed, one to compare and three to measure')
    if options.calibrate and options.precision != 'int8':
        raise ConfigError(f'--calibrate is for --precision int8, not for {options.precision}')
    loaded = load_checkpoint(None if options.checkpoint == 'default' else options.checkpoint, pose=False)
    info = loaded.info
    size = checked_size(parse_size(options.size) or (info.image_height, info.image_width), info)
    images = images_of(options.calibrate, size, options.images) if options.calibrate else []
    parity = export(loaded.depth_net, info, options.out, options.engine, options.precision, size, images)
    print(
        f'{options.out}: {info.backbone} {size[1]}x{size[0]} for {options.engine} in {options.precision}, '
        f'{sum(path.stat().st_size for path in files_of(options.out)) / 1e6:.1f} MB'
    )
    what = f'{parity.images} images of {options.calibrate}' if images else 'a fixed image'
    print(
        f'parity with PyTorch float32 on {what}: depth differs by {parity.median:.2g} (median), '
        f'{parity.most:.2g} (95 % of the pixels), {parity.worst:.2g} (largest), relative'
    )
    return 0


def images_of(text: str, size: tuple[int, int], count: int) -> list[Tensor]:
    """Return images of a drive as the network takes them, evenly over it: (1, 3, h, w) in 0..1.

    Args:
        text: The drive, as open_source takes it.
        size: Height and width, pixels.
        count: How many at most.

    Raises:
        DatasetError: If the drive cannot be read.
    """
    source = open_source(text)
    step, images = 1, []
    for index, frame in enumerate(source):
        if index % step:
            continue
        pixels = torch.from_numpy(rectified(frame).image.copy()).permute(2, 0, 1)[None]
        images.append(F.interpolate(pixels, size=size, mode='bilinear', align_corners=False, antialias=True))
        if len(images) == 2 * count:  # however long the drive is: keep every second one, and go on half as often
            images, step = images[::2], 2 * step
    return [image.float() / 255 for image in images[:count]]
