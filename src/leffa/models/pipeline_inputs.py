"""What users of diffusers pass, images or tensors, as a batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.loading import Autoencoder

Picture: TypeAlias = Any  # a PIL image, a list of them, or (B, C, H, W) in [-1, 1]
Size: TypeAlias = tuple[int | None, int | None]  # height and width; None: the image's own


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
        """The batch; without a mask everything is generated, without DensePose everything is
        background.

        Raises:
            ValueError: images of different number or size.
        """
        person = _to_tensor(self.colour, source, size)
        tensors = {
            "reference": _to_tensor(self.colour, reference, size),
            "mask": torch.ones_like(person[:, :1]),
            "densepose": torch.full_like(person, -1),
        }
        if mask is not None:
            tensors["mask"] = _to_tensor(self.binary, mask, size)
        if densepose is not None:
            tensors["densepose"] = _to_tensor(self.colour, densepose, size)
        for name, tensor in tensors.items():
            one_size = name == "reference" or tensor.shape[-2:] == person.shape[-2:]
            if len(tensor) != len(person) or not one_size:
                raise ValueError(
                    f"{name} is {tuple(tensor.shape)}, source is {tuple(person.shape)}; "
                    "give as many, of one size"
                )
        return Batch(
            source=person,
            reference=tensors["reference"],
            mask=tensors["mask"],
            densepose=tensors["densepose"],
            loss_region=tensors["mask"],
            name=[str(index) for index in range(len(person))],
            category=[""] * len(person),
        )


def on_device(batch: Batch, device: torch.device) -> Batch:
    return {k: v.to(device) if torch.is_tensor(v) else v for k, v in batch.items()}  # type: ignore[return-value]  # the same keys


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
