"""Bootstrap confidence intervals: how a value would vary over other test sets of the same size."""

import numpy as np
import torch
from torch import Tensor

from leffa.metrics.paired import PerImageMetric

RESAMPLES = 1000
NORMAL_95 = 1.96
Interval = tuple[float, float]


def per_image_interval(
    metric: PerImageMetric, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """The 95 % percentile interval of a per-image metric; None below two images, or not finite."""
    values = metric.per_image().cpu()
    values = values[~values.isnan()]  # which it cannot judge
    if len(values) < 2 or not values.isfinite().all():
        return None
    random = np.random.default_rng(seed)
    found = [
        metric.aggregate(values[torch.from_numpy(random.integers(0, len(values), len(values)))])
        for _ in range(resamples)
    ]
    ends = torch.tensor([0.025, 0.975]).double()
    low, high = torch.stack(found).double().quantile(ends).tolist()
    return low, high


def fid_interval(
    pred: Tensor, real: Tensor, resamples: int, seed: int = 0
) -> tuple[Interval, float]:
    """The value +- 1.96 standard deviations of resamples, and by how much these lie above it.

    A resample of features (N, D) and (M, D) has fewer different images than the set and thus a
    larger FID, so its percentiles would miss the value.
    """
    random = np.random.default_rng(seed)
    whole = fid_of_features(pred, real)
    found = [
        fid_of_features(pred, real, _repeats(len(pred), random), _repeats(len(real), random))
        for _ in range(resamples)
    ]
    spread = NORMAL_95 * float(np.std(found, ddof=1))
    return (whole - spread, whole + spread), float(np.mean(found)) - whole


def check_resamples(resamples: int) -> None:
    """Raise ValueError unless the number is 0, for no interval, or at least 2."""
    if not isinstance(resamples, int) or resamples < 0 or resamples == 1:
        raise ValueError(
            f"fid_resamples={resamples}: give 0 for no interval, or a number from 2, such as 30"
        )


def fid_of_features(
    pred: Tensor,
    real: Tensor,
    pred_repeats: Tensor | None = None,
    real_repeats: Tensor | None = None,
) -> float:
    """The FID of features (N, D) and (M, D), of which each counts as often as its repeats say."""
    mean_p, root_p = _factor(pred, pred_repeats)
    mean_r, root_r = _factor(real, real_repeats)
    overlap = torch.linalg.svdvals(root_p @ root_r.T).sum()
    scatter = root_p.square().sum() + root_r.square().sum()
    return ((mean_p - mean_r).square().sum() + scatter - 2 * overlap).item()


def _repeats(images: int, random: np.random.Generator) -> Tensor:
    """How often each of N images occurs in a resample of N, (N,)."""
    return torch.from_numpy(np.bincount(random.integers(0, images, images), minlength=images))


def _factor(features: Tensor, repeats: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean (D,), and R (k, D) with R^T R the covariance and k no more than N or D."""
    weight = torch.ones(len(features)) if repeats is None else repeats
    chosen = weight > 0
    features, weight = features[chosen].double(), weight[chosen].double()[:, None]
    count = weight.sum()
    mean = (features * weight).sum(dim=0) / count
    root = (features - mean) * (weight / (count - 1)).sqrt()
    if len(root) > root.shape[1]:
        root = torch.linalg.qr(root, mode="r").R
    return mean, root
