"""The garment's fidelity: what each region metric sees, and what it is blind to."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leffa.cli import main
from leffa.metrics.fidelity import Leakage, RegionColourDifference, RegionSSIM, depth
from leffa.metrics.folders import FolderMismatch
from leffa.metrics.paired import SSIM
from leffa.metrics.protocols import PROTOCOLS, get_protocol
from leffa.metrics.score import score_folders
from leffa.metrics.scorer import ABSENT, UNPAIRED

from .noise import draw

pytestmark = pytest.mark.usefixtures("no_letters")

HEIGHT, WIDTH = 100, 80
FIDELITY = tuple(PROTOCOLS["leffa@2"].fidelity)
OF_PICTURES = ("interior_ssim", "boundary_ssim", "interior_ciede2000", "leakage", "leakage_share")


def rectangle(top: int, bottom: int, left: int, right: int) -> Tensor:
    mask = torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., top:bottom, left:right] = 1
    return mask


GARMENT = rectangle(30, 70, 20, 60)
INTERIOR = rectangle(33, 67, 23, 57)  # more than 3 pixels from the nearest outside


def noise(seed: int = 0) -> Tensor:
    return torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_the_margin_is_a_distance_in_shares_of_the_height() -> None:
    ssim = RegionSSIM("interior", 0.03)
    torch.testing.assert_close(ssim.region(GARMENT[:, 0] > 0), INTERIOR[:, 0] > 0)
    band = RegionSSIM("boundary", 0.03).region(GARMENT[:, 0] > 0)
    torch.testing.assert_close(band, (GARMENT - INTERIOR)[:, 0] > 0)
    corner = Leakage(margin=0.03).region(GARMENT[:, 0] > 0)[0, 25:31, 15:21]
    assert corner.tolist() == [  # a circle, not a square
        [(30 - row) ** 2 + (20 - column) ** 2 > 9 for column in range(15, 21)]
        for row in range(25, 31)
    ]


def test_the_border_of_the_picture_is_no_edge_of_the_garment() -> None:
    assert depth(rectangle(90, 100, 0, 80)[:, 0] > 0)[0, 99, 0] == 10
    assert depth(torch.ones(1, 4, 4, dtype=torch.bool)).isinf().all()
    assert not depth(torch.zeros(1, 4, 4, dtype=torch.bool)).any()


@pytest.mark.parametrize("part", ["interior", "boundary"])
def test_damage_in_one_part_of_the_garment_is_seen_by_that_part_alone(part: str) -> None:
    """As far as SSIM's window does not reach across."""
    true = noise()
    deep = rectangle(45, 55, 35, 45)
    edge = rectangle(31, 32, 20, 60)
    damaged = deep if part == "interior" else edge
    pred = torch.where(damaged > 0, 1 - true, true)
    values = {}
    for each in ("interior", "boundary"):
        for metric in (RegionSSIM(each), RegionColourDifference(each)):
            metric.update(pred, true, GARMENT)
            values[each, type(metric)] = metric.compute().item()
    other = "boundary" if part == "interior" else "interior"
    assert values[part, RegionSSIM] < 0.98
    assert values[part, RegionColourDifference] > 1
    assert values[other, RegionColourDifference] == 0
    if part == "interior":
        assert values[other, RegionSSIM] == pytest.approx(1)


def test_ssim_over_a_whole_picture_is_ssim() -> None:
    region, whole = RegionSSIM("interior"), SSIM()
    region.update(noise(1), noise(), torch.ones(1, 1, HEIGHT, WIDTH))
    whole.update(noise(1), noise())
    assert region.compute().item() == pytest.approx(whole.compute().item(), abs=1e-6)


def test_the_colour_difference_of_two_flat_colours_is_ciede2000s() -> None:
    """sRGB red and green: scikit-image says 86.6 for (53.2, 80.1, 67.2) and (87.7, -86.2, 83.2)."""
    red, green = (torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, HEIGHT, WIDTH) for c in _PRIMARY)
    metric = RegionColourDifference()
    metric.update(red, green, GARMENT)
    assert metric.compute().item() == pytest.approx(86.6, abs=0.1)


_PRIMARY = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])


@pytest.mark.parametrize(("levels", "share"), [(8, 0.0), (9, 1.0), (-9, 1.0)])
def test_leakage_is_in_levels_and_a_pixel_counts_from_nine_of_them(
    levels: int, share: float
) -> None:
    true = torch.full((1, 3, HEIGHT, WIDTH), 100 / 255)
    outside = rectangle(0, 20, 0, 80)  # a quarter of what lies 3 pixels beyond the mask and more
    pred = true.clone()
    pred[:, 1:2] += levels / 255 * outside
    mean, counted = Leakage("mean"), Leakage("share")
    for metric in (mean, counted):
        metric.update(pred, true, GARMENT)
    beyond = Leakage().region(GARMENT[:, 0] > 0).sum().item()
    part = 20 * 80 / beyond
    assert mean.compute().item() == pytest.approx(abs(levels) / 3 * part, rel=1e-5)
    assert counted.compute().item() == pytest.approx(share * part, rel=1e-5)


def test_what_happens_inside_the_mask_or_at_its_edge_is_no_leakage() -> None:
    near = rectangle(28, 72, 18, 62)  # 2 pixels beyond, 2.8 at the corners
    pred = torch.where(near > 0, noise(1), noise())
    metric = Leakage()
    metric.update(pred, noise(), GARMENT)
    assert metric.compute().item() == 0


def test_an_image_without_the_region_does_not_count() -> None:
    thin = rectangle(30, 34, 20, 60)  # nothing is deeper than 3 pixels
    metric = RegionColourDifference()
    metric.update(1 - noise(), noise(), thin)
    metric.update(noise(), noise(), GARMENT)
    assert metric.per_image().isnan().tolist() == [True, False]
    assert metric.compute().item() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RegionSSIM("middle"), "part='middle': choose interior or boundary"),
        (lambda: RegionSSIM(margin=-0.1), "margin=-0.1: give a share of the height"),
        (lambda: Leakage("most"), "measure='most': choose mean or share"),
        (
            lambda: Leakage().update(noise(), noise(), torch.ones(1, 1, 8, 8)),
            "mask has (1, 1, 8, 8)",
        ),
    ],
)
def test_a_wrong_setting_or_mask_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        make()  # type: ignore[operator]
    assert message in str(raised.value)


# ---- folders ----


@pytest.fixture
def sides(tmp_path: Path) -> dict[str, str]:
    """Three predictions, true images, and what lies beside them, 80x100."""
    names, size = [f"{number:02}.png" for number in range(3)], (WIDTH, HEIGHT)
    for seed, side in enumerate(("pred", "true", "garments")):
        draw(tmp_path / side, *names, size=size, seed=seed)
    for side, mask in (("worn", GARMENT), ("inpainted", rectangle(20, 80, 10, 70))):
        (tmp_path / side).mkdir()
        for name in names:
            pixels = mask[0, 0].mul(255).byte().numpy()
            Image.fromarray(pixels).save(tmp_path / side / name)
    return {side.name: str(side) for side in tmp_path.iterdir()}


def arguments(sides: dict[str, str], *roles: str) -> list[str]:
    beside = [part for role in roles for part in (f"--{role}", sides[role])]
    return ["score", sides["pred"], sides["true"], "--protocol", "leffa@2", *beside]


@pytest.mark.usefixtures("without_networks")
def test_leffa_2_is_leffa_1_and_the_fidelity_with_its_coverage(
    sides: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    black = np.zeros((HEIGHT, WIDTH), np.uint8)
    Image.fromarray(black).save(tmp_path / "worn" / "01.png")
    out = tmp_path / "scores.json"
    parts = [*arguments(sides, "worn", "inpainted", "garments"), "--json", str(out)]
    assert main(parts) == 0
    found = json.loads(out.read_text())
    table = capsys.readouterr().out
    first = score_folders(Path(sides["pred"]), Path(sides["true"]), "leffa@1")
    assert {key: found["values"][key] for key in first.values} == pytest.approx(first.values)
    assert first.protocol == PROTOCOLS["leffa"]
    expected = {name: 2 if "interior" in name or "boundary" in name else 3 for name in OF_PICTURES}
    assert {name: found["coverage"][name] for name in OF_PICTURES} == expected
    assert "interior_ssim: 1 sample excluded" in table
    assert "| images judged |" in table
    assert found["protocol"]["version"] == 2


@pytest.mark.usefixtures("without_networks")
def test_what_cannot_be_computed_is_missing_with_its_reason(sides: dict[str, str]) -> None:
    pred, true = Path(sides["pred"]), Path(sides["true"])
    scores = score_folders(pred, true, "leffa@2", beside={"inpainted": Path(sides["inpainted"])})
    assert scores.missing["interior_ssim"] == ABSENT["worn"]
    assert scores.coverage["leakage"] == 3
    unpaired = score_folders(
        pred, true, "leffa@2", paired=False, beside={"inpainted": Path(sides["inpainted"])}
    )
    assert unpaired.missing["interior_ssim"] == UNPAIRED
    assert unpaired.values["leakage"] == scores.values["leakage"]
    for name in ("00", "01", "02"):
        (true / f"{name}.png").rename(true / f"other_{name}.png")
    unknown = score_folders(
        pred, true, "leffa@2", paired=False, beside={"inpainted": Path(sides["inpainted"])}
    )
    assert unknown.missing["leakage"] == ABSENT["true"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--metrics", "interior_ssim"], "interior_ssim: it needs masks of the garment in"),
        (["--metrics", "psnr", "--unpaired"], "psnr: it needs the true image, which unpaired"),
        (["--metrics", "interior"], "protocol leffa has no metric interior; choose from: "),
    ],
)
def test_a_metric_asked_for_by_name_is_refused_before_work_where_it_cannot_be_computed(
    sides: dict[str, str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(sides), *more]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_only_the_metrics_asked_for_are_computed(sides: dict[str, str]) -> None:
    scores = score_folders(
        Path(sides["pred"]),
        Path(sides["true"]),
        "leffa@2",
        beside={"inpainted": Path(sides["inpainted"])},
        metrics=["leakage", "psnr"],
    )
    assert scores.values.keys() == {"leakage", "psnr"}
    assert not scores.missing


def test_bad_masks_are_named_in_one_line_each(sides: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "worn" / "01.png").unlink()
    Image.new("L", (8, 8)).save(tmp_path / "inpainted" / "02.png")
    beside = {role: Path(sides[role]) for role in ("worn", "inpainted")}
    with pytest.raises(FolderMismatch) as raised:
        score_folders(Path(sides["pred"]), Path(sides["true"]), "leffa@2", beside=beside)
    assert raised.value.problems == [
        "masks of the worn garment missing (1): 01",
        "masks of what was generated of another size than their image (1): "
        "02.png 100x80 but 02.png 8x8",
    ]
    with pytest.raises(ValueError, match=r"--worn .*: protocol leffa has no metric of the garment"):
        score_folders(Path(sides["pred"]), Path(sides["true"]), "leffa", beside=beside)


def test_a_protocol_is_found_by_name_and_by_name_and_version() -> None:
    assert get_protocol("leffa") is get_protocol("leffa@1")
    assert get_protocol("leffa@2").label == "leffa@2"
    with pytest.raises(ValueError, match="no protocol 'leffa@3'; choose from: "):
        get_protocol("leffa@3")
