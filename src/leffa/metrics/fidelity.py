"""Garment fidelity: interior and edge separately, colours, and leakage outside the mask.

Each is a mean over a region of the image, one value per image. An image whose region is empty does
not count; `coverage` says how many do.
"""

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from leffa.metrics.colour import ciede2000, to_lab
from leffa.metrics.paired import PerImageMetric, Role, check_images, ssim_maps
from leffa.metrics.precision import exact

MARGIN = 0.03  # of the image's height
VISIBLE = 8  # levels of 255

Part = Literal["interior", "boundary"]


class RegionMetric(PerImageMetric):
    """The mean of a value per pixel over a region that a mask gives.

    Args:
        margin: by how much the mask is eroded or dilated, as a share of the image's height.
    """

    partial: ClassVar[bool] = True

    def __init__(self, margin: float = MARGIN) -> None:
        super().__init__()
        if not 0 <= margin < 1:
            raise ValueError(f"margin={margin}: give a share of the height, such as {MARGIN}")
        self.margin = margin

    def update(self, pred: Tensor, true: Tensor, mask: Tensor) -> None:  # type: ignore[override]
        """Score one batch; mask is (B, 1, H, W), 0 or 1."""
        check_images(pred, true)
        if mask.shape != (len(pred), 1, *pred.shape[2:]):
            raise ValueError(f"mask has {tuple(mask.shape)} but pred {tuple(pred.shape)}")
        region = self.region(mask[:, 0] > 0.5)
        values = exact(self.pixels(pred, true, region)) * exact(region)
        area = exact(region).sum(dim=(1, 2))  # 0: not a number
        self.values.append((values.sum(dim=(1, 2)) / area).detach().float())

    @abstractmethod
    def region(self, mask: Tensor) -> Tensor:
        """Where pixels count, (B, H, W) of bool as the mask."""

    @abstractmethod
    def pixels(self, pred: Tensor, true: Tensor, region: Tensor) -> Tensor:
        """The value of each pixel, (B, H, W); what it is outside the region does not matter."""


class WornRegionMetric(RegionMetric):
    """A value over part of the worn garment.

    Args:
        part: "interior", what is left of the garment when it is eroded by the margin: its texture;
            or "boundary", the band that the erosion took: its outline.
    """

    needs: ClassVar[tuple[Role, ...]] = ("true", "worn")

    def __init__(self, part: Part = "interior", margin: float = MARGIN) -> None:
        super().__init__(margin)
        if part not in ("interior", "boundary"):
            raise ValueError(f"part={part!r}: choose interior or boundary")
        self.part = part

    def region(self, mask: Tensor) -> Tensor:
        """The part's pixels, (B, H, W), of the garment's mask."""
        interior = depth(mask) > self.margin * mask.shape[-2]
        return interior if self.part == "interior" else mask & ~interior


class RegionSSIM(WornRegionMetric):
    """SSIM (Gaussian window of 1.5 pixels) over part of the worn garment.

    The window reaches 5 pixels beyond a region, so the parts are cleanly apart only where the
    margin is wider: from a height of 167 pixels at 3 %.
    """

    def pixels(self, pred: Tensor, true: Tensor, region: Tensor) -> Tensor:
        """SSIM at each pixel, mean over channels, (B, H, W)."""
        return ssim_maps(pred, true).mean(dim=1)


class RegionColourDifference(WornRegionMetric):
    """CIEDE2000 over part of the worn garment; 0 for equal colours, 1 is just noticeable."""

    def pixels(self, pred: Tensor, true: Tensor, region: Tensor) -> Tensor:
        """CIEDE2000 at each pixel of the region, (B, H, W)."""
        lab = (to_lab(exact(each.movedim(1, -1)[region])) for each in (pred, true))
        values = exact(torch.zeros_like(pred[:, 0]))
        values[region.to(values.device)] = ciede2000(*lab)
        return values


class Leakage(RegionMetric):
    """Unwanted changes outside the mask used for generation.

    Also works unpaired: the true image is then the photograph of the person.

    Args:
        measure: "mean", the mean difference in levels of 255; or "share", the share of pixels that
            differ by more than 8 levels in some channel, 0 to 1.
        margin: by how much the mask is dilated first, as a share of the height, since models may
            feather its edge.
    """

    needs: ClassVar[tuple[Role, ...]] = ("true", "inpainted")
    unpaired: ClassVar[bool] = True

    def __init__(self, measure: Literal["mean", "share"] = "mean", margin: float = MARGIN) -> None:
        super().__init__(margin)
        if measure not in ("mean", "share"):
            raise ValueError(f"measure={measure!r}: choose mean or share")
        self.measure = measure

    def region(self, mask: Tensor) -> Tensor:
        """What lies outside the dilated mask, (B, H, W)."""
        return depth(~mask) > self.margin * mask.shape[-2]

    def pixels(self, pred: Tensor, true: Tensor, region: Tensor) -> Tensor:
        """The difference in levels of 255, or 1 where it is visible, (B, H, W)."""
        levels = (pred - true).abs() * 255
        if self.measure == "mean":
            return levels.mean(dim=1)
        return (levels.amax(dim=1) > VISIBLE + 0.01).float()  # images have whole levels


def depth(mask: Tensor) -> Tensor:
    """Distance in pixels of each pixel of the mask (B, H, W) of bool to the nearest outside it.

    0 outside. The image's border is no edge: a garment goes on beyond it; infinite where the mask
    is everywhere.
    """
    found = [
        np.full(each.shape, np.inf) if each.all() else distance_transform_edt(each)
        for each in mask.cpu().numpy()
    ]
    return torch.from_numpy(np.stack(found)).to(torch.float32).to(mask.device)
