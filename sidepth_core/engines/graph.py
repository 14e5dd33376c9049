"""The network as a recorded graph, which other runtimes take."""

from __future__ import annotations

import hashlib
import warnings

import torch
from torch import Tensor, nn

from sidepth_core.engines.engine import DTYPES
from sidepth_core.engines.folding import fold_batch_norms
from sidepth_core.models import DepthNetwork


class Graph(nn.Module):
    """A depth network as a tensor of images in, a tensor of disparity out, both float32 whatever is inside."""

    def __init__(self, network: DepthNetwork, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Return disparity (B, 1, H, W) of images (B, 3, H, W)."""
        disparity: Tensor = self.network(images.to(self.dtype)).disparity
        return disparity


def graph_of(depth_net: DepthNetwork, precision: str = 'float32') -> Graph:
    """Return the graph of a network in evaluation mode, which is changed: its batch norms are folded.

    Args:
        depth_net: The network.
        precision: Number format of its weights; what needs float32 keeps it.
    """
    network = fold_batch_norms(depth_net).to(dtype=DTYPES[precision]).requires_grad_(False)
    network.keep_float32()
    return Graph(network, DTYPES[precision])


def record(graph: nn.Module, shape: tuple[int, int, int]) -> torch.jit.ScriptModule:
    """Record what a graph does with images.

    Args:
        graph: Takes images (B, 3, H, W) in 0..1, as that of graph_of does.
        shape: Number of images, height and width.
    """
    batch, height, width = shape
    example = torch.zeros(batch, 3, height, width, device=next(graph.parameters()).device)
    with torch.no_grad(), warnings.catch_warnings():
        # torch calls jit.trace deprecated, and warns of the checks of the input's shape, which this shape has passed.
        warnings.simplefilter('ignore')
        recorded = torch.jit.trace(graph, example, check_trace=False)  # type: ignore[no-untyped-call]
    assert isinstance(recorded, torch.jit.ScriptModule)  # noqa: S101  # for the type checker
    return recorded


def weights_digest(depth_net: DepthNetwork) -> str:
    """Return the SHA-256 of a network's weights, names and shapes included."""
    digest = hashlib.sha256()
    for name, tensor in depth_net.state_dict().items():
        digest.update(f'{name} {tuple(tensor.shape)} {tensor.dtype}'.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
