"""How a protocol prepares stored images for its metrics: sizes, filters, recompression."""

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

CLOSED = ConfigDict(extra="forbid")  # a misspelt key is an error
Size = tuple[int, int]  # (height, width)
Filter = Literal["bilinear", "bicubic", "lanczos", "opencv_bilinear", "torch_bicubic_truncated"]
RelativeSize = Literal["prediction", "prediction_height"]


@dataclass(frozen=True, config=CLOSED)
class View:
    """The size that images are resized to; an image of this size is left alone."""

    size: Size | RelativeSize  # "prediction_height" keeps the image's own aspect
    filter: Filter
    # Quality at which a resized image is stored again, where its file is a JPEG.
    jpeg: int | None = Field(default=None, ge=1, le=95)

    def resolved(self, stored: Size, prediction: Size | None) -> "View":
        """The same view with its size in pixels, for an image of the `stored` size."""
        if isinstance(self.size, tuple):
            return self
        if prediction is None:
            raise ValueError("a size relative to the predictions needs predictions of one size")
        if self.size == "prediction":
            return replace(self, size=prediction)
        height = prediction[0]
        return replace(self, size=(height, int(stored[1] * height / stored[0])))

    def apply(self, image: Image.Image, path: Path) -> np.ndarray:
        """Bring an RGB image to the size: (height, width, 3), uint8 or float32 in [0, 255]."""
        assert isinstance(self.size, tuple)
        if image.size == (self.size[1], self.size[0]):
            return np.asarray(image)
        pixels = FILTERS[self.filter](image, *self.size)
        if self.jpeg is not None and path.suffix.lower() in {".jpg", ".jpeg"}:
            stored = io.BytesIO()
            Image.fromarray(pixels).save(stored, "JPEG", quality=self.jpeg)
            pixels = np.asarray(Image.open(stored))
        return pixels


def _pil(resampling: Image.Resampling, image: Image.Image, height: int, width: int) -> np.ndarray:
    return np.asarray(image.resize((width, height), resampling))


def _opencv_bilinear(image: Image.Image, height: int, width: int) -> np.ndarray:
    resized = F.interpolate(_tensor(image), (height, width), mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).numpy()


def _torch_bicubic_truncated(image: Image.Image, height: int, width: int) -> np.ndarray:
    unit = _tensor(image) / 255
    resized = F.interpolate(unit, (height, width), mode="bicubic", antialias=True)
    truncated = (resized * 255).clamp(0, 255).to(torch.uint8)
    return truncated[0].permute(1, 2, 0).numpy()


def as_text(size: Size) -> str:
    """Height x width, the order of configs, messages and reports."""
    return f"{size[0]}x{size[1]}"


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)[None]


# The first three are PIL's, the fourth is cv2.resize on floats, the last is torch's, antialiased.
FILTERS: dict[Filter, Callable[[Image.Image, int, int], np.ndarray]] = {
    "bilinear": partial(_pil, Image.Resampling.BILINEAR),
    "bicubic": partial(_pil, Image.Resampling.BICUBIC),
    "lanczos": partial(_pil, Image.Resampling.LANCZOS),
    "opencv_bilinear": _opencv_bilinear,
    "torch_bicubic_truncated": _torch_bicubic_truncated,
}
