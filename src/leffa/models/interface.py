"""The interface of every model: one training module, one sampler and one Leffa loss serve all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self

from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.losses.monitoring import Sharpness
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators, NoiseSchedule
from leffa.models.memory import RunMemory

# What a model may need in a batch in addition to the two images.
Input = Literal["mask", "densepose", "pose"]


class Conditioning(Protocol):
    """A model's inputs other than the noisy latent; each model has its own dataclass."""

    def unconditional(self) -> Self:
        """The same without the reference, for classifier-free guidance."""

    def drop(self, dropped: Tensor) -> Self:
        """Unconditional where `dropped` (B,) is true, for training with guidance."""

    def branches(self, guidance: float) -> list[tuple[float, Self]]:
        """Weights and conditionings whose weighted predictions sum to the guided one; the fully
        conditional one comes last."""
        if guidance == 1.0:
            return [(1.0, self)]
        return [(1.0 - guidance, self.unconditional()), (guidance, self)]


@dataclass
class Prediction:
    """The output of one evaluation of the network."""

    noise: Tensor  #: (B, C, h, w): epsilon, v or velocity, as the schedule says; at least float32
    flows: dict[str, Tensor] = field(default_factory=dict)  #: layer name -> (S, h_l, w_l, 2)
    sharpness: dict[str, Sharpness] = field(default_factory=dict)  #: by layer name
    shares: dict[str, Tensor] = field(default_factory=dict)  #: (S, h_l, w_l), the reference's


class PersonGenerator(nn.Module, ABC):
    """The base of every model: a person generated from a reference.

    Images, latents and predicted noise are float32 or better; networks may use 16 bits.

    With `sample=True`, `encode` and `encode_target` sample from the autoencoder's posterior (for
    training) instead of using its mode. `generator` is one generator for all samples, a list with
    one per sample, or None for torch's global one.
    """

    inputs: ClassVar[frozenset[Input]]  #: the inputs that it reads in addition to the two images
    #: the backbone that loads the published weights, where these are a base
    published_base: ClassVar[str | None] = None
    schedule: NoiseSchedule
    scheduler_config: dict[str, object]
    vae: nn.Module  #: frozen
    patch_size: ClassVar[int] = 1  #: latent cells along each side of a token

    def excluded_keys(self) -> frozenset[str]:
        """The keys that checkpoints omit: frozen weights, which the configuration names."""
        frozen = frozenset(name for name, p in self.named_parameters() if not p.requires_grad)
        return frozen | {key for key in self.state_dict() if key.startswith("vae.")}

    def frozen_bytes(self) -> int:
        """Memory of the frozen weights on a device."""
        return sum(p.nbytes for p in self.parameters() if not p.requires_grad)

    def saved_state(self) -> dict[str, Tensor]:
        """The weights that checkpoints hold."""
        excluded = self.excluded_keys()
        return {key: value for key, value in self.state_dict().items() if key not in excluded}

    def load_published(self, place: Path) -> None:
        """Fill the model from weights in its authors' layout.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: they do not fit, or this model has no such layout.
        """
        kind = type(self).__name__
        if self.published_base is not None:
            raise ValueError(
                f"{place}: a published {kind} is a base: give backbone={self.published_base} "
                f"backbone.source={place} instead of start_from"
            )
        raise ValueError(
            f"{place}: is no run, .ckpt or folder of `leffa convert`, and no other layout is known "
            f"of a {kind}"
        )

    def save_published(self, place: Path) -> None:
        """Write weights in its authors' layout, which `load_published` reads.

        Raises:
            ValueError: this model has no such layout, or the weights have no place in it.
        """
        raise ValueError(f"{place}: no other layout is known of a {type(self).__name__}")

    @abstractmethod
    def latents(self, batch: Batch) -> dict[str, Tensor]:
        """What the frozen autoencoder makes of a batch's images, by the image's name: (B, C, h, w),
        or (B, 2C, h, w) of a posterior. A batch with `latents` is not encoded again."""

    @abstractmethod
    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        """All inputs but the noisy latent, computed once per image."""

    @abstractmethod
    def encode_target(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Tensor:
        """The clean latent that training noises, (B, C, h, w)."""

    @abstractmethod
    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        """(C, h, w) of the noise from which sampling starts."""

    def token_count(self, latent: tuple[int, int, int]) -> int:
        """The number of tokens of a latent (C, h, w), by which flow matching shifts sigma."""
        return latent[1] * latent[2] // self.patch_size**2

    @abstractmethod
    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """One evaluation: noisy (B, C, h, w) at timesteps (B,), and the flows asked for."""

    def predict_branches(
        self, noisy: Tensor, timesteps: Tensor, branches: Sequence[Conditioning]
    ) -> list[Tensor]:
        """The noise of each branch of guidance, (B, C, h, w) each."""
        return [self.predict_noise(noisy, timesteps, branch).noise for branch in branches]

    def attach_cache(self, conditioning: Conditioning, memory: RunMemory) -> Conditioning:
        """Use the cache of a sampling run, in which all samples have the same timestep, if steps or
        images share anything."""
        return conditioning

    def freeze_reference(self, conditioning: Conditioning, timestep: int) -> Conditioning:
        """Evaluate what depends only on the reference (if anything) once, at `timestep`, for all
        steps of a sampling run."""
        return conditioning

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents to images (B, 3, H, W) in [-1, 1], at least float32."""
