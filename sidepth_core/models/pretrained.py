"""Weights that an encoder starts from: those of a file, matched by name, or by order and shape where names differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from sidepth_core.errors import CheckpointError
from sidepth_core.hub import hub_answers
from sidepth_core.models.efficientnet_lite import SCALING
from sidepth_core.models.state_dicts import check_tensors, read_pth, shapes_of

HUB_FILE = 'model.safetensors'
"""What timm's repositories on the Hub call their weights."""
TORCH_FILE = 'pytorch_model.bin'
"""What the older ones call them."""

COUNTER = 'num_batches_tracked'
"""What torch counts in batch norms, and files made by other software lack."""


def describe_weights(pretrained: str, backbone: str, licence: str) -> str:
    """Return what an encoder started from, for the checkpoint's description: its source, and its licence.

    Args:
        pretrained: 'none', 'hub', or a file that is there.
        backbone: Name of the encoder.
        licence: Licence of the weights as the user states it; empty takes what timm states for those of the Hub.
    """
    if pretrained == 'none':
        return ''
    if pretrained == 'hub':
        source, stated = published_weights(backbone)
        return f'{source} of the Hugging Face Hub; licence: {licence or stated or "not stated"}'
    path = Path(pretrained).expanduser()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f'{path.name} (sha256 {digest[:12]}); licence: {licence or "not stated"}'


def published_weights(backbone: str) -> tuple[str, str]:
    """Return the repository of the Hub that timm names for a backbone's weights, and their licence."""
    if backbone in SCALING:
        return f'timm/{backbone}.in1k', 'Apache-2.0'
    from timm.models import get_pretrained_cfg  # noqa: PLC0415 - seconds to import; who has the weights has it already

    settings = get_pretrained_cfg('hrnet_w18' if backbone == 'hrnet18' else backbone)
    return (str(settings.hf_hub_id), str(settings.license or '')) if settings else (backbone, '')


def load_weights(encoder: nn.Module, path: str | Path) -> None:
    """Give an encoder the weights of a file.

    The file may hold more than the encoder has: the classifier and what leads to it are left out. Where it uses other
    names, its tensors must have the shapes of the encoder's, one after the other, from the first to the encoder's last;
    files that torch wrote keep that order, .safetensors files do not.

    Args:
        encoder: In it the weights are replaced.
        path: A .safetensors file, or one that torch wrote (.pth, .bin), of which only tensors are read.

    Raises:
        CheckpointError: If the file is missing, damaged or not of this encoder.
    """
    path = Path(path).expanduser()
    fit_weights(encoder, read_tensors(path), f'weights in {str(path)!r}')


def download(repository: str) -> str:
    """Return the path of the weights in a repository of the Hugging Face Hub, downloaded once.

    Raises:
        CheckpointError: If they cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - a second to import, and most weights are here

    online = hub_answers()
    try:
        path: str = hf_hub_download(repository, HUB_FILE, local_files_only=not online)
    except (OSError, ValueError) as error:  # the Hub's own errors derive from these two
        raise cannot_download(repository, str(error) if online else '') from error
    return path


def check_hub(backbone: str) -> None:
    """Check that the weights of one of timm's networks are in the cache, or that the Hub can be asked for them.

    Raises:
        CheckpointError: If neither is so.
    """
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - as above

    repository, _ = published_weights(backbone)
    if not repository:
        return  # timm itself says that there are none
    cached = any(isinstance(try_to_load_from_cache(repository, name), str) for name in (HUB_FILE, TORCH_FILE))
    if not cached and not hub_answers():
        raise cannot_download(repository)


def cannot_download(repository: str, reason: str = '') -> CheckpointError:
    """Return the error that weights of the Hub cannot be had, with the ways out."""
    first = (reason.splitlines() or ['it does not answer, and the cache does not hold them'])[0]
    return CheckpointError(
        f'weights {repository!r} cannot be downloaded from the Hugging Face Hub: {first}. Without a network '
        'connection, start from a file of them (--model.pretrained FILE), from a checkpoint (--checkpoint default), or '
        'from random weights (--model.pretrained none)'
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, in their order; no code that it may hold is run.

    Raises:
        CheckpointError: If it is missing, damaged, or holds more than plain data.
    """
    if path.suffix != '.safetensors':
        return read_pth(path)
    try:
        return dict(safetensors.torch.load_file(path))
    except FileNotFoundError:
        raise CheckpointError(f'no file {str(path)!r}: expected weights (.safetensors, .pth, .bin)') from None
    except SafetensorError as error:
        raise CheckpointError(f'{str(path)!r} is no safetensors file: {error}') from error


def fit_weights(encoder: nn.Module, found: Mapping[str, Tensor], what: str) -> None:
    """Give an encoder weights, by name where the names are its own, else by order and shape.

    Args:
        encoder: In it the weights are replaced.
        found: The tensors by name, in their order.
        what: Whose tensors these are, as the error names them.

    Raises:
        CheckpointError: If they are not of this encoder.
    """
    expected = {name: shape for name, shape in shapes_of(encoder).items() if not name.endswith(COUNTER)}
    own = {name: tensor for name, tensor in found.items() if name in expected}
    if len(own) * 2 < len(expected):
        own = _in_order(found, expected, what)
    check_tensors(what, own, expected)
    encoder.load_state_dict(own, strict=False)  # all but the counters are there, as was just checked


def _in_order(found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], what: str) -> dict[str, Tensor]:
    """Return tensors under the names that the encoder has at their places.

    Raises:
        CheckpointError: If the shapes differ, naming the first place where they do.
    """
    tensors = [(name, tensor) for name, tensor in found.items() if not name.endswith(COUNTER)]
    for place, (name, shape) in enumerate(expected.items()):
        theirs, tensor = tensors[place] if place < len(tensors) else ('nothing', None)
        if tensor is None or tuple(tensor.shape) != shape:
            has = 'and ends there' if tensor is None else f'of shape {tuple(tensor.shape)}'
            raise CheckpointError(
                f'{what} are of another network: they have neither its names nor its shapes in order; tensor '
                f'{place + 1} of {len(expected)} should be {name} {shape}, the file has {theirs} {has}'
            )
    return {name: tensor for name, (_, tensor) in zip(expected, tensors, strict=False)}
