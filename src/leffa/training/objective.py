"""One training step as a function of a model and a batch: no trainer, no logging."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.diffusion import Generators, TimestepSampling, diffusion_loss, draw
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import LayerTokens, keep_tokens
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

    def detach(self) -> "StepResult":
        return replace(self, loss=self.loss.detach())

    @classmethod
    def merge(cls, parts: Sequence["StepResult"]) -> "StepResult":
        """Of parts of equal size that make one batch: the result of the batch."""
        names = sorted({name for part in parts for name in part.layers})
        nothing = torch.zeros_like(parts[0].leffa)  # a part without selected samples
        return cls(
            torch.stack([part.loss for part in parts]).mean(),
            torch.cat([part.diffusion for part in parts]),
            torch.cat([part.timesteps for part in parts]),
            torch.stack([part.leffa for part in parts]).mean(),
            {
                name: torch.stack([part.layers.get(name, nothing) for part in parts]).mean()
                for name in names
            },
            sum(part.selected for part in parts),
        )


@dataclass(frozen=True)
class TrainingObjective:
    """L = L_diffusion + weight * L_leffa (Leffa, Eq. 5), or another loss on the attention instead.

    Args:
        reference_dropout: probability that a sample loses its reference, for classifier-free
            guidance. The paper states no rate; 0.1 is usual (arXiv 2207.12598).
        min_snr_gamma: min-SNR weighting of the diffusion loss; None, as in the paper, for none.
        timestep_sampling: how timesteps are drawn, see `TimestepSampling`.
    """

    reference_dropout: float = 0.1
    min_snr_gamma: float | None = None
    timestep_sampling: Literal["uniform", "cubic"] = "uniform"

    def __post_init__(self) -> None:
        if not 0 <= self.reference_dropout <= 1:
            raise ValueError(
                f"objective.reference_dropout must lie in [0, 1], got {self.reference_dropout}"
            )
        TimestepSampling(self.timestep_sampling)  # refuses what it does not know

    def participation(self, leffa_loss: LeffaLoss, steps: int) -> float:
        """The probability that a sample takes part in the Leffa loss: an early timestep of the
        `steps`, and a reference that is not dropped."""
        sampling = TimestepSampling(self.timestep_sampling)
        early = sampling.probability_below(leffa_loss.max_timestep, steps)
        return early * (1 - self.reference_dropout)

    def __call__(
        self,
        model: PersonGenerator,
        batch: Batch,
        leffa_loss: LeffaLoss | None,
        generators: Generators,
    ) -> StepResult:
        """Evaluate the network once and compute the loss.

        Args:
            leffa_loss: or another of `losses.attention`; None where it is off.
            generators: of all that is random about the samples: one for each, or one for all.
        """
        device, steps = batch["source"].device, model.schedule.steps
        count = len(batch["name"])
        sampling = TimestepSampling(self.timestep_sampling)
        timesteps = sampling.sample(count, steps, generators, device)
        dropped = draw(torch.rand, (count,), generators, device) < self.reference_dropout
        conditioning = model.encode(batch, generators, sample=True).drop(dropped)
        clean = model.encode_target(batch, generators, sample=True)
        noise = draw(torch.randn, clean.shape, generators, device)
        noisy = model.schedule.add_noise(clean, noise, timesteps)

        # Without its reference a sample has nothing to look at.
        selected = leffa_loss.select(timesteps, usable=~dropped) if leffa_loss else timesteps[:0]
        tokens: dict[str, LayerTokens] = {}
        tap = keep_tokens(tokens) if leffa_loss and leffa_loss.needs_tokens else None
        request = leffa_loss.request(selected, tap=tap) if leffa_loss and len(selected) else None
        prediction = model.predict_noise(noisy, timesteps, conditioning, request)

        target = model.schedule.target(clean, noise, timesteps)
        weight = model.schedule.loss_weight(timesteps, self.min_snr_gamma)
        diffusion = diffusion_loss(prediction.noise, target, weight)
        result = StepResult(
            diffusion.mean(), diffusion.detach(), timesteps, diffusion.new_zeros(())
        )
        if leffa_loss and request:
            if not prediction.flows:
                raise ValueError(
                    f"leffa_loss.min_resolution={leffa_loss.min_resolution:g}: no attention layer "
                    "of leffa_loss.layers is so fine, so the Leffa loss would be 0; give a smaller "
                    "one, other layers, or leffa_loss=off"
                )
            leffa = leffa_loss(
                prediction.flows,
                batch["reference"][selected],
                batch["source"][selected],
                batch["loss_region"][selected],
                expected_samples=count * self.participation(leffa_loss, steps),
                tokens=tokens,
                ground_truth=_ground_truth(batch, selected, leffa_loss.needs_ground_truth),
                matches=batch["matches"][selected] if leffa_loss.needs_matches else None,
            )
            result.loss = result.loss + leffa_loss.weight * leffa.total
            result.leffa = leffa.total.detach()
            result.layers = {name: loss.detach() for name, loss in leffa.layers.items()}
            result.selected = len(selected)
        return result


def _ground_truth(batch: Batch, selected: Tensor, needed: bool) -> tuple[Tensor, Tensor] | None:
    return (batch["flow"][selected], batch["flow_valid"][selected]) if needed else None
