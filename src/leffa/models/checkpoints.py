"""Leffa's released weights: one state dict over three prefixes, beside a diffusers base folder.

Every key is loaded, or dropped for a reason that `DROPPED` names; anything else is an error.
"""

import logging
from collections.abc import Set
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.modeling_utils import no_init_weights
from safetensors.torch import save_file
from torch import Tensor

from leffa.io.atomic import replacing
from leffa.io.weights import check_state, load_weights
from leffa.models.leffa import LeffaModel
from leffa.models.loading import load_scheduler
from leffa.models.unets import stock_state, stock_weights

log = logging.getLogger(__name__)

PREFIXES = {"vae": "vae.", "reference_unet": "unet_encoder.", "generative_unet": "unet."}

DROPPED = {
    "text": "text cross-attention: the official network skips it",
    "add_embedding": "SDXL's text and crop-size embedding: the official network switches it off",
    "after_final_feature": "reference UNet after its last recorded layer: nothing reads it",
}


def load_official(base: str | Path, weights: str | Path) -> LeffaModel:
    """The official network: configs of a diffusers base folder or hub id, weights of the released
    file.

    On an SDXL base the noise schedule is rescaled to zero terminal SNR, as in the released code.
    """
    unet = UNet2DConditionModel.load_config(base, subfolder="unet")
    vae = AutoencoderKL.load_config(base, subfolder="vae")
    scheduler = dict(load_scheduler(base).config)
    if unet.get("addition_embed_type") == "text_time":  # older configs lack what is newer
        scheduler["rescale_betas_zero_snr"] = True
    # All are in the file, and drawing initial ones takes 7 s for a UNet of SD1.5.
    with no_init_weights():
        model = LeffaModel(unet=unet, vae=vae, scheduler=scheduler)
    state = load_weights(weights)
    dropped = load_official_state(model, state, name=str(weights))
    counts = (len(state) - len(dropped), len(dropped))
    log.info(
        "%s: %d tensors loaded; its other %d are of layers that the released network skips",
        *(weights, *counts),
    )
    return model.eval()


def load_official_state(
    model: LeffaModel, state: dict[str, Tensor], name: str = "weights"
) -> dict[str, str]:
    """Fill the model from an official state dict.

    Returns:
        The keys that are not used, with the reason.
    """
    places = {
        prefix + key: tensor
        for part, prefix in PREFIXES.items()
        for key, tensor in model.get_submodule(part).state_dict().items()
    }
    stock = {
        prefix + key
        for part, prefix in PREFIXES.items()
        for key in stock_weights(model.get_submodule(part))
    }
    reasons = {key: _why_unused(stock, key) for key in state.keys() - places.keys()}
    dropped = {key: reason for key, reason in reasons.items() if reason is not None}
    used = {key: tensor for key, tensor in state.items() if key not in dropped}
    check_state(name, used, places)
    for part, prefix in PREFIXES.items():
        model.get_submodule(part).load_state_dict(_of_part(used, prefix))
    return dropped


def save_official(model: LeffaModel, path: str | Path, template: str | Path | None = None) -> None:
    """Write the model in the official layout, as a torch or .safetensors file.

    The official layout also contains weights that are not used and therefore dropped here. They are
    copied from `template`, an official file, or set to zero; neither changes the output.

    Raises:
        ValueError: the model has weights that do not exist in the layout, such as adapters.
    """
    unused = load_weights(template) if template is not None else {}
    state = {
        f"{prefix}{key}": tensor.contiguous()
        for part, prefix in PREFIXES.items()
        for key, tensor in stock_state(model.get_submodule(part), _of_part(unused, prefix)).items()
    }
    # SDXL files carry the switched-off embedding too; only a template knows its shape.
    state |= {key: tensor for key, tensor in unused.items() if ".add_embedding." in key}
    path = Path(path)
    with replacing(path) as temporary:
        if path.suffix == ".safetensors":
            save_file(state, temporary)
        else:
            torch.save(state, temporary)


def _of_part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)
    }


def _why_unused(stock: Set[str], key: str) -> str | None:
    """The reason of `DROPPED` for a key that our networks lack; None: there is no reason.

    Args:
        stock: of the stock networks, ours among them.
    """
    if ".add_embedding." in key:
        return DROPPED["add_embedding"]
    if key not in stock:
        return None
    return DROPPED["text" if ".attn2." in key else "after_final_feature"]
