"""Tiny bases, and what tests ask a CatVTON on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import FlowRequest, LeffaLoss
from leffa.models.catvton import CatVTON
from leffa.models.interface import Prediction

MakeBatch = Callable[..., Batch]
Bases = Callable[[int], Path]
ALL_LAYERS = FlowRequest(temperature=1.0, min_resolution=0.0)
VAE = {
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [8, 8],  # 2 pixels per latent cell
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
}


def build(base: Path, **changes: Any) -> CatVTON:
    return CatVTON.build(base, base, base, **changes)


def noise_for(model: CatVTON, batch: Batch) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    return torch.randn(len(batch["name"]), *model.latent_shape(batch), generator=generator)


def predict(model: CatVTON, batch: Batch, flow: FlowRequest | None = None) -> Prediction:
    timesteps = torch.arange(1, len(batch["name"]) + 1) * 100
    return model.predict_noise(noise_for(model, batch), timesteps, model.encode(batch), flow)


def leffa_loss(prediction: Prediction, batch: Batch) -> Tensor:
    pictures = (batch["reference"], batch["source"], batch["loss_region"])
    return LeffaLoss()(prediction.flows, *pictures, len(batch["name"])).total


def gradients(model: CatVTON) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def attention_names(model: CatVTON) -> set[str]:
    return {name for name, _ in model.named_parameters() if ".attn1." in name}
