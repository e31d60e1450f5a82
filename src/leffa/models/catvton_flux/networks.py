"""FLUX's transformer as a model of try-on has it: what is trained, and what stays as it is."""

from typing import Any, Literal

import torch
from diffusers import FluxTransformer2DModel

from leffa.models.catvton_flux.attention import Tap, tap_joint_attention
from leffa.models.loading import Source, check_found, locate, on_meta_device

Trainable = Literal["attention", "all"]
TAPS = ("after_rope", "before_rope")


def load_transformer(source: Source) -> FluxTransformer2DModel:
    """A stock transformer in float32, see `loading.Source`.

    Raises:
        FileNotFoundError: there is no such base.
        ValueError: it is of another architecture.
    """
    if isinstance(source, dict):
        return FluxTransformer2DModel.from_config(source)
    location, subfolder = locate(source, "transformer")
    config = FluxTransformer2DModel.load_config(location, subfolder=subfolder)
    name = FluxTransformer2DModel.__name__
    if (found := config.get("_class_name", name)) != name:
        raise ValueError(f"model.transformer={source}: is a {found}, not a {name}; give a FLUX.1")
    if on_meta_device():
        return FluxTransformer2DModel.from_config(config)
    transformer, found = FluxTransformer2DModel.from_pretrained(
        location,
        subfolder=subfolder,
        torch_dtype=torch.float32,
        ignore_mismatched_sizes=True,
        low_cpu_mem_usage=False,
        output_loading_info=True,
    )
    check_found(source, found)
    return transformer


def prepare(transformer: Any, source: Source, trainable: Trainable, tap: Tap) -> None:
    """Train the attentions alone, or all; and make the flow readable.

    Attentions are what has "attn" in its name, as published: projections, norms of queries and
    keys, and outputs, of which single blocks have none of their own.
    """
    if trainable not in ("attention", "all"):
        raise ValueError(f"model.trainable must be 'attention' or 'all', got {trainable!r}")
    if tap not in TAPS:
        raise ValueError(f"model.tap must be one of {', '.join(TAPS)}, got {tap!r}")
    if isinstance(source, dict) and trainable != "all" and not on_meta_device():
        raise ValueError(
            f"model.trainable={trainable}: the rest of the transformer stays as it is, and this "
            "backbone's is random; take a pretrained backbone, or model.trainable=all"
        )
    for name, parameter in transformer.named_parameters():
        parameter.requires_grad_(trainable == "all" or "attn" in name)
    tap_joint_attention(transformer, tap)
