"""From images to Inception features: the same network, three ways of feeding it.

Resizing to 299x299 decides a FID as much as the images do (Parmar et al., 2022), so it belongs to
the extractor and has a name:

    clean_fid     bicubic with antialiasing in float, TensorFlow's network
    pytorch_fid   bilinear without antialiasing, TensorFlow's network
    torchvision   bilinear without antialiasing, torchvision's ImageNet network (pose transfer)
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leffa.metrics.inception import Inception, load_tensorflow, load_torchvision
from leffa.metrics.precision import exact

SIDE = 299
FeatureName = Literal["clean_fid", "pytorch_fid", "torchvision"]


class InceptionFeatures(nn.Module):
    """Images (B, 3, H, W), uint8 or floats in [0, 1] -> pooled Inception features (B, 2048).

    Raises:
        MissingWeights: the network is not on this machine.
    """

    def __init__(self, kind: FeatureName = "clean_fid") -> None:
        super().__init__()
        self.prepare, load = KINDS[kind]
        self.network = load()
        self.label = self.network.label  #: what a result records of its weights

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 2048) of images (B, 3, H, W), each resized to 299x299."""
        features: Tensor = self.network(self.prepare(images))
        return features


def clean_resize(images: Tensor) -> Tensor:
    """Resize as clean-fid does: (B, 3, H, W) -> (B, 3, 299, 299) floats in [0, 255]."""
    if images.is_floating_point():
        images = (images * 255).round()  # as saving them would
    # float64: the filter's weights in float32 would move a pixel by 0.004 from what PIL computes.
    resized = F.interpolate(exact(images), (SIDE, SIDE), mode="bicubic", antialias=True)
    return resized.clamp(0, 255).float().to(images.device)


def _clean_fid(images: Tensor) -> Tensor:
    return (clean_resize(images) - 128) / 128


def _pytorch_fid(images: Tensor) -> Tensor:
    return 2 * _plain_resize(images) - 1


def _torchvision(images: Tensor) -> Tensor:
    """GFLA's preparation, inherited by PIDM and CFLD: it undoes a normalisation never applied."""
    scale = images.new_tensor([0.229, 0.224, 0.225], dtype=torch.float32)[:, None, None]
    shift = images.new_tensor([0.485, 0.456, 0.406], dtype=torch.float32)[:, None, None]
    return _plain_resize(images) * (scale / 0.5) + (shift - 0.5) / 0.5


def _plain_resize(images: Tensor) -> Tensor:
    if not images.is_floating_point():
        images = images.float() / 255
    return F.interpolate(images.float(), (SIDE, SIDE), mode="bilinear", align_corners=False)


# How images are prepared, and what loads the network.
KINDS: dict[FeatureName, tuple[Callable[[Tensor], Tensor], Callable[[], Inception]]] = {
    "clean_fid": (_clean_fid, load_tensorflow),
    "pytorch_fid": (_pytorch_fid, load_tensorflow),
    "torchvision": (_torchvision, load_torchvision),
}
