"""FID and KID against scipy, torchmetrics and PIL."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from leffa.metrics.distribution import FID, KID, DistributionMetrics, small_set_note

D = 24


class TinyExtractor(nn.Module):
    """(B, 3, H, W) uint8 -> (B, D): a random projection of a 4x4 thumbnail."""

    num_features = D

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.thumbnail = nn.AdaptiveAvgPool2d(4)
        self.projection = nn.Parameter(torch.randn(48, D, generator=generator) / 48)

    def forward(self, images: Tensor) -> Tensor:
        return self.thumbnail(images.to(self.projection.dtype)).flatten(1) @ self.projection


@pytest.fixture
def features() -> tuple[Tensor, Tensor]:
    """Generated (60, D) and real (80, D) features of different mean and covariance."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(D, D, generator=generator)
    pred = torch.randn(60, D, generator=generator) @ mixing + 0.3
    return pred, torch.randn(80, D, generator=generator)


def scores(metric: FID | KID, pred: Tensor, real: Tensor, batch: int = 32) -> Tensor:
    """The metric's (first) value of two sets that arrive in batches."""
    for part in pred.split(batch):
        metric.update(part, real=False)
    for part in real.split(batch):
        metric.update(part, real=True)
    value = metric.compute()
    return value[0] if isinstance(value, tuple) else value


def test_fid_agrees_with_scipys_matrix_root(features: tuple[Tensor, Tensor]) -> None:
    pred, real = (x.double().numpy() for x in features)
    cov_p, cov_r = np.cov(pred, rowvar=False), np.cov(real, rowvar=False)
    root = scipy.linalg.sqrtm(cov_p @ cov_r).real
    expected = np.square(pred.mean(0) - real.mean(0)).sum() + np.trace(cov_p + cov_r - 2 * root)
    assert scores(FID(D), *features).item() == pytest.approx(expected, rel=1e-9)


def test_fid_of_fewer_images_than_features_agrees_with_the_gram_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    pred, real = torch.randn(2, 10, 64, generator=generator, dtype=torch.float64)
    centred_p, centred_r = pred - pred.mean(0), real - real.mean(0)
    overlap = torch.linalg.svdvals(centred_p @ centred_r.T).sum()
    expected = (pred.mean(0) - real.mean(0)).square().sum() + (
        centred_p.square().sum() + centred_r.square().sum() - 2 * overlap
    ) / 9
    torch.testing.assert_close(scores(FID(64), pred, real), expected, atol=1e-9, rtol=0)


def test_fid_of_a_set_with_itself_is_zero(features: tuple[Tensor, Tensor]) -> None:
    pred, real = features
    for images in (pred, real, pred[: D // 2]):
        value = scores(FID(D), images, images.flip(0))
        assert abs(value.item()) < 1e-10 * images.square().sum()


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`:UserWarning")
def test_fid_and_kid_agree_with_torchmetrics() -> None:
    pred, real = torch.randint(
        0, 256, (2, 40, 3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    pred = pred // 2
    ours = DistributionMetrics(TinyExtractor(), {"fid": FID(D), "kid": KID(D)})
    fid = FrechetInceptionDistance(feature=TinyExtractor()).set_dtype(torch.float64)
    kid = KernelInceptionDistance(feature=TinyExtractor(), subsets=1, subset_size=40)
    for images, is_real in ((pred, False), (real, True)):
        ours.update(images, real=is_real)
        fid.update(images, real=is_real)
        kid.update(images, real=is_real)
    values = ours.compute()
    assert values["fid"].item() == pytest.approx(fid.compute().item(), rel=1e-5)
    assert values["kid"].item() == pytest.approx(kid.compute()[0].item(), rel=1e-5)
    assert values["kid_std"].item() == pytest.approx(0, abs=1e-6)


def test_kid_is_the_mean_over_its_subsets(features: tuple[Tensor, Tensor]) -> None:
    value, spread = _computed(KID(D, subsets=400, subset_size=20), *features)
    whole, _ = _computed(KID(D, subsets=400), *features)
    assert spread > 0
    assert abs(value - whole) < 4 * spread / 20  # unbiased: within four standard errors


def test_kid_depends_on_its_seed_alone(features: tuple[Tensor, Tensor]) -> None:
    pred, real = features
    value = scores(KID(D, subset_size=20, seed=0), pred, real)
    reordered = scores(KID(D, subset_size=20, seed=0), pred.flip(0), real.roll(7, 0), batch=5)
    torch.testing.assert_close(value, reordered, atol=1e-9, rtol=1e-12)
    assert value != scores(KID(D, subset_size=20, seed=1), pred, real)


@pytest.mark.parametrize("metric_class", [FID, KID])
def test_two_halves_merge_into_the_whole(
    features: tuple[Tensor, Tensor], metric_class: type[FID] | type[KID]
) -> None:
    pred, real = features
    first, second = metric_class(D), metric_class(D)
    first.update(pred[:10], real=False)
    second.update(pred[10:], real=False)
    second.update(real, real=True)
    first.merge_state(second)
    merged = first.compute()
    value = merged[0] if isinstance(merged, tuple) else merged
    torch.testing.assert_close(value, scores(metric_class(D), pred, real), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("metric", [FID(D), KID(D)])
def test_refuses_to_compare_a_single_image(metric: FID | KID) -> None:
    with pytest.raises(
        ValueError, match="needs two images of each set, got 1 generated and 5 real"
    ):
        scores(metric, torch.rand(1, D), torch.rand(5, D))


def test_small_sets_carry_a_note() -> None:
    assert small_set_note(5400, 5400) is None
    assert "2,032 generated" in str(small_set_note(2032, 5400))


def _computed(metric: KID, pred: Tensor, real: Tensor) -> tuple[float, float]:
    metric.update(pred, real=False)
    metric.update(real, real=True)
    mean, spread = metric.compute()
    return mean.item(), spread.item()
