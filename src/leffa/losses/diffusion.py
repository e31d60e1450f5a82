"""Diffusion: timesteps, noising, and the target of an epsilon or v prediction.

z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) eps          a_t: the cumulative product of 1 - beta
epsilon-prediction asks for eps; v-prediction for sqrt(a_t) eps - sqrt(1 - a_t) z_0
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from leffa.losses.schedule import Gate, Generators, NoiseSchedule, check_choice, draw

PredictionType = Literal["epsilon", "v_prediction"]


class DiffusionSchedule(NoiseSchedule):
    """The forward process q(z_t | z_0) and the target of the network.

    It is not a module, so its table stays exact when the weights are cast to 16 bits, and results
    have at least float32: bfloat16 would round sigma at t = 990 from 0.9974 to 0.9961.

    Args:
        alphas_cumprod: (T,) a_t in [0, 1], as in diffusers' training schedulers.
        prediction_type: "epsilon" or "v_prediction", as in the scheduler's config.
    """

    kind: ClassVar[str] = "diffusion"
    gated_by: ClassVar[Gate] = "max_timestep"

    def __init__(self, alphas_cumprod: Tensor, prediction_type: PredictionType = "epsilon") -> None:
        check_choice("prediction_type", prediction_type, get_args(PredictionType))
        self.alphas_cumprod = alphas_cumprod.detach().double()
        self.prediction_type = prediction_type
        self._on_device: dict[torch.device, Tensor] = {}

    @property
    def steps(self) -> int:
        return len(self.alphas_cumprod)

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """z_t, (B, C, h, w), for z_0 and noise of that shape and timesteps (B,)."""
        signal, sigma = self._weights(timesteps, clean)
        return signal * clean + sigma * noise

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        if self.prediction_type == "epsilon":
            return noise
        signal, sigma = self._weights(timesteps, clean)
        return signal * noise - sigma * clean

    def gate(self, value: float) -> float:
        """The timestep in [0, T) from which on a sample takes no part: `value` itself."""
        return value

    def loss_weight(self, timesteps: Tensor, min_snr_gamma: float | None) -> Tensor:
        """(B,) weights of min-SNR (arXiv 2303.09556, section 3.4); ones where gamma is None."""
        if min_snr_gamma is None:
            return torch.ones(len(timesteps), device=timesteps.device)
        alpha = self._alpha(timesteps)
        snr = alpha / (1 - alpha).clamp_min(1e-12)
        clipped = snr.clamp_max(min_snr_gamma)
        divisor = snr if self.prediction_type == "epsilon" else snr + 1
        return (clipped / divisor.clamp_min(1e-12)).float()

    def _weights(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self._alpha(timesteps).view(-1, *[1] * (like.ndim - 1))
        precision = torch.promote_types(like.dtype, torch.float32)
        return alpha.sqrt().to(precision), (1 - alpha).sqrt().to(precision)

    def _alpha(self, timesteps: Tensor) -> Tensor:
        device = timesteps.device
        if device not in self._on_device:
            exact = device.type in ("cpu", "cuda")  # Apple's MPS has no float64
            table = self.alphas_cumprod if exact else self.alphas_cumprod.float()
            self._on_device[device] = table.to(device)
        return self._on_device[device][timesteps]


@dataclass(frozen=True)
class TimestepSampling:
    """The distribution of training timesteps.

    Args:
        distribution: "uniform" over [0, steps), or "cubic", t = (1 - u^3) steps, which favours
            late, noisy timesteps (CFLD, section 4.1).
    """

    distribution: Literal["uniform", "cubic"] = "uniform"

    def __post_init__(self) -> None:
        check_choice("timestep_sampling", self.distribution, ("uniform", "cubic"))

    def sample(self, count: int, steps: int, generators: Generators = None) -> Tensor:
        """(count,) integers in [0, steps)."""
        u = draw(torch.rand, (count,), generators)
        share = u if self.distribution == "uniform" else 1 - u**3
        return (share * steps).long().clamp_(0, steps - 1)

    def probability_below(self, timestep: float, steps: int) -> float:
        share = min(max(timestep / steps, 0.0), 1.0)
        return share if self.distribution == "uniform" else 1 - (1 - share) ** (1 / 3)
