"""From what users of diffusers hand over, pictures or tensors, to a batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.unets import Autoencoder

Picture: TypeAlias = Any  # a PIL picture, a list of them, or (B, C, H, W) in [-1, 1]
Size: TypeAlias = tuple[int | None, int | None]  # height and width; None: the picture's own


class PipelineInputs:
    """Makes batches.

    Args:
        cell: pixels per latent cell; sizes are rounded down to whole cells.
    """

    def __init__(self, cell: int) -> None:
        self.colour = VaeImageProcessor(vae_scale_factor=cell)
        self.binary = VaeImageProcessor(
            vae_scale_factor=cell, do_normalize=False, do_binarize=True, do_convert_grayscale=True
        )

    def batch(
        self,
        source: Picture,
        reference: Picture,
        mask: Picture | None,
        densepose: Picture | None,
        size: Size,
    ) -> Batch:
        """The batch of the pictures; without a mask everything is generated, without DensePose
        everything is background.

        Raises:
            ValueError: pictures of different number or size.
        """
        person = _to_tensor(self.colour, source, size)
        everything, background = torch.ones_like(person[:, :1]), torch.full_like(person, -1)
        given = {
            "reference": _to_tensor(self.colour, reference, size),
            "mask": everything if mask is None else _to_tensor(self.binary, mask, size),
            "densepose": background
            if densepose is None
            else _to_tensor(self.colour, densepose, size),
        }
        for name, tensor in given.items():
            if len(tensor) != len(person) or (
                name != "reference" and tensor.shape[-2:] != person.shape[-2:]
            ):
                raise ValueError(
                    f"{name} is {tuple(tensor.shape)}, source is {tuple(person.shape)}; "
                    "give as many, of one size"
                )
        return Batch(
            source=person,
            reference=given["reference"],
            mask=given["mask"],
            densepose=given["densepose"],
            loss_region=given["mask"],
            name=[str(index) for index in range(len(person))],
            category=[""] * len(person),
        )


def on_device(batch: Batch, device: torch.device, dtype: torch.dtype | None = None) -> Batch:
    """The batch with its tensors there; None: in their own dtype."""
    return {k: v.to(device, dtype) if torch.is_tensor(v) else v for k, v in batch.items()}  # type: ignore[return-value]  # the same keys


@contextmanager
def float32_autoencoder(vae: Autoencoder) -> Iterator[None]:
    """Within it, an autoencoder that overflows in float16 (SDXL's) computes in float32."""
    needed = vae.dtype == torch.float16 and bool(vae.config.get("force_upcast", False))
    if needed:
        vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        if needed:
            vae.to(dtype=torch.float16)


def _to_tensor(processor: VaeImageProcessor, picture: Picture, size: Size) -> Tensor:
    """(B, C, H, W); a tensor is taken as it is."""
    if torch.is_tensor(picture):
        if picture.ndim != 4:
            raise ValueError(f"a tensor must be (B, C, H, W), got {tuple(picture.shape)}")
        return picture
    tensor: Tensor = processor.preprocess(picture, *size)
    return tensor
