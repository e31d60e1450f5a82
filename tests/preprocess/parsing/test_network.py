"""The SCHP network: the authors' layout of the weights, and files that do not fit it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from leffa.preprocess.parsing.schp import schp
from leffa.preprocess.parsing.schp_net import SCHP, load_schp, take_absolute_gains


@pytest.fixture(scope="module")
def layout() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = SCHP(20).state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if "num_batches" not in key}


def test_the_weights_are_as_many_as_in_the_released_file(
    layout: dict[str, tuple[int, ...]],
) -> None:
    """Stem 15, 33 blocks of 15, 4 shortcuts of 5, context 25, edge 19, decoder 22, fusion 7."""
    assert len(layout) == 15 + 33 * 15 + 4 * 5 + 25 + 19 + 22 + 7
    assert sum(np.prod(shape) for shape in layout.values()) == 66_838_456  # 267 MB of floats


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("conv1.weight", (64, 3, 3, 3)),
        ("bn3.running_var", (128,)),
        ("layer1.0.downsample.0.weight", (256, 128, 1, 1)),
        ("layer1.0.downsample.1.weight", (256,)),
        ("layer2.0.conv2.weight", (128, 128, 3, 3)),
        ("layer3.22.conv3.weight", (1024, 256, 1, 1)),
        ("layer4.2.bn3.bias", (2048,)),
        ("context_encoding.stages.3.1.weight", (512, 2048, 1, 1)),
        ("context_encoding.stages.0.2.running_mean", (512,)),
        ("context_encoding.bottleneck.0.weight", (512, 4096, 3, 3)),
        ("edge.conv3.0.weight", (256, 1024, 1, 1)),
        ("edge.conv4.bias", (2,)),
        ("edge.conv5.weight", (2, 6, 1, 1)),
        ("decoder.conv2.0.weight", (48, 256, 1, 1)),
        ("decoder.conv3.0.weight", (256, 304, 1, 1)),
        ("decoder.conv3.3.bias", (256,)),
        ("decoder.conv4.weight", (20, 256, 1, 1)),
        ("fushion.0.weight", (256, 1024, 1, 1)),
        ("fushion.3.weight", (20, 256, 1, 1)),
    ],
)
def test_a_weight_has_the_authors_name_and_shape(
    layout: dict[str, tuple[int, ...]], key: str, shape: tuple[int, ...]
) -> None:
    assert layout[key] == shape


def tiny() -> SCHP:
    torch.manual_seed(0)
    return SCHP(20, blocks=(1, 1, 1, 1), width=8).eval()


@torch.no_grad()
def test_scores_have_a_quarter_of_the_resolution() -> None:
    parsing, fusion, edge = tiny()(torch.zeros(2, 3, 65, 49))
    assert parsing.shape == fusion.shape == (2, 20, 17, 13)
    assert edge.shape == (2, 2, 17, 13)


@torch.no_grad()
@pytest.mark.parametrize(("stage", "stride", "dilation"), [(1, 1, 1), (3, 2, 1), (4, 1, 2)])
def test_blocks_are_torchvisions_and_the_last_stage_is_dilated(
    stage: int, stride: int, dilation: int
) -> None:
    model = tiny()
    block = getattr(model, f"layer{stage}")[0]
    channels, planes = block.conv1.in_channels, block.conv1.out_channels
    other = Bottleneck(channels, planes, stride, block.downsample, dilation=dilation).eval()
    other.load_state_dict(block.state_dict())
    x = torch.randn(1, channels, 12, 10)
    torch.testing.assert_close(block(x), other(x))


def test_every_weight_takes_part_in_the_result_or_in_the_other_branches() -> None:
    model = tiny().train()
    sum(output.square().sum() for output in model(torch.randn(2, 3, 65, 65))).backward()
    idle = [name for name, weight in model.named_parameters() if not weight.grad.any()]
    assert idle == []


def flat_file(path: Path, state: dict[str, Tensor], prefix: str) -> Path:
    """A file of the full layout that is small on disk: each weight is one number."""
    flat = {prefix + k: torch.tensor(-0.01).expand(v.shape) for k, v in state.items()}
    torch.save({"state_dict": flat}, path)
    return path


@torch.no_grad()
def test_a_file_of_the_full_layout_loads_and_runs(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = {k: v for k, v in SCHP(18).state_dict().items() if "num_batches" not in k}
    path = flat_file(tmp_path / "exp-schp-atr.pth", state, "module.")
    model = load_schp(path, 18)
    assert not model.training
    assert model(torch.zeros(1, 3, 33, 33)).fusion.shape == (1, 18, 9, 9)
    assert float(model.bn1.weight[0]) == pytest.approx(0.01 + 1e-5)
    with pytest.raises(ValueError, match=r"exp-schp-atr.pth: .* has another shape"):
        load_schp(path, 20)


@torch.no_grad()
def test_scores_are_those_of_norms_that_take_their_gains_without_the_sign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The authors' layer: (x - mean) / sqrt(variance + eps) * (|gain| + eps) + offset."""

    def authors_norm(
        x: Tensor, mean: Tensor, variance: Tensor, gain: Tensor, offset: Tensor, *rest: object
    ) -> Tensor:
        mean, variance, gain, offset = (
            one.view(1, -1, 1, 1) for one in (mean, variance, gain, offset)
        )
        return (x - mean) / (variance + 1e-5).sqrt() * (gain.abs() + 1e-5) + offset

    ours, theirs = tiny(), tiny()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.normal_(0, 0.5)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    theirs.load_state_dict(ours.state_dict())
    picture = torch.randn(1, 3, 33, 33)
    signed = ours(picture).fusion
    take_absolute_gains(ours)
    scores = ours(picture).fusion
    monkeypatch.setattr("torch.nn.functional.batch_norm", authors_norm)
    torch.testing.assert_close(scores, theirs(picture).fusion, rtol=1e-4, atol=1e-5)
    assert (scores - signed).abs().max() > 0.1


def test_a_file_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": _Runs(marker)}, path)
    with pytest.raises(ValueError, match=r"evil.pth: not a file of plain tensors"):
        load_schp(path, 20)
    assert not marker.exists()


class _Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def test_a_missing_file_and_an_unknown_label_set_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        schp(tmp_path / "none.pth", "lip")
    with pytest.raises(ValueError, match="label_set=cihp: SCHP has networks for lip and atr"):
        schp(tmp_path / "none.pth", "cihp")
