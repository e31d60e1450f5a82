"""How images are prepared for CLIP's image encoders."""

import torch.nn.functional as F
from torch import Tensor

_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the images that CLIP was trained on
_STD = (0.26862954, 0.26130258, 0.27577711)


def clip_pixels(images: Tensor, side: int) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1], prepared as CLIP's processor does: (B, 3, side, side).

    The short side is resized, the middle of the long one kept. Like PIL, it resizes along the width
    and then along the height, each time to 256 levels.
    """
    height, width = images.shape[-2:]
    short = min(height, width)
    size = (height * side // short, width * side // short)
    images = (images.float() + 1) * 127.5
    for shape in ((height, size[1]), size):
        images = F.interpolate(images, shape, mode="bicubic", antialias=True).round().clamp(0, 255)
    top, left = ((whole - side) // 2 for whole in size)
    images = images[..., top : top + side, left : left + side]
    mean, std = (images.new_tensor(each).view(3, 1, 1) for each in (_MEAN, _STD))
    return (images / 255 - mean) / std
