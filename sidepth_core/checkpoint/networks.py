"""Saving and loading checkpoints: networks and what is known about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from sidepth_core.checkpoint.files import (
    DIGEST_FIELDS,
    INFO_FILE,
    POSE_FILE,
    WEIGHTS_FILE,
    read_files,
    read_info,
    write_files,
)
from sidepth_core.checkpoint.foundation import describe_folder, empty_network, load_folder
from sidepth_core.checkpoint.info import CheckpointInfo
from sidepth_core.checkpoint.location import holds_foundation, locate_checkpoint, source_of
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.models import DepthNet, DepthNetwork, PoseNet
from sidepth_core.models.foundation.adapters import add_adapters, merge_adapters
from sidepth_core.models.foundation.loading import weights_files, weights_sha256, weights_stamp
from sidepth_core.models.foundation.network import FoundationNet
from sidepth_core.models.state_dicts import check_tensors

BASE_FOLDER = 'base'
"""Where the weights that adapters belong to may lie within their checkpoint; else they lie where it says."""
DEPTH_PREFIX, POSE_PREFIX = 'depth_net.', 'pose_net.'


class Checkpoint(NamedTuple):
    """Networks and what is known about them.

    Attributes:
        depth_net: In evaluation mode on the CPU, float32, when it was loaded.
        pose_net: Likewise; None where the checkpoint is for inference only.
        info: Model, sizes, scale, training data.
    """

    depth_net: DepthNetwork
    pose_net: PoseNet | None
    info: CheckpointInfo


def save_checkpoint(directory: str | Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write a checkpoint, replacing one that is there.

    Args:
        directory: Where to; made if missing.
        checkpoint: What to write; the networks may be on any device.
        half: Store matrices and kernels in float16, which halves the file; vectors stay as they are.

    Raises:
        CheckpointError: If the networks are not the ones that the info describes, or a weight is not finite.
        OSError: If the directory cannot be written.
    """
    _check_described(checkpoint)
    contents = {WEIGHTS_FILE: safetensors.torch.save(_tensors_of(checkpoint.depth_net, DEPTH_PREFIX, half=half))}
    if checkpoint.pose_net is not None:
        contents[POSE_FILE] = safetensors.torch.save(_tensors_of(checkpoint.pose_net, POSE_PREFIX, half=half))
    write_files(Path(directory), checkpoint.info, contents)


def load_checkpoint(path: str | Path | None = None, *, pose: bool = True) -> Checkpoint:
    """Read a checkpoint; no code from it runs and nothing global changes.

    Args:
        path: A directory, one of its files, the folder of a training run (its best checkpoint, else its last), a folder
            of `transformers`, hf://ORGANISATION/REPOSITORY[/FOLDER][@REVISION] with one of these, the name of one that
            comes with the package ('small'), or None or 'default' for the first of these.
        pose: Whether the pose network is wanted; without, it is left where it is.

    Raises:
        CheckpointError: If it is missing, damaged, of a newer format, or not of the model that it claims to be.
    """
    directory = locate_checkpoint(path)
    if holds_foundation(directory):
        network, info = load_folder(directory, source_of(path))
        return Checkpoint(network, None, info)
    info, tensors = read_files(directory, pose=pose)
    pose_tensors = {name: tensors.pop(name) for name in list(tensors) if name.startswith(POSE_PREFIX)}
    pose_net = None
    # On the meta device, where no time would go into weights that are replaced at once, torch imports its compiler.
    with torch.random.fork_rng(devices=[]):
        try:
            depth_net = _unfilled(info, directory)
            if pose and pose_tensors:
                pose_net = PoseNet(info.pose_backbone, size=(info.pose_height, info.pose_width))
        except ConfigError as error:
            raise CheckpointError(f'{str(directory)!r} cannot be used: {error}') from error
    _fill(depth_net, tensors, DEPTH_PREFIX, f'{directory / WEIGHTS_FILE} (backbone {info.backbone!r} says {INFO_FILE})')
    if pose_net is not None:
        says = f'(pose_backbone {info.pose_backbone!r} says {INFO_FILE})'
        _fill(pose_net, pose_tensors, POSE_PREFIX, f'{directory / POSE_FILE} {says}')
    if isinstance(depth_net, FoundationNet) and depth_net.foundation.adapter_rank:
        merge_adapters(depth_net)
        info = replace(info, foundation=depth_net.foundation)
    return Checkpoint(depth_net, pose_net, info)


def make_depth_net(info: CheckpointInfo, pretrained: str = 'none') -> DepthNet:
    """Return an untrained depth network as a checkpoint describes it.

    Args:
        info: What it is.
        pretrained: What its encoder starts from: 'none', 'hub' or a file.

    Raises:
        ConfigError: If there is no such network.
        CheckpointError: If the encoder's weights cannot be had or are of another network.
    """
    return DepthNet(
        info.backbone,
        decoder_channels=info.decoder_channels,
        attention=info.attention,
        smooth_attention=info.smooth_attention,
        pretrained=pretrained,
    )


def load_info(path: str | Path | None = None) -> CheckpointInfo:
    """Read what is known about a checkpoint without reading its weights.

    Args:
        path: As load_checkpoint takes it.

    Raises:
        CheckpointError: If it is missing, damaged or of a newer format.
    """
    directory = locate_checkpoint(path)
    if holds_foundation(directory):
        return describe_folder(directory, source_of(path))
    return read_info(directory / INFO_FILE)[0]


def load_digest(path: str | Path | None = None) -> str:
    """Return the SHA-256 of a checkpoint's weights as its description has it: another one there is another model.

    For a folder of `transformers`, which has none, it is one of its weights' sizes and times.

    Args:
        path: As load_checkpoint takes it.

    Raises:
        CheckpointError: As load_info does.
    """
    directory = locate_checkpoint(path)
    if holds_foundation(directory):
        return weights_stamp(directory)
    return read_info(directory / INFO_FILE)[1][WEIGHTS_FILE]


def weights_digest(path: str | Path) -> str:
    """Return the SHA-256 of a checkpoint's weights, reading those of a folder of `transformers`.

    Raises:
        CheckpointError: As load_info does.
    """
    directory = locate_checkpoint(path)
    return weights_sha256(directory) if holds_foundation(directory) else load_digest(directory)


def checkpoint_bytes(directory: Path) -> int:
    """Return how large the weights of a checkpoint are on disk, those of the pose network included."""
    files = weights_files(directory) if holds_foundation(directory) else [directory / name for name in DIGEST_FIELDS]
    return sum(path.stat().st_size for path in files if path.is_file())


def _unfilled(info: CheckpointInfo, directory: Path) -> DepthNetwork:
    """Return a network as the info describes it, which lacks nothing but the weights that the checkpoint stores."""
    foundation = info.foundation
    if foundation is None:
        return make_depth_net(info)
    if not foundation.adapter_rank:
        return empty_network(foundation, info)
    beside = directory / BASE_FOLDER
    base = str(beside) if beside.is_dir() else foundation.base
    wanted = f'{str(directory)!r} holds low-rank adapters only, and needs the weights that they belong to'
    try:
        digest, network = weights_digest(base), load_checkpoint(base, pose=False).depth_net
    except CheckpointError as error:
        raise CheckpointError(f'{wanted}: {error}. Copy them there, or to {str(beside)!r}') from error
    if digest != foundation.base_sha256 or not isinstance(network, FoundationNet):
        raise CheckpointError(
            f'{wanted}: {base!r} has others (sha256 {digest[:12]}..., expected {foundation.base_sha256[:12]}...). '
            f'Put those to {str(beside)!r}'
        )
    if foundation.scale_per_image:
        network.scale_each_image()
    network.foundation = foundation
    add_adapters(network, foundation.adapter_rank, foundation.base, foundation.base_sha256)
    return network


def _check_described(checkpoint: Checkpoint) -> None:
    """Refuse networks that are not the ones that the info describes."""
    depth_net, pose_net, info = checkpoint
    said: list[tuple[str, object, object]] = [('backbone', info.backbone, depth_net.backbone)]
    if isinstance(depth_net, DepthNet):
        said.append(('decoder channels', info.decoder_channels, depth_net.decoder_channels))
        said.append(('attention', info.attention, depth_net.attention))
        said.append(('smooth attention', info.smooth_attention, depth_net.smooth_attention))
        said.append(('a network of transformers', info.foundation, None))
    elif isinstance(depth_net, FoundationNet):
        said.append(('foundation', info.foundation, depth_net.foundation))
    if pose_net is not None:
        said.append(('pose backbone', info.pose_backbone, pose_net.backbone))
        said.append(('pose size', (info.pose_height, info.pose_width), pose_net.size))
    for what, described, real in said:
        if described != real:
            raise CheckpointError(f'info says {what} {described!r}, but the network has {real!r}')


def _tensors_of(network: nn.Module, prefix: str, *, half: bool) -> dict[str, Tensor]:
    """Return every tensor of a network to store, by its name in the file."""
    own = network.stored_tensors() if isinstance(network, DepthNetwork) else network.state_dict()
    tensors = _with_prefix(prefix, own)
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f'{len(broken)} tensors have weights that are not finite, such as {broken[0]}: not saved')
    return {name: _stored(tensor, half=half) for name, tensor in tensors.items()}


def _stored(tensor: Tensor, *, half: bool) -> Tensor:
    """Return a tensor as it goes to the file: on the CPU, float16 if asked for and if its values fit."""
    tensor = tensor.detach().to('cpu')
    if half and tensor.is_floating_point() and tensor.ndim > 1 and tensor.abs().max() < torch.finfo(torch.float16).max:
        tensor = tensor.half()
    return tensor.contiguous()


def _fill(network: nn.Module, tensors: dict[str, Tensor], prefix: str, place: str) -> None:
    """Give a network its tensors, which must be all of them, in float32, and put it in evaluation mode."""
    wanted = network.stored_tensors() if isinstance(network, DepthNetwork) else network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    check_tensors(f'weights in {place}', tensors, _with_prefix(prefix, shapes))
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    own = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in own.items()}
    network.load_state_dict(own, assign=True, strict=len(own) == len(network.state_dict()))
    network.eval()


def _with_prefix(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in values.items()}
