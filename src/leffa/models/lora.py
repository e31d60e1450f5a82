"""Low-rank adapters (LoRA, arXiv 2106.09685) on the attentions of frozen networks, by peft."""

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import nn

# Queries, keys, values and outputs.
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


def add_lora(
    networks: Sequence[nn.Module], rank: int, alpha: float, targets: Sequence[str] = ATTENTION
) -> None:
    """Freeze networks and give every attention adapters, which begin at zero and count alpha / rank
    (Eq. 3).

    Args:
        targets: the ends of the names of the layers that get them.
    """
    adapters = importlib.import_module("peft").LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(targets)
    )
    for part in networks:
        network = cast(Any, part)  # of diffusers, whose adapters are not typed
        network.requires_grad_(False)
        network.add_adapter(adapters)


def check_lora(rank: int, alpha: float) -> None:
    """Raise ValueError where `add_lora` cannot work."""
    if rank < 1 or alpha <= 0:
        raise ValueError(f"model.lora: rank={rank} and alpha={alpha} must be positive")
    if importlib.util.find_spec("peft") is None:
        raise ValueError("model.lora needs the package peft: pip install peft")


def merge_adapters(networks: Sequence[nn.Module]) -> None:
    """Add adapters, if there are any, to the weights that they change, in place."""
    for part in networks:
        network = cast(Any, part)
        if hasattr(network, "peft_config"):
            if getattr(network, "hf_quantizer", None) is not None:
                raise ValueError(
                    "adapters cannot be merged into quantised weights: convert with --published, "
                    "which keeps them apart"
                )
            network.fuse_lora()
            network.unload_lora()


def adapter_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of the adapters by the names that files of adapters have."""
    return {
        name.replace(".default.", "."): parameter
        for name, parameter in network.named_parameters()
        if ".lora_" in name
    }


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """A context in which the adapted layers have the places and names that they have without
    adapters."""
    wrapped = {
        name: cast(Any, module)
        for name, module in model.named_modules()
        if hasattr(module, "base_layer")
    }
    for name, module in wrapped.items():
        model.set_submodule(name, module.base_layer)
    try:
        yield
    finally:
        for name, module in wrapped.items():
            model.set_submodule(name, module)
