"""Parts of the predictions, scored in the same pass as if each had been scored by itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.metrics.protocols import PROTOCOLS, PSNRSettings, SSIMSettings
from leffa.metrics.score import score_folders

# Everything that could be pooled wrongly: batches of 16 in PSNR, the sets' metrics.
PROTOCOL = replace(
    PROTOCOLS["leffa"],
    paired={"ssim": SSIMSettings(), "psnr": PSNRSettings(pool=3)},
)
GROUPS = {"upper_body": ["0", "3", "4", "7"], "dresses": ["1", "2", "5", "6", "8"]}


def write(folder: Path, names: list[str], seed: int) -> Path:
    folder.mkdir()
    for name in names:
        random = np.random.default_rng([seed, int(name)])
        pixels = random.integers(20 * int(name), 256, (32, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.mark.usefixtures("thumbnails")
@pytest.mark.parametrize("paired", [True, False])
def test_a_group_has_the_numbers_of_a_folder_of_its_own(tmp_path: Path, paired: bool) -> None:
    names = sorted(name for group in GROUPS.values() for name in group)
    pred, true = write(tmp_path / "pred", names, 1), write(tmp_path / "true", names, 2)
    whole = score_folders(pred, true, PROTOCOL, paired=paired, groups=GROUPS, batch_size=2)
    assert whole.groups.keys() == GROUPS.keys()
    for group, own in GROUPS.items():
        place = tmp_path / group
        place.mkdir()
        alone = score_folders(
            write(place / "pred", own, 1), write(place / "true", own, 2), PROTOCOL, paired=paired
        )
        assert {"fid", "kid"} <= alone.values.keys()
        assert whole.groups[group] == pytest.approx(alone.values, abs=1e-6)
    assert whole.as_dict()["groups"] == whole.groups


@pytest.mark.usefixtures("thumbnails")
def test_groups_leave_the_whole_as_it_is(tmp_path: Path) -> None:
    names = [str(number) for number in range(9)]
    pred, true = write(tmp_path / "pred", names, 1), write(tmp_path / "true", names, 2)
    plain = score_folders(pred, true, PROTOCOL)
    assert score_folders(pred, true, PROTOCOL, groups=GROUPS).values == plain.values
    assert plain.groups == {}


@pytest.mark.usefixtures("thumbnails")
def test_a_group_of_one_image_has_no_fid(tmp_path: Path) -> None:
    names = ["0", "1", "2"]
    pred, true = write(tmp_path / "pred", names, 1), write(tmp_path / "true", names, 2)
    found = score_folders(pred, true, PROTOCOL, groups={"dresses": ["1"]}).groups
    assert found["dresses"].keys() == {"ssim", "psnr"}


@pytest.mark.usefixtures("thumbnails")
def test_a_single_image_has_no_fid_and_the_result_says_why(tmp_path: Path) -> None:
    pred, true = write(tmp_path / "pred", ["1"], 1), write(tmp_path / "true", ["1"], 2)
    scores = score_folders(pred, true, PROTOCOL)
    assert scores.values.keys() == {"ssim", "psnr"}
    assert scores.missing["fid"] == "it needs two images of each set"
