"""SSIM, PSNR, masked PSNR and LPIPS against independent implementations."""

from collections.abc import Callable
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from leffa.metrics.paired import (
    LPIPS,
    LPIPS_BACKBONES,
    PSNR,
    SSIM,
    MaskedPSNR,
    load_lpips,
    untrained_lpips,
)
from leffa.metrics.weights import MissingWeights, WeightsFile, sha256_of


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    """Predictions and true images (4, 3, 48, 40): texture, a flat white half, growing noise."""
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(4, 3, 48, 40, generator=generator)
    true[:, :, :24] = 1
    noise = torch.randn(true.shape, generator=generator) * torch.linspace(0.02, 0.3, 4).view(
        4, 1, 1, 1
    )
    return (true + noise).clamp(0, 1), true


def per_pair(
    score: Callable[[np.ndarray, np.ndarray], float], pred: Tensor, true: Tensor
) -> Tensor:
    """A scikit-image metric of each pair, in float64."""
    arrays = (images.double().permute(0, 2, 3, 1).numpy() for images in (pred, true))
    return torch.tensor([score(p, t) for p, t in zip(*arrays, strict=True)])


@pytest.mark.parametrize("sigma", [1.2, 1.5])
def test_cropped_ssim_is_scikit_images(images: tuple[Tensor, Tensor], sigma: float) -> None:
    metric = SSIM(border="crop", sigma=sigma)
    metric.update(*images)
    expected = per_pair(
        lambda p, t: structural_similarity(
            t,
            p,
            channel_axis=2,
            data_range=1,
            gaussian_weights=True,
            sigma=sigma,
            use_sample_covariance=False,
        ),
        *images,
    )
    torch.testing.assert_close(metric.per_image().double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(metric.compute(), expected.mean(), atol=1e-6, rtol=0)


def test_full_ssim_is_that_of_torchmetrics_since_1_4_2(images: tuple[Tensor, Tensor]) -> None:
    metric = SSIM(border="full")
    metric.update(*images)
    pred, true = (each.double() for each in images)
    expected = structural_similarity_index_measure(pred, true, data_range=1.0, reduction="none")
    torch.testing.assert_close(metric.per_image().double(), expected, atol=1e-6, rtol=0)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="SSIM: images of 10x40 are smaller than the window of 11"):
        SSIM().update(torch.rand(1, 3, 40, 10), torch.rand(1, 3, 40, 10))


def test_psnr_is_the_mean_of_scikit_images_values(images: tuple[Tensor, Tensor]) -> None:
    metric = PSNR()
    metric.update(*images)
    expected = per_pair(lambda p, t: peak_signal_noise_ratio(t, p, data_range=1), *images)
    torch.testing.assert_close(metric.per_image().double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(metric.compute(), expected.mean(), atol=1e-5, rtol=0)


def test_pooled_psnr_averages_the_error_before_the_logarithm(images: tuple[Tensor, Tensor]) -> None:
    pred, true = images
    pooled, separate = PSNR(pooled=True), PSNR()
    for metric in (pooled, separate):
        metric.update(pred[:3], true[:3])
        metric.update(pred[3:], true[3:])
    expected = peak_signal_noise_ratio(true.double().numpy(), pred.double().numpy(), data_range=1)
    assert pooled.compute().item() == pytest.approx(expected, abs=1e-5)
    assert separate.compute() > pooled.compute()


def test_psnr_of_equal_images_is_infinite() -> None:
    metric = PSNR()
    metric.update(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
    assert metric.compute() == float("inf")


def test_masked_psnr_ignores_pixels_outside_the_mask() -> None:
    true, pred, mask = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    pred[..., 0], pred[..., 1] = 0.1, 0.3
    metric = MaskedPSNR()
    metric.update(pred, true, mask)
    assert metric.compute().item() == pytest.approx(-10 * np.log10((0.01 + 0.09) / 2), abs=1e-5)


def test_masked_psnr_refuses_an_empty_mask() -> None:
    with pytest.raises(ValueError, match="a mask is empty"):
        MaskedPSNR().update(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))


@pytest.fixture(scope="module")
def random_lpips() -> nn.Module:
    torch.manual_seed(0)
    return untrained_lpips("squeeze")


def test_lpips_is_that_of_its_package(random_lpips: lpips.LPIPS) -> None:
    pred, true = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    metric = LPIPS(random_lpips)
    metric.update(pred[:1], true[:1])
    metric.update(pred[1:], true[1:])
    expected = random_lpips(pred, true, normalize=True).flatten()
    torch.testing.assert_close(metric.per_image(), expected, atol=1e-6, rtol=1e-5)


def test_lpips_loads_a_backbone_from_torchvisions_file(
    random_lpips: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = random_lpips.get_submodule("net").state_dict()
    file = tmp_path / "squeeze.pth"
    torch.save({f"features.{key.split('.', 1)[1]}": value for key, value in backbone.items()}, file)
    monkeypatch.setitem(LPIPS_BACKBONES, "squeeze", WeightsFile(file.name, sha256_of(file), "here"))
    loaded = load_lpips("squeeze", file).get_submodule("net").state_dict()
    assert all(loaded[key].equal(value) for key, value in backbone.items())


def test_lpips_without_its_backbone_says_which_file_goes_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("LEFFA_WEIGHTS", raising=False)
    with pytest.raises(MissingWeights, match=r"alexnet-owt-7be5be79.pth .*LEFFA_WEIGHTS"):
        LPIPS("alex")


@pytest.mark.parametrize(
    ("pred", "message"),
    [
        (torch.full((1, 3, 16, 16), -1.0), "rescale from"),
        (torch.zeros(1, 1, 16, 16), "expected floats"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "expected floats"),
        (torch.zeros(1, 3, 16, 12), "but true has"),
    ],
)
def test_refuses_images_that_do_not_compare(pred: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PSNR().update(pred, torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("metric_class", [SSIM, PSNR])
def test_two_halves_merge_into_the_whole(
    images: tuple[Tensor, Tensor], metric_class: type[SSIM] | type[PSNR]
) -> None:
    pred, true = images
    whole, first, second = metric_class(), metric_class(), metric_class()
    whole.update(pred, true)
    first.update(pred[:1], true[:1])
    second.update(pred[1:], true[1:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), whole.compute(), atol=1e-9, rtol=0)
