"""SCHP: its view of a picture, its network and weights' layout, and what is made of its labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.resnet import Bottleneck

from leffa.preprocess.parsing import Parsing
from leffa.preprocess.parsing.coarse import coarse_labels
from leffa.preprocess.parsing.framing import MEAN, STD, from_square, to_square
from leffa.preprocess.parsing.neck import ATRWithNeck, add_neck, fill_garment
from leffa.preprocess.parsing.schp import SCHP, fill, load_schp
from leffa.preprocess.parsing.schp_parser import SCHPParser, schp_onnx, schp_torch


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def unnormalised(square: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (square[0] * std + mean) * 255


# The view of a picture.


def test_a_square_picture_of_the_networks_size_is_only_normalised_as_bgr() -> None:
    image = Image.new("RGB", (5, 5), (255, 0, 51))
    square = to_square(image, 5)
    expected = [(0.2 - 0.406) / 0.225, (0 - 0.456) / 0.224, (1 - 0.485) / 0.229]
    assert square.shape == (1, 3, 5, 5)
    torch.testing.assert_close(square[0, :, 2, 2], torch.tensor(expected))


def test_the_longer_side_fills_the_square_and_the_rest_is_black() -> None:
    square = unnormalised(to_square(Image.new("RGB", (3, 5), (200, 200, 200)), 9))
    assert square[0, :, 4].round().tolist() == [200] * 9  # first row to last
    # Two source pixels are four cells, so the outer columns lie at cells 2 and 6; at 1 and 7 the
    # picture fades into the black beside it.
    assert square[0, 4].round().tolist() == [0, 100, 200, 200, 200, 200, 200, 100, 0]


@pytest.mark.parametrize("size", [(37, 61), (61, 37), (96, 96)])
def test_agrees_with_opencvs_affine_warp(size: tuple[int, int]) -> None:
    """The authors warp with OpenCV, whose coordinates are rounded to a 32nd of a pixel."""
    cv2 = pytest.importorskip("cv2", reason="compares with opencv-python, which is not installed")
    image, side = noise(*size), 48
    scale = (side - 1) / (max(size) - 1)
    matrix = np.array([[scale, 0, 0], [0, scale, 0]])
    matrix[:, 2] = (side - 1) / 2 - scale * (np.array(size) - 1) / 2
    warped = cv2.warpAffine(np.asarray(image)[..., ::-1], matrix, (side, side))
    square = unnormalised(to_square(image, side)).permute(1, 2, 0).numpy()
    assert np.abs(square - warped).max() < 10
    assert np.abs(square - warped).mean() < 1.5


@pytest.mark.parametrize("size", [(30, 41), (41, 30), (33, 33)])
def test_scores_come_back_where_the_picture_was(size: tuple[int, int]) -> None:
    """Scores that are the square's coordinates come back as a ramp over the picture."""
    side, (width, height) = 65, size
    ramp = torch.linspace(-1, 1, side)
    logits = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])[None]
    x, y = from_square(logits, side, size)
    assert x.shape == (height, width)
    longer = max(size) - 1
    torch.testing.assert_close(x[0], torch.linspace(-1, 1, width) * (width - 1) / longer)
    torch.testing.assert_close(y[:, 0], torch.linspace(-1, 1, height) * (height - 1) / longer)


def test_a_network_that_tells_bright_from_dark_labels_every_pixel_rightly() -> None:
    labels = np.zeros((64, 48), np.uint8)
    labels[20:40, 10:30] = 13
    image = Image.fromarray(np.where(labels > 0, 255, 40).astype(np.uint8)).convert("RGB")

    def bright(square: Tensor) -> Tensor:
        scores = torch.zeros(1, 20, *square.shape[2:])
        scores[:, 13] = square.mean(dim=1)
        return scores

    found = SCHPParser(bright, "lip", side=127).parse(image)
    assert found.label_set == "lip"
    assert (found.labels == labels).mean() > 0.98


# The network.


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


@torch.no_grad()
def test_a_released_file_loads_and_gives_the_same_scores(tmp_path: Path) -> None:
    """As released: under `state_dict`, behind `module.`, without counters of training steps."""
    model, other = tiny(), tiny()
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value))
    state = {f"module.{k}": v for k, v in model.state_dict().items() if "num_batches" not in k}
    fill(other, state, "file")
    picture = torch.randn(1, 3, 33, 33)
    torch.testing.assert_close(other(picture).fusion, model(picture).fusion, rtol=0, atol=0)


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
    assert float(model.bn1.weight[0]) == pytest.approx(-0.01)
    signless = load_schp(path, 18, absolute_gain=True)
    assert float(signless.bn1.weight[0]) == pytest.approx(0.01 + 1e-5)
    with pytest.raises(ValueError, match=r"exp-schp-atr.pth: .* has another shape"):
        load_schp(path, 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": None}, "conv1.weight is missing"),
        ({"fc.weight": torch.zeros(1)}, "fc.weight has no place"),
        ({"bn1.bias": torch.zeros(9)}, "bn1.bias has another shape"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: dict[str, Tensor | None], message: str) -> None:
    state = {k: v for k, v in (tiny().state_dict() | change).items() if v is not None}
    with pytest.raises(ValueError, match=f"w.pth: {message}"):
        fill(tiny(), state, "w.pth")


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
        schp_torch(tmp_path / "none.pth", "lip")
    with pytest.raises(ValueError, match="label_set=cihp: SCHP has networks for lip and atr"):
        schp_torch(tmp_path / "none.pth", "cihp")


# ONNX files.


def export(path: Path, classes: int, branches: int = 3) -> None:
    """A model whose fusion branch likes label 5 and whose parsing branch likes label 2."""
    onnx = pytest.importorskip("onnx", reason="writes an ONNX file; onnx is not installed")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    picture = helper.make_tensor_value_info("input.1", kind, [1, 3, None, None])
    nodes, outputs, weights = [], [], []
    for name, liked in (("parsing", 2), ("fusion", 5), ("edge", 0))[:branches]:
        channels = 2 if name == "edge" else classes
        bias = np.zeros(channels, np.float32)
        bias[liked] = 1
        kernel = np.zeros((channels, 3, 1, 1), np.float32)
        weights += [
            onnx.numpy_helper.from_array(kernel, f"{name}.w"),
            onnx.numpy_helper.from_array(bias, f"{name}.b"),
        ]
        inputs = ["input.1", f"{name}.w", f"{name}.b"]
        nodes.append(helper.make_node("Conv", inputs, [name], strides=[4, 4]))
        outputs.append(helper.make_tensor_value_info(name, kind, [1, channels, None, None]))
    graph = helper.make_graph(nodes, "schp", [picture], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


@pytest.fixture
def needs_onnxruntime() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.mark.usefixtures("needs_onnxruntime")
def test_the_fusion_branch_of_an_onnx_file_is_the_result(tmp_path: Path) -> None:
    export(tmp_path / "parsing_atr.onnx", 18)
    found = schp_onnx(tmp_path / "parsing_atr.onnx", "atr").parse(noise(24, 32))
    assert found.labels.shape == (32, 24)
    assert set(found.labels.ravel()) == {5}


@pytest.mark.usefixtures("needs_onnxruntime")
def test_an_onnx_file_of_another_label_set_is_refused(tmp_path: Path) -> None:
    export(tmp_path / "parsing_lip.onnx", 20)
    with pytest.raises(ValueError, match="gives 20 labels, but atr has 18"):
        schp_onnx(tmp_path / "parsing_lip.onnx", "atr").parse(noise(24, 32))


@pytest.mark.usefixtures("needs_onnxruntime")
def test_what_is_no_onnx_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"broken.onnx: is not a readable ONNX model"):
        schp_onnx(path, "lip")


# The demos' labels.


def test_what_only_atr_calls_face_is_the_neck() -> None:
    atr, lip = np.array([[11, 11, 4]], np.uint8), np.array([[13, 5, 13]], np.uint8)
    assert add_neck(atr, lip).tolist() == [[11, 18, 4]]


def test_small_holes_of_the_garment_are_filled_and_large_ones_stay() -> None:
    labels = np.zeros((512, 384), np.uint8)
    labels[100:400, 100:300] = 4
    labels[120:130, 120:130] = 0  # 100 pixels
    labels[150:160, 150:160] = 17  # a scarf
    labels[200:250, 200:250] = 0  # 2500 pixels
    filled = fill_garment(labels)
    assert (filled[120:160, 120:160] == 4).all()
    assert (filled[200:250, 200:250] == 0).all()
    assert (filled[:100] == 0).all()


def test_arms_stay_and_what_arm_and_garment_enclose_is_filled() -> None:
    labels = np.zeros((512, 384), np.uint8)
    labels[100:200, 100:200] = 4
    labels[100:120, 200:240] = labels[100:160, 240:260] = labels[140:160, 200:260] = 14
    filled = fill_garment(labels)
    assert (filled[120:140, 200:240] == 4).all()
    assert (filled == 14).sum() == (labels == 14).sum()


def test_joining_needs_both_label_sets() -> None:
    class Fixed:
        def parse(self, image: Image.Image) -> Parsing:
            return Parsing(np.zeros((4, 4), np.uint8), "lip")

    with pytest.raises(ValueError, match="give lip and lip labels"):
        ATRWithNeck(Fixed(), Fixed()).parse(noise(4, 4))


# The rough parsing.


def standing() -> tuple[np.ndarray, np.ndarray]:
    """Joints and silhouette of somebody facing us at 300x400, arms a little away."""
    joints = np.zeros((25, 3), np.float32)
    for joint, x, y in (
        *((0, 150, 60), (1, 150, 110), (2, 110, 110), (3, 95, 170), (4, 85, 230)),
        *((5, 190, 110), (6, 205, 170), (7, 215, 230), (8, 150, 220), (9, 125, 220)),
        *((10, 125, 300), (11, 125, 380), (12, 175, 220), (13, 175, 300), (14, 175, 380)),
    ):
        joints[joint] = (x, y, 1)
    return joints, np.ones((400, 300), np.bool_)


def test_rough_labels_know_left_from_right_and_up_from_down() -> None:
    labels = coarse_labels(*standing())
    for (x, y), label in (
        *(((150, 60), 13), ((150, 25), 2), ((150, 150), 5), ((150, 260), 9)),
        *(((90, 200), 15), ((210, 200), 14), ((80, 245), 15), ((175, 350), 9)),
    ):
        assert labels[y, x] == label, (x, y)


def test_nothing_is_labelled_outside_the_silhouette() -> None:
    joints, silhouette = standing()
    silhouette[:, :150] = False
    labels = coarse_labels(joints, silhouette)
    assert not labels[:, :150].any()
    assert labels[:, 150:].all()


def test_rough_labels_do_without_hips_and_knees() -> None:
    joints, silhouette = standing()
    whole = coarse_labels(joints, silhouette)
    joints[8:15] = 0
    assert (coarse_labels(joints, silhouette) == whole)[:240].mean() > 0.9


def test_rough_labels_need_shoulders() -> None:
    joints, silhouette = standing()
    joints[2] = 0
    with pytest.raises(ValueError, match="no shoulders"):
        coarse_labels(joints, silhouette)
