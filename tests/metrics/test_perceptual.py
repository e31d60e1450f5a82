"""LPIPS against its package, and its files."""

from pathlib import Path

import lpips
import pytest
import torch
from torch import Tensor, nn

from leffa.io.files import sha256_of
from leffa.metrics.paired import full_batches
from leffa.metrics.perceptual import (
    LPIPS,
    LPIPS_BACKBONES,
    load_lpips,
    untrained_lpips,
)
from leffa.metrics.weights import MissingWeights, WeightsFile


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
    monkeypatch.setenv("LEFFA_WEIGHTS", str(tmp_path))
    loaded = load_lpips("squeeze").get_submodule("net").state_dict()
    assert all(loaded[key].equal(value) for key, value in backbone.items())


def test_dropping_the_last_batch_leaves_its_images_out(random_lpips: nn.Module) -> None:
    pred, true = torch.rand(2, 5, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    metric = LPIPS(random_lpips, drop_last=2)
    metric.update(pred, true)
    torch.testing.assert_close(metric.compute(), metric.per_image()[:4].double().mean())


def test_a_set_smaller_than_a_batch_is_kept_whole() -> None:
    assert [full_batches(images, 64) for images in (8570, 48674, 63)] == [8512, 48640, 63]
    assert full_batches(8570, None) == 8570


@pytest.mark.weights
def test_lpips_with_the_real_backbones_is_that_of_its_package(
    images: tuple[Tensor, Tensor],
) -> None:
    for net in LPIPS_BACKBONES:
        try:
            ours = LPIPS(net)
        except MissingWeights as error:
            pytest.skip(str(error))
        theirs = lpips.LPIPS(net=net, verbose=False)
        ours.update(*images)
        expected = theirs(*images, normalize=True).flatten()
        torch.testing.assert_close(ours.per_image(), expected, atol=1e-6, rtol=1e-5)
