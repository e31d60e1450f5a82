"""The image-prompt adapter: a garment's image as a few tokens beside the text's.

Both halves are diffusers' own classes: the resampler of IP-Adapter Plus, which makes the tokens,
and the decoupled cross-attention, which reads them with keys and values of its own
(arXiv 2308.06721, section 3.2).
"""

import textwrap
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import IPAdapterPlusImageProjection, MultiIPAdapterImageProjection
from torch import Tensor

from leffa.io.weights import fill, load_weights, read_pickle
from leffa.models.attention import AttentionExchange
from leffa.models.loading import hub_file

State = dict[str, Tensor]

_RESAMPLER = "encoder_hid_proj."  # in a published try-on UNet


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
    """
    known = ("hidden_dims", "depth", "heads", "dim_head", "num_queries", "ffn_ratio")
    if unknown := sorted(config.keys() - set(known)):
        raise ValueError(f"model.adapter: unknown {unknown[0]!r}; choose from {', '.join(known)}")
    return IPAdapterPlusImageProjection(embed_dims, output_dims, **config)


def published_resampler(unet: UNet2DConditionModel, state: State, source: str | Path) -> Any:
    """A resampler from its authors' weights, by diffusers' own conversion."""
    try:
        resampler = unet._convert_ip_adapter_image_proj_to_diffusers(state, low_cpu_mem_usage=False)
    except (LookupError, RuntimeError) as error:
        reason = textwrap.shorten(str(error), 300)
        raise ValueError(f"{source}: is no IP-Adapter Plus ({reason})") from error
    if not isinstance(resampler, IPAdapterPlusImageProjection):
        raise ValueError(f"{source}: is no IP-Adapter Plus, but a {type(resampler).__name__}")
    return resampler


def place_resampler(unet: UNet2DConditionModel, resampler: Any) -> None:
    """Let a UNet pass its image embeddings through the resampler, in place."""
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([resampler])
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")


def split_published(state: State) -> tuple[State, State]:
    """(resampler, all the rest) of a published try-on UNet: its authors' names, and ours."""
    resampler, rest = {}, {}
    for key, tensor in state.items():
        if key.startswith(_RESAMPLER):
            resampler[key.removeprefix(_RESAMPLER)] = tensor
        else:
            rest[key.replace("_ip.weight", "_ip.0.weight")] = tensor
    return resampler, rest


def read_adapter(source: str | Path) -> tuple[State, State]:
    """(resampler, cross-attentions) of an IP-Adapter file, in its own names."""
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
