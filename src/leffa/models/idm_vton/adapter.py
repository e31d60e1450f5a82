"""The image-prompt adapter: a garment's picture as a few tokens beside the text's.

Both halves are diffusers' own classes: the resampler of IP-Adapter Plus, which makes the tokens,
and the decoupled cross-attention, which reads them with keys and values of its own
(arXiv 2308.06721, section 3.2). This file gives them their places and reads published weights.
"""

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import IPAdapterPlusImageProjection, MultiIPAdapterImageProjection
from torch import Tensor

from leffa.io.weights import load_weights, read_pickle
from leffa.models.attention import AttentionExchange
from leffa.models.idm_vton.sources import fill, hub_file

State = dict[str, Tensor]

# Of one layer of the resampler: the published name -> diffusers' name; `to_kv` is cut in two.
_LAYER = {
    "0.norm1": "ln0",
    "0.norm2": "ln1",
    "0.to_q": "attn.to_q",
    "0.to_out": "attn.to_out.0",
    "1.0": "ff.0",
    "1.1": "ff.1.net.0.proj",
    "1.3": "ff.1.net.2",
}
_OF_LAYER = re.compile(r"layers\.(\d+)\.(.+)\.(weight|bias)")
_PROCESSOR = re.compile(r"(.+\.processor\.to_[kv]_ip)\.weight")
_RESAMPLER = "encoder_hid_proj."
_WIDTH_OF_HEAD = 64  # of every published resampler


class ImagePromptAttention(IPAdapterAttnProcessor2_0):
    """The adapter's cross-attention; it has no part in the exchange of the self-attentions."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: tuple[Tensor, list[Tensor]] | None = None,
        attention_mask: Tensor | None = None,
        exchange: AttentionExchange | None = None,
    ) -> Tensor:
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask)


def new_processor(attn: Attention, tokens: int) -> ImagePromptAttention:
    """An adapter for one cross-attention that changes nothing yet: keys begin as the text's (as in
    IP-Adapter), values as zero."""
    width, inner = attn.to_k.in_features, attn.to_k.out_features
    processor = ImagePromptAttention(inner, width, num_tokens=(tokens,))
    with torch.no_grad():
        processor.to_k_ip[0].weight.copy_(attn.to_k.weight)
        processor.to_v_ip[0].weight.zero_()
    return processor


def new_resampler(config: dict[str, Any], embed_dims: int, output_dims: int) -> Any:
    """A resampler with random weights.

    Args:
        config: of `IPAdapterPlusImageProjection`: hidden_dims, depth, heads, dim_head, num_queries.
        embed_dims: width of the image encoder.
        output_dims: width of the cross-attention.

    Raises:
        ValueError: an unknown key.
    """
    known = ("hidden_dims", "depth", "heads", "dim_head", "num_queries", "ffn_ratio")
    if unknown := sorted(config.keys() - set(known)):
        raise ValueError(f"model.adapter: unknown {unknown[0]!r}; known are {', '.join(known)}")
    return IPAdapterPlusImageProjection(embed_dims, output_dims, **config)


def resampler_of(state: State, source: str | Path) -> Any:
    """The resampler that a state dict in the published layout is of, without weights yet.

    Raises:
        ValueError: it is not of IP-Adapter Plus.
    """
    wanted = ("latents", "proj_in.weight", "proj_out.weight", "layers.0.0.to_q.weight")
    if missing := [key for key in (*wanted, "layers.0.1.1.weight") if key not in state]:
        raise ValueError(f"{source}: is no IP-Adapter Plus: it has no {missing[0]}")
    depth = {match[1] for key in state if (match := _OF_LAYER.fullmatch(key))}
    _, queries, hidden = state["latents"].shape
    return IPAdapterPlusImageProjection(
        embed_dims=state["proj_in.weight"].shape[1],
        output_dims=state["proj_out.weight"].shape[0],
        hidden_dims=hidden,
        depth=len(depth),
        dim_head=_WIDTH_OF_HEAD,
        heads=state["layers.0.0.to_q.weight"].shape[0] // _WIDTH_OF_HEAD,
        num_queries=queries,
        ffn_ratio=state["layers.0.1.1.weight"].shape[0] / hidden,
    )


def translate_resampler(state: State) -> State:
    """From the published names of a resampler to diffusers'; an unknown name stays as it is."""
    ours: State = {}
    for key, tensor in state.items():
        match = _OF_LAYER.fullmatch(key)
        if match and match[2] == "0.to_kv":
            for name, half in zip(("to_k", "to_v"), tensor.chunk(2), strict=True):
                ours[f"layers.{match[1]}.attn.{name}.{match[3]}"] = half
        elif match and match[2] in _LAYER:
            ours[f"layers.{match[1]}.{_LAYER[match[2]]}.{match[3]}"] = tensor
        else:
            ours[key] = tensor
    return ours


def place_resampler(unet: UNet2DConditionModel, resampler: Any) -> None:
    """Let a UNet pass its image embeddings through the resampler, in place."""
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([resampler])
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")


def resampler_of_published(state: State, source: str | Path) -> Any:
    """As `resampler_of`, from the weights of a published try-on UNet."""
    return resampler_of(
        {key.removeprefix(_RESAMPLER): tensor for key, tensor in state.items()}, source
    )


def translate_published(state: State) -> State:
    """From a published try-on UNet to ours: the same but for the adapter's names."""
    projection = f"{_RESAMPLER}image_projection_layers.0."
    resampler = {
        key.removeprefix(_RESAMPLER): tensor
        for key, tensor in state.items()
        if key.startswith(_RESAMPLER)
    }
    ours = {f"{projection}{key}": value for key, value in translate_resampler(resampler).items()}
    for key, tensor in state.items():
        if not key.startswith(_RESAMPLER):
            ours[_PROCESSOR.sub(r"\1.0.weight", key)] = tensor
    return ours


def read_adapter(source: str | Path) -> tuple[State, State]:
    """(resampler, cross-attentions) of an IP-Adapter file, in its own names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not an IP-Adapter's.
    """
    path = hub_file(source)
    content: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        for key, tensor in load_weights(path).items():
            part, _, name = key.partition(".")
            content.setdefault(part, {})[name] = tensor
    else:
        content = read_pickle(path)
    if content.keys() != {"image_proj", "ip_adapter"} or not all(content.values()):
        raise ValueError(
            f"{source}: is no IP-Adapter file, which holds image_proj and ip_adapter and nothing "
            f"else; this one has {', '.join(sorted(content)[:3])}"
        )
    return content["image_proj"], content["ip_adapter"]


def fill_processors(unet: UNet2DConditionModel, state: State, source: str | Path) -> None:
    """Fill the cross-attentions from an IP-Adapter file, which numbers all attentions in the order
    in which the UNet holds them: `1.to_k_ip.weight`, `3.to_k_ip.weight`, ...

    The resampler must not be in its place yet, since it has attentions too.

    Raises:
        ValueError: the file is of another UNet.
    """
    adapters = torch.nn.ModuleDict(
        {
            str(number): processor
            for number, processor in enumerate(unet.attn_processors.values())
            if isinstance(processor, ImagePromptAttention)
        }
    )
    ours = {key.replace("_ip.weight", "_ip.0.weight"): tensor for key, tensor in state.items()}
    fill(adapters, ours, source)
