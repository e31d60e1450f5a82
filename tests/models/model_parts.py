"""Tiny networks in the shapes of the real bases, and what the tests of every model ask of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import FlowRequest
from leffa.models.interface import PersonGenerator, Prediction

MakeBatch = Callable[..., Batch]

SD15 = {
    "in_channels": 4,
    "out_channels": 4,
    "sample_size": 8,
    "block_out_channels": [16, 32],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "cross_attention_dim": 12,
    "norm_num_groups": 8,
}
SDXL_INPAINTING = SD15 | {
    "in_channels": 9,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2],
    "attention_head_dim": [2, 4],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [8, 8],  # 2 pixels per latent cell
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
}
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ALL_LAYERS = FlowRequest(temperature=1.0, min_resolution=0.0)


def save_base(folder: Path, unet: dict[str, Any]) -> Path:
    """A pretrained base with this UNet."""
    torch.manual_seed(0)
    UNet2DConditionModel.from_config(unet).save_pretrained(folder / "unet")
    AutoencoderKL.from_config(VAE).save_pretrained(folder / "vae")
    DDPMScheduler(beta_schedule="scaled_linear").save_pretrained(folder / "scheduler")
    return folder


def noise_for(model: PersonGenerator, batch: Batch) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    return torch.randn(len(batch["name"]), *model.latent_shape(batch), generator=generator)


def predict(model: PersonGenerator, batch: Batch, flow: FlowRequest | None = None) -> Prediction:
    """At a timestep for each sample."""
    timesteps = torch.arange(1, len(batch["name"]) + 1) * 100.0
    return model.predict_noise(noise_for(model, batch), timesteps, model.encode(batch), flow)


def check_flows_of_some(model: PersonGenerator, batch: Batch) -> None:
    """Asking for flows changes no prediction, and those of some of 4 samples are those of all."""
    chosen = torch.tensor([3, 1])
    quiet, everyone = predict(model, batch), predict(model, batch, ALL_LAYERS)
    assert quiet.flows == {}
    assert torch.equal(quiet.noise, everyone.noise)
    some = predict(model, batch, FlowRequest(1.0, 0.0, samples=chosen)).flows
    assert some.keys() == everyone.flows.keys()
    for name, flow in some.items():
        torch.testing.assert_close(flow, everyone.flows[name][chosen])


def leffa_loss(prediction: Prediction, batch: Batch) -> Tensor:
    """Of a step in which every sample takes part."""
    pictures = (batch["reference"], batch["source"], batch["loss_region"])
    return LeffaLoss()(prediction.flows, *pictures, len(batch["name"])).total


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
