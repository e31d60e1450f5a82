"""Several predictions of one true image: pose transfer shows one person from many."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.metrics.folders import read_pairs
from leffa.metrics.protocols import PROTOCOLS
from leffa.metrics.score import score_folders


def draw(folder: Path, *names: str, size: tuple[int, int] = (32, 24)) -> Path:
    """Noise under these names, (height, width); the name decides it."""
    folder.mkdir()
    for name in names:
        random = np.random.default_rng(sum(name.encode()))
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.mark.usefixtures("without_networks")
def test_pidms_names_may_share_their_target(tmp_path: Path) -> None:
    names = ("fashionA_2_fashionC_vis.png", "fashionB_2_fashionC_vis.png")
    pred = draw(tmp_path / "pred", *names, size=(256, 256))
    true = draw(tmp_path / "true", "deepfashionC.png", size=(256, 256))
    scores = score_folders(pred, true, replace(PROTOCOLS["pidm"], drop_last=None))
    assert sorted(scores.per_image["psnr"]) == [Path(name).stem for name in names]
    with Image.open(true / "deepfashionC.png") as image:
        truth = np.asarray(image) / 255.0
    for name in names:
        with Image.open(pred / name) as image:
            error = ((np.asarray(image) / 255.0 - truth) ** 2).mean()
        found = scores.per_image["psnr"][Path(name).stem]
        assert found == pytest.approx(-10 * np.log10(error), abs=1e-3)


@pytest.mark.usefixtures("without_networks")
def test_a_list_of_pairs_says_which_true_image_each_prediction_has(
    tmp_path: Path,
) -> None:
    pred = draw(tmp_path / "pred", "a.png", "b.v2.png", "c.png")
    true = draw(tmp_path / "true", "x.png", "y.png", "unused.png")
    file = tmp_path / "pairs.csv"
    file.write_text("prediction,true\na.png,x.png\nb.v2,x\nc,y\n")
    assert read_pairs(file) == {"a": "x", "b.v2": "x", "c": "y"}
    scores = score_folders(pred, true, "leffa", names=read_pairs(file))
    assert sorted(scores.per_image["psnr"]) == ["a", "b.v2", "c"]
    assert scores.images["real"] == 2  # x counts once, and what is in no pair does not
    command = ["score", str(pred), str(true), "--protocol", "leffa"]
    out = tmp_path / "scores.json"
    assert main([*command, "--pairs", str(file), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["values"] == pytest.approx(scores.values)
    assert main(command) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such list of pairs"),
        ("from,to\na,b\n", "has no column 'prediction', its first line is 'from,to'; begin with a"),
        ("prediction,true\na,\n", "line 2: give a prediction and its true image"),
        ("prediction,true\na,b\na.png,c\n", "line 3: a is listed before"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(
    tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "pairs.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=f"{file}: {message}"):
        read_pairs(file)
