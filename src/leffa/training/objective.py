"""One training step as a function of a model and a batch: no trainer, no logging."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.diffusion import diffusion_loss, sample_timesteps
from leffa.losses.flow import LeffaLoss
from leffa.models.interface import PersonGenerator


@dataclass
class StepResult:
    """The loss of a batch and its parts; everything but `loss` is detached."""

    loss: Tensor  # ()
    diffusion: Tensor  # (B,)
    timesteps: Tensor  # (B,)
    leffa: Tensor  # () unweighted
    layers: dict[str, Tensor] = field(default_factory=dict)  # () Leffa loss per layer
    selected: int = 0  # samples that took part in the Leffa loss


@dataclass(frozen=True)
class TrainingObjective:
    """L = L_diffusion + weight * L_leffa (Leffa, Eq. 5).

    Args:
        reference_dropout: probability that a sample loses its reference, for classifier-free
            guidance. The paper states no rate; 0.1 is usual (arXiv 2207.12598).
        min_snr_gamma: min-SNR weighting of the diffusion loss; None, as in the paper, for none.
        timestep_law: see `sample_timesteps`.
    """

    reference_dropout: float = 0.1
    min_snr_gamma: float | None = None
    timestep_law: Literal["uniform", "cubic"] = "uniform"

    def __post_init__(self) -> None:
        if not 0 <= self.reference_dropout <= 1:
            raise ValueError(
                f"objective.reference_dropout must lie in [0, 1], got {self.reference_dropout}"
            )

    def __call__(
        self,
        model: PersonGenerator,
        batch: Batch,
        leffa_loss: LeffaLoss | None,
        generator: torch.Generator,
    ) -> StepResult:
        """Evaluate the network once and compute the loss.

        Args:
            leffa_loss: None where the Leffa loss is off.
            generator: on the batch's device; all randomness of the step comes from it.
        """
        device = batch["source"].device
        count = len(batch["name"])
        timesteps = sample_timesteps(count, model.schedule.steps, self.timestep_law, generator)
        chance = torch.rand(count, generator=generator, device=device, dtype=torch.float32)
        dropped = chance < self.reference_dropout
        conditioning = model.encode(batch, generator, sample=True).drop(dropped)
        clean = model.encode_target(batch, generator, sample=True)
        noise = torch.randn(clean.shape, generator=generator, device=device, dtype=torch.float32)
        noisy = model.schedule.add_noise(clean, noise, timesteps)

        # Without its reference a sample has nothing to look at.
        selected = leffa_loss.select(timesteps, usable=~dropped) if leffa_loss else timesteps[:0]
        request = leffa_loss.request(selected) if leffa_loss and len(selected) else None
        prediction = model.predict_noise(noisy, timesteps, conditioning, request)

        target = model.schedule.target(clean, noise, timesteps)
        weight = model.schedule.loss_weight(timesteps, self.min_snr_gamma)
        diffusion = diffusion_loss(prediction.noise, target, weight)
        result = StepResult(
            diffusion.mean(), diffusion.detach(), timesteps, diffusion.new_zeros(())
        )
        if leffa_loss and request:
            leffa = leffa_loss(
                prediction.flows,
                batch["reference"][selected],
                batch["source"][selected],
                batch["loss_region"][selected],
            )
            result.loss = result.loss + leffa_loss.weight * leffa.total
            result.leffa = leffa.total.detach()
            result.layers = {name: loss.detach() for name, loss in leffa.layers.items()}
            result.selected = len(selected)
        return result
