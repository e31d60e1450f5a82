"""The published DensePose against detectron2, with weights that are a formula of their names.

Where the recorded outputs are (a photograph goes with them), every stage is compared. Everywhere,
what the network that agreed with them found in a picture of squares.
"""

import json
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leffa.preprocess.densepose import densepose_r50_fpn, r50_fpn
from leffa.preprocess.densepose.chart import ChartDensePose, paste
from leffa.preprocess.densepose.r50_fpn import ChartRCNN, load_network

# Variance of a weight times the number of its inputs, by a part of its name; the first that fits.
GAINS = {
    "stem.conv1.": 2 / 360**2,  # pixels reach 150
    "fpn_": 1.0,
    "objectness_logits": 4.0,
    "anchor_deltas": 0.02,
    "cls_score": 6.0,
    "bbox_pred": 0.1,
    ".u_lowres": 0.05,
    ".v_lowres": 0.05,
    "densepose_predictor": 1.0,
    "": 2.0,
}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The recorded outputs' weights: normal numbers seeded by the name, scaled to keep signals."""
    draws = np.random.RandomState(zlib.crc32(name.encode()) % 2**31)
    x = draws.standard_normal(shape).astype(np.float32)
    kind = name.rpartition(".")[2]
    if ".norm." in name:
        if kind == "weight":
            return (1 + 0.1 * x) * np.float32(0.35 if ".conv3." in name else 1)
        return 1 + np.float32(0.1) * np.abs(x) if kind == "running_var" else np.float32(0.1) * x
    if kind == "bias":
        if "cls_score" in name:
            return np.array([0, 1.55], np.float32)  # few boxes are people
        if "anchor_deltas" in name:
            return np.tile(np.array([0, 0, 1.5, 1.5], np.float32), len(x) // 4)  # large boxes
        return np.float32(0.02) * x
    gain = next(gain for part, gain in GAINS.items() if part in name)
    inputs = 4 * shape[0] if "densepose_predictor" in name else int(np.prod(shape[1:]))
    return x * np.float32(np.sqrt(gain / inputs))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file in the layout of `model_final_162be9.pkl`; 256 MB, so it goes with the tests."""
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in ChartRCNN().state_dict().items()}
    model = {name: weight(name, shape) for name, shape in shapes.items()}
    constants = {"pixel_mean": np.zeros((3, 1, 1)), "pixel_std": np.ones((3, 1, 1))}
    path = tmp_path_factory.mktemp("densepose") / "model_final.pkl"
    with path.open("wb") as file:
        pickle.dump({"model": model | constants, "__author__": "a test"}, file, protocol=4)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def network(published: Path) -> ChartRCNN:
    return load_network(published)


def recorded_stages(
    network: ChartRCNN, recorded: dict[str, np.ndarray], photo: Tensor
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """What the recorded samples show of every stage, and the network's outputs."""
    seen: dict[str, Tensor] = {}
    heads = network.roi_heads
    with torch.no_grad():
        seen["net_input_sample"] = r50_fpn.prepare(photo)[0, :, ::37, ::37]
        kept: dict[str, tuple[Tensor, ...]] = {}
        for name, part in (
            ("levels", network.backbone),
            ("proposals", network.proposal_generator),
            ("decoder", heads.decoder),
        ):
            part.register_forward_hook(lambda _, __, out, name=name: kept.update({name: out}))
        outputs = network(photo)
        for number, (step, level) in enumerate(
            zip((23, 11, 5, 3, 2), kept["levels"], strict=True), start=2
        ):
            seen[f"feature_p{number}"] = level[0, ::16, ::step, ::step]
        seen["proposal_boxes"], seen["proposal_logits"] = (one[:50] for one in kept["proposals"])
        fixed = torch.from_numpy(recorded["fixed_boxes"])
        pooled = r50_fpn.pool_by_level(kept["levels"][:4], fixed)
        seen["fixed_pooled_sample"] = pooled[:, ::16]
        logits, deltas = heads.classify(pooled)
        seen |= {"fixed_class_logits": logits, "fixed_deltas": deltas}
        seen["decoder_sample"] = kept["decoder"][0, ::16, ::23, ::23]
        charts = heads.charts(kept["levels"][:4], fixed[:2])
        for name, chart in zip(("coarse_segm", "fine_segm", "u", "v"), charts, strict=True):
            seen[f"fixed_{name}"] = chart[:, :, 1::7, 2::7]
    return seen, outputs


@pytest.mark.slow
def test_every_stage_and_the_result_are_those_of_detectron2(
    network: ChartRCNN, shared: Path
) -> None:
    folder = shared / "golden" / "densepose"
    names = json.loads((folder / "names_and_shapes.json").read_text())
    assert {name: list(one.shape) for name, one in network.state_dict().items()} == names
    recorded = dict(np.load(folder / "golden.npz"))
    photo = torch.from_numpy(np.array(Image.open(folder / "photo.png").convert("RGB")))
    seen, outputs = recorded_stages(network, recorded, photo.permute(2, 0, 1))
    for name, tensor in seen.items():
        np.testing.assert_allclose(tensor, recorded[name], atol=1e-3, err_msg=name)
    boxes, scores = outputs[0], outputs[-1]
    np.testing.assert_allclose(boxes, recorded["boxes"], atol=1e-3)
    np.testing.assert_allclose(scores, recorded["scores"], atol=1e-5)
    for person in range(3):
        surface = paste(outputs, person, (384, 512))  # type: ignore[arg-type]
        np.testing.assert_array_equal(surface[..., 0], recorded[f"person{person}_parts"])
        uv = recorded[f"person{person}_uv_sample"].astype(np.float32).clip(0, 1) * 255
        assert np.abs(surface[::2, ::2, 1:] - uv.transpose(1, 2, 0)).max() <= 1


def squares() -> Image.Image:
    """Long, so that the network makes 133 pixels of its shorter side, and the test is quick."""
    colours = np.random.RandomState(2).randint(0, 256, (6, 60, 3))
    return Image.fromarray(colours.astype(np.uint8)).resize((480, 48), Image.Resampling.NEAREST)


def test_finds_what_it_found_when_it_agreed_with_detectron2(
    network: ChartRCNN, published: Path
) -> None:
    picture = torch.from_numpy(np.array(squares())).permute(2, 0, 1)
    boxes, *_, scores = network(picture, most_people=1)
    expected = torch.tensor([[91.6298, 2.1842, 128.7645, 45.3882]])
    torch.testing.assert_close(boxes, expected, atol=5e-3, rtol=0)
    torch.testing.assert_close(scores, torch.tensor([0.94947]), atol=1e-4, rtol=0)
    surface = densepose_r50_fpn(published).find_surface(squares())
    assert surface.shape == (48, 480, 3)
    parts, counts = np.unique(surface[..., 0], return_counts=True)
    found = dict(zip(parts.tolist(), counts.tolist(), strict=True))
    assert found == {0: 22689, 2: 16, 5: 19, 13: 136, 19: 177, 21: 3}
    assert surface[..., 1:].sum() == pytest.approx(7582, abs=20)


def test_nobody_is_told(network: ChartRCNN, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = torch.nn.Parameter(torch.tensor([0.0, 100.0]))
    monkeypatch.setattr(network.roi_heads.box_predictor.cls_score, "bias", nobody)
    with pytest.raises(ValueError, match="no person was found"):
        ChartDensePose(network).find_surface(squares())


def test_the_weights_of_another_network_are_told(tmp_path: Path) -> None:
    path = tmp_path / "r101.pkl"
    model = {"backbone.bottom_up.res4.9.conv1.weight": np.ones(3)}
    path.write_bytes(pickle.dumps({"model": model}, protocol=2))
    with pytest.raises(ValueError, match=r"r101.pkl: does not fit: 1 keys have no place here"):
        densepose_r50_fpn(path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 384), (1067, 800)), ((300, 900), (444, 1333)), ((4000, 3000), (1067, 800))],
)
def test_the_shorter_side_becomes_800_and_the_longer_1333_at_most(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert r50_fpn.resized(*size) == expected
