"""What a sampling run computes once and uses many times.

    memory = RunMemory()
    for batch in batches:
        pictures = generate(model, batch, settings, memory=memory)

The owner of a run owns its memory; a model has none. New weights, another device or another
precision begin a new one.
"""

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from leffa.data.batch import Batch

GIGABYTE = 2**30


class Kept(Protocol):
    """Anything that knows its size."""

    @property
    def nbytes(self) -> int: ...


Value = TypeVar("Value", bound=Kept)


class RunMemory:
    """Keeps what the steps and pictures of one run share, up to a limit.

    What no longer fits is computed again each time, so the limit changes the speed alone.

    Args:
        one_reference: the caller's word that all pictures of the run have one reference, such as a
            garment that many persons try on; it is then evaluated once, not once per sample.
        limit: in bytes; 0 keeps nothing.
    """

    def __init__(self, one_reference: bool = False, limit: float = 4 * GIGABYTE) -> None:
        self.one_reference = one_reference
        self.limit = limit
        self._kept: dict[Hashable, Kept] = {}
        self._reference: Tensor | None = None

    def get_or_compute(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """What `compute` gave for this key before, or gives now; the key is all it depends on."""
        if key in self._kept:
            return self._kept[key]  # type: ignore[return-value]  # a key has one kind of value
        value = compute()
        if self.nbytes + value.nbytes <= self.limit:
            self._kept[key] = value
        return value

    @property
    def nbytes(self) -> int:
        """Of all that is kept."""
        return sum(value.nbytes for value in self._kept.values())

    def check(self, batch: Batch, drawn: bool) -> None:
        """Raise ValueError where `one_reference` is not true of a batch, or cannot be: each sample
        draws a latent of its own from the reference."""
        if not self.one_reference:
            return
        if drawn:
            raise ValueError(
                "one_reference: the latents of the conditions are drawn for each picture, so none "
                "is shared; leave it out, or set sampler.condition_latents=mode"
            )
        given = batch["reference"]
        if self._reference is None:
            self._reference = given[:1]
        same_size = given.shape[1:] == self._reference.shape[1:]
        if not same_size or not torch.equal(given, self._reference.expand_as(given)):
            raise ValueError(
                "one_reference: this batch has another reference than the run began with"
            )
