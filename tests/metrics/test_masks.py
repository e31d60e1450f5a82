"""Masks of masked PSNR: which pixels count, and samples without any."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.metrics.protocols import PROTOCOLS, PlainSettings
from leffa.metrics.score import score_folders

LEFFA = PROTOCOLS["leffa"]
PAIRED = {name: LEFFA.paired[name] for name in ("ssim", "psnr")}
FAST = replace(LEFFA, paired=PAIRED, sets={})


@pytest.mark.parametrize("how", ["png", "jpeg", "palette, 0 is white"])
def test_a_mask_counts_as_what_it_shows(tmp_path: Path, how: str) -> None:
    person = np.zeros((48, 64), np.bool_)
    person[9:35, 13:50] = True
    for name, level in (("true", 0), ("pred", 147)):  # the same outside the mask
        (tmp_path / name).mkdir()
        pixels = np.repeat(person[..., None] * np.uint8(level), 3, axis=-1)
        Image.fromarray(pixels).save(tmp_path / name / "1.png")
    (tmp_path / "masks").mkdir()
    if how == "palette, 0 is white":
        mask = Image.fromarray((~person).astype(np.uint8), "P")
        mask.putpalette([255, 255, 255, 0, 0, 0])
    else:
        mask = Image.fromarray(person.astype(np.uint8) * 255)
    suffix, options = (".jpg", {"quality": 30}) if how == "jpeg" else (".png", {})
    mask.save(tmp_path / "masks" / f"1{suffix}", **options)
    protocol = replace(LEFFA, sets={}, paired={"masked_psnr": PlainSettings("masked_psnr")})
    scores = score_folders(
        tmp_path / "pred", tmp_path / "true", protocol, beside={"masks": tmp_path / "masks"}
    )
    assert scores.values["masked_psnr"] == pytest.approx(20 * np.log10(255 / 147), abs=1e-6)


def test_pairs_whose_mask_is_black_are_excluded_from_masked_psnr_and_named(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    protocol = replace(FAST, paired=PAIRED | {"masked_psnr": PlainSettings("masked_psnr")})
    masks = tmp_path / "masks"
    masks.mkdir()
    values = []
    for black in ((), ("01",), ("00", "01", "02")):
        for name in ("00", "01", "02"):
            grey = 0 if name in black else 255
            Image.new("L", (24, 32), grey).save(masks / f"{name}.png")
        values.append(score_folders(*folders, protocol, beside={"masks": masks}))
    whole, two, none = values
    each = whole.per_image["masked_psnr"]
    assert two.excluded == {"masked_psnr": ["01"]}
    assert two.values["masked_psnr"] == pytest.approx((each["00"] + each["02"]) / 2)
    assert two.per_image["masked_psnr"].keys() == {"00", "02"}
    assert "masked_psnr: 1 sample excluded" in two.to_markdown()
    assert "masked_psnr" not in none.values
    assert "it applies to none of these images" in none.missing["masked_psnr"]
    assert all(found.values["ssim"] == whole.values["ssim"] for found in values)
    assert json.dumps(none.as_dict(), allow_nan=False)
