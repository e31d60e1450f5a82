"""Flow matching (rectified flow, arXiv 2403.03206): a straight path from the latent to the noise.

z = (1 - sigma) x + sigma eps       sigma in [0, 1]; the network gets t = T sigma
velocity = eps - x                  so x = z - sigma velocity
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from leffa.losses.precision import at_least_float32
from leffa.losses.schedule import Gate, Generators, NoiseSchedule, check_choice, draw

Law = Literal["uniform", "logit_normal", "mode"]
Weighting = Literal["none", "sigma_sqrt", "cosmap"]


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Larger where `shift` > 1: the same apparent noise at a higher resolution (Eq. 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def resolution_shift(tokens: int) -> float:
    """sqrt(m / n) of Eq. 23; 256 tokens are an image of 256x256 at 16 pixels per token."""
    return math.sqrt(tokens / 256)


@dataclass(frozen=True)
class DynamicShift:
    """A shift that depends on the number of tokens: diffusers' `use_dynamic_shifting`.

    Args:
        base_shift, max_shift: mu at `base_image_seq_len` and at `max_image_seq_len` tokens; linear
            in between and beyond.
        time_shift_type: the shift is exp(mu) for "exponential", mu for "linear".
    """

    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096
    time_shift_type: Literal["exponential", "linear"] = "exponential"

    def mu(self, tokens: int) -> float:
        """mu, as diffusers' `set_timesteps` takes it."""
        span = self.max_image_seq_len - self.base_image_seq_len
        share = (tokens - self.base_image_seq_len) / span
        return self.base_shift + share * (self.max_shift - self.base_shift)

    def __call__(self, tokens: int) -> float:
        """The shift of the sampler's sigmas for a latent of `tokens` tokens."""
        mu = self.mu(tokens)
        return math.exp(mu) if self.time_shift_type == "exponential" else mu


class FlowMatchingSchedule(NoiseSchedule):
    """The path between latents and noise, and the shift of the sampler's sigmas.

    Args:
        steps: T, the timestep of pure noise.
        shift: shift of the sampler's sigmas; or a function of the number of tokens.
    """

    kind: ClassVar[str] = "flow matching"
    gated_by: ClassVar[Gate] = "max_sigma"

    def __init__(self, steps: int = 1000, shift: float | Callable[[int], float] = 1.0) -> None:
        self._steps, self._shift = steps, shift

    @property
    def steps(self) -> int:
        """T, the timestep of pure noise."""
        return self._steps

    def shift(self, tokens: int) -> float:
        """The shift of the sampler's sigmas for a latent of `tokens` tokens."""
        return self._shift(tokens) if callable(self._shift) else self._shift

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """z, (B, C, h, w), for x and noise of that shape and timesteps (B,) in [0, T]."""
        sigma = timesteps.to(torch.promote_types(clean.dtype, torch.float32)) / self.steps
        sigma = sigma.view(-1, *[1] * (clean.ndim - 1))
        return (1 - sigma) * clean + sigma * noise

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The velocity eps - x, (B, C, h, w); the same at all timesteps."""
        return at_least_float32(noise) - at_least_float32(clean)

    def gate(self, value: float) -> float:
        """The timestep in [0, T] of a sigma in [0, 1]."""
        return value * self.steps


@dataclass(frozen=True)
class SigmaSampling:
    """The distribution of training sigmas (SD3, section 3.1).

    Args:
        law: "uniform"; "logit_normal", the sigmoid of a Gaussian (Eq. 19); or "mode", with heavy
            tails (Eq. 20).
        logit_mean, logit_std: of that Gaussian; a larger mean means more noise.
        mode_scale: s of Eq. 20, in [-1, 2 / (pi - 2)]; positive values favour the middle.
        shift: applied to the samples, see `shift_sigma`.
    """

    law: Law = "uniform"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    mode_scale: float = 1.29
    shift: float = 1.0

    def __post_init__(self) -> None:
        check_choice("timestep_sampling", self.law, get_args(Law))
        if self.logit_std <= 0:
            raise ValueError(f"logit_std must be positive, got {self.logit_std}")
        if not -1 <= self.mode_scale <= (largest := 2 / (math.pi - 2)):
            raise ValueError(f"mode_scale must lie in [-1, {largest:.4g}], got {self.mode_scale}")
        if self.shift <= 0:
            raise ValueError(f"shift must be positive, got {self.shift}")

    def sample(self, count: int, steps: int, generators: Generators = None) -> Tensor:
        """(count,) timesteps in [0, steps], float32: sigma is continuous, not from a table."""
        if self.law == "logit_normal":
            normal = draw(torch.randn, (count,), generators)
            sigma = torch.sigmoid(self.logit_mean + self.logit_std * normal)
        else:
            sigma = draw(torch.rand, (count,), generators)
            sigma = sigma if self.law == "uniform" else self._mode(sigma)
        return steps * shift_sigma(sigma, self.shift)

    def probability_below(self, timestep: float, steps: int) -> float:
        bound = min(max(timestep / steps, 0.0), 1.0)
        bound = bound / (self.shift - (self.shift - 1) * bound)  # before the shift
        if self.law == "uniform" or bound in (0.0, 1.0):
            return bound
        if self.law == "logit_normal":
            deviation = (math.log(bound / (1 - bound)) - self.logit_mean) / self.logit_std
            return 0.5 * math.erfc(-deviation / math.sqrt(2))
        low, high = 0.0, 1.0  # `_mode` falls from 1 to 0
        for _ in range(60):
            middle = (low + high) / 2
            above = self._mode(torch.tensor(middle, dtype=torch.float64)) > bound
            low, high = (middle, high) if above else (low, middle)
        return 1 - low

    def _mode(self, u: Tensor) -> Tensor:
        bend = torch.cos(math.pi / 2 * u).square() - 1 + u
        return (1 - u - self.mode_scale * bend).clamp(0, 1)


def sigma_weight(sigma: Tensor, weighting: Weighting) -> Tensor:
    """(B,) weights of the loss, under the names of diffusers' SD3 training.

    "sigma_sqrt" is 1 / sigma^2, no larger than at sigma = 1/1000, the least of diffusers' table;
    "cosmap" is the density of Eq. 21, 2 / (pi (1 - 2 sigma + 2 sigma^2)).
    """
    check_choice("weighting", weighting, get_args(Weighting))
    if weighting == "none":
        return torch.ones_like(sigma)
    if weighting == "sigma_sqrt":
        return sigma.clamp_min(1e-3).square().reciprocal()
    return 2 / (math.pi * (1 - 2 * sigma + 2 * sigma.square()))
