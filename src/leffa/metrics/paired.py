"""How close a generated image is to the true one: SSIM, PSNR, masked PSNR, LPIPS.

Every metric scores each image by itself and reports the mean over images, so a value depends
neither on the batch size nor on the number of processes. The single values stay: they order the
sheets of best and worst samples. Images are (B, 3, H, W) floats in [0, 1].
"""

import math
import warnings
from pathlib import Path
from typing import Literal

import lpips
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leffa.metrics.weights import WeightsFile

Border = Literal["crop", "full"]
LpipsNet = Literal["alex", "squeeze", "vgg"]


def _torchvision(name: str, sha256: str) -> WeightsFile:
    return WeightsFile(name, sha256, f"https://download.pytorch.org/models/{name}")


LPIPS_BACKBONES: dict[LpipsNet, WeightsFile] = {
    "alex": _torchvision("alexnet-owt-7be5be79.pth", "7be5be79"),
    "squeeze": _torchvision("squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
    "vgg": _torchvision("vgg16-397923af.pth", "397923af"),
}


class PerImageMetric(Metric):
    """One value per image, the mean over images as the result.

    Subclasses call `self.append` in their `update`.
    """

    is_differentiable = False
    full_state_update = False
    values: list[Tensor]  # each (B,)

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def append(self, values: Tensor) -> None:
        """Keep the values (B,) of one batch."""
        self.values.append(values.detach().float())

    def per_image(self) -> Tensor:
        """The values so far, (number of images,), in the order in which they came."""
        return dim_zero_cat(self.values)

    def compute(self) -> Tensor:
        """The mean over images."""
        return self.per_image().double().mean()


class SSIM(PerImageMetric):
    """Structural similarity (Wang et al., 2004): Gaussian window, data range 1, mean over channels.

    Two averages of the same map are in use and differ by up to 0.014: scikit-image and torchmetrics
    up to 1.4.1 leave out the border that the window does not cover ("crop"); torchmetrics since
    1.4.2 reflects the image there and averages everything ("full").

    Args:
        border: which of the two.
        sigma: of the window in pixels; it is cut at 3.5 sigma, 11 x 11 for the usual 1.5.
    """

    higher_is_better = True

    def __init__(self, border: Border = "full", sigma: float = 1.5) -> None:
        super().__init__()
        self.border = border
        self.sigma = sigma

    def update(self, pred: Tensor, true: Tensor) -> None:
        check_images(pred, true)
        self.append(ssim(pred, true, self.border, self.sigma))


class PSNR(PerImageMetric):
    """Peak signal-to-noise ratio in dB, data range 1; infinite for equal images.

    Args:
        pooled: take the logarithm once, of the squared error averaged over all images, as
            torchmetrics does, not the mean of each image's PSNR. Then images should all have the
            same size.
    """

    higher_is_better = True

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        self.pooled = pooled

    def update(self, pred: Tensor, true: Tensor) -> None:
        check_images(pred, true)
        self.append(to_decibel((pred - true).double().square().mean(dim=(1, 2, 3))))

    def compute(self) -> Tensor:
        """The mean of the PSNR, or the PSNR of the mean error."""
        if self.pooled:
            return to_decibel(torch.pow(10, -self.per_image().double() / 10).mean())
        return super().compute()


class MaskedPSNR(PerImageMetric):
    """PSNR in dB over the pixels of a mask only."""

    higher_is_better = True

    def update(self, pred: Tensor, true: Tensor, mask: Tensor) -> None:
        """Score one batch; mask (B, 1, H, W) is 1 where pixels count, and nowhere empty."""
        check_images(pred, true)
        self.append(masked_psnr(pred, true, mask))


class LPIPS(PerImageMetric):
    """Learned perceptual image patch similarity (Zhang et al., 2018), version 0.1.

    Values of different networks are not comparable: say which one was used.

    Args:
        net: a backbone's name, or a ready network that maps two images in [-1, 1] to (B, 1, 1, 1).
        weights: the backbone's file or its folder; see `WeightsFile.locate`.

    Raises:
        MissingWeights: the backbone's ImageNet weights are not on this machine.
    """

    higher_is_better = False

    def __init__(self, net: LpipsNet | nn.Module = "alex", weights: Path | None = None) -> None:
        super().__init__()
        network = net if isinstance(net, nn.Module) else load_lpips(net, weights)
        self.network = network.eval().requires_grad_(False)

    def update(self, pred: Tensor, true: Tensor) -> None:
        check_images(pred, true)
        self.append(self.network(2 * pred.float() - 1, 2 * true.float() - 1).flatten())


def ssim(pred: Tensor, true: Tensor, border: Border = "full", sigma: float = 1.5) -> Tensor:
    """SSIM of each image pair, (B,) float64; see `SSIM`.

    Raises:
        ValueError: the images are smaller than the window.
    """
    radius = int(3.5 * sigma + 0.5)
    if min(pred.shape[-2:]) <= 2 * radius:
        raise ValueError(
            f"SSIM: images of {_size(pred)} are smaller than the window of {2 * radius + 1}"
        )
    # float64: variance as a difference of means loses half of float32's digits in flat regions.
    # Plane by plane: the working set stays in the cache, four times faster on a CPU at 1024x768.
    planes = zip(pred.double().flatten(0, 1), true.double().flatten(0, 1), strict=True)
    values = torch.stack([_ssim_plane(p, t, border, radius, sigma) for p, t in planes])
    return values.view(pred.shape[:2]).mean(dim=1)


def _ssim_plane(pred: Tensor, true: Tensor, border: Border, radius: int, sigma: float) -> Tensor:
    """SSIM of two planes (H, W), a scalar."""
    planes = torch.stack([pred, true])
    if border == "full":
        planes = F.pad(planes, [radius] * 4, mode="reflect")
    products = torch.stack([planes[0] ** 2, planes[1] ** 2, planes[0] * planes[1]])
    mean_p, mean_t = _gaussian_means(planes, radius, sigma)
    square_p, square_t, product = _gaussian_means(products, radius, sigma)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
    variances = square_p - mean_p**2 + square_t - mean_t**2
    structure = (2 * (product - mean_p * mean_t) + c2) / (variances + c2)
    return (luminance * structure).mean()


def _gaussian_means(planes: Tensor, radius: int, sigma: float) -> Tensor:
    """Gaussian-weighted local means of (N, H, W), where the window fits: (N, H - 2r, W - 2r)."""
    tails = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(radius, 0, -1)]
    total = 1 + 2 * sum(tails)
    for dim in (-2, -1):
        length = planes.shape[dim] - 2 * radius
        means = planes.narrow(dim, radius, length) / total
        for i, tail in enumerate(tails):
            pair = planes.narrow(dim, i, length) + planes.narrow(dim, 2 * radius - i, length)
            means.add_(pair, alpha=tail / total)
        planes = means
    return planes


def masked_psnr(pred: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """PSNR of each image pair where mask (B, 1, H, W) is 1, (B,) float64.

    Raises:
        ValueError: an image's mask is empty.
    """
    inside = mask.expand_as(pred).double()
    area = inside.sum(dim=(1, 2, 3))
    if not area.all():
        raise ValueError("masked PSNR: a mask is empty; leave such images out")
    squared_error = ((pred - true).double().square() * inside).sum(dim=(1, 2, 3))
    return to_decibel(squared_error / area)


def to_decibel(mean_squared_error: Tensor) -> Tensor:
    """PSNR in dB for data range 1."""
    return -10 * torch.log10(mean_squared_error)


def load_lpips(net: LpipsNet, weights: Path | None = None) -> nn.Module:
    """LPIPS: linear layers from the `lpips` package, backbone from its torchvision file.

    Raises:
        MissingWeights: the backbone's file is not on this machine.
    """
    file = LPIPS_BACKBONES[net].locate(weights)
    network = untrained_lpips(net)
    backbone: nn.Module = network.get_submodule("net")
    trained = torch.load(file, map_location="cpu", weights_only=True)
    # The package cuts torchvision's `features` into slices and keeps the layers' numbers.
    layers = {key: f"features.{key.split('.', 1)[1]}" for key in backbone.state_dict()}
    backbone.load_state_dict({ours: trained[theirs] for ours, theirs in layers.items()})
    return network


def untrained_lpips(net: LpipsNet) -> nn.Module:
    """The LPIPS network with its trained linear layers on a random backbone; downloads nothing."""
    with warnings.catch_warnings():
        # The package still calls torchvision with `pretrained=False`, which torchvision deprecates.
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        network: nn.Module = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    return network


def check_images(pred: Tensor, true: Tensor) -> None:
    """Refuse what is not two equal-sized batches (B, 3, H, W) of floats in [0, 1]."""
    for role, images in (("pred", pred), ("true", true)):
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"{role}: expected floats (B, 3, H, W), got {images.dtype} {tuple(images.shape)}"
            )
        if images.min() < 0 or images.max() > 1:
            raise ValueError(
                f"{role}: values from {images.min():.3g} to {images.max():.3g}, expected [0, 1]: "
                "rescale from [-1, 1] and clamp first"
            )
    if pred.shape != true.shape:
        raise ValueError(f"pred has {tuple(pred.shape)} but true has {tuple(true.shape)}")


def _size(images: Tensor) -> str:
    return f"{images.shape[-1]}x{images.shape[-2]}"
