"""FID and KID against clean-fid and torch-fidelity, on the same features.

Both packages are optional; without them these tests skip, and `test_distribution.py` still compares
with scipy's matrix root and torchmetrics. torch-fidelity's wheel brings a package named `tests`,
which hides ours, so no requirement names it: `pip install --target DIR --no-deps torch-fidelity`,
remove DIR/tests, and run these tests with PYTHONPATH=DIR.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from leffa.metrics.distribution import FID, KID
from leffa.metrics.features import InceptionFeatures

# Their own code, on a newer scipy, torch and setuptools than they were written for.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def features() -> tuple[Tensor, Tensor]:
    """Generated (150, 64) and real (180, 64): not negative, as behind a ReLU."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(64, 64, generator=generator) / 8
    pred = (torch.randn(150, 64, generator=generator) @ mixing + 0.2).relu()
    return pred, torch.randn(180, 64, generator=generator).relu()


def fid(pred: Tensor, real: Tensor) -> float:
    metric = FID(pred.shape[1])
    metric.update(pred, real=False)
    metric.update(real, real=True)
    return metric.compute().item()


def kid(pred: Tensor, real: Tensor, subsets: int, size: int) -> tuple[float, float]:
    metric = KID(pred.shape[1], subsets=subsets, subset_size=size)
    metric.update(pred, real=False)
    metric.update(real, real=True)
    mean, spread = metric.compute()
    return mean.item(), spread.item()


def test_fid_is_clean_fids(features: tuple[Tensor, Tensor]) -> None:
    clean_fid = pytest.importorskip("cleanfid.fid")
    statistics = []
    for each in features:
        x = each.double().numpy()
        statistics += [x.mean(axis=0), np.cov(x, rowvar=False)]
    assert fid(*features) == pytest.approx(clean_fid.frechet_distance(*statistics), rel=1e-7)


def test_kid_is_clean_fids_up_to_the_draw_of_subsets(features: tuple[Tensor, Tensor]) -> None:
    clean_fid = pytest.importorskip("cleanfid.fid")
    pred, real = (x.double().numpy() for x in features)
    np.random.seed(0)  # noqa: NPY002 - the only one that clean-fid listens to
    # Whole sets of equal size leave nothing to draw: the values must be the same.
    theirs = clean_fid.kernel_distance(real[:150], pred, num_subsets=2, max_subset_size=1000)
    assert kid(features[0], features[1][:150], 2, 1000)[0] == pytest.approx(theirs, rel=1e-6)
    theirs = clean_fid.kernel_distance(real, pred, num_subsets=400, max_subset_size=50)
    ours, spread = kid(*features, 400, 50)
    assert ours == pytest.approx(theirs, abs=4 * spread * np.sqrt(2 / 400))


def test_fid_and_kid_are_torch_fidelitys(features: tuple[Tensor, Tensor]) -> None:
    metric_fid = pytest.importorskip("torch_fidelity.metric_fid")
    metric_kid = pytest.importorskip("torch_fidelity.metric_kid")
    statistics = [metric_fid.fid_features_to_statistics(each.double()) for each in features]
    theirs = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert fid(*features) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-7)
    pred, real = features[0], features[1][:150]
    theirs = metric_kid.kid_features_to_metric(
        pred.double(), real.double(), kid_subsets=2, kid_subset_size=150, verbose=False
    )
    ours, _ = kid(pred, real, 2, 150)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("inception")
def test_fid_of_folders_is_clean_fids(images: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    """From files to the value, through clean-fid's own reading, resizing and covariances."""
    clean_fid = pytest.importorskip("cleanfid.fid")
    from PIL import Image

    for name, side in zip(("pred", "true"), images, strict=True):
        (tmp_path / name).mkdir()
        for number, image in enumerate(side):
            pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    network = InceptionFeatures().network

    class Extractor(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return network((x - 128) / 128)

    theirs = clean_fid.compute_fid(
        str(tmp_path / "pred"),
        str(tmp_path / "true"),
        num_workers=0,
        device=torch.device("cpu"),
        use_dataparallel=False,
        custom_feat_extractor=Extractor(),
        verbose=False,
    )
    extractor = InceptionFeatures()
    pred, real = (extractor(each) for each in images)
    assert fid(pred, real) == pytest.approx(theirs, rel=1e-3)
