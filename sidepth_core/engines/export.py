"""A network as one file that runs without sidepth and without PyTorch: ONNX, OpenVINO or TensorRT.

The file takes `image` and gives `depth`; what they mean stands in the file (ONNX: metadata_props; OpenVINO: rt_info)
and in a JSON file beside it. Before it stays, it is loaded again and compared with the plain network.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sidepth_core import __version__
from sidepth_core.checkpoint import CheckpointInfo
from sidepth_core.engines.graph import Graph, graph_of, weights_digest
from sidepth_core.engines.onnx_engine import onnx_model, onnxruntime_module
from sidepth_core.engines.openvino_engine import openvino_core, openvino_model, openvino_module
from sidepth_core.engines.quantisation import quantised
from sidepth_core.engines.tensorrt_export import tensorrt_plan, tensorrt_runner
from sidepth_core.engines.verification import TOLERANCES, probe
from sidepth_core.errors import ConfigError
from sidepth_core.geometry import disparity_to_depth
from sidepth_core.models import DepthNetwork

SUFFIXES = {'onnx': '.onnx', 'openvino': '.xml', 'tensorrt': '.plan'}
"""What can be written, and how its files end; OpenVINO puts the weights into a .bin beside its .xml."""

PRECISIONS = {'onnx': ('fp32', 'int8'), 'openvino': ('fp32', 'bf16', 'fp16', 'int8'), 'tensorrt': ('fp32', 'fp16')}
"""What each can hold. OpenVINO's fp16 halves the file; a processor computes it in float32."""

ALLOWED = {'fp32': TOLERANCES['float32'], 'fp16': TOLERANCES['fp16'], 'bf16': TOLERANCES['bf16'], 'int8': 0.1}
"""By how much 95 % of the depths may differ, relative."""


class Parity(NamedTuple):
    """How far a file's depth is from the plain network's, relative, over all pixels of all images compared.

    Attributes:
        median: Of the differences.
        most: 95 % of the differences are below.
        worst: The largest.
        images: How many images were compared.
    """

    median: float
    most: float
    worst: float
    images: int


class DepthGraph(nn.Module):
    """A network from image to depth, which is what the files hold."""

    def __init__(self, graph: Graph, info: CheckpointInfo) -> None:
        super().__init__()
        self.sigma = graph
        self.nearest, self.farthest = 1 / info.min_depth_m, 1 / info.max_depth_m

    def forward(self, images: Tensor) -> Tensor:
        """Return depth (B, 1, H, W) of images (B, 3, H, W); see geometry.disparity_to_depth."""
        depth: Tensor = 1 / (self.farthest + (self.nearest - self.farthest) * self.sigma(images))
        return depth


def export(
    depth_net: DepthNetwork,
    info: CheckpointInfo,
    out: Path,
    engine: str,
    precision: str,
    size: tuple[int, int],
    calibration: Sequence[Tensor] = (),
) -> Parity:
    """Write a network as a file for another runtime, with its description, and compare it with the plain one.

    Args:
        depth_net: The network, in evaluation mode.
        info: What is known about it.
        out: The file; its suffix must be the engine's.
        engine: One of SUFFIXES.
        precision: One of PRECISIONS[engine].
        size: Height and width of the image, pixels, multiples of 32.
        calibration: Images (1, 3, h, w) in 0..1 of that size, for int8: three of four measure the ranges of the
            activations, the others are compared.

    Raises:
        ConfigError: If that cannot be written here, or the file's depth differs too much: then what was there before
            is left as it was.
    """
    _check(out, engine, precision, calibration)
    fitted = [image for index, image in enumerate(calibration) if index % 4]
    compared = [image for index, image in enumerate(calibration) if index % 4 == 0] or [probe(*size)]
    model = DepthGraph(graph_of(copy.deepcopy(depth_net)), info).eval()
    shape = (1, *size)
    facts = description(depth_net, info, engine, precision, size)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix='.export-') as folder:
        staged = Path(folder) / out.name
        run = WRITERS[engine](Job(model, shape, staged, precision, facts, fitted))
        parity = _parity(run, depth_net, info, compared)
        if not parity.most <= ALLOWED[precision]:
            raise ConfigError(
                f'{engine} in {precision}: 5 % of the depths differ by more than {parity.most:.1%} from the plain '
                f'network, allowed are {ALLOWED[precision]:.0%}: nothing is written; take another precision'
            )
        facts['parity'] = (
            f'relative difference of depth from PyTorch float32: median {parity.median:.2g}, '
            f'95 % below {parity.most:.2g}, largest {parity.worst:.2g}'
        )
        staged.with_suffix('.json').write_text(f'{json.dumps(facts, indent=2)}\n', encoding='utf-8')
        for path, final in zip(files_of(staged), files_of(out), strict=True):
            path.replace(final)
    return parity


def files_of(out: Path) -> list[Path]:
    """Return the files that an export to `out` writes."""
    return [out, out.with_suffix('.json'), *([out.with_suffix('.bin')] if out.suffix == '.xml' else [])]


def description(
    depth_net: DepthNetwork, info: CheckpointInfo, engine: str, precision: str, size: tuple[int, int]
) -> dict[str, str]:
    """Return what a user of the file has to know, by headings."""
    height, width = size
    unit = 'metres' if info.scale == 'metric' else 'right up to one unknown factor'
    if info.has_shift:
        unit = 'its inverse right up to an unknown factor and shift'
    focal = 'depth does not depend on the focal length (invariant zoom convention)'
    if info.focal_px is not None:
        focal = (
            f'multiply depth by sqrt(fx * fy) / {info.focal_px:g}, fx and fy in pixels of the resized image '
            '(canonical zoom convention)'
        )
    elif info.zoom_convention != 'invariant':
        focal = 'multiply depth by sqrt(fx * fy) over the width of the image, all in its pixels (field of view)'
    return {
        'input': f'image: float32 (1, 3, {height}, {width}), RGB planes, 0..1 (divide by 255; no mean, no deviation), '
        'rectified, resized bilinearly with antialiasing',
        'output': f'depth: float32 (1, 1, {height}, {width}) along the optical axis (z, REP 118), {unit}; '
        f'{info.min_depth_m:g}..{info.max_depth_m:g} before the focal length counts',
        'focal length': focal,
        'scale': info.scale_note or info.scale,
        'backbone': info.backbone,
        'weights': f'sha256 of the tensors {weights_digest(depth_net)}',
        'training data': '; '.join(info.training_data),
        'licence': info.licence,
        'engine': engine,
        'precision': precision,
        'versions': f'sidepth {__version__}, torch {torch.__version__}',
    }


Runner = Callable[[Tensor], Tensor]


class Job(NamedTuple):
    """What a writer is given; it returns what runs the file that it has written.

    Attributes:
        model: From image to depth.
        shape: Number of images, height and width.
        out: The file.
        precision: One of PRECISIONS of its engine.
        facts: What a user of the file has to know, by headings.
        fitted: Images (1, 3, h, w) in 0..1 for the ranges of int8.
    """

    model: DepthGraph
    shape: tuple[int, int, int]
    out: Path
    precision: str
    facts: dict[str, str]
    fitted: list[Tensor]


def _write_onnx(job: Job) -> Runner:
    import onnx  # noqa: PLC0415  # an extra

    package = onnxruntime_module()
    content = onnx_model(job.model, job.shape, 'depth')
    if job.precision == 'int8':
        content = quantised(content, job.fitted)
    file = onnx.load_from_string(content)
    onnx.helper.set_model_props(file, job.facts)
    onnx.save(file, str(job.out))
    session = package.InferenceSession(str(job.out), providers=['CPUExecutionProvider'])
    return lambda image: torch.from_numpy(session.run(['depth'], {'image': image.numpy()})[0])


def _write_openvino(job: Job) -> Runner:
    core = openvino_core()
    if job.precision == 'int8':
        converted: Any = core.read_model(quantised(onnx_model(job.model, job.shape, 'depth'), job.fitted))
    else:
        converted = openvino_model(job.model, job.shape, 'depth')
    for heading, fact in job.facts.items():
        converted.set_rt_info(fact, ['sidepth', heading.replace(' ', '_')])
    openvino_module().save_model(converted, str(job.out), compress_to_fp16=job.precision == 'fp16')
    hint = {'INFERENCE_PRECISION_HINT': 'bf16' if job.precision == 'bf16' else 'f32'}
    compiled = core.compile_model(str(job.out), 'CPU', hint)
    return lambda image: torch.from_numpy(compiled({'image': image.numpy()})['depth'].copy())


def _write_tensorrt(job: Job) -> Runner:
    # A plan has no place for the facts but the JSON file, and int8, which would be fitted, is not among its precisions.
    job.out.write_bytes(tensorrt_plan(lambda: onnx_model(job.model, job.shape, 'depth'), half=job.precision == 'fp16'))
    return tensorrt_runner(job.out, job.shape)


WRITERS = {'onnx': _write_onnx, 'openvino': _write_openvino, 'tensorrt': _write_tensorrt}


def _check(out: Path, engine: str, precision: str, calibration: Sequence[Tensor]) -> None:
    """Refuse what cannot be written.

    Raises:
        ConfigError: With the reason.
    """
    if engine not in SUFFIXES:
        raise ConfigError(f'export engine {engine!r} is not one of {", ".join(SUFFIXES)}')
    if precision not in PRECISIONS[engine]:
        raise ConfigError(
            f'precision {precision!r} is not one of {", ".join(PRECISIONS[engine])} that {engine} can hold'
        )
    if out.suffix != SUFFIXES[engine]:
        raise ConfigError(f'{str(out)!r} does not end in {SUFFIXES[engine]}, as files of {engine} do')
    if precision == 'int8' and len(calibration) < 4:
        raise ConfigError(
            f'int8 needs images of where it will run, {len(calibration)} were given, at least 4 are expected: '
            'name a drive with --calibrate SOURCE'
        )


@torch.no_grad()
def _parity(run: Runner, depth_net: DepthNetwork, info: CheckpointInfo, images: Sequence[Tensor]) -> Parity:
    """Compare what runs with the plain network on some images."""
    differences = []
    for image in images:
        expected = disparity_to_depth(depth_net(image).disparity, info.min_depth_m, info.max_depth_m)
        found = run(image).float().cpu()
        if found.shape != expected.shape:
            raise ConfigError(f'the file gives {tuple(found.shape)}, expected {tuple(expected.shape)}')
        differences.append(((found - expected).abs() / expected).nan_to_num(nan=torch.inf).flatten())
    ranked = torch.cat(differences).sort().values
    median, most, worst = (float(ranked[int(share * (len(ranked) - 1))]) for share in (0.5, 0.95, 1))
    return Parity(median, most, worst, len(images))
