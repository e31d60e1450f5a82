"""One evaluation of a network at a chosen timestep: what its attention sees, how well it denoises.

encoded = encode_batch(model, batch)
noised_forward(model, encoded, timestep=200, request=FlowRequest()).prediction.flows

The noise of a sample comes from (seed, name), so two models see the same input.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.io.numbers import check_number
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import denoising_loss
from leffa.models.interface import Conditioning, PersonGenerator, Prediction
from leffa.models.sampler import name_noise


@dataclass(frozen=True)
class EncodedBatch:
    """An encoded batch, usable for any number of timesteps."""

    batch: Batch  #: with its `latents`, so that it is not encoded again
    clean: Tensor  #: (B, C, h, w), the latent that noise is added to
    conditioning: Conditioning


@dataclass(frozen=True)
class NoisedForward:
    """A network's prediction for noisy latents, and its target."""

    prediction: Prediction  #: with the flows that were asked for
    target: Tensor  #: (B, C, h, w): epsilon, v or velocity, as the schedule says

    def loss(self) -> Tensor:
        """The denoising loss of each sample, (B,)."""
        return denoising_loss(self.prediction.noise, self.target)


def check_timesteps(key: str, timesteps: Sequence[int], model: PersonGenerator) -> None:
    """Raise ValueError for one that the model's schedule does not have."""
    last = model.schedule.steps - 1
    for timestep in timesteps:
        check_number(key, timestep, int)
        if not 0 <= timestep <= last:
            raise ValueError(f"{key}={timestep}: give 0 to {last}")


@torch.no_grad()
def encode_batch(
    model: PersonGenerator, batch: Batch, painted: Tensor | None = None
) -> EncodedBatch:
    """Run the autoencoder and the model's other encoders once.

    Args:
        painted: (B, 3, H, W) in [-1, 1], to add noise to instead of the true image.
    """
    painted = batch.get("truth") if painted is None else painted
    if painted is None:  # the source is the true image
        latents = batch["latents"] if "latents" in batch else model.latents(batch)
        batch = {**batch, "latents": latents}
        clean = model.encode_target(batch)
    else:
        result: Batch = {**batch, "source": painted}
        result.pop("latents", None)  # of the source
        clean = model.encode_target(result)
    return EncodedBatch(batch, clean, model.encode(batch))


@torch.no_grad()
def noised_forward(
    model: PersonGenerator,
    encoded: EncodedBatch,
    timestep: int,
    request: FlowRequest | None = None,
    seed: int = 0,
) -> NoisedForward:
    """Add noise up to `timestep` and run the network once, with the flows of `request`."""
    clean = encoded.clean
    noise = name_noise(encoded.batch["name"], tuple(clean.shape[1:]), seed, clean.device)
    timesteps = torch.full((len(noise),), timestep, device=clean.device)
    noisy = model.schedule.add_noise(clean, noise, timesteps)
    prediction = model.predict_noise(noisy, timesteps, encoded.conditioning, request)
    return NoisedForward(prediction, model.schedule.target(clean, noise, timesteps))
