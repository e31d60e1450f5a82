"""What diffusion and flow matching have in common: how a latent is noised, what the network must
predict, and at which timesteps. `losses.diffusion` and `losses.flow_matching` are the two kinds.

A timestep lies in [0, T], and is passed to the network; the larger, the noisier.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from leffa.losses.precision import at_least_float32

# Random generators: one for all samples, one per sample, or None for torch's global one.
Generators = torch.Generator | list[torch.Generator] | None
# The setting of the Leffa loss that excludes samples with too much noise.
Gate = Literal["max_timestep", "max_sigma"]


def check_choice(key: str, value: object, known: Iterable[str]) -> None:
    """Raise ValueError where a key of the configuration has another value than those known."""
    if value not in (names := list(known)):
        raise ValueError(f"{key} must be one of {', '.join(names)}, got {value!r}")


class NoiseSchedule(Protocol):
    """How noise is added, and what the network must predict; latents are (B, C, h, w) and
    timesteps (B,). What is returned has at least float32."""

    kind: ClassVar[str]  #: in words, for messages
    gated_by: ClassVar[Gate]

    @property
    def steps(self) -> int:
        """T, the number of training timesteps."""

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The noisy latent z_t, (B, C, h, w)."""

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the network must predict, (B, C, h, w)."""

    def gate(self, value: float) -> float:
        """The timestep that corresponds to a value of `gated_by`."""


class TimestepLaw(Protocol):
    """A distribution of training timesteps."""

    def sample(self, count: int, steps: int, generators: Generators = None) -> Tensor:
        """(count,) timesteps of a schedule with `steps` steps."""

    def probability_below(self, timestep: float, steps: int) -> float:
        """The probability that a sampled timestep is less than `timestep`."""


def draw(
    function: Callable[..., Tensor],
    shape: Sequence[int],
    generators: Generators = None,
    device: torch.device | None = None,
) -> Tensor:
    """`torch.rand` or `torch.randn` of a shape (B, ...), in float32.

    With one generator per sample, a sample's numbers do not depend on its batch.

    Args:
        device: of the result; None for that of the generators.
    """
    if isinstance(generators, list):
        parts = [draw(function, (1, *shape[1:]), each, device) for each in generators]
        return torch.cat(parts)
    place = device if generators is None else generators.device
    drawn = function(*shape, generator=generators, device=place, dtype=torch.float32)
    # The copy from the CPU's generator need not be waited for.
    return drawn if device is None else drawn.to(device, non_blocking=True)


def denoising_loss(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error of each sample, (B,), in float32 or better: mean over everything but the batch,
    times `weight` (B,)."""
    difference = at_least_float32(prediction) - at_least_float32(target)
    error = difference.square().flatten(1).mean(dim=1)
    return error if weight is None else error * weight.to(error.dtype)
