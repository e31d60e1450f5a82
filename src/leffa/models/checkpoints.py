"""Official weights <-> ours.

The official release is one plain state dict over three prefixes, beside a diffusers base folder:

    vae.            the autoencoder
    unet_encoder.   the reference UNet
    unet.           the generative UNet

Every key is accounted for: loaded, or dropped for a reason that `DROPPED` names. Anything else is
an error.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from leffa.io.atomic import replacing
from leffa.io.weights import load_weights
from leffa.models.attention import FinalFeatureBlock
from leffa.models.leffa import LeffaModel
from leffa.models.stock import check_places
from leffa.models.unets import load_scheduler

log = logging.getLogger(__name__)

PREFIXES = {"vae": "vae.", "reference_unet": "unet_encoder.", "generative_unet": "unet."}

DROPPED = {
    "text": "text cross-attention: the official network skips it",
    "add_embedding": "SDXL's text and crop-size embedding: the official network switches it off",
    "after_final_feature": "reference UNet after its last recorded layer: nothing reads it",
}


@dataclass(frozen=True)
class LoadReport:
    """What became of every key of an official file."""

    loaded: list[str]
    dropped: dict[str, str]  # key -> reason


def load_official(base: str | Path, weights: str | Path) -> LeffaModel:
    """The official network: configs from a diffusers base folder or hub id, weights from the
    released file.

    The base's own weights are not needed, only `unet/config.json`, `vae/config.json` and
    `scheduler/`. On an SDXL base the released code rescales the noise schedule to zero terminal
    SNR, and so do we.

    Raises:
        ValueError: a key that is neither expected nor known as unused, or one that is missing.
    """
    unet = UNet2DConditionModel.load_config(base, subfolder="unet")
    vae = AutoencoderKL.load_config(base, subfolder="vae")
    scheduler = dict(load_scheduler(base).config)
    if unet.get("addition_embed_type") == "text_time":  # older configs lack what is newer
        scheduler["rescale_betas_zero_snr"] = True
    model = LeffaModel.build(unet=unet, vae=vae, scheduler=scheduler)
    report = load_official_state(model, load_weights(weights), name=str(weights))
    log.info("%s: %d tensors loaded, %d dropped", weights, len(report.loaded), len(report.dropped))
    return model.eval()


def load_official_state(
    model: LeffaModel, state: dict[str, Tensor], name: str = "weights"
) -> LoadReport:
    """Fill the model from an official state dict and say what became of each key."""
    wanted = {part: model.get_submodule(part).state_dict() for part in PREFIXES}
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PREFIXES}
    foreign: list[str] = []
    dropped: dict[str, str] = {}
    for key, tensor in state.items():
        part = next((part for part, prefix in PREFIXES.items() if key.startswith(prefix)), None)
        own = key.removeprefix(PREFIXES[part]) if part else key
        if part and own in wanted[part]:
            if (shape := wanted[part][own].shape) != tensor.shape:
                raise ValueError(
                    f"{name}: {key} is {tuple(tensor.shape)}, the base wants {tuple(shape)}"
                )
            parts[part][own] = tensor
        elif part and (reason := _why_unused(model, part, own)):
            dropped[key] = DROPPED[reason]
        else:
            foreign.append(key)
    if foreign:
        raise ValueError(
            f"{name}: {len(foreign)} keys have no place in this model, "
            f"first {foreign[0]!r}: another base?"
        )
    for part, weights in parts.items():
        missing = model.get_submodule(part).load_state_dict(weights, strict=False).missing_keys
        if missing:
            raise ValueError(
                f"{name}: {len(missing)} keys of {part} are missing, "
                f"first {missing[0]!r}: another base?"
            )
    loaded = [key for key in state if key not in dropped]
    return LoadReport(loaded, dropped)


def save_official(model: LeffaModel, path: str | Path, template: str | Path | None = None) -> None:
    """Write the model in the official layout, a plain state dict, as a torch or .safetensors file.

    The official layout also has the weights that we drop because nothing reads them. They are
    copied from `template`, an official file; without one they are zeros of the right shape, which
    changes no output.

    Raises:
        ValueError: the model has weights that the layout has no place for, such as adapters.
    """
    source = load_weights(template) if template is not None else {}
    state: dict[str, Tensor] = {}
    for part, prefix in PREFIXES.items():
        module: Any = model.get_submodule(part)
        own = module.state_dict()
        with torch.device("meta"):
            stock = type(module).from_config(module.config)
        check_places(part, own, stock.state_dict())
        for key, tensor in stock.state_dict().items():
            full = prefix + key
            state[full] = own[key] if key in own else source.get(full, torch.zeros(tensor.shape))
    # SDXL files carry the switched-off embedding too; only a template knows its shape.
    state |= {key: tensor for key, tensor in source.items() if ".add_embedding." in key}
    path = Path(path)
    state = {key: tensor.contiguous() for key, tensor in state.items()}
    with replacing(path) as temporary:
        if path.suffix == ".safetensors":
            save_file(state, temporary)
        else:
            torch.save(state, temporary)


def _why_unused(model: LeffaModel, part: str, key: str) -> str | None:
    """The reason of `DROPPED` for a key that our UNets lack; None: there is no reason."""
    if part == "vae":
        return None
    if ".attn2." in key:
        return "text"
    if key.startswith("add_embedding."):
        return "add_embedding"
    if part == "reference_unet" and _after_final_feature(model.reference_unet, key):
        return "after_final_feature"
    return None


def _after_final_feature(unet: UNet2DConditionModel, key: str) -> bool:
    if key.startswith(("conv_norm_out.", "conv_out.")):
        return True
    if not key.startswith("up_blocks."):
        return False
    stage = int(key.split(".")[1])
    if stage >= len(unet.up_blocks):
        return True
    last = next(
        name for name, module in unet.named_modules() if isinstance(module, FinalFeatureBlock)
    )
    transformer = last.rsplit(".transformer_blocks.", 1)[0]
    ended = (f"{last}.", f"{transformer}.proj_out.", f"up_blocks.{stage}.upsamplers.")
    return stage == len(unet.up_blocks) - 1 and key.startswith(ended)
