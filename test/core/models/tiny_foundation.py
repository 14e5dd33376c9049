"""Small random models of `transformers` saved as they save theirs: what the tests load instead of downloads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
DINO: dict[str, Any] = {
    'model_type': 'dinov2',
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'mlp_ratio': 2,
    'image_size': 56,
    'patch_size': 14,
}
BEIT: dict[str, Any] = {
    'model_type': 'beit',
    'hidden_size': 16,
    'num_hidden_layers': 4,
    'num_attention_heads': 2,
    'intermediate_size': 32,
    'image_size': 64,
    'patch_size': 16,
    'use_relative_position_bias': True,
    'reshape_hidden_states': False,
    'out_features': ['stage1', 'stage2', 'stage3', 'stage4'],
}
STAGES = {'neck_hidden_sizes': [8, 8, 8, 8], 'fusion_hidden_size': 8}


def depth_anything(**settings: Any) -> Any:
    backbone = {**DINO, 'out_indices': [1, 2], 'reshape_hidden_states': False}
    return transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        **settings,
    )


def dpt() -> Any:
    layers = {'num_hidden_layers': 4, 'num_attention_heads': 2, 'hidden_size': 16, 'intermediate_size': 32}
    return transformers.DPTConfig(image_size=64, patch_size=16, backbone_out_indices=[0, 1, 2, 3], **layers, **STAGES)


def zoedepth() -> Any:
    bins = [{'n_bins': 8, 'min_depth': 0.001, 'max_depth': 10.0}]
    return transformers.ZoeDepthConfig(
        backbone_config=dict(BEIT),
        bottleneck_features=8,
        num_relative_features=4,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=bins,
        **STAGES,
    )


def glpn() -> Any:
    return transformers.GLPNConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[4, 8, 8, 8], decoder_hidden_size=4, num_attention_heads=[1, 1, 2, 2]
    )


def tipsv2_dpt() -> Any:
    backbone = transformers.Tipsv2VisionConfig(
        **{**DINO, 'model_type': 'tipsv2_vision_model', 'num_hidden_layers': 4},
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    return transformers.Tipsv2DptConfig(backbone_config=backbone, num_depth_bins=8, **STAGES)


def depth_pro() -> Any:
    part = {**DINO, 'image_size': 16, 'patch_size': 4}
    return transformers.DepthProConfig(
        patch_size=16,
        fusion_hidden_size=8,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.25, 0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[8, 8, 8],
        merge_padding_value=1,
        image_model_config=dict(part),
        patch_model_config=dict(part),
        fov_model_config=dict(part),
        use_fov_model=False,
    )


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    'depth_anything': (depth_anything, {'size': {'height': 56, 'width': 56}, 'keep_aspect_ratio': True}),
    'depth_anything_metric': (
        lambda: depth_anything(depth_estimation_type='metric', max_depth=80),
        {'size': {'height': 56, 'width': 56}, 'keep_aspect_ratio': True},
    ),
    'dpt': (dpt, {'size': {'height': 64, 'width': 64}, 'keep_aspect_ratio': False}),
    'zoedepth': (zoedepth, {'size': {'height': 64, 'width': 96}, 'keep_aspect_ratio': True}),
    'glpn': (glpn, {'do_normalize': False}),
    'depth_pro': (depth_pro, {'size': {'height': 64, 'width': 64}}),
}
"""What makes each kind's configuration, and what its processor says."""
if hasattr(transformers, 'Tipsv2DptConfig'):  # newer than the oldest version that is taken
    KINDS['tipsv2_dpt'] = (tipsv2_dpt, {'size': {'height': 56, 'width': 56}, 'do_normalize': False})


def save_model(directory: Path, kind: str = 'depth_anything', *, seed: int = 0, licence: str = 'apache-2.0') -> Path:
    """Save a random model as a folder of `transformers`, with processor and card, and return the folder."""
    make, processor = KINDS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForDepthEstimation.from_config(make())
        enlarge(model)
    model.save_pretrained(directory)
    said = {'do_rescale': True, 'rescale_factor': 1 / 255, 'image_mean': MEAN, 'image_std': STD, **processor}
    (directory / 'preprocessor_config.json').write_text(json.dumps(said))
    card = f'---\nlicense: {licence}\npipeline_tag: depth-estimation\n---\n# A model\n' if licence else '# A model\n'
    (directory / 'README.md').write_text(card)
    return directory


@torch.no_grad()
def enlarge(model: Any) -> None:
    """Make weights as large as trained ones are: those drawn for training say the same of every image."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.normal_(0, (2 / fan_in) ** 0.5)
        elif 'norm' not in name and 'lambda' not in name:
            parameter.uniform_(0.0, 0.1)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 1:
            center(model, layer)


def center(model: Any, last: torch.nn.Conv2d) -> None:
    """Have the answer of the last layer vary around a value in the middle of its range."""
    answers: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda _layer, _images, answer: answers.append(answer))
    side = 56 if model.config.model_type == 'depth_anything' else 64
    model.eval()(torch.randn(1, 3, side, side))
    hook.remove()
    assert last.bias is not None
    last.weight.div_(3 * answers[0].std())
    last.bias.fill_(-2.0 if getattr(model.config, 'depth_estimation_type', '') == 'metric' else 1.0)
