"""How close a generated image is to the true one: SSIM, PSNR, masked PSNR, squared error.

Each metric keeps one value per image and reports their mean, so a value depends neither on the
batch size nor on the number of processes. Images are (B, 3, H, W) floats in [0, 1].
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leffa.metrics.precision import exact

Border = Literal["crop", "full"]
DataRange = Literal["unit", "prediction"]
Pooling = Literal["image", "all"] | int
# What is compared with a prediction: its true image, the person in that, the garment worn there,
# where it was generated, and the photograph of its garment.
Role = Literal["true", "masks", "worn", "inpainted", "garments"]


class PerImageMetric(Metric):
    """One value per image; `aggregate` combines them, by default into their mean."""

    full_state_update = False
    needs: ClassVar[tuple[Role, ...]] = ("true",)  #: what `update` takes after the prediction
    unpaired: ClassVar[bool] = False  #: whether it applies to predictions without a true image
    partial: ClassVar[bool] = False  #: whether it is nan for images to which it does not apply
    values: list[Tensor]  #: each (B,)

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, pred: Tensor, true: Tensor) -> None:
        """Score one batch: both (B, 3, H, W) in [0, 1], or a ValueError."""
        check_images(pred, true)
        self.values.append(self.score(pred, true).detach().float())

    def score(self, pred: Tensor, true: Tensor) -> Tensor:
        """The values (B,) of one batch; a metric that reads a mask as well overrides `update`."""
        raise NotImplementedError  # not abstract: those that override `update` have none

    def per_image(self) -> Tensor:
        """The values so far, (number of images,), in the order in which they came."""
        return dim_zero_cat(self.values)

    def aggregate(self, values: Tensor) -> Tensor:
        """The result of values (..., number of images): the mean over images, (...), without those
        that are nan."""
        return exact(values).nanmean(dim=-1) if self.partial else exact(values).mean(dim=-1)

    def compute(self) -> Tensor:
        """The result over all images, a scalar."""
        return self.aggregate(self.per_image())

    def interval(self, resamples: int = 1000, seed: int = 0) -> tuple[float, float] | None:
        """The 95 % percentile bootstrap interval of the result over test sets of the same size;
        None below two images, or not finite."""
        values = self.per_image().cpu()
        values = values[~values.isnan()]  # to which it does not apply
        count = len(values)
        if count < 2 or not values.isfinite().all():
            return None
        random = np.random.default_rng(seed)
        sizes = (min(100, resamples - done) for done in range(0, resamples, 100))
        draws = (torch.from_numpy(random.integers(0, count, (size, count))) for size in sizes)
        found = torch.cat([self.aggregate(values[draw]) for draw in draws]).double()
        low, high = found.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
        return low, high


class SSIM(PerImageMetric):
    """Structural similarity (Wang et al., 2004), mean over the map and over channels.

    Args:
        border: "crop" excludes the border that the window does not cover (scikit-image,
            torchmetrics up to 1.4.1); "full" reflects the image there (torchmetrics since 1.4.2).
            They differ by up to 0.014.
        sigma: standard deviation of the Gaussian window in pixels, truncated at 3.5 sigma: 11 x 11
            for 1.5.
        window: side in pixels of a uniform window instead; variances are then divided by N - 1.
        data_range: 1, or the range of each prediction's values, as in GFLA, PIDM and CFLD.
        gray: compare luminance, rounded to 8 bits as PIL does.
    """

    def __init__(
        self,
        border: Border = "full",
        sigma: float = 1.5,
        window: int | None = None,
        data_range: DataRange = "unit",
        gray: bool = False,
    ) -> None:
        super().__init__()
        self.border, self.sigma, self.window = border, sigma, window
        self.data_range, self.gray = data_range, gray

    def score(self, pred: Tensor, true: Tensor) -> Tensor:
        """SSIM of each pair (B, 3, H, W), (B,), at most 1."""
        if self.gray:
            pred, true = to_gray(pred), to_gray(true)
        span = pred.flatten(1).amax(dim=1) - pred.flatten(1).amin(dim=1)
        data_range = span if self.data_range == "prediction" else torch.ones_like(span)
        return ssim(pred, true, self.border, self.sigma, self.window, data_range)


class PSNR(PerImageMetric):
    """Peak signal-to-noise ratio in dB, data range 1; infinite for equal images.

    Args:
        pool: what the squared error is averaged over before the logarithm: each "image", as in
            papers; "all" images, as in torchmetrics; or batches of this size, as in VtonEval.
    """

    def __init__(self, pool: Pooling = "image") -> None:
        super().__init__()
        self.pool = pool

    def score(self, pred: Tensor, true: Tensor) -> Tensor:
        """PSNR of each pair (B, 3, H, W), (B,) in dB."""
        return to_decibel(mean_squared_error(pred, true))

    def aggregate(self, values: Tensor) -> Tensor:
        """The mean of the PSNR, the PSNR of the mean error, or the batches' mean of that."""
        if self.pool == "image":
            return super().aggregate(values)
        size = values.shape[-1] if self.pool == "all" else int(self.pool)
        batches = torch.pow(10, -exact(values) / 10).split(size, dim=-1)
        weighted = [to_decibel(batch.mean(dim=-1)) * batch.shape[-1] for batch in batches]
        return torch.stack(weighted).sum(dim=0) / values.shape[-1]


class MSE(PerImageMetric):
    """Squared error of values in [0, 1], mean over pixels and channels."""

    def score(self, pred: Tensor, true: Tensor) -> Tensor:
        """Squared error of each pair (B, 3, H, W), (B,)."""
        return mean_squared_error(pred, true)


class MaskedPSNR(PerImageMetric):
    """PSNR in dB over the pixels of a mask only; images whose mask is empty do not count."""

    needs = ("true", "masks")
    partial = True

    def update(self, pred: Tensor, true: Tensor, mask: Tensor) -> None:  # type: ignore[override]
        """Score one batch; mask (B, 1, H, W) is 1 where pixels count."""
        check_images(pred, true)
        self.values.append(masked_psnr(pred, true, mask).detach().float())


def ssim(
    pred: Tensor,
    true: Tensor,
    border: Border = "full",
    sigma: float = 1.5,
    window: int | None = None,
    data_range: Tensor | None = None,
) -> Tensor:
    """SSIM of each image pair (B, C, H, W), (B,) float64; see `SSIM`. `data_range` is (B,) or 1."""
    planes = _ssim_planes(pred, true, border, sigma, window, data_range)
    return torch.stack([each.mean() for each in planes]).view(pred.shape[:2]).mean(dim=1)


def ssim_maps(pred: Tensor, true: Tensor) -> Tensor:
    """SSIM at each pixel of each channel, (B, C, H, W) float64, reflected at the border."""
    return torch.stack(list(_ssim_planes(pred, true, "full", 1.5))).view(pred.shape)


def _ssim_planes(
    pred: Tensor,
    true: Tensor,
    border: Border,
    sigma: float,
    window: int | None = None,
    data_range: Tensor | None = None,
) -> Iterator[Tensor]:
    """The map of each channel of each image pair, one after the other."""
    radius = int(3.5 * sigma + 0.5) if window is None else window // 2
    height, width = pred.shape[-2:]
    if min(height, width) <= 2 * radius:
        raise ValueError(
            f"SSIM: images of {height}x{width} are smaller than the window of {2 * radius + 1}"
        )
    means = _gaussian_means if window is None else _uniform_means
    # From the population's variance of the window's pixels to the sample's.
    sample = 1.0 if window is None else (2 * radius + 1) ** 2 / ((2 * radius + 1) ** 2 - 1)
    ranges = torch.ones(len(pred)) if data_range is None else data_range
    # float64: variance as a difference of means loses half of float32's digits in flat regions.
    # Plane by plane: the working set stays in the cache, four times faster on a CPU at 1024x768.
    for p, t, top in zip(exact(pred), exact(true), exact(ranges).tolist(), strict=True):
        for pair in zip(p, t, strict=True):
            local = partial(means, radius, sigma)
            yield _ssim_plane(torch.stack(pair), border, radius, local, sample, top)


def _ssim_plane(
    planes: Tensor,
    border: Border,
    radius: int,
    means: Callable[[Tensor], Tensor],
    sample: float,
    data_range: float,
) -> Tensor:
    """SSIM of the two planes (2, H, W), where the window fits or at each pixel, (h, w)."""
    if border == "full":
        planes = F.pad(planes, [radius] * 4, mode="reflect")
    products = torch.stack([planes[0] ** 2, planes[1] ** 2, planes[0] * planes[1]])
    mean_p, mean_t = means(planes)
    square_p, square_t, product = means(products)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
    variances = sample * (square_p - mean_p**2 + square_t - mean_t**2)
    structure = (2 * sample * (product - mean_p * mean_t) + c2) / (variances + c2)
    return luminance * structure


def _gaussian_means(radius: int, sigma: float, planes: Tensor) -> Tensor:
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


def _uniform_means(radius: int, _sigma: float, planes: Tensor) -> Tensor:
    """Local means of (N, H, W), where the window fits; running sums cost the same at any size."""
    side = 2 * radius + 1
    for dim in (-2, -1):
        sums = F.pad(planes.transpose(dim, -1), (1, 0)).cumsum(dim=-1).transpose(dim, -1)
        length = planes.shape[dim] - 2 * radius
        planes = (sums.narrow(dim, side, length) - sums.narrow(dim, 0, length)) / side
    return planes


def to_gray(images: Tensor) -> Tensor:
    """Luminance as PIL's convert("L"): (B, 3, H, W) -> (B, 1, H, W), in steps of 1/255."""
    red, green, blue = (images * 255).round().long().unbind(dim=1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16)[:, None] / 255


def mean_squared_error(pred: Tensor, true: Tensor) -> Tensor:
    """Of each image pair, (B,) float64."""
    return exact(pred - true).square().mean(dim=(1, 2, 3))


def masked_psnr(pred: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """PSNR of each image pair where mask (B, 1, H, W) is 1, (B,) float64; nan where it is empty."""
    inside = exact(mask.expand_as(pred))
    area = inside.sum(dim=(1, 2, 3))
    squared_error = (exact(pred - true).square() * inside).sum(dim=(1, 2, 3))
    return to_decibel(squared_error / area)


def to_decibel(error: Tensor) -> Tensor:
    """PSNR in dB of a mean squared error, for data range 1."""
    return -10 * torch.log10(error)


def full_batches(images: int, batch: int | None) -> int:
    """How many of the images lie in full batches; all where they do not fill a single one."""
    return images if batch is None or images < batch else images - images % batch


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
