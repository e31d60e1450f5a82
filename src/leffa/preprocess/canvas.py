"""The canvas on which the released demos parse a photo, find its joints and make its mask."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from leffa.data.fit import WHITE, Placement, fit_picture

CANVAS = (384, 512)  # (width, height)
_DEMO = (768, 1024)  # of the image that the demos generate


def to_canvas(image: Image.Image) -> tuple[Image.Image, Placement]:
    """A photo on the canvas, and where it lies there.

    It is padded with white to 3:4, brought to 768x1024, and from there to 384x512, in this order as
    in the demos. Shrinking is antialiased; the demos' first step is not.
    """
    large = fit_picture(image.size, _DEMO, "pad")
    canvas = large.place(image.convert("RGB"), Image.Resampling.BICUBIC, WHITE)
    left, top, width, height = (
        length / 2 for length in (large.left, large.top, large.width, large.height)
    )
    half = replace(large, canvas=CANVAS, left=left, top=top, width=width, height=height)
    return canvas.resize(CANVAS, Image.Resampling.BICUBIC), half


def bgr_tensor(image: Image.Image) -> Tensor:
    """(1, 3, H, W) blue, green, red from 0 to 255, as the demos' networks expect them."""
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
