"""The published layouts: a whole transformer in diffusers' folder, or low-rank adapters in a file.

<folder>/config.json, diffusion_pytorch_model*.safetensors   a stock FLUX transformer
<folder>/pytorch_lora_weights.safetensors                    transformer.<module>.lora_A.weight, ...
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import FluxPipeline
from torch import nn

from leffa.io.atomic import new_folder
from leffa.io.weights import check_state
from leffa.models.catvton_flux.networks import load_transformer
from leffa.models.loading import copy_weights
from leffa.models.lora import adapter_weights

LORA_FILE = "pytorch_lora_weights.safetensors"
PREFIX = "transformer."


def load_lora(transformer: Any, place: Path) -> None:
    """Fill the adapters of a transformer from a file of adapters for diffusers.

    Raises:
        ValueError: it has none, or other ones: of another rank, another alpha, on other layers.
    """
    state, alphas, metadata = FluxPipeline.lora_state_dict(
        str(place.parent), weight_name=place.name, return_alphas=True, return_lora_metadata=True
    )
    ranks = {len(tensor) for key, tensor in state.items() if key.endswith("lora_A.weight")}
    if len(ranks) != 1:
        raise ValueError(
            f"{place}: adapters of one rank are expected, and these are of {sorted(ranks)}"
        )
    (rank,) = ranks
    alpha = _alpha(alphas or {}, metadata or {}, rank)
    own = transformer.peft_config["default"] if hasattr(transformer, "peft_config") else None
    if own is None or (own.r, own.lora_alpha) != (rank, alpha):
        here = "none" if own is None else f"ones of rank {own.r}, alpha {own.lora_alpha:g}"
        raise ValueError(
            f"{place}: holds adapters of rank {rank}, alpha {alpha:g}, and the model has {here}; "
            f'give "model.lora={{rank: {rank}, alpha: {alpha:g}}}"'
        )
    places = {f"{PREFIX}{key}": weight for key, weight in adapter_weights(transformer).items()}
    copy_weights(place, state, places)


def _alpha(alphas: dict[str, Any], metadata: dict[str, Any], rank: int) -> float:
    """Of a file: as its metadata or its keys say, else the rank, as diffusers takes it."""
    told = [metadata.get(f"{PREFIX}lora_alpha"), *alphas.values()]
    return next((float(each) for each in told if each is not None), float(rank))


def save_lora(transformer: Any, folder: Path) -> None:
    """Write the adapters as `FluxPipeline.load_lora_weights` of diffusers reads them."""
    config = transformer.peft_config["default"]
    with new_folder(folder) as temporary:
        FluxPipeline.save_lora_weights(
            temporary,
            transformer_lora_layers={
                key: weight.detach().contiguous()
                for key, weight in adapter_weights(transformer).items()
            },
            transformer_lora_adapter_metadata=config.to_dict(),
        )


def load_whole(transformer: nn.Module, place: Path) -> None:
    """Fill what is trained of a transformer from one in diffusers' folder.

    Raises:
        ValueError: it is of another architecture, or what is frozen here is not the same there.
    """
    state = load_transformer(str(place)).state_dict()
    places = dict(transformer.named_parameters())
    check_state(place, state, places)
    for name, parameter in places.items():
        if not parameter.requires_grad and not torch.equal(parameter, state[name].to(parameter)):
            raise ValueError(
                f"start_from={place}: was trained in {name}, which is frozen here, where no "
                f"checkpoint would keep it; give it as the base: backbone.flux.transformer={place}"
            )
    copy_weights(place, state, places)


def save_whole(transformer: Any, folder: Path) -> None:
    with new_folder(folder) as temporary:
        transformer.save_pretrained(temporary)
