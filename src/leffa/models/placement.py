"""Prepares a model for computing: its precision, the place of its weights, and its speed.

Which of the hooks of diffusers and accelerate is used where:

    model        a network is brought to the device by its forward pass, and taken away by the next
                 network's; the autoencoder is last
    sequential   each layer by its own forward pass
    group        each layer, while the one before it computes
"""

from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny, ModelMixin
from diffusers.hooks import apply_group_offloading
from torch import nn

from leffa.io.terminal import first_line
from leffa.models.compiled import compile_blocks
from leffa.performance import Offload, Performance

DTYPES = {"bf16-true": torch.bfloat16, "16-true": torch.float16}  # of the weights
_PLACED: WeakKeyDictionary[nn.Module, tuple[torch.device, Performance]] = WeakKeyDictionary()


def place_model(model: nn.Module, device: torch.device, how: Performance) -> None:
    """Prepare a model for computing on a device, in place; nothing is done twice.

    Raises:
        ValueError: the settings exclude each other, or a package is missing.
    """
    before = _PLACED.get(model)
    if before != (device, how):
        if before is not None and before[1].offload is not None:
            raise ValueError("offload: the model has been offloaded otherwise; load it again")
        _prepare(model, device, how)
        _PLACED[model] = (device, how)
    if how.offload is None:
        model.to(device)


def check_performance(device: str, how: Performance) -> None:
    """Raise ValueError where settings exclude each other or a package is missing."""
    if how.attention is not None:
        _set_attention(ModelMixin(), how.attention)
    if how.offload is None:
        return
    if torch.device(device).type == "cpu":
        raise ValueError(
            "--offload keeps weights in main memory while a GPU computes, but this runs on the "
            "CPU; leave it out"
        )
    if how.compile_networks and how.offload != "model":
        raise ValueError(
            f"--offload {how.offload} moves the layers that --compile fuses; give one of them, or "
            "--offload model"
        )
    if find_spec("accelerate") is None:
        raise ValueError("--offload needs the package accelerate: pip install -e '.[offload]'")


def compute_device(model: nn.Module) -> torch.device:
    """Where a model computes, which with offloading is not where its weights are."""
    placed = _PLACED.get(model)
    if placed is not None and placed[1].offload is not None:
        return placed[0]
    return next(model.parameters()).device


def networks_of(model: nn.Module) -> list[nn.Module]:
    """Those that have weights, in the order in which they are needed last: the autoencoder ends."""
    named = [
        (name, part)
        for name, part in model.named_children()
        if next(part.parameters(), None) is not None
    ]
    return [part for _, part in sorted(named, key=lambda each: each[0] == "vae")]


def offload(model: nn.Module, device: torch.device, kind: Offload) -> None:
    """Keep the weights in main memory, and move them to the device when needed."""
    import accelerate

    model.to("cpu")
    for parameter in model.parameters(recurse=False):
        parameter.data = parameter.data.to(device)
    before: Any = None
    for network in networks_of(model):
        if kind == "model":
            _, before = accelerate.cpu_offload_with_hook(network, device, before)
        elif kind == "sequential":
            own = next(network.parameters(recurse=False), None)
            accelerate.cpu_offload(network, device, offload_buffers=own is not None)
        else:
            apply_group_offloading(
                network, device, offload_type="leaf_level", use_stream=device.type == "cuda"
            )


def _prepare(model: nn.Module, device: torch.device, how: Performance) -> None:
    check_performance(str(device), how)
    _cast(model, how.precision)
    if how.channels_last:
        model.to(memory_format=torch.channels_last)
    for part in model.modules():
        if how.tile_vae and isinstance(part, AutoencoderKL | AutoencoderTiny | AutoencoderDC):
            part.enable_tiling()
            part.enable_slicing()
    networks = networks_of(model)
    if how.attention is not None:
        for network in networks:
            if hasattr(network, "set_attention_backend") and hasattr(network, "attn_processors"):
                _set_attention(network, how.attention)
    if how.compile_networks:
        for network in networks:
            compile_blocks(network)
    if how.offload is not None:
        offload(model, device, how.offload)


def _cast(model: nn.Module, precision: str | None) -> None:
    """Weights of 16 bits; an autoencoder that overflows in float16 (SDXL's) stays in float32."""
    dtype = DTYPES.get(precision or "")
    if dtype is None:
        return
    model.to(dtype)
    for part in model.modules():
        overflows = isinstance(part, AutoencoderKL) and part.config.get("force_upcast", False)
        if overflows and dtype == torch.float16:
            part.float()


def _set_attention(network: Any, backend: str) -> None:
    """The backend of diffusers' dispatcher for all attention in a network."""
    try:
        network.set_attention_backend(backend)
    except (ValueError, RuntimeError, ImportError) as error:
        reason = first_line(error)
        raise ValueError(f"--attention {backend}: {reason}") from error
