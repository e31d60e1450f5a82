"""The named protocols: their files, and that each gives the numbers of the code it stands for.

The expected values come from PIL, scikit-image, torchmetrics, torchvision and OpenCV, called the
way the papers' code calls them.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as batch_psnr,
)
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.transforms.functional import InterpolationMode, resize

from leffa.conf_folder import CONF
from leffa.metrics.folders import read_folder
from leffa.metrics.loading import decode
from leffa.metrics.plan import make_plan
from leffa.metrics.protocols import PROTOCOLS, get_protocol, parse_protocol
from leffa.metrics.score import score_folders

NAMES = ["catvton", "cfld_256", "cfld_512", "hrviton", "ladi", "leffa", "leffa@2", "pidm"]
NAMES += ["vtoneval", "wpose"]


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    """Smooth colours with some grain, (width, height)."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8)).resize(size)
    grain = random.integers(-12, 13, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))


def folders(
    root: Path,
    pred_size: tuple[int, int],
    true_size: tuple[int, int],
    names: Sequence[str] = ("00001_00", "00002_00", "00003_00"),
    pred_names: Sequence[str] | None = None,
    suffix: str = ".jpg",
) -> tuple[Path, Path]:
    """Predictions in PNG, true images in PNG or JPEG of quality 95; somewhat alike."""
    for side, size, stems in (("pred", pred_size, pred_names or names), ("true", true_size, names)):
        (root / side).mkdir()
        for seed, stem in enumerate(stems):
            image = picture(seed, size)
            if side == "pred":
                image.save(root / side / f"{stem}.png")
            else:
                image.save(root / side / f"{stem}{suffix}", quality=95)
    return root / "pred", root / "true"


def opened(path: Path) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in sorted(path.iterdir())]


def arrays(images: Sequence[Image.Image]) -> list[np.ndarray]:
    return [np.asarray(image).astype(np.float32) / 255 for image in images]


def batch(images: Sequence[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack(arrays(images))).permute(0, 3, 1, 2)


def skimage_ssim(true: np.ndarray, pred: np.ndarray, sigma: float, data_range: float) -> float:
    return structural_similarity(
        true,
        pred,
        gaussian_weights=True,
        sigma=sigma,
        use_sample_covariance=False,
        channel_axis=2,
        data_range=data_range,
    )


def jpeg_75(image: Image.Image) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG")
    return Image.open(stored).convert("RGB")


# ---- the files ----


def test_all_protocols_are_there_and_fit_a_screen() -> None:
    assert sorted(PROTOCOLS) == NAMES
    for name, protocol in PROTOCOLS.items():
        text = (CONF / "protocol" / f"{name}.yaml").read_text()
        assert name in (protocol.name, protocol.label)
        assert protocol.source
        assert len(text.splitlines()) <= 30
        assert parse_protocol(yaml.safe_load(text), name) == protocol


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lpips_net": "vgg"}, "here: lpips_net: Unexpected keyword argument"),
        ({"paired": {"ssim": {"sigmo": 1}}}, "here: paired.ssim.ssim.sigmo: Unexpected"),
        ({"paired": {"mssim": {}}}, "here: paired.mssim: Input tag 'mssim'"),
        ({"sets": {"fid": {"features": "vgg"}}}, "here: sets.fid.fid.features: Input should be"),
        ({"version": "one"}, "here: version: Input should be a valid integer"),
    ],
)
def test_a_mistake_in_a_protocol_is_named(change: dict[str, object], message: str) -> None:
    content = {"name": "mine", "version": 1, "description": "ours", **change}
    with pytest.raises(ValueError, match="here: ") as raised:
        parse_protocol(content, "here")
    assert str(raised.value).startswith(message)


def test_e1_a_changed_protocol_may_not_keep_its_name() -> None:
    content = yaml.safe_load((CONF / "protocol" / "ladi.yaml").read_text())
    assert get_protocol(content) == PROTOCOLS["ladi"]
    content["paired"]["lpips"]["net"] = "vgg"
    with pytest.raises(ValueError, match=r"protocol ladi is changed: .* protocol\.name"):
        get_protocol(content)
    assert get_protocol({**content, "name": "ladi_vgg"}).paired["lpips"].metric == "lpips"


# ---- the numbers ----


@pytest.mark.usefixtures("without_networks")
def test_vtoneval_resizes_truth_compresses_it_again_and_pools_psnr(tmp_path: Path) -> None:
    pred, true = folders(tmp_path, (48, 64), (72, 96))
    before = sorted(tmp_path.rglob("*"))
    values = score_folders(pred, true, "vtoneval").values
    preds = batch(opened(pred))
    small = [image.resize((48, 64), Image.Resampling.LANCZOS) for image in opened(true)]
    trues = batch([jpeg_75(image) for image in small])
    assert values["psnr"] == pytest.approx(
        batch_psnr(preds, trues, data_range=1.0).item(), abs=1e-4
    )
    expected = structural_similarity_index_measure(preds.double(), trues.double(), data_range=1.0)
    assert values["ssim"] == pytest.approx(expected.item(), abs=1e-6)
    pairs = zip(arrays(small), arrays(opened(pred)), strict=True)
    uncompressed = np.mean([skimage_ssim(t, p, 1.5, 1) for t, p in pairs])
    assert abs(values["ssim_cropped"] - uncompressed) > 1e-3
    assert sorted(tmp_path.rglob("*")) == before  # no <gt>_<height> folder that goes stale


@pytest.mark.usefixtures("without_networks")
@pytest.mark.parametrize(
    ("true_size", "suffix"), [((48, 64), ".jpg"), ((72, 96), ".png")], ids=["same size", "png"]
)
def test_vtoneval_compresses_only_resized_jpegs(
    tmp_path: Path, true_size: tuple[int, int], suffix: str
) -> None:
    pred, true = folders(tmp_path, (48, 64), true_size, suffix=suffix)
    small = [image.resize((48, 64), Image.Resampling.LANCZOS) for image in opened(true)]
    pairs = zip(arrays(small), arrays(opened(pred)), strict=True)
    expected = np.mean([skimage_ssim(t, p, 1.5, 1) for t, p in pairs])
    assert score_folders(pred, true, "vtoneval").values["ssim_cropped"] == pytest.approx(
        expected, abs=1e-6
    )


def test_catvton_keeps_the_aspect_and_so_refuses_another_one(tmp_path: Path) -> None:
    pred, true = folders(tmp_path, (48, 64), (75, 96))
    with pytest.raises(ValueError, match=r"sizes differ.*64x48 but 00001_00.jpg 64x50"):
        score_folders(pred, true, "catvton")


@pytest.mark.usefixtures("without_networks")
def test_ladi_compares_at_512x384_bilinear(tmp_path: Path) -> None:
    pred, true = folders(tmp_path, (192, 256), (300, 400), names=["00001_00"])
    size, bilinear = [512, 384], InterpolationMode.BILINEAR
    p, t = (arrays([resize(image, size, bilinear) for image in opened(x)]) for x in (pred, true))
    plan = make_plan(PROTOCOLS["ladi"], read_folder(pred), read_folder(true))
    native, resized = decode(plan.pairs[0][1])
    assert native.shape == (3, 400, 300)
    np.testing.assert_array_equal(resized.permute(1, 2, 0) / 255, t[0])
    scores = score_folders(pred, true, "ladi")
    assert scores.values["ssim"] == pytest.approx(skimage_ssim(t[0], p[0], 1.5, 1), abs=1e-6)


@pytest.mark.usefixtures("without_networks")
def test_hrviton_compares_gray_images_of_the_same_person(tmp_path: Path) -> None:
    worn = ["00001_00002_00", "00002_00003_00", "00003_00001_00"]
    pred, true = folders(tmp_path, (48, 64), (96, 128), pred_names=worn)
    values = score_folders(pred, true, "hrviton").values
    small = [image.resize((48, 64), Image.Resampling.BILINEAR) for image in opened(true)]
    expected = [
        structural_similarity(
            *(np.asarray(each.convert("L")) for each in pair),
            data_range=255,
            gaussian_weights=True,
            use_sample_covariance=False,
        )
        for pair in zip(opened(pred), small, strict=True)
    ]
    assert values["ssim"] == pytest.approx(np.mean(expected), abs=1e-6)
    error = (batch(opened(pred)) - batch(small)).square().mean().item()
    assert values["mse"] == pytest.approx(error, rel=1e-5)


@pytest.mark.usefixtures("without_networks")
def test_cfld_shrinks_predictions_in_float_and_truncates(tmp_path: Path) -> None:
    pred, true = folders(tmp_path, (512, 512), (300, 440), names=["fashionWOMEN_1"])
    scores = score_folders(pred, true, "cfld_256")
    generated = torch.nn.functional.interpolate(
        batch(opened(pred)), (256, 176), mode="bicubic", antialias=True
    )
    p = (generated * 255).clamp(0, 255).floor()[0].permute(1, 2, 0).numpy() / 255
    t = arrays([opened(true)[0].resize((176, 256), Image.Resampling.BICUBIC)])[0]
    assert scores.values["ssim"] == pytest.approx(
        structural_similarity(t, p, data_range=1, win_size=51, channel_axis=2), abs=1e-5
    )
    assert scores.values["ssim_256"] == pytest.approx(
        skimage_ssim(t * 255, p * 255, 1.5, 255 * (p.max() - p.min())), abs=1e-5
    )
    assert scores.values["psnr"] == pytest.approx(
        peak_signal_noise_ratio(t, p, data_range=1), abs=1e-4
    )


@pytest.mark.usefixtures("without_networks")
def test_pidm_squashes_to_256x256_and_shows_lpips_what_opencv_makes(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    pred, true = folders(
        tmp_path, (256, 256), (300, 440), names=["fashionB"], pred_names=["fashionA_2_B_vis"]
    )
    (true / "fashionB.jpg").rename(true / "deepB.jpg")
    plan = make_plan(PROTOCOLS["pidm"], read_folder(pred), read_folder(true))
    (whole, small) = decode(plan.pairs[0][1])
    squashed = opened(true)[0].resize((256, 256), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(whole.permute(1, 2, 0), np.asarray(squashed))
    expected = cv2.resize(np.asarray(squashed).astype(np.float32), (176, 256))
    np.testing.assert_allclose(small.permute(1, 2, 0), expected, atol=1e-3)
    values = score_folders(pred, true, "pidm").values
    p, t = arrays(opened(pred))[0], arrays([squashed])[0]
    assert values["ssim_256"] == pytest.approx(
        skimage_ssim(t * 255, p * 255, 1.2, 255 * (p.max() - p.min())), abs=1e-5
    )


def test_wpose_scores_the_person_alone_where_masks_are_given(tmp_path: Path) -> None:
    pred, true = folders(tmp_path, (48, 64), (48, 64))
    scores = score_folders(pred, true, "wpose")
    assert scores.missing == {"masked_psnr": "it needs a folder of masks: give --masks"}
    (tmp_path / "masks").mkdir()
    parsing = np.zeros((64, 48), dtype=np.uint8)
    parsing[10:40, 5:30] = 7
    for stem in ("00001_00", "00002_00"):
        Image.fromarray(parsing).save(tmp_path / "masks" / f"{stem}.png")
    with pytest.raises(ValueError, match=r"masks missing \(1\): 00003_00"):
        score_folders(pred, true, "wpose", beside={"masks": tmp_path / "masks"})
    Image.fromarray(parsing).save(tmp_path / "masks" / "00003_00.png")
    values = score_folders(pred, true, "wpose", beside={"masks": tmp_path / "masks"}).values
    expected = [
        peak_signal_noise_ratio(t[parsing > 0], p[parsing > 0], data_range=1)
        for t, p in zip(arrays(opened(true)), arrays(opened(pred)), strict=True)
    ]
    assert values["masked_psnr"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert values["psnr"] != pytest.approx(values["masked_psnr"], abs=1e-3)
