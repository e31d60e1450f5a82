"""What an evaluation refuses before its first picture, since it would fail after the last one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from leffa.evaluation import Evaluation
from leffa.evaluation.folder import EvaluationFolder
from leffa.io.weights import read_pickle
from leffa.metrics.folders import FolderMismatch
from leffa.run import evaluation

Evaluate = Callable[..., Evaluation]


def test_a_real_set_with_a_gray_picture_is_refused(
    run_evaluation: Evaluate, tmp_path: Path
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for name, mode in (("a", "RGB"), ("b", "L")):
        Image.new(mode, (48, 64)).save(real / f"{name}.jpg")
    with pytest.raises(FolderMismatch, match=r"not 8-bit RGB, convert \(1\): b.jpg \(L\)"):
        run_evaluation(tmp_path / "out", f"+dataset.real={real}")
    assert not (tmp_path / "out").exists()


def test_a_gray_photograph_is_refused_where_the_protocol_reads_it_itself(
    run_evaluation: Evaluate, synthetic: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(synthetic, tmp_path / "synthetic")
    gray = sorted((root / "test" / "image").iterdir())[1]
    with Image.open(gray) as picture:
        picture.convert("L").save(gray)
    resized = "+protocol.prepare_true={size: prediction, filter: lanczos}"
    with pytest.raises(FolderMismatch, match=rf"convert \(1\): {gray.stem}\S*.jpg \(L\)"):
        run_evaluation(tmp_path / "out", resized, f"dataset.root={root}")
    assert not list((tmp_path / "out" / "images").iterdir())


@pytest.mark.parametrize(
    ("variable", "launcher"), [("WORLD_SIZE", "torchrun"), ("SLURM_STEP_NUM_TASKS", "srun")]
)
def test_a_launcher_that_starts_it_several_times_is_named(
    run_evaluation: Evaluate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    launcher: str,
) -> None:
    monkeypatch.setenv(variable, "8")
    with pytest.raises(ValueError, match=f"{launcher} started it 8 times: .* devices=N"):
        run_evaluation(tmp_path)
    assert not list(tmp_path.iterdir())


def test_two_evaluations_do_not_work_in_one_folder(
    run_evaluation: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leffa.evaluation.folder.PATIENCE", 0.05)
    with EvaluationFolder(tmp_path).exclusive_lock():
        with pytest.raises(ValueError, match="another evaluation is running in this folder"):
            run_evaluation(tmp_path)
        assert not (tmp_path / "settings.json").exists()
    with EvaluationFolder(tmp_path).exclusive_lock():
        pass  # the first one has ended


def test_a_checkpoint_is_read_once(
    run_evaluation: Evaluate, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(trained, tmp_path / "trained")  # which no other test has loaded
    read: list[Path] = []

    def counted(path: Path) -> Any:
        read.append(path)
        return read_pickle(path)

    monkeypatch.setattr("leffa.inference.checkpoints.read_pickle", counted)
    run_evaluation(tmp_path / "out", "limit=1", f"ckpt={place}")
    assert len(read) == 1


def test_a_checkpoint_that_changes_while_it_is_read_is_refused(
    run_evaluation: Evaluate, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this process and by those of the other devices alike."""
    place = shutil.copytree(trained, tmp_path / "trained")
    file = place / "checkpoints" / "last.ckpt"
    before, load = file.stat().st_mtime_ns, evaluation.load_model

    def while_training(*arguments: Any, **options: Any) -> Any:
        loaded = load(*arguments, **options)
        os.utime(file, ns=(0, before + 1))
        return loaded

    monkeypatch.setattr(evaluation, "load_model", while_training)
    with pytest.raises(ValueError, match=f"{file}: was rewritten"):
        run_evaluation(tmp_path / "out", f"ckpt={place}")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="was rewritten"):
        evaluation._loaded_model(place, None, file, before)
