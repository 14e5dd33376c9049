"""Checkpoints: a directory with model.safetensors (the weights) and model.json (everything else about them).

A folder of the `transformers` library (config.json, preprocessor_config.json, model.safetensors) is read as one too.

The pose network, which only training and evaluation need, lies in pose.safetensors beside them, or is left out.

Saving is atomic. New weights are first written beside the old ones under the name of their digest; replacing
model.json, which holds the digests, is the moment when the new checkpoint takes the place of the old one; then the
weights move to their own names. Whenever the power fails or another process reads, it finds one of the two complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from sidepth_core.checkpoint_info import FORMAT, CheckpointInfo
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.foundation_checkpoint import describe_folder, empty_network, load_folder
from sidepth_core.hub import hub_answers
from sidepth_core.models import DepthNet, DepthNetwork, PoseNet
from sidepth_core.models.dabnet import load_dabnet_state_dict
from sidepth_core.models.foundation import is_foundation
from sidepth_core.models.foundation.adapters import add_adapters, merge_adapters
from sidepth_core.models.foundation.folder import CARD_FILE, CONFIG_FILE, PROCESSOR_FILES
from sidepth_core.models.foundation.loading import WEIGHTS_PATTERN, weights_files, weights_sha256, weights_stamp
from sidepth_core.models.foundation.network import FoundationNet
from sidepth_core.models.state_dicts import check_tensors
from sidepth_core.structured_text import read_json

__all__ = [
    'DEFAULT_CHECKPOINT',
    'FORMAT',
    'Checkpoint',
    'CheckpointInfo',
    'load_checkpoint',
    'load_dabnet_state_dict',
    'load_digest',
    'load_info',
    'locate_checkpoint',
    'save_checkpoint',
]

BUILT_IN = Path(__file__).parent / 'weights'
"""Where the checkpoints are that come with the package, each in a folder of its name."""
DEFAULT_CHECKPOINT = BUILT_IN / 'small'
"""The one that is taken where none is named."""

INFO_FILE = 'model.json'
WEIGHTS_FILE = 'model.safetensors'
POSE_FILE = 'pose.safetensors'
DIGEST_FIELDS = {WEIGHTS_FILE: 'weights_sha256', POSE_FILE: 'pose_sha256'}
"""Fields of model.json that hold the SHA-256 of the files with weights."""

HUB = 'hf://'
SHARDED = (WEIGHTS_PATTERN, 'model.safetensors.index.json')
"""Files of large models of `transformers`."""
BASE_FOLDER = 'base'
"""Where the weights that adapters belong to may lie within their checkpoint; else they lie where it says."""
RUN_FOLDERS = ('best', 'last')
"""Where a training run keeps its checkpoints; the first that is there is taken."""

DEPTH_PREFIX, POSE_PREFIX = 'depth_net.', 'pose_net.'
LARGEST_WEIGHTS = 2**32
"""Bytes of a file of weights that is read."""
NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.\-]*')
"""What a part of an address on the Hub may be: nothing that leads out of a folder."""
ATTEMPTS = 3
"""How often a checkpoint is read again when another process replaces it meanwhile."""


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
    directory = Path(directory)
    _check_described(checkpoint)
    contents = {WEIGHTS_FILE: safetensors.torch.save(_tensors_of(checkpoint.depth_net, DEPTH_PREFIX, half=half))}
    if checkpoint.pose_net is not None:
        contents[POSE_FILE] = safetensors.torch.save(_tensors_of(checkpoint.pose_net, POSE_PREFIX, half=half))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    fields = {**checkpoint.info.to_dict(), **{DIGEST_FIELDS[name]: digest for name, digest in digests.items()}}
    directory.mkdir(parents=True, exist_ok=True)
    stale = list(directory.glob('.model-*'))
    for name, content in contents.items():
        _write(_staged(directory, digests[name]), content)
    _write(directory / INFO_FILE, (json.dumps(fields, indent=2, ensure_ascii=False) + '\n').encode())
    for name, digest in digests.items():
        _staged(directory, digest).replace(directory / name)
    if POSE_FILE not in contents:
        (directory / POSE_FILE).unlink(missing_ok=True)
    _sync(directory)
    for path in stale:
        path.unlink(missing_ok=True)


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
        network, info = load_folder(directory, _source(path))
        return Checkpoint(network, None, info)
    info, tensors = _read(directory, pose=pose)
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
    channels, attention = info.decoder_channels, info.attention
    return DepthNet(info.backbone, decoder_channels=channels, attention=attention, pretrained=pretrained)


def load_info(path: str | Path | None = None) -> CheckpointInfo:
    """Read what is known about a checkpoint without reading its weights.

    Args:
        path: As load_checkpoint takes it.

    Raises:
        CheckpointError: If it is missing, damaged or of a newer format.
    """
    directory = locate_checkpoint(path)
    if holds_foundation(directory):
        return describe_folder(directory, _source(path))
    return _read_info(directory / INFO_FILE)[0]


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
    return _read_info(directory / INFO_FILE)[1][WEIGHTS_FILE]


def checkpoint_bytes(directory: Path) -> int:
    """Return how large the weights of a checkpoint are on disk, those of the pose network included."""
    files = weights_files(directory) if holds_foundation(directory) else [directory / name for name in DIGEST_FIELDS]
    return sum(path.stat().st_size for path in files if path.is_file())


def holds_foundation(directory: Path) -> bool:
    """Return whether a directory holds a network of `transformers` as they save it, and no checkpoint of ours."""
    return not (directory / INFO_FILE).exists() and is_foundation(directory)


def locate_checkpoint(path: str | Path | None = None) -> Path:
    """Return the directory of a checkpoint, downloading one named hf://...

    Raises:
        CheckpointError: If there is nothing there.
    """
    if str(path).startswith(HUB):
        return _download(str(path))
    path = _built_in(path)
    if path.name in {INFO_FILE, WEIGHTS_FILE, POSE_FILE, CONFIG_FILE}:
        path = path.parent
    elif path.is_file():
        hint = 'import it with `sidepth import-weights`' if path.suffix in {'.pth', '.pt'} else 'name its directory'
        raise CheckpointError(f'{str(path)!r} is no checkpoint of sidepth ({WEIGHTS_FILE} and {INFO_FILE}): {hint}')
    if not path.is_dir():
        # Whoever names it, `ros2 param set` say, can stand in another folder than the process that reads it.
        where = '' if path.is_absolute() else f' in {str(Path.cwd())!r}'
        raise CheckpointError(
            f'no checkpoint at {str(path)!r}{where}: expected a folder with {WEIGHTS_FILE} and {INFO_FILE}'
        )
    if holds_foundation(path):
        return path
    missing = [name for name in (INFO_FILE, WEIGHTS_FILE) if not (path / name).exists()]
    if len(missing) == 2:
        for name in RUN_FOLDERS:
            if (path / name / INFO_FILE).exists():
                return path / name
    if missing and not list(path.glob('.model-*.safetensors')):
        raise CheckpointError(f'checkpoint {str(path)!r} is not complete: missing {" and ".join(missing)}')
    return path


def _built_in(path: str | Path | None) -> Path:
    """Return the folder of a checkpoint that comes with the package, or the path as it is."""
    if path is None or str(path) == 'default':
        return DEFAULT_CHECKPOINT
    path = Path(path).expanduser()
    named = BUILT_IN / path
    return named if len(path.parts) == 1 and not path.exists() and (named / INFO_FILE).is_file() else path


def _download(address: str) -> Path:
    """Return the local folder of hf://ORGANISATION/REPOSITORY[/FOLDER][@REVISION]."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - a second to import, and most weights are here

    place, _, revision = address.removeprefix(HUB).partition('@')
    parts = place.strip('/').split('/')
    if len(parts) < 2 or not all(parts):
        raise CheckpointError(
            f'{address!r} names no repository: expected hf://ORGANISATION/REPOSITORY[/FOLDER][@REVISION]'
        )
    strange = [part for part in (*parts, *revision.split('/')) if part and not NAME.fullmatch(part)]
    if strange:
        raise CheckpointError(f'{address!r} has a part {strange[0]!r}: expected letters, digits, and . _ - in between')
    folder = '/'.join(parts[2:])
    names = (INFO_FILE, WEIGHTS_FILE, POSE_FILE, CONFIG_FILE, *PROCESSOR_FILES, CARD_FILE, *SHARDED)
    wanted = [f'{folder}/{name}' if folder else name for name in names]
    online = hub_answers()
    try:
        root = snapshot_download(
            '/'.join(parts[:2]), revision=revision or None, allow_patterns=wanted, local_files_only=not online
        )
    except (OSError, ValueError) as error:  # the Hub's own errors derive from these two
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        offline = (
            'the Hub does not answer, and the cache does not hold it. Without a network connection: `hf download '
            f'{"/".join(parts[:2])} --local-dir FOLDER` where there is one, then name the copied FOLDER instead, or '
            'take the one of the package (default)'
        )
        raise CheckpointError(f'{address!r} cannot be downloaded: {reason if online else offline}') from error
    directory = Path(root) / folder
    if holds_foundation(directory):
        return directory
    missing = [name for name in wanted[:2] if not (Path(root) / name).is_file()]
    if missing:
        raise CheckpointError(
            f'{address!r} holds no checkpoint: missing {" and ".join(missing)}, or {CONFIG_FILE} of transformers'
        )
    return directory


def _source(path: str | Path | None) -> str:
    """Return the address that a folder of `transformers` came from; empty for one that lies here."""
    return str(path) if str(path).startswith(HUB) else ''


def weights_digest(path: str | Path) -> str:
    """Return the SHA-256 of a checkpoint's weights, reading those of a folder of `transformers`.

    Raises:
        CheckpointError: As load_info does.
    """
    directory = locate_checkpoint(path)
    return weights_sha256(directory) if holds_foundation(directory) else load_digest(directory)


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
    network.foundation = foundation
    add_adapters(network, foundation.adapter_rank, foundation.base, foundation.base_sha256)
    return network


def _read(directory: Path, *, pose: bool) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Return info and tensors that belong together, even while another process replaces them."""
    path = directory / WEIGHTS_FILE
    for _ in range(ATTEMPTS):
        info, digests = _read_info(directory / INFO_FILE)
        tensors: dict[str, Tensor] = {}
        for name, digest in digests.items():
            if name == POSE_FILE and not (pose and _places(directory, name, digest)):
                continue  # not wanted, or not shipped
            path = directory / name
            content = _with_digest(directory, name, digest)
            if content is None:
                break
            tensors |= _parse(content, path)
        else:
            if _read_info(directory / INFO_FILE)[1] == digests:
                return info, tensors
    size = f'has {path.stat().st_size} bytes' if path.exists() else 'is missing'
    raise CheckpointError(
        f'{str(path)!r} {size} and is not what {INFO_FILE} describes (sha256 {digests[path.name][:12]}...): it is '
        f'truncated, damaged or of another checkpoint; copy the files again'
    )


def _with_digest(directory: Path, name: str, digest: str) -> bytes | None:
    """Return the content of weights with that digest, wherever they lie by now; None where there are none."""
    for path in _places(directory, name, digest):
        content = _content(path) if path.exists() else b''
        if hashlib.sha256(content).hexdigest() == digest:
            return content
    return None


def _places(directory: Path, name: str, digest: str) -> list[Path]:
    """Return where weights lie: under their name, or still under that of their digest."""
    return [path for path in (directory / name, _staged(directory, digest)) if path.exists()]


def _content(path: Path) -> bytes:
    """Return what a file of weights holds; no network here has as many as LARGEST_WEIGHTS."""
    size = path.stat().st_size
    if size > LARGEST_WEIGHTS:
        raise CheckpointError(f'{str(path)!r} has {size} bytes, expected weights of at most {LARGEST_WEIGHTS}')
    return path.read_bytes()


def _read_info(path: Path) -> tuple[CheckpointInfo, dict[str, str]]:
    """Return the info, and the digests of the files with the weights."""
    try:
        fields: Any = read_json(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f'{str(path)!r} is missing: expected the description of {WEIGHTS_FILE}') from None
    except ValueError as error:
        raise CheckpointError(f'{str(path)!r} is not JSON, is it truncated? {error}') from error
    required = DIGEST_FIELDS[WEIGHTS_FILE]
    if not isinstance(fields, dict) or not isinstance(fields.get(required), str):
        raise CheckpointError(f'{str(path)!r} describes no checkpoint of sidepth: expected its field "{required}"')
    digests = {name: str(fields.pop(field)) for name, field in DIGEST_FIELDS.items() if field in fields}
    try:
        return CheckpointInfo.from_dict(fields), digests
    except ConfigError as error:
        raise CheckpointError(f'{str(path)!r} cannot be used: {error}') from error


def _parse(weights: bytes, path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(weights)
    except SafetensorError as error:
        raise CheckpointError(f'{str(path)!r} is no safetensors file: {error}') from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    if broken:
        raise CheckpointError(
            f'{str(path)!r} has {len(broken)} tensors with weights that are NaN or infinite, such as {broken[0]!r}: '
            'expected numbers. A training run that diverged has an earlier checkpoint in `best`'
        )
    return tensors


def _check_described(checkpoint: Checkpoint) -> None:
    """Refuse networks that are not the ones that the info describes."""
    depth_net, pose_net, info = checkpoint
    said: list[tuple[str, object, object]] = [('backbone', info.backbone, depth_net.backbone)]
    if isinstance(depth_net, DepthNet):
        said.append(('decoder channels', info.decoder_channels, depth_net.decoder_channels))
        said.append(('attention', info.attention, depth_net.attention))
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


def _staged(directory: Path, digest: str) -> Path:
    """Return where weights lie between being written and being renamed."""
    return directory / f'.model-{digest}.safetensors'


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, after its content has reached the disk; a failure leaves the old one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix='.model-', suffix='.tmp')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sync(directory: Path) -> None:
    """Have the renames in a directory reach the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
