"""Networks from a base or a published FitDiT, and back into the published layout.

transformer_garm/ transformer_vton/   SD3's form, with the text stream that nothing reads
pose_guider/diffusion_pytorch_model.bin
vae/ scheduler/                       as diffusers writes them

Every key is loaded, or belongs to the text stream; anything else is an error.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from safetensors.torch import save_file
from torch import Tensor, nn

from leffa.io.atomic import new_folder
from leffa.io.weights import SUFFIXES, fill, load_weights
from leffa.models.fitdit.networks import GUIDER, PATCH, PooledEncoders, PoseGuider, Transformer
from leffa.models.loading import (
    Source,
    hub_file,
    load_scheduler,
    load_transformers,
    locate,
    on_meta_device,
    read_network,
    transformers_package,
)

log = logging.getLogger(__name__)

WEIGHTS = "diffusion_pytorch_model"
GUIDER_FILE = f"pose_guider/{WEIGHTS}.bin"
# The text stream; a published FitDiT has it without `add_q_proj`, `add_k_proj`, `add_v_proj`.
TEXT = re.compile(
    r"context_embedder\.(weight|bias)"
    r"|transformer_blocks\.\d+\.((norm1|ff)_context|attn\.(to_add_out|add_[qkv]_proj))\..*"
)
_INPUT = "pos_embed.proj.weight"


def load_transformer(source: Source, channels: int, latent: int) -> Transformer:
    """A network in float32.

    Args:
        source: a config for random weights; or the folder or hub id of SD3's transformer, or of one
            of the two of a published FitDiT.
        channels: of its input; a base that has those of the noisy latent alone gets the others,
            whose weights begin at zero.
        latent: channels of the autoencoder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: another base, or its weights do not fit.
    """
    if isinstance(source, dict):
        sizes = {"in_channels": channels, "out_channels": latent}
        return Transformer(**{**source, **sizes})
    location, subfolder = locate(source, "transformer")
    config: Any = Transformer.load_config(location, subfolder=subfolder)
    _check_base(source, config, channels, latent)
    config = {**config, "in_channels": channels}
    if on_meta_device():
        return Transformer.from_config(config)
    state = _without_text(read_network(location, subfolder), source)
    projection = state.get(_INPUT)
    if projection is not None and projection.shape[1] == latent < channels:
        state[_INPUT] = nn.functional.pad(projection, (0, 0, 0, 0, 0, channels - latent))
        log.info("%s: %d input channels, %d new at zero", source, channels, channels - latent)
    with torch.device("meta"):
        network = Transformer.from_config(config)
    fill(network, state, source)
    return network


def load_guider(source: str | Path | Sequence[int], width: int) -> PoseGuider:
    """A pose guider: a published file, its folder, or the widths of a new one.

    Args:
        width: of the denoising network's tokens.
    """
    if not isinstance(source, str | Path):
        return PoseGuider(width, tuple(source))
    if on_meta_device():
        return PoseGuider(width, GUIDER)
    file = source if Path(source).suffix in SUFFIXES else f"{source}/{WEIGHTS}.bin"
    state = load_weights(hub_file(file))
    names = ["conv_in.bias", *(f"blocks.{index}.bias" for index in range(1, len(state), 2))]
    channels = [len(state[name]) for name in names if name in state]
    guider = PoseGuider(width, channels or GUIDER)
    fill(guider, state, file)
    return guider


def load_encoders(sources: Sequence[str | Path], width: int) -> PooledEncoders:
    """CLIP's image encoders, whose embeddings together are as wide as the networks' pooled one.

    Args:
        sources: folders or hub ids; a whole CLIP's does as well.
    """
    if not sources:
        raise ValueError("model.pooled=clip: give the folders of CLIP's image encoders, model.clip")
    kind = transformers_package("model.pooled=clip").CLIPVisionModelWithProjection
    encoders = PooledEncoders([load_transformers(kind, each, "") for each in sources])
    if encoders.width != width:
        raise ValueError(
            f"model.clip={list(map(str, sources))}: embeddings of {encoders.width} in all, and the "
            f"networks take {width}; give other encoders, or model.pooled=none"
        )
    return encoders


def save_published(
    folder: Path,
    transformers: Mapping[str, Transformer],
    guider: PoseGuider,
    vae: Any,
    scheduler: dict[str, Any],
) -> None:
    """Write the published layout atomically; what nothing reads of the text stream is zeros.

    Args:
        transformers: by the names of their folders; without adapters.
    """
    with new_folder(folder) as temporary:
        for name, network in transformers.items():
            with torch.device("meta"):
                stock = SD3Transformer2DModel.from_config(network.config)
            stock.save_config(temporary / name)
            save_file(_with_text(network, stock), temporary / name / f"{WEIGHTS}.safetensors")
        (temporary / GUIDER_FILE).parent.mkdir()
        state = {key: tensor.contiguous() for key, tensor in guider.state_dict().items()}
        torch.save(state, temporary / GUIDER_FILE)
        vae.save_pretrained(temporary / "vae")
        load_scheduler(scheduler).save_pretrained(temporary / "scheduler")


def _with_text(network: Transformer, stock: SD3Transformer2DModel) -> dict[str, Tensor]:
    own = network.state_dict()
    places = {key: each for key, each in stock.state_dict().items() if ".attn.add_" not in key}
    return {
        key: own[key].contiguous() if key in own else torch.zeros(each.shape, dtype=network.dtype)
        for key, each in places.items()
    }


def _check_base(source: str | Path, config: Any, channels: int, latent: int) -> None:
    name = config.get("_class_name")
    if name != SD3Transformer2DModel.__name__:
        wrong = f"is a {name}"
    elif config.get("qk_norm") or config.get("dual_attention_layers"):
        wrong = "is of Stable Diffusion 3.5, whose blocks differ"
    elif config["out_channels"] != latent:
        wrong = f"predicts {config['out_channels']} channels, and the autoencoder has {latent}"
    elif config["in_channels"] not in (latent, channels):
        wrong = f"takes {config['in_channels']} channels, neither {latent} nor {channels}"
    elif config["patch_size"] != PATCH:
        wrong = f"has patches of {config['patch_size']} cells, not {PATCH}"
    else:
        return
    raise ValueError(
        f"{source}: {wrong}; give the transformer of Stable Diffusion 3 medium, or one of a "
        "published FitDiT"
    )


def _without_text(state: dict[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """What is left; the log says what is not."""
    kept = {key: tensor for key, tensor in state.items() if not TEXT.fullmatch(key)}
    if dropped := len(state) - len(kept):
        count = sum(state[key].numel() for key in state.keys() - kept.keys())
        log.info(
            "%s: %d tensors (%.1f million weights) of the text stream are left out "
            "(context_embedder, norm1_context, ff_context, attn.to_add_out, attn.add_*): nothing "
            "reads them here",
            *(source, dropped, count / 1e6),
        )
    return kept
