"""Inception features against the published network, torchvision's, clean-fid's and pytorch-fid's
resizing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn

from leffa.io.files import sha256_of
from leffa.metrics.features import KINDS, InceptionFeatures, clean_resize
from leffa.metrics.inception import (
    PACKAGED_INCEPTION,
    TENSORFLOW_INCEPTION,
    TORCHVISION_INCEPTION,
    Inception,
    _of_torchscript,
    load_tensorflow,
)
from leffa.metrics.weights import MissingWeights, WeightsFile


@pytest.mark.usefixtures("inception")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_features_are_those_of_the_published_network(painted_images: tuple[Tensor, Tensor]) -> None:
    published = torch.jit.load(PACKAGED_INCEPTION.locate(), map_location="cpu").eval()
    pictures = (painted_images[0] * 255).round().to(torch.uint8)
    resized = F.interpolate(pictures / 255, (299, 299), mode="bilinear", align_corners=False)
    inputs = torch.cat([(clean_resize(pictures) - 128) / 128, 2 * resized - 1])
    with torch.no_grad(), torch.jit.optimized_execution(False):
        clean, plain = published(inputs).split(len(pictures))
    for kind, features in (("clean_fid", clean), ("pytorch_fid", plain)):
        ours = InceptionFeatures(kind=kind)
        torch.testing.assert_close(ours(pictures), features, atol=5e-5, rtol=1e-4)
        assert features.min() >= 0  # pooled after a ReLU
    assert (clean - plain).abs().max() > 0.01


@pytest.fixture(scope="module")
def random_torchvision() -> nn.Module:
    """torchvision's architecture with weights and statistics that mean nothing."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(weights=None, init_weights=False).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    return network


def test_the_network_of_pose_transfer_is_torchvisions(
    random_torchvision: nn.Module, painted_images: tuple[Tensor, Tensor]
) -> None:
    theirs = random_torchvision
    theirs.fc = nn.Identity()
    # torchvision applies the same affine to its input, if asked to.
    theirs.transform_input = True
    inputs = F.interpolate(painted_images[0], (299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = theirs(inputs)
        ours = Inception(theirs.state_dict(), tensorflow=False)(
            KINDS["torchvision"][0](painted_images[0])
        )
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_the_network_of_pose_transfer_is_read_from_torchvisions_file(
    random_torchvision: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / TORCHVISION_INCEPTION.name
    torch.save(random_torchvision.state_dict(), file)
    monkeypatch.setenv("LEFFA_WEIGHTS", str(tmp_path))
    with pytest.raises(ValueError, match=r"SHA256 begins .* expected 0cc3c7bd"):
        InceptionFeatures("torchvision")
    known = WeightsFile(file.name, sha256_of(file), "here")
    monkeypatch.setattr("leffa.metrics.inception.TORCHVISION_INCEPTION", known)
    features = InceptionFeatures("torchvision")(torch.zeros(1, 3, 32, 24))
    assert features.shape == (1, 2048)


def pytorch_fids_file(
    file: Path, weights: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights as pytorch-fid publishes them: torchvision's names, and a classifier of 1008."""
    with torch.device("meta"):
        network = torchvision.models.inception_v3(
            weights=None, init_weights=False, aux_logits=False, num_classes=1008
        )
    state = {
        name: weights[name] if name in weights else torch.zeros(empty.shape)
        for name, empty in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(state, file)
    known = replace(TENSORFLOW_INCEPTION, sha256=sha256_of(file))
    monkeypatch.setattr("leffa.metrics.inception.TENSORFLOW_INCEPTION", known)
    monkeypatch.setenv("LEFFA_WEIGHTS", str(file.parent))


@pytest.mark.usefixtures("without_networks")
def test_the_network_of_2015_is_read_from_pytorch_fids_file(
    random_torchvision: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = {k: v for k, v in random_torchvision.state_dict().items() if "fc." not in k}
    pytorch_fids_file(tmp_path / TENSORFLOW_INCEPTION.name, features, monkeypatch)
    images = torch.rand(1, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    ours, inputs = InceptionFeatures(), KINDS["clean_fid"][0](images)
    assert ours(images).equal(Inception(features, tensorflow=True)(inputs))
    assert (ours(images) - Inception(features, tensorflow=False)(inputs)).abs().max() > 0.01
    assert ours.label.startswith("pt_inception-2015-12-05-6726825d.pth, SHA256")


@pytest.mark.usefixtures("inception")
def test_both_files_of_the_network_of_2015_give_the_same_features(
    painted_images: tuple[Tensor, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged, inputs = load_tensorflow(), KINDS["pytorch_fid"][0](painted_images[0])
    weights = _of_torchscript(PACKAGED_INCEPTION.locate())
    pytorch_fids_file(tmp_path / TENSORFLOW_INCEPTION.name, weights, monkeypatch)
    monkeypatch.setattr("leffa.metrics.weights.find_spec", lambda _: None)
    assert load_tensorflow()(inputs).equal(packaged(inputs))


@pytest.mark.usefixtures("without_networks")
def test_a_missing_network_is_named_with_its_place() -> None:
    with pytest.raises(MissingWeights, match=r"inception_v3_google-0cc3c7bd.pth .*LEFFA_WEIGHTS"):
        InceptionFeatures("torchvision")
    with pytest.raises(
        MissingWeights,
        match=r"pt_inception-2015-12-05-6726825d\.pth not found: type `leffa",
    ):
        InceptionFeatures()


@pytest.mark.parametrize("size", [(768, 640), (96, 72)], ids=["shrinking", "enlarging"])
def test_resizing_is_that_of_clean_fid(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    channels = [
        np.asarray(
            Image.fromarray(pixels[..., c].astype(np.float32)).resize(
                (299, 299), Image.Resampling.BICUBIC
            )
        )
        for c in range(3)
    ]
    ours = clean_resize(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    np.testing.assert_allclose(ours.numpy(), np.clip(channels, 0, 255), atol=1e-4)


def test_float_images_count_as_they_would_be_saved() -> None:
    images = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    saved = (images * 255).round().to(torch.uint8)
    assert clean_resize(images).equal(clean_resize(saved))
