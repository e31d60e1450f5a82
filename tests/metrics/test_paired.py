"""SSIM, PSNR, masked PSNR and squared error against independent implementations."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as peak_signal_noise_ratio_torch,
)
from torchmetrics.functional.image import structural_similarity_index_measure

from leffa.metrics.paired import MSE, PSNR, SSIM, MaskedPSNR


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


def test_ssim_of_a_uniform_window_is_scikit_images(images: tuple[Tensor, Tensor]) -> None:
    """CFLD's, PIDM's and GFLA's SSIM: 51 pixels, the variance of a sample."""
    metric = SSIM(border="crop", window=51)
    metric.update(*images)
    expected = per_pair(
        lambda p, t: structural_similarity(t, p, channel_axis=2, data_range=1, win_size=51),
        *images,
    )
    torch.testing.assert_close(metric.per_image().double(), expected, atol=1e-6, rtol=0)


def test_ssim_over_the_predictions_range_is_scikit_images(images: tuple[Tensor, Tensor]) -> None:
    """CFLD's, PIDM's and GFLA's SSIM_256: on values to 255, the range of the prediction."""
    pred, true = images[0] * 0.6 + 0.1, images[1]
    metric = SSIM(border="crop", sigma=1.2, data_range="prediction")
    metric.update(pred, true)
    expected = per_pair(
        lambda p, t: structural_similarity(
            t * 255,
            p * 255,
            channel_axis=2,
            data_range=255 * (p.max() - p.min()),
            gaussian_weights=True,
            sigma=1.2,
            use_sample_covariance=False,
        ),
        pred,
        true,
    )
    torch.testing.assert_close(metric.per_image().double(), expected, atol=1e-6, rtol=0)


def test_ssim_of_gray_images_is_scikit_images_on_pils_luminance(
    images: tuple[Tensor, Tensor],
) -> None:
    """HR-VITON's SSIM."""
    metric = SSIM(border="crop", gray=True)
    metric.update(*images)

    def score(pred: np.ndarray, true: np.ndarray) -> float:
        gray = [
            np.array(Image.fromarray((each * 255).round().astype(np.uint8)).convert("L"))
            for each in (pred, true)
        ]
        return structural_similarity(
            *gray, data_range=255, gaussian_weights=True, use_sample_covariance=False
        )

    expected = per_pair(score, *images)
    torch.testing.assert_close(metric.per_image().double(), expected, atol=1e-6, rtol=0)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="SSIM: images of 40x10 are smaller than the window of 11"):
        SSIM().update(torch.rand(1, 3, 40, 10), torch.rand(1, 3, 40, 10))


def test_psnr_is_the_mean_of_scikit_images_values(images: tuple[Tensor, Tensor]) -> None:
    metric = PSNR()
    metric.update(*images)
    expected = per_pair(lambda p, t: peak_signal_noise_ratio(t, p, data_range=1), *images)
    torch.testing.assert_close(metric.per_image().double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(metric.compute(), expected.mean(), atol=1e-5, rtol=0)


def test_pooled_psnr_averages_the_error_before_the_logarithm(images: tuple[Tensor, Tensor]) -> None:
    pred, true = images
    pooled, separate = PSNR(pool="all"), PSNR()
    for metric in (pooled, separate):
        metric.update(pred[:3], true[:3])
        metric.update(pred[3:], true[3:])
    expected = peak_signal_noise_ratio(true.double().numpy(), pred.double().numpy(), data_range=1)
    assert pooled.compute().item() == pytest.approx(expected, abs=1e-5)
    assert separate.compute() > pooled.compute()


def test_psnr_pooled_in_batches_depends_on_their_size_as_in_vtoneval(
    images: tuple[Tensor, Tensor],
) -> None:
    """VtonEval: torchmetrics per batch, weighted with its size. Its value moves with the batch."""
    pred, true = images
    values = {}
    for batch in (1, 3, 4):
        theirs = 0.0
        for p, t in zip(pred.split(batch), true.split(batch), strict=True):
            theirs += peak_signal_noise_ratio_torch(p, t, data_range=1.0).item() * len(p)
        metric = PSNR(pool=batch)
        metric.update(pred[:2], true[:2])
        metric.update(pred[2:], true[2:])
        values[batch] = metric.compute().item()
        assert values[batch] == pytest.approx(theirs / len(pred), abs=1e-4)
    assert values[1] > values[3] > values[4]


def test_squared_error_is_numpys(images: tuple[Tensor, Tensor]) -> None:
    metric = MSE()
    metric.update(*images)
    expected = per_pair(lambda p, t: np.mean((p - t) ** 2).item(), *images)
    torch.testing.assert_close(metric.per_image(), expected.float(), atol=1e-8, rtol=1e-5)


def test_masked_psnr_is_numpys(images: tuple[Tensor, Tensor]) -> None:
    pred, true = images
    mask = (torch.rand(len(pred), 1, *pred.shape[2:], generator=torch.manual_seed(0)) > 0.6).float()
    metric = MaskedPSNR()
    metric.update(pred, true, mask)
    for value, p, t, m in zip(metric.per_image(), pred, true, mask, strict=True):
        inside = m[0].numpy() > 0
        error = np.square((p - t).double().numpy()[:, inside])
        assert value.item() == pytest.approx(10 * np.log10(error.size / error.sum()), abs=1e-4)


def test_psnr_of_equal_images_is_infinite() -> None:
    metric = PSNR()
    metric.update(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
    assert metric.compute() == float("inf")


def test_masked_psnr_leaves_images_out_whose_mask_is_empty() -> None:
    true, pred, mask = (
        torch.zeros(2, 3, 4, 4),
        torch.full((2, 3, 4, 4), 0.1),
        torch.ones(2, 1, 4, 4),
    )
    mask[1] = 0
    metric = MaskedPSNR()
    metric.update(pred, true, mask)
    assert metric.per_image().isnan().tolist() == [False, True]
    assert metric.compute().item() == pytest.approx(20.0, abs=1e-5)


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


def test_the_interval_of_a_mean_is_that_of_the_central_limit_theorem() -> None:
    metric = PSNR()
    metric.values.append(torch.randn(400, generator=torch.Generator().manual_seed(0)) * 3 + 20)
    half = 1.96 * metric.values[0].std().item() / 20
    middle = metric.values[0].mean().item()
    expected = pytest.approx((middle - half, middle + half), abs=0.1 * half)
    assert metric.interval(resamples=2000) == expected
    assert metric.interval(resamples=2000) == metric.interval(resamples=2000)


@pytest.mark.parametrize("values", [[20.0], [20.0, math.inf]])
def test_one_image_or_an_infinite_value_has_no_interval(values: list[float]) -> None:
    metric = PSNR()
    metric.values.append(torch.tensor(values))
    assert metric.interval() is None
