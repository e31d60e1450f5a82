"""Models whose reference passes through a network of its own, which steps and images share."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from leffa.losses.request import FlowRequest
from leffa.models import interface
from leffa.models.interface import Prediction
from leffa.models.latent import LatentGenerator
from leffa.models.memory import RunMemory


@dataclass
class ReferenceTokens:
    """What the generative network reads of references, by the layer's name."""

    features: dict[str, Tensor] = field(default_factory=dict)  # (B or 1, L, C)
    projected: dict[str, tuple[Tensor, Tensor]] | None = None  # see `AttentionExchange`

    @property
    def nbytes(self) -> int:
        pairs = (self.projected or {}).values()
        tensors = (*self.features.values(), *(tensor for pair in pairs for tensor in pair))
        return sum(tensor.nbytes for tensor in tensors)


@dataclass(frozen=True, kw_only=True)
class ReferenceConditioning(interface.Conditioning):
    """A conditioning whose reference is zeros for samples without one.

    With a cache, all samples of a prediction must have one timestep, as in sampling.
    """

    references: ClassVar[tuple[str, ...]]  # the fields that are of the reference, (B, ...)
    empty: bool = False  # they are zeros in every sample
    frozen_at: int | None = None  # the reference network's timestep; None: that of each prediction
    run: RunMemory | None = None  # of all images of a sampling run
    picture: RunMemory | None = None  # of the steps of these images

    @property
    def shared(self) -> bool:
        """Whether other images of the run need the tokens of this reference."""
        run = self.run
        return run is not None and run.limit > 0 and (self.empty or run.one_reference)

    def unconditional(self) -> Self:
        # One empty reference is as good as many where it is evaluated at one timestep.
        one = slice(1 if self.run is not None or self.frozen_at is not None else None)
        return replace(self, empty=True, **self._each(lambda x: torch.zeros_like(x[one])))

    def drop(self, dropped: Tensor) -> Self:
        return replace(self, **self._each(lambda x: without(x, dropped)))

    def attach(self, memory: RunMemory, **changes: Any) -> Self:
        """The same with the cache of a run."""
        one = slice(1 if memory.one_reference else None)
        return replace(self, run=memory, **self._each(lambda x: x[one]), **changes)

    def get_or_compute(
        self, compute: Callable[[], ReferenceTokens], timesteps: Tensor | None = None
    ) -> ReferenceTokens:
        """The tokens that images of a run share; `timesteps`: those that they depend on."""
        if self.run is None or not self.shared:
            return compute()
        at = None if timesteps is None else float(timesteps[0])
        form = self._each(lambda x: (x.shape, x.dtype, x.device))
        return self.run.get_or_compute((self.empty, at, *form.values()), compute)

    def _each(self, change: Callable[[Tensor], Any]) -> dict[str, Any]:
        """What becomes of each of `references`."""
        return {name: change(getattr(self, name)) for name in self.references}


class ReferenceGenerator(LatentGenerator):
    """A `LatentGenerator` whose branches of guidance are evaluated in one batch, so that a
    network's weights are read once."""

    @abstractmethod
    def predict_together(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        branches: Sequence[Any],
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """All branches, concatenated along the batch; noisy is (B, C, h, w), timesteps (B,)."""

    @abstractmethod
    def read_references(self, branches: Sequence[Any], timesteps: Tensor) -> ReferenceTokens:
        """The reference tokens of all branches, concatenated along the batch."""

    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Any,
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """One evaluation: noisy (B, C, h, w) at timesteps (B,), and the flows asked for."""
        return self.predict_together(noisy, timesteps, (conditioning,), flow)

    def predict_branches(
        self, noisy: Tensor, timesteps: Tensor, branches: Sequence[Any]
    ) -> list[Tensor]:
        """The noise of each branch, (B, C, h, w) each, from one evaluation."""
        together = self.predict_together(noisy, timesteps, branches)
        return list(together.noise.chunk(len(branches)))

    def attach_cache(self, conditioning: Any, memory: RunMemory) -> Any:
        """Keep the reference's tokens in the cache of the run."""
        return conditioning.attach(memory)

    def reference_tokens(self, branches: Sequence[Any], timesteps: Tensor) -> ReferenceTokens:
        """The result of `read_references`, from the cache of these images if they have one."""
        kept = branches[0].picture
        if kept is None:
            return self.read_references(branches, timesteps)
        key = tuple(branch.empty for branch in branches)
        return kept.get_or_compute(key, lambda: self.read_references(branches, timesteps))


def without(reference: Tensor, dropped: Tensor) -> Tensor:
    """The reference (B, ...), zeros where `dropped` (B,) is true."""
    return reference * (~dropped).to(reference).view(-1, *[1] * (reference.ndim - 1))
