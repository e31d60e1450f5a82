"""How far a set of generated images is from a set of real ones: FID and KID.

FID and KID take features of an Inception network (`leffa.metrics.features`); `DistributionMetrics`
takes images and runs the network once for both. Small sets bias FID upward (`small_set_note`).
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leffa.metrics.inception import FEATURES
from leffa.metrics.precision import Float64Metric, exact

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000


class FID(Float64Metric):
    """Frechet inception distance (Heusel et al., 2017) of two streams of D features.

    Only sums are kept, in float64: memory does not grow with the sets.
    """

    full_state_update = False
    count: Tensor  #: (2,); index 0 = generated, 1 = real
    total: Tensor  #: (2, D)
    products: Tensor  #: (2, D, D)

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        shapes = {"count": (2,), "total": (2, features), "products": (2, features, features)}
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor, *, real: bool) -> None:
        """Add features (B, D) of generated or of real images."""
        features = exact(features)
        self.count[int(real)] += len(features)
        self.total[int(real)] += features.sum(dim=0)
        self.products[int(real)].addmm_(features.T, features)

    def compute(self) -> Tensor:
        """The distance |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), a scalar."""
        if self.count.min() < 2:
            pred, real = self.count.long().tolist()
            raise ValueError(
                f"FID needs two images of each set, got {pred} generated and {real} real"
            )
        mean = self.total / self.count[:, None]
        scatter = self.products - self.count[:, None, None] * mean[:, :, None] * mean[:, None, :]
        a, b = scatter / (self.count[:, None, None] - 1)
        # tr((A B)^(1/2)) is the sum of the singular values of A^(1/2) B^(1/2): exact to rounding,
        # while the eigenvalues of the product lose half of the digits.
        overlap = torch.linalg.svdvals(_root(a).T @ _root(b)).sum()
        return (mean[0] - mean[1]).square().sum() + a.trace() + b.trace() - 2 * overlap


def _root(covariance: Tensor) -> Tensor:
    """R (D, rank) with R R^T = covariance, by Cholesky with pivots."""
    factor, pivots, rank, _ = lapack.dpstrf(covariance.numpy(force=True), lower=1)
    root = np.empty_like(factor)
    root[pivots - 1] = np.tril(factor)
    return torch.from_numpy(root[:, :rank]).to(covariance.device)


class KID(Metric):
    """Kernel inception distance (Binkowski et al., 2018), raw (papers often print it times 1000).

    The unbiased squared MMD with the kernel (x.y / D + 1)^3, mean over random subsets, which follow
    from the seed alone. Keeps all features, 8 KB per image.

    Args:
        features: their number, D.
        subset_size: images of each set per subset; at most the smaller set's size.
    """

    full_state_update = False
    # Each (B * D,): flat, or a process without images would hang the merge of the others.
    pred: list[Tensor]
    real: list[Tensor]

    def __init__(
        self,
        features: int = FEATURES,
        subsets: int = KID_SUBSETS,
        subset_size: int = KID_SUBSET_SIZE,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.features, self.seed = features, seed
        self.subsets, self.subset_size = subsets, subset_size
        self.add_state("pred", default=[], dist_reduce_fx="cat")
        self.add_state("real", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor, *, real: bool) -> None:
        """Add features (B, D) of generated or of real images."""
        (self.real if real else self.pred).append(features.float().flatten())

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over the subsets, scalars."""
        pred, real = (
            exact(dim_zero_cat(x)).view(-1, self.features) for x in (self.pred, self.real)
        )
        # In a fixed order, so that the subsets follow from the seed alone.
        pred, real = (x[x.mean(dim=1).argsort()] for x in (pred, real))
        size = min(len(pred), len(real), self.subset_size)
        if size < 2:
            raise ValueError(
                f"KID needs two images of each set, got {len(pred)} generated and {len(real)} real"
            )
        generator = torch.Generator().manual_seed(self.seed)
        in_pred = _random_subsets(len(pred), size, self.subsets, generator).to(pred.device)
        in_real = _random_subsets(len(real), size, self.subsets, generator).to(real.device)
        within = _pair_sums(pred, pred, in_pred, in_pred) + _pair_sums(real, real, in_real, in_real)
        selves = _self_sums(pred, in_pred) + _self_sums(real, in_real)
        across = _pair_sums(pred, real, in_pred, in_real)
        distances = (within - selves) / (size * (size - 1)) - 2 * across / size**2
        return distances.mean(), distances.std(correction=0)


def _random_subsets(total: int, size: int, subsets: int, generator: torch.Generator) -> Tensor:
    """(total, subsets) float64: column s is 1 for the members of subset s."""
    members = torch.zeros(total, subsets, dtype=torch.float64)
    for column in members.T:
        column[torch.randperm(total, generator=generator)[:size]] = 1
    return members


def _pair_sums(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor, rows: int = 1024) -> Tensor:
    """Kernel summed over all pairs of each subset, (S,), some rows at a time."""
    sums = torch.zeros(in_x.shape[1], dtype=torch.float64, device=x.device)
    for x_block, in_block in zip(x.split(rows), in_x.split(rows), strict=True):
        kernel = (x_block @ y.T / x.shape[1] + 1) ** 3
        sums += (in_block * (kernel @ in_y)).sum(dim=0)
    return sums


def _self_sums(x: Tensor, in_x: Tensor) -> Tensor:
    """Kernel of each member with itself, summed over each subset, (S,)."""
    return ((x.square().mean(dim=1) + 1) ** 3) @ in_x


class DistributionMetrics(nn.Module):
    """FIDs and KIDs of images, with one pass through the feature network.

    Args:
        extractor: maps images to features (B, D), such as `InceptionFeatures()`.
        metrics: by the names of their results.
        keep: keep the features too, 8 KB per image, for `features` and `part`.
    """

    def __init__(
        self, extractor: nn.Module, metrics: Mapping[str, FID | KID], keep: bool = False
    ) -> None:
        super().__init__()
        self.extractor = extractor.eval().requires_grad_(False)
        self.metrics: Any = nn.ModuleDict(metrics)  # of FID and KID, which are modules
        self.keep = keep
        self.kept: dict[bool, list[Tensor]] = {False: [], True: []}

    @torch.no_grad()
    def update(self, images: Tensor, *, real: bool) -> Tensor:
        """Add images as the extractor takes them, generated or real; gives their features."""
        features: Tensor = self.extractor(images)
        self.add_features(features, real=real)
        return features

    def add_features(self, features: Tensor, *, real: bool) -> None:
        """Add images by their features, (B, D)."""
        for metric in self.metrics.values():
            metric.update(features.to(metric.device), real=real)
        if self.keep:
            self.kept[real].append(features.cpu())

    def features(self, *, real: bool) -> Tensor:
        """The features so far, (N, D), in the order in which they came."""
        return torch.cat(self.kept[real])

    def part(self, indices: Mapping[bool, Tensor]) -> "DistributionMetrics":
        """The metrics of some of the images, given by the indices of each set (real or not)."""
        part = DistributionMetrics(self.extractor, deepcopy(self.metrics))
        for metric in part.metrics.values():
            metric.reset()
        for real, chosen in indices.items():
            part.add_features(self.features(real=real)[chosen], real=real)
        return part

    def compute(self) -> dict[str, Tensor]:
        """Name -> scalar; of a KID also `<name>_std`, over its subsets."""
        values = {}
        for name, metric in self.metrics.items():
            if isinstance(metric, KID):
                values[name], values[f"{name}_std"] = metric.compute()
            else:
                values[name] = metric.compute()
        return values


def small_set_note(pred: int, real: int) -> str | None:
    """A warning for the reader of FID and KID where one set has fewer than 2,048 images."""
    if min(pred, real) >= FEATURES:
        return None
    return (
        f"FID and KID of {pred:,} generated and {real:,} real images: below {FEATURES:,} FID is "
        "biased upward and only compares with values from sets of the same size"
    )
