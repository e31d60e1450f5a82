"""A trained model is fed what it was trained to read, or one line says why not."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leffa.data.published import DressCode
from leffa.data.transforms import PersonTransform
from leffa.evaluation import Evaluation
from leffa.inference.inputs import feed
from leffa.models.export import InputSpec
from leffa.run import compose, evaluate
from leffa.synthetic.write import write_dress_code

HEIGHT, WIDTH = 64, 48

Evaluate = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def dress_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dress_code")
    write_dress_code(root, train=0, test=2, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture
def run_that_reads(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    """A checkpoint as a run leaves it that was fed so."""

    def make(**inputs: Any) -> Path:
        content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
        content["inputs"] |= inputs
        torch.save(content, tmp_path / "run.ckpt")
        return tmp_path / "run.ckpt"

    return make


def score(folder: Path, ckpt: Path, root: Path, *arguments: str) -> Evaluation:
    """evaluate.py on one sample of DressCode, whose DensePose is part labels."""
    chosen = ["dataset=dresscode_all_paired", f"dataset.root={root}", f"ckpt={ckpt}", "limit=1"]
    size = [f"dataset.transform.height={HEIGHT}", f"dataset.transform.width={WIDTH}"]
    quick = ["protocol.name=quick", "~protocol.sets", "~protocol.paired.lpips", "sampler.steps=1"]
    subset = ["dataset.allow_subset=true", "device=cpu", f"paths.output_dir={folder}"]
    cfg = compose("evaluate", [*chosen, *size, *quick, *subset, *arguments])
    return evaluate(cfg, progress=False)


def fed(dress_code: Path, inputs: InputSpec) -> PersonTransform:
    transform = PersonTransform(HEIGHT, WIDTH, densepose="labels", label_set="atr")
    records = DressCode(dress_code, split="test", allow_subset=True)
    model: Any = SimpleNamespace(inputs={"mask", "densepose"})
    return feed(transform, records, inputs, model, ("weights", "dresscode"))


def test_labels_are_read_as_the_colours_that_the_model_knows(dress_code: Path) -> None:
    transform = fed(dress_code, InputSpec("tryon", HEIGHT, WIDTH, densepose="colour"))
    labels, colours = (
        DressCode(dress_code, split="test", densepose=name, allow_subset=True)[0]
        for name in ("labels", "colour")
    )
    expected = PersonTransform(HEIGHT, WIDTH, densepose="colour")(colours, random.Random(0))
    found = transform(labels, random.Random(0))
    # The data set's own colours are JPEG.
    assert (found["densepose"] - expected["densepose"]).abs().mean() < 0.05
    assert found["densepose"].unique().numel() > 10


def test_parts_are_divided_by_what_the_model_knows(dress_code: Path) -> None:
    transform = fed(dress_code, InputSpec("tryon", HEIGHT, WIDTH, "labels", part_range=255))
    assert (transform.densepose, transform.part_range) == ("labels", 255)


def test_a_run_with_colours_is_scored_on_colours_of_dress_code(
    run_that_reads: Callable[..., Path], dress_code: Path, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level("INFO")
    evaluation = score(tmp_path / "out", run_that_reads(densepose="colour"), dress_code)
    result = json.loads((evaluation.folder / "metrics.json").read_text())
    assert result["read_as"]["densepose"] == "colour"
    assert result["read_as"]["densepose_files"] == "labels"
    assert "DensePose files (labels) are read as colour" in caplog.text
    masks = "masks leffa_dc (files)"
    assert masks in caplog.text  # what the data set defines wins, and is said


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"densepose": "iuv"}, "reads DensePose as iuv, which labels files do not hold"),
        ({"task": "pose"}, "was trained for pose transfer, and dresscode_all_paired is for"),
    ],
)
def test_what_the_data_set_does_not_hold_is_refused_in_one_line(
    run_that_reads: Callable[..., Path],
    dress_code: Path,
    tmp_path: Path,
    inputs: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        score(tmp_path / "out", run_that_reads(**inputs), dress_code)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_densepose_is_given_up_by_name(
    run_that_reads: Callable[..., Path], dress_code: Path, tmp_path: Path
) -> None:
    none = ["dataset.records.densepose=none", "dataset.transform.densepose=none"]
    masks = ["dataset.transform.agnostic=null"]
    ckpt = run_that_reads(densepose="labels")
    with pytest.raises(ValueError, match=r"reads DensePose \(labels\), and .* has none; give"):
        score(tmp_path / "out", ckpt, dress_code, *none, *masks)
    assert score(tmp_path / "out", ckpt, dress_code, *none, *masks, "without_densepose=true")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda mask: mask // 255, "are black all over .*its values are 0 and 1"),
        (lambda mask: 255 - mask, "are white around and black inside"),
    ],
)
def test_masks_that_training_refuses_are_not_scored(
    run_evaluation: Evaluate,
    synthetic: Path,
    tmp_path: Path,
    damage: Callable[[Any], Any],
    message: str,
) -> None:
    root = shutil.copytree(synthetic, tmp_path / "synthetic")
    for path in (root / "test" / "agnostic-mask").iterdir():
        Image.fromarray(damage(np.asarray(Image.open(path).convert("L")))).save(path)
    with pytest.raises(ValueError, match=message):
        run_evaluation(tmp_path / "out", f"dataset.root={root}")
    assert not (tmp_path / "out").exists()
