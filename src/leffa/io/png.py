"""PNG files from and to tensors of pixels, (3, H, W) in [-1, 1]."""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from torch import Tensor

from leffa.io.atomic import write_bytes
from leffa.io.outputs import PNG_TEXT
from leffa.io.pictures import open_picture


def save_png(image: Tensor | Image.Image, path: Path) -> None:
    write_bytes(path, encode_png(image))


def encode_png(image: Tensor | Image.Image) -> bytes:
    """The bytes of a PNG file without a colour profile."""
    picture = Image.fromarray(to_uint8(image.float().cpu())) if torch.is_tensor(image) else image
    buffer = io.BytesIO()
    text = PngImagePlugin.PngInfo()
    for key, value in PNG_TEXT.items():
        text.add_text(key, value)
    picture.save(buffer, format="PNG", icc_profile=None, pnginfo=text)
    return buffer.getvalue()


def read_png(path: Path) -> Tensor:
    """(3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.array(open_picture(path)))
    return pixels.permute(2, 0, 1).float().div(127.5).sub(1)


def to_uint8(image: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) in [-1, 1] to (H, W, 3), rounded."""
    return image.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0).numpy()
