"""Confidence intervals: their coverage, and the FID that they are built on."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from leffa.metrics.bootstrap import fid_interval, fid_of_features, per_image_interval
from leffa.metrics.distribution import FID
from leffa.metrics.paired import PSNR


def psnr_of(values: Tensor) -> PSNR:
    metric = PSNR()
    metric.values.append(values)
    return metric


def test_the_interval_of_a_mean_is_that_of_the_central_limit_theorem() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)) * 3 + 20
    interval = per_image_interval(psnr_of(values), resamples=2000)
    assert interval is not None
    half = 1.96 * values.std().item() / 20
    assert interval[0] == pytest.approx(values.mean().item() - half, abs=0.1 * half)
    assert interval[1] == pytest.approx(values.mean().item() + half, abs=0.1 * half)
    assert interval == per_image_interval(psnr_of(values), resamples=2000)


@pytest.mark.parametrize("values", [[20.0], [20.0, math.inf]])
def test_one_image_or_an_infinite_value_has_no_interval(values: list[float]) -> None:
    assert per_image_interval(psnr_of(torch.tensor(values))) is None


@pytest.mark.parametrize(("pred", "real"), [(60, 90), (10, 12), (10, 90)])
def test_fid_of_features_is_that_of_their_covariances(pred: int, real: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randn(n, 24, generator=generator) * scale for n, scale in ((pred, 2), (real, 1))]
    fid = FID(24)
    fid.update(sets[0], real=False)
    fid.update(sets[1], real=True)
    assert fid_of_features(*sets) == pytest.approx(fid.compute().item(), abs=1e-9, rel=1e-9)
    repeats = torch.arange(pred) % 3  # some left out, some twice
    repeated = fid_of_features(sets[0].repeat_interleave(repeats, dim=0), sets[1])
    assert fid_of_features(*sets, pred_repeats=repeats) == pytest.approx(repeated, rel=1e-9)


def test_the_interval_of_fid_is_as_wide_as_values_of_fresh_sets_scatter() -> None:
    generator = torch.Generator().manual_seed(0)

    def fresh() -> tuple[Tensor, Tensor]:
        return torch.randn(200, 8, generator=generator) + 0.4, torch.randn(
            200, 8, generator=generator
        )

    spread = np.std([fid_of_features(*fresh()) for _ in range(100)])
    pred, real = fresh()
    (low, high), bias = fid_interval(pred, real, resamples=100)
    assert low < fid_of_features(pred, real) < high
    assert (high - low) / (2 * 1.96) == pytest.approx(spread, rel=0.4)
    assert bias > 0  # small sets push FID up
