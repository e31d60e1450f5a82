"""Tiny networks in SDXL's shape, and an IDM-VTON of them."""

import string
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from model_parts import SCHEDULER, VAE
from model_parts import SDXL_INPAINTING as SDXL
from torch import Tensor

from leffa.models.idm_vton import IDMVTON, Conditioning

__all__ = ["SCHEDULER", "SDXL", "VAE"]

CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
ADAPTER = {"hidden_dims": 16, "depth": 1, "heads": 2, "dim_head": 8, "num_queries": 3}
ALL = ("unet", "garment_unet", "image_encoder")
TIMESTEPS = torch.tensor([10, 700])

# As published.
State = dict[str, Tensor]
UNET_FILE = "unet/diffusion_pytorch_model.bin"
TRYON = SDXL | {"in_channels": 13}
GARMENT = SDXL | {"in_channels": 4}
IMAGE_WIDTH, TEXT_WIDTH = 16, 12


def build(seed: int = 0, **changes: Any) -> IDMVTON:
    """A tiny SDXL-shaped model with random weights, whose adapter counts."""
    torch.manual_seed(seed)
    parts = {"unet": SDXL, "garment_unet": SDXL, "image_encoder": CLIP, "adapter": ADAPTER}
    settings = {"vae": VAE, "scheduler": SCHEDULER, "trainable": ALL, **parts, **changes}
    model = IDMVTON(**settings).eval()
    for processor in model.unet.attn_processors.values():
        if hasattr(processor, "to_v_ip"):
            torch.nn.init.normal_(processor.to_v_ip[0].weight, std=0.5)
    return model


def scale_adapter(model: IDMVTON, scale: float) -> None:
    """How much the image-prompt adapter counts: 1 is as published, 0 without it."""
    for processor in model.unet.attn_processors.values():
        if hasattr(processor, "to_k_ip"):
            processor.scale = [scale] * len(processor.scale)


def predict(model: IDMVTON, noisy: Tensor, conditioning: Conditioning) -> Tensor:
    with torch.no_grad():
        return model.predict_noise(noisy, TIMESTEPS, conditioning).noise


def published_resampler(hidden: int = 64, depth: int = 4, queries: int = 3) -> State:
    """A resampler of IP-Adapter Plus by the names of its authors; one head of 64."""
    state = {
        "latents": torch.randn(1, queries, hidden),
        "proj_in.weight": torch.randn(hidden, IMAGE_WIDTH),
        "proj_in.bias": torch.randn(hidden),
        "proj_out.weight": torch.randn(TEXT_WIDTH, hidden),
        "proj_out.bias": torch.randn(TEXT_WIDTH),
        "norm_out.weight": torch.randn(TEXT_WIDTH),
        "norm_out.bias": torch.randn(TEXT_WIDTH),
    }
    shapes = {
        "0.norm1.weight": (hidden,),
        "0.norm1.bias": (hidden,),
        "0.norm2.weight": (hidden,),
        "0.norm2.bias": (hidden,),
        "0.to_q.weight": (64, hidden),
        "0.to_kv.weight": (128, hidden),
        "0.to_out.weight": (hidden, 64),
        "1.0.weight": (hidden,),
        "1.0.bias": (hidden,),
        "1.1.weight": (4 * hidden, hidden),
        "1.3.weight": (hidden, 4 * hidden),
    }
    for layer in range(depth):
        state |= {f"layers.{layer}.{name}": torch.randn(shape) for name, shape in shapes.items()}
    return state


def published_attentions(unet: UNet2DConditionModel) -> dict[str, State]:
    """The adapter's keys and values for each cross-attention, by the name of its processor."""
    state = {}
    for name in unet.attn_processors:
        if name.endswith(".attn2.processor"):
            inner = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            state[name] = {
                f"to_{each}_ip.weight": torch.randn(inner, TEXT_WIDTH) for each in ("k", "v")
            }
    return state


def transformers() -> Any:
    """An optional package."""
    return pytest.importorskip("transformers")


LENGTH = 77  # tokens of a text, as CLIP has them
# Side by side as wide as the tiny networks' text, 12; the second one's projection is their pooled
# text: 64 - 6 x 8.
WIDTHS = {"text_encoder": 4, "text_encoder_2": 8}
POOLED = 16
START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = {
    token: number
    for number, token in enumerate(
        [START, END, *(f"{c}{end}" for c in f"{string.ascii_lowercase},!" for end in ("", "</w>"))]
    )
}


def encoder_config(part: str) -> Any:
    return transformers().CLIPTextConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTHS[part],
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=POOLED,
        bos_token_id=VOCABULARY[START],
        eos_token_id=VOCABULARY[END],
    )


def save_text_encoders(folder: Path) -> Path:
    """Tiny text encoders and tokenizers, as transformers writes them."""
    torch.manual_seed(2)
    kinds = (transformers().CLIPTextModel, transformers().CLIPTextModelWithProjection)
    for part, kind in zip(WIDTHS, kinds, strict=True):
        encoder = kind(encoder_config(part))
        for parameter in encoder.parameters():  # the usual beginnings are too small to tell apart
            torch.nn.init.normal_(parameter, std=0.5)
        encoder.save_pretrained(folder / part)
    # SDXL pads the second one's texts with another token.
    for part, pad in (("tokenizer", END), ("tokenizer_2", "!")):
        transformers().CLIPTokenizer(
            vocab=VOCABULARY, merges=[], pad_token=pad, model_max_length=LENGTH
        ).save_pretrained(folder / part)
    return folder
