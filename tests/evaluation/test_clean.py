"""`dataset.clean=true` leaves out what is in the training split too."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from leffa.evaluation import Evaluation

Evaluate = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def leaking(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose second test person wears a garment of the training, saved anew."""
    root = shutil.copytree(synthetic, tmp_path_factory.mktemp("leaking") / "synthetic")
    garment = sorted((root / "train/cloth").iterdir())[0]
    place = sorted((root / "test/cloth").iterdir())[1]
    Image.open(garment).save(place, quality=80)
    return root


def test_the_sample_is_left_out_and_named(
    run_evaluation: Evaluate, leaking: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = run_evaluation(tmp_path, f"dataset.root={leaking}", "dataset.clean=true", "limit=null")
    result = json.loads((run.folder / "metrics.json").read_text())
    left_out = sorted(path.stem for path in (leaking / "test/image").iterdir())[1]
    assert (result["samples"], result["subset_of"]) == (4, 5)
    assert result["in_training"] == [left_out]
    assert not (run.folder / "images" / f"{left_out}.png").exists()
    assert f"1 of 5 samples left out; first {left_out}: its reference is {leaking}" in caplog.text


def test_a_data_set_without_training_split_is_refused_before_the_work(
    run_evaluation: Evaluate, leaking: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(leaking, tmp_path / "synthetic")
    (root / "train_pairs.txt").unlink()
    with pytest.raises(ValueError, match=r"dataset.clean=maybe: give true or false"):
        run_evaluation(tmp_path / "out", "dataset.clean=maybe")
    message = r"dataset.clean=true reads the training split: .*train_pairs.txt: no such list"
    with pytest.raises(FileNotFoundError, match=message):
        run_evaluation(tmp_path / "out", f"dataset.root={root}", "dataset.clean=true")
    assert not (tmp_path / "out").exists()
