"""The cache of a sampling run: what its steps and images share is computed once."""

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from leffa.data.batch import Batch

GIGABYTE = 2**30


class Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Value = TypeVar("Value", bound=Sized)


class RunMemory:
    """What the steps and images of one run share, up to a limit; the rest is recomputed.

    New weights, another device or another precision need a new cache.

    Args:
        one_reference: all images of the run have one reference, such as a garment that many
            persons try on; it is then evaluated once, not once per sample.
        limit: in bytes; 0 keeps nothing.
    """

    def __init__(self, one_reference: bool = False, limit: float = 4 * GIGABYTE) -> None:
        self.one_reference = one_reference
        self.limit = limit
        self._kept: dict[Hashable, Sized] = {}
        self._reference: Tensor | None = None

    def get_or_compute(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """The cached result of `compute` for this key, computed if missing."""
        if key in self._kept:
            return self._kept[key]  # type: ignore[return-value]  # a key has one kind of value
        value = compute()
        if self.nbytes + value.nbytes <= self.limit:
            self._kept[key] = value
        return value

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self._kept.values())

    def check(self, batch: Batch, drawn: bool) -> None:
        """Raise ValueError where `one_reference` does not hold for a batch, as if each sample has
        its own latent of the reference."""
        if not self.one_reference:
            return
        if drawn:
            raise ValueError(
                "one_reference: each image samples its own latents, so none are shared; leave it "
                "out, or set sampler.condition_latents=mode"
            )
        given = batch["reference"]
        if self._reference is None:
            self._reference = given[:1]
        same_size = given.shape[1:] == self._reference.shape[1:]
        if not same_size or not torch.equal(given, self._reference.expand_as(given)):
            raise ValueError(
                "one_reference: this batch has another reference than the run began with"
            )
