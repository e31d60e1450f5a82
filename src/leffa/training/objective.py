"""One training step as a function of a model and a batch: no trainer, no logging."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.diffusion import DiffusionSchedule, TimestepSampling
from leffa.losses.flow import LeffaLoss, LeffaLossOutput
from leffa.losses.flow_matching import (
    FlowMatchingSchedule,
    Law,
    SigmaSampling,
    Weighting,
    resolution_shift,
    sigma_weight,
)
from leffa.losses.request import LayerTokens, keep_tokens
from leffa.losses.schedule import Generators, NoiseSchedule, TimestepLaw, denoising_loss, draw
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
class TrainingObjective(ABC):
    """L = L_denoising + weight * L_leffa (Leffa, Eq. 5), or another loss on the attention instead.

    Sampling and weighting depend on the kind; all else is here.

    Args:
        reference_dropout: probability that a sample loses its reference, for classifier-free
            guidance. The paper states no rate; 0.1 is usual (arXiv 2207.12598).
    """

    reference_dropout: float = 0.1

    name: ClassVar[str]  # its file in conf/objective
    trains: ClassVar[type[NoiseSchedule]]

    def __post_init__(self) -> None:
        if not 0 <= self.reference_dropout <= 1:
            raise ValueError(
                f"objective.reference_dropout must lie in [0, 1], got {self.reference_dropout}"
            )

    @abstractmethod
    def law(self, schedule: NoiseSchedule, tokens: int) -> TimestepLaw:
        """The distribution of timesteps for latents of `tokens` tokens."""

    @abstractmethod
    def loss_weight(self, schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
        """(B,) weights of the denoising loss."""

    def check(self, schedule: NoiseSchedule, leffa_loss: LeffaLoss | None) -> None:
        """Refuse what cannot train a model of this schedule.

        Args:
            leffa_loss: None where no stage uses it.

        Raises:
            ValueError: another kind's schedule, a gate of the other kind, or a gate that no sample
                can pass.
        """
        if not isinstance(schedule, self.trains):
            raise ValueError(
                f"objective={self.name}: the backbone's scheduler is for {schedule.kind}; give "
                f"objective={schedule.kind.replace(' ', '_')}, or another backbone"
            )
        if leffa_loss is None:
            return
        leffa_loss.check_gate(schedule)
        if not self.participation(leffa_loss, schedule):
            gate = schedule.gated_by
            raise ValueError(
                f"leffa_loss.{gate}={getattr(leffa_loss, gate)} with "
                f"objective.reference_dropout={self.reference_dropout:g}: no sample can take "
                "part in the Leffa loss; change one of them, or give leffa_loss=off"
            )

    def participation(
        self, leffa_loss: LeffaLoss, schedule: NoiseSchedule, tokens: int = 1024
    ) -> float:
        """The probability that a sample takes part in the Leffa loss: little noise, and a reference
        that is not dropped."""
        law = self.law(schedule, tokens)
        early = law.probability_below(leffa_loss.gate(schedule), schedule.steps)
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
        device, schedule, count = batch["source"].device, model.schedule, len(batch["name"])
        tokens_each = model.token_count(model.latent_shape(batch))
        law = self.law(schedule, tokens_each)
        # Drawn where the generators are: with the CPU's, who takes part is known without waiting.
        timesteps = law.sample(count, schedule.steps, generators)
        dropped = draw(torch.rand, (count,), generators) < self.reference_dropout
        # Without a reference there is nothing to attend to.
        gate = leffa_loss.gate(schedule) if leffa_loss else 0.0
        selected = leffa_loss.select(timesteps, ~dropped, gate) if leffa_loss else timesteps[:0]
        timesteps, dropped, selected = (
            each.to(device, non_blocking=True) for each in (timesteps, dropped, selected)
        )
        conditioning = model.encode(batch, generators, sample=True).drop(dropped)
        clean = model.encode_target(batch, generators, sample=True)
        noise = draw(torch.randn, clean.shape, generators, device)
        noisy = schedule.add_noise(clean, noise, timesteps)

        tokens: dict[str, LayerTokens] = {}
        tap = keep_tokens(tokens) if leffa_loss and leffa_loss.needs_tokens else None
        request = leffa_loss.request(selected, tap=tap) if leffa_loss and len(selected) else None
        prediction = model.predict_noise(noisy, timesteps, conditioning, request)

        target = schedule.target(clean, noise, timesteps)
        weight = self.loss_weight(schedule, timesteps)
        diffusion = denoising_loss(prediction.noise, target, weight)
        result = StepResult(
            diffusion.mean(), diffusion.detach(), timesteps, diffusion.new_zeros(())
        )
        if leffa_loss and request:
            expected = count * self.participation(leffa_loss, schedule, tokens_each)
            leffa = _attention_loss(leffa_loss, prediction.flows, tokens, batch, selected, expected)
            result.loss = result.loss + leffa_loss.weight * leffa.total
            result.leffa = leffa.total.detach()
            result.layers = {name: loss.detach() for name, loss in leffa.layers.items()}
            result.selected = len(selected)
        return result


@dataclass(frozen=True)
class DiffusionObjective(TrainingObjective):
    """Of a model that predicts epsilon or v.

    Args:
        min_snr_gamma: min-SNR weighting of the denoising loss; None, as in the paper, for none.
        timestep_sampling: how timesteps are drawn, see `TimestepSampling`.
    """

    min_snr_gamma: float | None = None
    timestep_sampling: Literal["uniform", "cubic"] = "uniform"

    name: ClassVar[str] = "diffusion"
    trains: ClassVar[type[NoiseSchedule]] = DiffusionSchedule

    def __post_init__(self) -> None:
        super().__post_init__()
        TimestepSampling(self.timestep_sampling)  # refuses what it does not know
        if self.min_snr_gamma is not None and self.min_snr_gamma <= 0:
            raise ValueError(
                f"objective.min_snr_gamma must be positive or null, got {self.min_snr_gamma}"
            )

    def law(self, schedule: NoiseSchedule, tokens: int) -> TimestepLaw:
        return TimestepSampling(self.timestep_sampling)

    def loss_weight(self, schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
        assert isinstance(schedule, DiffusionSchedule)
        return schedule.loss_weight(timesteps, self.min_snr_gamma)


@dataclass(frozen=True)
class FlowMatchingObjective(TrainingObjective):
    """Of a model that predicts the velocity, noise - clean (arXiv 2403.03206).

    Args:
        timestep_sampling, logit_mean, logit_std, mode_scale: how sigmas are drawn, see
            `SigmaSampling`.
        shift: of what is drawn: "scheduler", as the base's scheduler shifts in sampling;
            "resolution", by the square root of the number of tokens (`resolution_shift`); or a
            number, 1 for none.
        weighting: of the denoising loss, see `sigma_weight`.
    """

    timestep_sampling: Law = "logit_normal"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    mode_scale: float = 1.29
    shift: float | Literal["scheduler", "resolution"] = "scheduler"
    weighting: Weighting = "none"

    name: ClassVar[str] = "flow_matching"
    trains: ClassVar[type[NoiseSchedule]] = FlowMatchingSchedule

    def __post_init__(self) -> None:
        super().__post_init__()
        named = self.shift in ("scheduler", "resolution")
        if not named and (isinstance(self.shift, (str, bool)) or self.shift <= 0):
            raise ValueError(
                "objective.shift must be scheduler, resolution or a positive number, got "
                f"{self.shift!r}"
            )
        try:
            self._law(1.0)
            sigma_weight(torch.ones(1), self.weighting)
        except ValueError as error:
            raise ValueError(f"objective.{error}") from None
        for law, keys in _OF_LAW.items():
            for key in keys if law != self.timestep_sampling else ():
                if (value := getattr(self, key)) != getattr(SigmaSampling, key):
                    raise ValueError(
                        f"objective.{key}={value} is only for objective.timestep_sampling={law}, "
                        f"not {self.timestep_sampling}"
                    )

    def law(self, schedule: NoiseSchedule, tokens: int) -> TimestepLaw:
        if self.shift == "resolution":
            return self._law(resolution_shift(tokens))
        if self.shift == "scheduler":
            assert isinstance(schedule, FlowMatchingSchedule)
            return self._law(schedule.shift(tokens))
        return self._law(float(self.shift))

    def loss_weight(self, schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
        return sigma_weight(timesteps / schedule.steps, self.weighting)

    def _law(self, shift: float) -> SigmaSampling:
        settings = (self.timestep_sampling, self.logit_mean, self.logit_std, self.mode_scale)
        return SigmaSampling(*settings, shift)


# Settings that one law alone reads.
_OF_LAW = {"logit_normal": ("logit_mean", "logit_std"), "mode": ("mode_scale",)}


def _attention_loss(
    loss: LeffaLoss,
    flows: dict[str, Tensor],
    tokens: dict[str, LayerTokens],
    batch: Batch,
    selected: Tensor,
    expected_samples: float,
) -> LeffaLossOutput:
    """Of the selected samples of a batch; raises ValueError where no layer takes part."""
    if not flows:
        raise ValueError(
            f"leffa_loss.min_resolution={loss.min_resolution:g}: no attention layer of "
            "leffa_loss.layers is that fine, so the Leffa loss would be 0; give a smaller value, "
            "other layers, or leffa_loss=off"
        )
    truth = loss.needs_ground_truth
    return loss(
        flows,
        batch["reference"][selected],
        batch["source"][selected],
        batch["loss_region"][selected],
        expected_samples=expected_samples,
        tokens=tokens,
        ground_truth=(batch["flow"][selected], batch["flow_valid"][selected]) if truth else None,
        matches=batch["matches"][selected] if loss.needs_matches else None,
    )
