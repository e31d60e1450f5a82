"""Look into a model at one timestep: its attention's flows, their worth, and how well it denoises.

The noise of a sample comes from (seed, name), so two models see the same input.
"""

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.diffusion import diffusion_loss
from leffa.losses.flow import FlowRequest, warp
from leffa.metrics.flow import FlowMetrics
from leffa.models.interface import PersonGenerator, Prediction
from leffa.models.sampler import name_noise


@torch.no_grad()
def inspect_attention(
    model: PersonGenerator, batch: Batch, request: FlowRequest, timestep: int = 200, seed: int = 0
) -> Prediction:
    """Noise the target to `timestep` and predict, with the flows asked for."""
    noisy, timesteps, _, _ = _noised(model, batch, timestep, seed)
    return model.predict_noise(noisy, timesteps, model.encode(batch), request)


@torch.no_grad()
def denoising_error(model: PersonGenerator, batch: Batch, timestep: int, seed: int = 0) -> Tensor:
    """The diffusion loss of each sample at one timestep, (B,)."""
    noisy, timesteps, clean, noise = _noised(model, batch, timestep, seed)
    predicted = model.predict_noise(noisy, timesteps, model.encode(batch)).noise
    return diffusion_loss(predicted, model.schedule.target(clean, noise, timesteps))


def warp_values(flow: Tensor, batch: Batch) -> dict[str, Tensor]:
    """What a flow (B, h, w, 2) is worth without the true one, each (B,).

    `warp_error`: the squared error of the warped reference, mean over the loss's region and
    channels as in the Leffa loss, 0 where the region is empty; `spread`: how far apart the places
    looked at are.
    """
    reference, source, region = (
        batch[key].float() for key in ("reference", "source", "loss_region")
    )
    error = (warp(reference, flow) - source).square().mean(dim=1, keepdim=True) * region
    area = region.sum(dim=(1, 2, 3)).clamp_min(1)
    spread = flow.flatten(1, 2).std(dim=1).mean(dim=-1)
    return {"warp_error": error.sum(dim=(1, 2, 3)) / area, "spread": spread}


def true_flow_values(flow: Tensor, batch: Batch) -> tuple[dict[str, Tensor], int]:
    """The means of `FlowMetrics` over the samples whose true flow is seen somewhere, and how many
    those are; with none, values that must not count."""
    valid = batch["flow_valid"]
    seen = int(valid.flatten(1).any(dim=1).sum())
    metrics = FlowMetrics().to(flow.device)
    metrics.update(flow, batch["flow"], valid if seen else torch.ones_like(valid))
    return metrics.compute(), seen


def _noised(
    model: PersonGenerator, batch: Batch, timestep: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    clean = model.encode_target(batch)
    noise = name_noise(batch["name"], tuple(clean.shape[1:]), seed, clean.device)
    timesteps = torch.full((len(noise),), timestep, device=clean.device)
    return model.schedule.add_noise(clean, noise, timesteps), timesteps, clean, noise
